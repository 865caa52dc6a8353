//! A transport and a resolver for `ureq`, whose own transport blocks the thread.

use cede::blocking::unblock;
use cede::net::TcpStream;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};
use ureq::{Agent, Error};

/// Returns an agent whose requests suspend their task: `http` and, by rustls, `https`.
pub fn agent(config: Config) -> Agent {
    Agent::with_parts(config, TcpConnector.chain(RustlsConnector::default()), PoolResolver)
}

/// A resolver that looks up names on the pool of [`cede::blocking`].
#[derive(Debug)]
pub struct PoolResolver;

impl Resolver for PoolResolver {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(Error::BadUri(uri.to_string()));
        };
        let name = DefaultResolver::host_and_port(scheme, authority).ok_or(Error::HostNotFound)?;
        let mut found = self.empty();
        // The array holds 16 addresses.
        for address in unblock(|| name.to_socket_addrs())?.take(16) {
            found.push(address);
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

/// A connector that opens streams of cede.
#[derive(Debug)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    type Out = TcpTransport;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<TcpTransport>, Error> {
        let stream = match details.timeout.not_zero() {
            None => TcpStream::connect(&details.addrs[..]),
            Some(limit) => connect_in(&details.addrs, *limit),
        };
        let stream = stream.map_err(|error| of_timeout(error, details.timeout))?;
        if details.config.no_delay() {
            stream.set_nodelay(true)?;
        }
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(TcpTransport { stream, buffers }))
    }
}

/// A connection of [`TcpConnector`].
pub struct TcpTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl std::fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stream.fmt(f)
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(timeout.not_zero().map(|limit| *limit))?;
        let output = &self.buffers.output()[..amount];
        (&self.stream).write_all(output).map_err(|error| of_timeout(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(timeout.not_zero().map(|limit| *limit))?;
        let count = (&self.stream).read(self.buffers.input_append_buf()).map_err(|error| of_timeout(error, timeout))?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// Returns whether an idle connection can carry the next request: the server has neither sent anything nor closed it.
    fn is_open(&mut self) -> bool {
        let peeked =
            self.stream.set_read_timeout(Some(Duration::from_nanos(1))).and_then(|()| self.stream.peek(&mut [0]));
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }
}

/// Connects to the first address that accepts, within `limit` for all of them.
fn connect_in(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let start = Instant::now();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        let left = limit.saturating_sub(start.elapsed()).max(Duration::from_nanos(1));
        match TcpStream::connect_timeout(address, left) {
            Err(error) if !cede::io::is_cancelled(&error) => last = error,
            result => return result,
        }
    }
    Err(last)
}

/// Returns ureq's own error for a timeout, if the agent has one. Otherwise a deadline of the task ended the wait, and its error is kept.
fn of_timeout(error: io::Error, timeout: NextTimeout) -> Error {
    if error.kind() == io::ErrorKind::TimedOut && !timeout.after.is_not_happening() {
        return Error::Timeout(timeout.reason);
    }
    Error::Io(error)
}
