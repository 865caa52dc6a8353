//! Unix domain sockets.
#![forbid(unsafe_code)]

use super::socket::{Socket, common, stream};
use super::sys::{nonblocking_pair, nonblocking_socket};
use crate::io::HalfClose;
use crate::io::error::interrupted;
use crate::reactor::Interest;
use socket2::{Domain, SockAddr, Type};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A Unix stream socket, as [`std::os::unix::net::UnixStream`]. `Read` and `Write` are also implemented for a shared reference.
pub struct UnixStream {
    socket: Socket<std::os::unix::net::UnixStream>,
}

stream!(UnixStream, super::sys::recv_unix);
common!(UnixStream, std::os::unix::net::UnixStream, nonblocking: false, stream: Unix);

impl UnixStream {
    /// Connects to the socket at `path`, and waits while its backlog is full.
    ///
    /// # Errors
    ///
    /// The error of connect(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let socket = nonblocking_socket(Domain::UNIX, Type::STREAM)?;
        let address = SockAddr::unix(path)?;
        loop {
            match socket.connect(&address) {
                Ok(()) => return Ok(UnixStream { socket: Socket::new(socket.into()) }),
                // The backlog is full. Nothing tells when it has room, so other tasks get a turn, and the connect is tried again.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    pause()?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns two connected streams.
    ///
    /// # Errors
    ///
    /// The error of socketpair(2).
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = nonblocking_pair(Domain::UNIX, Type::STREAM)?;
        Ok((UnixStream { socket: Socket::new(a.into()) }, UnixStream { socket: Socket::new(b.into()) }))
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// The error of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get().peer_addr()
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// The error of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get().local_addr()
    }

    /// Ends reads, writes or both. Calls that wait in that direction return: a read returns 0 (the end of the stream),
    /// a write returns an error.
    ///
    /// # Errors
    ///
    /// The error of shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.get().shutdown(how)
    }

    /// Returns a second stream for the same connection, with a descriptor of its own.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        self.socket.get().try_clone().map(UnixStream::from)
    }
}

impl HalfClose for UnixStream {
    fn close_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Waits a millisecond.
fn pause() -> io::Result<()> {
    let millisecond = Duration::from_millis(1);
    if crate::task::current().is_some() {
        crate::time::sleep(millisecond).map_err(interrupted)
    } else {
        std::thread::sleep(millisecond);
        Ok(())
    }
}

/// A Unix listener, as [`std::os::unix::net::UnixListener`].
pub struct UnixListener {
    socket: Socket<std::os::unix::net::UnixListener>,
}

common!(UnixListener, std::os::unix::net::UnixListener, nonblocking: true);

impl UnixListener {
    /// Binds a listener to `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// The error of bind(2), `AddrInUse` if the path exists.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        std::os::unix::net::UnixListener::bind(path).map(UnixListener::from)
    }

    /// Waits for a connection, and returns its stream and the peer's address.
    ///
    /// Cancel safety: a cancelled `accept` takes no connection.
    ///
    /// # Errors
    ///
    /// The error of accept4(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`UnixStream::connect`] does.
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        // By std: socket2 has no conversion of unnamed addresses, which most clients have.
        let (stream, peer) = self.socket.call(Interest::Readable, std::os::unix::net::UnixListener::accept)?;
        stream.set_nonblocking(true)?;
        Ok((UnixStream { socket: self.socket.wrap_alike(stream) }, peer))
    }

    /// Returns the address of the listener.
    ///
    /// # Errors
    ///
    /// The error of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get().local_addr()
    }
}

/// A Unix datagram socket, as [`std::os::unix::net::UnixDatagram`].
pub struct UnixDatagram {
    socket: Socket<std::os::unix::net::UnixDatagram>,
}

common!(UnixDatagram, std::os::unix::net::UnixDatagram, nonblocking: true);

impl UnixDatagram {
    /// Binds a socket to `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// The error of bind(2), `AddrInUse` if the path exists.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::bind(path).map(UnixDatagram::from)
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

    /// Waits for a datagram, and returns its length. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    ///
    /// The error of recv(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`UnixStream::connect`] does.
    #[track_caller]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv_datagram(buffer)
    }

    /// Waits for a datagram, and returns its length and its sender. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    ///
    /// The error of recvfrom(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`UnixStream::connect`] does.
    #[track_caller]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.call(Interest::Readable, |socket| socket.recv_from(buffer))
    }

    /// Waits until the peer has room, and sends a datagram.
    ///
    /// # Errors
    ///
    /// The error of send(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`UnixStream::connect`] does.
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
    /// As [`UnixStream::connect`] does.
    #[track_caller]
    pub fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.socket.call_with_pauses(|socket| socket.send_to(bytes, path.as_ref()))
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
