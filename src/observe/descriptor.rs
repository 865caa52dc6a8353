//! The descriptor that a task waits for, described for a dump.

use crate::scheduler::tcb::Tcb;
use std::fmt;

/// A descriptor that a task waits for: its number, and the addresses of a socket or the id of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The number of the descriptor.
    pub fd: i32,
    /// The address of this side, if the descriptor is a socket with an internet address.
    pub local: Option<std::net::SocketAddr>,
    /// The address of the peer, if the socket is connected.
    pub peer: Option<std::net::SocketAddr>,
    /// The id of the process whose end the task waits for, if the descriptor is that of a process (Linux).
    pub process: Option<u32>,
}

impl Descriptor {
    /// Describes the descriptor that `tcb` is parked for.
    pub(super) fn of(tcb: &Tcb) -> Option<Descriptor> {
        let fd = tcb.wait().fd;
        if !tcb.is_parked() || fd < 0 {
            return None;
        }
        let (local, peer) = addresses(fd);
        let process = if local.is_none() { process_of(fd) } else { None };
        Some(Descriptor { fd, local, peer, process })
    }
}

/// Returns the id of the process that a pidfd names: see proc_pid_fdinfo(5). No other descriptor has such a line.
fn process_of(fd: i32) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

#[cfg(feature = "io")]
fn addresses(fd: i32) -> (Option<std::net::SocketAddr>, Option<std::net::SocketAddr>) {
    // SAFETY: the parked task borrows the owner of the descriptor until its wait ends, so the descriptor is open.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let socket = socket2::SockRef::from(&fd);
    let address = |address: std::io::Result<socket2::SockAddr>| address.ok().and_then(|address| address.as_socket());
    (address(socket.local_addr()), address(socket.peer_addr()))
}

#[cfg(not(feature = "io"))]
fn addresses(_: i32) -> (Option<std::net::SocketAddr>, Option<std::net::SocketAddr>) {
    (None, None)
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fd {}", self.fd)?;
        match (&self.local, &self.peer) {
            (Some(local), Some(peer)) => write!(f, ", {local} <- {peer}"),
            (Some(local), None) => write!(f, ", {local}"),
            (None, _) => self.process.map_or(Ok(()), |process| write!(f, ", the end of process {process}")),
        }
    }
}
