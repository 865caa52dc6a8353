//! The arguments of `dgrep`.

use crate::chunks::Input;
use crate::{coordinator, worker};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;
use std::time::Duration;

/// The text of `--help`.
pub const HELP: &str = "\
Usage: dgrep worker [OPTION]... HOST:PORT RUN PATTERN
       dgrep coordinator [OPTION]... HOST:PORT RUN PATTERN FILE...
Prints what `LC_ALL=C grep -a -F -n -H PATTERN FILE...` prints, searched by the workers of RUN
over the Redis server at HOST:PORT. RUN is a name, a new one for each run.

Both:
  --claim-after MS     the time without a heartbeat after which another worker gets a job (5000)
  --patience SECONDS   the time for which a broker that does not answer is tried again (60)
  --summary            print counts to standard error at the end
  -h, --help           print this text
Coordinator:
  --by-value           send the bytes of the files with the jobs, for workers without the files
  --chunk BYTES        the size of a job (1048576)
  --window N           the largest number of jobs that are sent and not printed (64)
  --deliveries N       the number of deliveries without an answer after which a job fails (5)
Worker:
  --tasks N            the number of jobs in hand at the same time (2)
  --idle SECONDS       the time without a job after which the worker ends (600)

Exit code of the coordinator: 0 if lines were selected, 1 if none was, 2 after an error.
";

/// The largest size of a job: its answer must fit into 500 MiB.
const LARGEST_CHUNK: u64 = 256 << 20;

/// What the program is asked to do.
#[derive(Debug)]
pub enum Role {
    /// Print the help.
    Help,
    /// Search the chunks of others.
    Worker(worker::Options),
    /// Cut, send and print.
    Coordinator(coordinator::Options),
}

/// The arguments of the program.
#[derive(Debug)]
pub struct Request {
    /// The role, with its options.
    pub role: Role,
    /// The address of the broker.
    pub address: String,
    /// The name of the run.
    pub run: String,
    /// The time after which a job counts as lost with its worker.
    pub claim_after: Duration,
    /// The patience with a broker that does not answer.
    pub patience: Duration,
    /// Whether counts are printed at the end.
    pub summary: bool,
}

/// Parses arguments, without the name of the program.
///
/// # Errors
///
/// The text of the error, for the user.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    Arguments::parse(arguments).map_err(|error| error.to_string())?.request()
}

/// The arguments as they are given.
struct Arguments {
    help: bool,
    plain: Vec<OsString>,
    claim_after: Duration,
    patience: Duration,
    summary: bool,
    by_value: bool,
    chunk: u64,
    window: u64,
    deliveries: u64,
    tasks: usize,
    idle: Duration,
}

impl Arguments {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, lexopt::Error> {
        let mut parser = Parser::from_args(arguments);
        let mut given = Arguments {
            help: false,
            plain: Vec::new(),
            claim_after: Duration::from_secs(5),
            patience: Duration::from_secs(60),
            summary: false,
            by_value: false,
            chunk: 1 << 20,
            window: 64,
            deliveries: 5,
            tasks: 2,
            idle: Duration::from_secs(600),
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => given.help = true,
                Arg::Long("summary") => given.summary = true,
                Arg::Long("by-value") => given.by_value = true,
                Arg::Long("chunk") => given.chunk = number(&mut parser, 1, LARGEST_CHUNK)?,
                Arg::Long("window") => given.window = number(&mut parser, 1, 1 << 20)?,
                Arg::Long("deliveries") => given.deliveries = number(&mut parser, 1, 1 << 20)?,
                Arg::Long("tasks") => given.tasks = number(&mut parser, 1, 1000)?,
                Arg::Long("claim-after") => {
                    given.claim_after = Duration::from_millis(number(&mut parser, 30, 1 << 32)?)
                }
                Arg::Long("patience") => given.patience = Duration::from_secs(number(&mut parser, 0, 1 << 32)?),
                Arg::Long("idle") => given.idle = Duration::from_secs(number(&mut parser, 1, 1 << 32)?),
                Arg::Value(value) => given.plain.push(value),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(given)
    }

    fn request(self) -> Result<Request, String> {
        let mut plain = self.plain.into_iter();
        let role = plain.next().unwrap_or_default();
        let mut text = |name: &str| {
            let value = plain.next().ok_or(format!("{name} is missing"))?;
            value.into_string().map_err(|_| format!("{name} is not text"))
        };
        if self.help {
            return Ok(Request {
                role: Role::Help,
                address: String::new(),
                run: String::new(),
                claim_after: self.claim_after,
                patience: self.patience,
                summary: false,
            });
        }
        let is_coordinator = match role.to_str() {
            Some("worker") => false,
            Some("coordinator") => true,
            _ => return Err("the first argument is `worker` or `coordinator`".to_owned()),
        };
        let (address, run) = (text("HOST:PORT")?, text("RUN")?);
        let pattern = plain.next().ok_or("PATTERN is missing")?.into_vec();
        if pattern.contains(&b'\n') {
            return Err("a pattern with line feeds is a list of patterns, which dgrep has not".to_owned());
        }
        let files: Vec<OsString> = plain.collect();
        let claim_after = self.claim_after;
        let role = match (is_coordinator, files.is_empty()) {
            (false, true) => {
                let (tasks, idle) = (self.tasks, self.idle);
                Role::Worker(worker::Options { pattern: pattern.into(), tasks, idle, claim_after })
            }
            (true, false) => {
                let input = Input { files, pattern, chunk: self.chunk, by_value: self.by_value };
                let (window, deliveries) = (self.window, self.deliveries);
                Role::Coordinator(coordinator::Options { input, window, deliveries, claim_after })
            }
            (false, false) => return Err("a worker takes no files".to_owned()),
            (true, true) => return Err("FILE is missing".to_owned()),
        };
        Ok(Request { role, address, run, claim_after, patience: self.patience, summary: self.summary })
    }
}

/// Parses the value of an option.
fn number<T: TryFrom<u64>>(parser: &mut Parser, least: u64, most: u64) -> Result<T, lexopt::Error> {
    parser.value()?.parse_with(|text| {
        let number = u64::from_str(text).map_err(|error| error.to_string())?;
        if !(least..=most).contains(&number) {
            return Err(format!("the number must be from {least} to {most}"));
        }
        T::try_from(number).map_err(|_| "the number is too large".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> Result<Request, String> {
        parse(arguments.split(' ').map(OsString::from))
    }

    #[test]
    fn roles_get_their_options() {
        let request = parsed("coordinator --chunk 5 h:1 r --by-value x a b --window=7").unwrap();
        assert_eq!((&request.address[..], &request.run[..]), ("h:1", "r"));
        let Role::Coordinator(options) = request.role else { panic!("not a coordinator") };
        assert_eq!((options.input.chunk, options.window, options.deliveries), (5, 7, 5));
        assert_eq!(options.input.files, ["a", "b"]);
        assert!(options.input.by_value && options.input.pattern == b"x");

        let Role::Worker(options) = parsed("worker h:1 r --idle 3 -- -x").unwrap().role else { panic!("not a worker") };
        assert_eq!((&options.pattern[..], options.tasks, options.idle), (&b"-x"[..], 2, Duration::from_secs(3)));
        assert!(matches!(parsed("worker -h").unwrap().role, Role::Help));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let wrong = [
            ("", "`worker` or `coordinator`"),
            ("worker h:1", "RUN is missing"),
            ("worker h:1 r", "PATTERN is missing"),
            ("worker h:1 r x file", "takes no files"),
            ("coordinator h:1 r x", "FILE is missing"),
            ("coordinator h:1 r a\nb file", "line feeds"),
            ("coordinator --chunk 0 h:1 r x file", "from 1 to"),
            ("coordinator --chunk many h:1 r x file", "many"),
            ("coordinator --nothing h:1 r x file", "nothing"),
        ];
        for (arguments, expected) in wrong {
            let error = parsed(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
