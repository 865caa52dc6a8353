//! Lookups of names, on the threads of the blocking pool.
#![forbid(unsafe_code)]

use super::addresses::{Addresses, ToSocketAddrs};
use crate::blocking::Lane;
use crate::io::error::interrupted;
use crate::task::JoinError;
use crate::wait::Cancelled;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::OnceLock;

/// The lookups of the process, and how many of them run at once: as many threads a resolver without an answer can keep.
static LOOKUPS: Lane = Lane::new(64);

/// A replacement of getaddrinfo(3).
type Resolver = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

static RESOLVER: OnceLock<Resolver> = OnceLock::new();

/// Replaces getaddrinfo(3) in this process, once. For tests.
#[doc(hidden)]
pub fn set_resolver(resolver: Resolver) {
    assert!(RESOLVER.set(resolver).is_ok(), "the resolver was set before");
}

/// The system's resolver. For a replacement that answers only some names.
#[doc(hidden)]
pub fn system_resolver(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).map(Iterator::collect)
}

/// Looks up the addresses of a host, and returns them in the order of the resolver. Waits if `address` is a name; literal addresses are
/// returned at once.
///
/// The lookup runs on a thread of the pool of [`blocking`](crate::blocking), so the other tasks go on, and the stack of the caller may be
/// small. It uses getaddrinfo(3), and with it the files and servers that the system is set up for. A cancel, a deadline or a
/// [`timeout`](crate::timeout) ends the wait; the lookup then ends on its own, and its thread returns to the pool. At most 64 lookups run
/// at once in the process. Further ones wait in arrival order, so a resolver that never answers keeps at most 64 threads.
///
/// Cancel safety: a cancelled lookup has no effect.
///
/// # Errors
///
/// The error of getaddrinfo(3), whose text names the host; `InvalidInput` for text without a port; and the errors of a wait
/// ([`io`](crate::io)).
///
/// # Panics
///
/// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
///
/// ```
/// cede::run(|| {
///     let addresses = cede::net::lookup_host("localhost:80")?;
///     assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "getaddrinfo")]
#[doc(alias = "to_socket_addrs")]
#[doc(alias = "resolve")]
#[doc(alias = "dns")]
#[track_caller]
pub fn lookup_host(address: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    match address.to_addresses()? {
        Addresses::One(address) => Ok(vec![address]),
        Addresses::List(list) => Ok(list.into_owned()),
        Addresses::Name { host, port } => resolve(&host, port),
    }
}

/// Looks a name up. Returns at least one address.
#[track_caller]
pub(super) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let failed = |error: io::Error| io::Error::new(error.kind(), Unresolved { host: host.into(), error });
    let name = String::from(host);
    let lookup = move || RESOLVER.get().copied().unwrap_or(system_resolver)(&name, port);
    let mut lookup = LOOKUPS.submit(lookup).map_err(failed)?;
    match lookup.join_for("the addresses of a host") {
        Ok(Ok(addresses)) if addresses.is_empty() => {
            Err(failed(io::Error::new(ErrorKind::NotFound, "the host has no address")))
        }
        Ok(addresses) => addresses.map_err(failed),
        Err(JoinError::Panicked(payload)) => resume_unwind(payload),
        Err(_) => Err(interrupted(Cancelled)),
    }
}

/// Calls `f` with each address in turn until it succeeds, and returns the error of the last address.
#[track_caller]
pub(super) fn each<T>(address: impl ToSocketAddrs, mut f: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let list = match address.to_addresses()? {
        Addresses::One(address) => return f(address),
        Addresses::List(list) => list,
        Addresses::Name { host, port } => resolve(&host, port)?.into(),
    };
    let mut last = None;
    for address in list.iter() {
        match f(*address) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

/// Returns the first address.
#[inline]
#[track_caller]
pub(super) fn first(address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
    let first = match address.to_addresses()? {
        Addresses::One(address) => return Ok(address),
        Addresses::List(list) => list.first().copied(),
        Addresses::Name { host, port } => resolve(&host, port)?.first().copied(),
    };
    first.ok_or_else(no_address)
}

pub(super) fn no_address() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "the list of addresses is empty")
}

/// The error of a lookup.
#[derive(Debug)]
struct Unresolved {
    host: String,
    error: io::Error,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resolving {}: {}", self.host, self.error)
    }
}

impl std::error::Error for Unresolved {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
