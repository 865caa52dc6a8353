//! Unix datagram sockets.
#![forbid(unsafe_code)]

use super::socket::{Socket, common};
use crate::reactor::Interest;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A Unix datagram socket, as [`std::os::unix::net::UnixDatagram`].
pub struct UnixDatagram {
    socket: Socket<std::os::unix::net::UnixDatagram>,
}

common!(UnixDatagram, std::os::unix::net::UnixDatagram, nonblocking: true);

/// Returns the outcome of a receive, or `end` if the socket's receives have been shut down. Linux then fails with `EAGAIN` in
/// non-blocking mode, but returns 0 bytes in blocking mode; other systems return 0 bytes in both modes. The price is a poll(2)
/// before each wait.
fn or_end<T>(
    socket: &std::os::unix::net::UnixDatagram,
    outcome: io::Result<T>,
    end: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        let mut poll = crate::sys::pollfd(socket.as_fd(), true);
        poll.events = libc::POLLRDHUP;
        crate::sys::poll_fds(std::slice::from_mut(&mut poll), Some(Duration::ZERO))?;
        if poll.revents & libc::POLLRDHUP != 0 {
            return end();
        }
    }
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (socket, end);
    outcome
}

impl UnixDatagram {
    /// Binds a socket to `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// The error of bind(2), `AddrInUse` if the path exists.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::bind(path).map(UnixDatagram::from)
    }

    /// Binds a socket to an address, which may be in Linux's abstract namespace.
    ///
    /// # Errors
    ///
    /// The error of bind(2), `AddrInUse` if the address is in use.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::bind_addr(address).map(UnixDatagram::from)
    }

    /// Returns a socket without an address.
    ///
    /// # Errors
    ///
    /// The error of socket(2).
    pub fn unbound() -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::unbound().map(UnixDatagram::from)
    }

    /// Returns two connected sockets.
    ///
    /// # Errors
    ///
    /// The error of socketpair(2).
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        std::os::unix::net::UnixDatagram::pair().map(|(a, b)| (a.into(), b.into()))
    }

    /// Sets the peer of [`send`](Self::send) and [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// The error of connect(2).
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.socket.get().connect(path)
    }

    /// Sets the peer like [`connect`](Self::connect), by an address.
    ///
    /// # Errors
    ///
    /// The error of connect(2).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket.get().connect_addr(address)
    }

    /// Waits for a datagram, and returns its length. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    ///
    /// The error of recv(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.call(Interest::Readable, |socket| or_end(socket, socket.recv(buffer), || Ok(0)))
    }

    /// Waits for a datagram, and returns its length and its sender. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    ///
    /// The error of recvfrom(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let unnamed = || SocketAddr::from_pathname("").map(|address| (0, address));
        self.socket.call(Interest::Readable, |socket| or_end(socket, socket.recv_from(buffer), unnamed))
    }

    /// Waits until the peer has room, and sends a datagram.
    ///
    /// # Errors
    ///
    /// The error of send(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.call(Interest::Writable, |socket| socket.send(bytes))
    }

    /// Waits until the socket at `path` has room, and sends a datagram to it.
    ///
    /// If other senders have filled the queue of the peer, no event tells when it has room. The call then tries again after a pause,
    /// first of 1 ms, then longer, up to 16 ms. A socket with the peer of [`connect`](Self::connect) needs no pauses.
    ///
    /// # Errors
    ///
    /// The error of sendto(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.socket.call_with_pauses(|socket| socket.send_to(bytes, path.as_ref()))
    }

    /// Sends a datagram like [`send_to`](Self::send_to), to an address.
    ///
    /// # Errors
    ///
    /// The error of sendto(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.socket.call_with_pauses(|socket| socket.send_to_addr(bytes, address))
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// The error of getpeername(2), `NotConnected` without a peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get().peer_addr()
    }

    /// Ends receives, sends or both. Calls that wait in that direction return: a receive returns 0, a send returns an error.
    ///
    /// # Errors
    ///
    /// The error of shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.get().shutdown(how)
    }

    /// Returns a second handle to the same socket, with a descriptor of its own.
    ///
    /// The clone has the timeouts that the socket has now. A later change of one has no effect on the other.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<UnixDatagram> {
        self.socket.duplicate(std::os::unix::net::UnixDatagram::try_clone).map(|socket| UnixDatagram { socket })
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// The error of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get().local_addr()
    }
}
