//! TCP streams and listeners.
#![forbid(unsafe_code)]

use super::socket::{Socket, common, stream};
use crate::io::HalfClose;
use crate::reactor::Interest;
use socket2::{Domain, SockAddr, SockRef, Type};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// A TCP stream, as [`std::net::TcpStream`]. `Read` and `Write` are also implemented for a shared reference.
pub struct TcpStream {
    socket: Socket<std::net::TcpStream>,
}

stream!(TcpStream, super::sys::recv_stream);
common!(TcpStream, std::net::TcpStream, nonblocking: false, stream: Tcp);

impl TcpStream {
    /// Connects to an address, and waits until the peer has accepted. Of several addresses each is tried in turn.
    ///
    /// A name is resolved on the calling thread, which blocks the worker meanwhile.
    ///
    /// # Errors
    ///
    /// The error of the last address, `InvalidInput` without an address, and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let mut last = None;
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_to(address, None) {
                Ok(stream) => return Ok(stream),
                Err(error) if crate::io::is_cancelled(&error) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::new(ErrorKind::InvalidInput, "there is no address to connect to")))
    }

    /// Connects to an address like [`connect`](Self::connect), but gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and the kind `TimedOut`.
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect) does.
    #[track_caller]
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        TcpStream::connect_to(*address, Some(timeout))
    }

    #[track_caller]
    fn connect_to(address: SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
        let begun = socket.connect(&SockAddr::from(address));
        let stream = TcpStream { socket: Socket::new(socket.into()) };
        match begun {
            Ok(()) => return Ok(stream),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if timeout.is_some() {
            stream.set_write_timeout(timeout)?;
        }
        stream.socket.finish_connect()?;
        stream.set_write_timeout(None)?;
        Ok(stream)
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

    /// Ends reads, writes or both. Waits in the ended direction return: a read the end of the stream, a write an error.
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
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        self.socket.get().try_clone().map(|stream| TcpStream { socket: Socket::new(stream) })
    }

    /// Waits for data, and copies it into `buffer` without taking it. Returns the number of bytes; 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// The error of recv(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect) does.
    #[track_caller]
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buffer)
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.get().set_nodelay(nodelay)
    }

    /// Returns whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// The error of getsockopt(2).
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.get().nodelay()
    }

    /// Sets the time for which a close waits for unsent data; `None` for the system's default. A linger of zero resets the connection.
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self.socket.get()).set_linger(linger)
    }

    /// Sets the time to live of packets.
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.get().set_ttl(ttl)
    }

    /// Returns the time to live of packets.
    ///
    /// # Errors
    ///
    /// The error of getsockopt(2).
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.get().ttl()
    }

    /// Returns two references to the stream, one to read from and one to write to. Each can do both.
    pub fn split(&self) -> (&TcpStream, &TcpStream) {
        (self, self)
    }
}

impl HalfClose for TcpStream {
    fn close_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A TCP listener, as [`std::net::TcpListener`].
pub struct TcpListener {
    socket: Socket<std::net::TcpListener>,
}

common!(TcpListener, std::net::TcpListener, nonblocking: true);

impl TcpListener {
    /// Binds a listener to an address. Of several addresses the first that can be bound counts.
    ///
    /// # Errors
    ///
    /// The error of the last address.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        std::net::TcpListener::bind(address).map(TcpListener::from)
    }

    /// Waits for a connection, and returns its stream and the peer's address.
    ///
    /// Cancel safety: a cancelled `accept` takes no connection.
    ///
    /// # Errors
    ///
    /// The error of accept4(2), for example `EMFILE` if no descriptor is left; then the connection stays in the backlog. The errors of a
    /// wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`TcpStream::connect`] does.
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.socket.call(Interest::Readable, |listener| super::sys::accept(listener.as_fd()))?;
        let peer = peer.as_socket().ok_or_else(|| io::Error::from(ErrorKind::InvalidData))?;
        Ok((TcpStream { socket: Socket::new(stream.into()) }, peer))
    }

    /// Returns an iterator over connections, each of which is waited for. It has no end.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Returns the address of the listener.
    ///
    /// # Errors
    ///
    /// The error of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get().local_addr()
    }

    /// Returns a second listener for the same socket, with a descriptor of its own.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        self.socket.get().try_clone().map(TcpListener::from)
    }
}

/// The iterator of [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}
