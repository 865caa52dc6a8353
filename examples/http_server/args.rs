//! Parsing of the command line.

use crate::connection::Limits;
use lexopt::{Arg, Parser, ValueExt};
use std::net::SocketAddr;
use std::time::Duration;

/// The text of `--help`.
const HELP: &str = "\
Usage: http_server [OPTION]... [ADDRESS]
Serve HTTP/1.1 at ADDRESS, for example 127.0.0.1:8080. Without ADDRESS, serve a few requests of its own.
SIGTERM and Ctrl-C stop the server in order: requests that have begun are answered.

  --workers N       use N threads, each with a part of the connections (default 1; 0: one for each core)
  --connections N   serve at most N connections at the same time (default 10000)
  --requests N      stop after N responses
  --seconds N       stop after N seconds
  --grace MS        cancel the connections that are left MS milliseconds after the stop (default 5000)
  --idle MS         close a connection that sends no request for MS milliseconds (default 60000)
  --head MS         the time for the head of a request (default 10000)
  --body MS         the time for the body of a request (default 30000)
  --write MS        the time in which the client reads a response (default 30000)
  --help            print this text
";

/// The command line.
pub(crate) struct Options {
    pub(crate) address: SocketAddr,
    pub(crate) is_demo: bool,
    pub(crate) workers: usize,
    pub(crate) connections: usize,
    pub(crate) requests: Option<u64>,
    pub(crate) seconds: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) limits: Limits,
}

/// Parses the command line. Returns `None` after `--help`.
pub(crate) fn parse() -> Result<Option<Options>, lexopt::Error> {
    let seconds = Duration::from_secs;
    let limits = Limits { idle: seconds(60), head: seconds(10), body: seconds(30), write: seconds(30) };
    let mut options = Options {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        is_demo: true,
        workers: 1,
        connections: 10_000,
        requests: None,
        seconds: None,
        grace: seconds(5),
        limits,
    };
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        let millis = |parser: &mut Parser| parser.value()?.parse().map(Duration::from_millis);
        match argument {
            Arg::Value(address) if options.is_demo => {
                (options.address, options.is_demo) = (address.parse()?, false);
            }
            Arg::Long("workers") => options.workers = parser.value()?.parse()?,
            Arg::Long("connections") => match parser.value()?.parse()? {
                0 => return Err("--connections needs at least 1".into()),
                connections => options.connections = connections,
            },
            Arg::Long("requests") => options.requests = Some(parser.value()?.parse()?),
            Arg::Long("seconds") => options.seconds = Some(Duration::from_secs(parser.value()?.parse()?)),
            Arg::Long("grace") => options.grace = millis(&mut parser)?,
            Arg::Long("idle") => options.limits.idle = millis(&mut parser)?,
            Arg::Long("head") => options.limits.head = millis(&mut parser)?,
            Arg::Long("body") => options.limits.body = millis(&mut parser)?,
            Arg::Long("write") => options.limits.write = millis(&mut parser)?,
            Arg::Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            argument => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}
