//! Connecting to one of several addresses: the attempts overlap as RFC 8305 describes ("happy eyeballs").
#![forbid(unsafe_code)]

use super::addresses::{Addresses, ToSocketAddrs};
use super::resolve::{no_address, resolve};
use super::socket::Socket;
use super::sys::nonblocking_socket;
use crate::io::any::wait_for_any;
use crate::reactor::Interest;
use crate::wait::now;
use socket2::{Domain, SockAddr, Type};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The time after which the next attempt begins although the one before has not ended: the Connection Attempt Delay of RFC 8305,
/// section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Begins to connect. Returns the socket, and whether it is connected already.
fn begin(address: SocketAddr) -> io::Result<(Socket<TcpStream>, bool)> {
    let socket = nonblocking_socket(Domain::for_address(address), Type::STREAM)?;
    let begun = socket.connect(&SockAddr::from(address));
    let socket = Socket::new(socket.into());
    match begun {
        Ok(()) => Ok((socket, true)),
        // An interrupted connect goes on.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok((socket, false)),
        Err(error) => Err(error),
    }
}

/// Connects to one address, within `timeout`.
#[track_caller]
pub(super) fn connect_to(address: SocketAddr, timeout: Option<Duration>) -> io::Result<Socket<TcpStream>> {
    let (socket, connected) = begin(address)?;
    if !connected {
        if timeout.is_some() {
            socket.set_timeout(Interest::Writable, timeout)?;
        }
        socket.finish_connect()?;
        socket.set_timeout(Interest::Writable, None)?;
    }
    Ok(socket)
}

/// Connects to an address, to one of a list, or to a host.
#[track_caller]
pub(super) fn connect(address: impl ToSocketAddrs) -> io::Result<Socket<TcpStream>> {
    match address.to_addresses()? {
        Addresses::One(address) => connect_to(address, None),
        Addresses::List(list) => match *list {
            [] => Err(no_address()),
            [address] => connect_to(address, None),
            _ => race(list.iter().copied().collect(), None),
        },
        Addresses::Name { host, port } => race(alternate(resolve(&host, port)?), Some(&host)),
    }
}

/// Reorders addresses so that the families take turns, beginning with that of the first one: RFC 8305, section 4. Keeps the order inside of
/// a family, which is the resolver's preference (RFC 6724).
fn alternate(list: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let Some(first) = list.first().map(SocketAddr::is_ipv6) else { return VecDeque::new() };
    let count = list.len();
    let (preferred, other): (Vec<_>, Vec<_>) = list.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    (0..count).flat_map(|_| [preferred.next(), other.next()]).flatten().collect()
}

/// Tries the addresses in their order, and returns the first connection. The other attempts end.
#[track_caller]
fn race(mut addresses: VecDeque<SocketAddr>, host: Option<&str>) -> io::Result<Socket<TcpStream>> {
    let mut pending: Vec<(SocketAddr, Socket<TcpStream>)> = Vec::new();
    let mut failed = Failed { host: host.map(Into::into), attempts: Vec::new() };
    // The time at which the next attempt begins, unless none is pending.
    let mut next_at: Option<Instant> = None;
    loop {
        let is_due = pending.is_empty() || next_at.is_some_and(|at| at <= now());
        if is_due && let Some(address) = addresses.pop_front() {
            match begin(address) {
                Ok((socket, true)) => return Ok(socket),
                Ok((socket, false)) => {
                    pending.push((address, socket));
                    next_at = now().checked_add(ATTEMPT_DELAY);
                }
                Err(error) => {
                    failed.attempts.push((address, error));
                    // The next attempt begins at once.
                    next_at = Some(now());
                }
            }
            continue;
        }
        if pending.is_empty() {
            return Err(failed.into_error());
        }
        let sources: Vec<_> = pending.iter().map(|(_, socket)| socket.link()).collect();
        let deadline = next_at.filter(|_| !addresses.is_empty());
        let Some(ended) = wait_for_any(&sources, Interest::Writable, deadline)? else { continue };
        drop(sources);
        let (address, socket) = pending.remove(ended);
        match socket.connect_outcome() {
            Ok(()) => return Ok(socket),
            Err(error) => {
                failed.attempts.push((address, error));
                next_at = Some(now());
            }
        }
    }
}

/// The attempts to connect, all of which have failed.
#[derive(Debug)]
struct Failed {
    host: Option<String>,
    attempts: Vec<(SocketAddr, io::Error)>,
}

impl Failed {
    fn into_error(self) -> io::Error {
        match self.attempts.last() {
            Some((_, last)) => io::Error::new(last.kind(), self),
            None => no_address(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "connecting to {host}: ")?,
            None => f.write_str("connecting: ")?,
        }
        for (index, (address, error)) in self.attempts.iter().enumerate() {
            write!(f, "{}{address}: {error}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.attempts.last().map(|(_, error)| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split(' ').map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate() {
        let list = addresses("[::1]:1 [::2]:1 [::3]:1 127.0.0.1:1 127.0.0.2:1");
        assert_eq!(alternate(list), addresses("[::1]:1 127.0.0.1:1 [::2]:1 127.0.0.2:1 [::3]:1"));
    }

    #[test]
    fn preferred_family_comes_first() {
        let list = addresses("127.0.0.1:1 127.0.0.2:1 [::1]:1");
        assert_eq!(alternate(list), addresses("127.0.0.1:1 [::1]:1 127.0.0.2:1"));
        assert_eq!(alternate(addresses("[::1]:1")), addresses("[::1]:1"));
        assert_eq!(alternate(Vec::new()), Vec::new());
    }
}
