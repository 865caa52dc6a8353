//! TCP streams and listeners.
#![forbid(unsafe_code)]

use super::addresses::ToSocketAddrs;
use super::connect::{connect, connect_to};
use super::resolve::each;
use super::socket::{Socket, common, stream};
use crate::io::HalfClose;
use crate::reactor::Interest;
use socket2::SockRef;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// A TCP stream, as [`std::net::TcpStream`]. `Read` and `Write` are also implemented for a shared reference.
pub struct TcpStream {
    socket: Socket<std::net::TcpStream>,
}

stream!(TcpStream, super::sys::recv_stream);
common!(TcpStream, std::net::TcpStream, nonblocking: false, stream: Tcp);

impl TcpStream {
    /// Connects to an address or to a host by its name, and waits until the connection is established.
    ///
    /// A name is looked up as [`lookup_host`](super::lookup_host) does, while other tasks run. Its addresses are then tried as in RFC 8305
    /// ("happy eyeballs"): IPv4 and IPv6 in turn, beginning with the family of the resolver's first address. The next attempt begins when
    /// the one before has failed, or 250 ms after its beginning. The first connection is returned, and the other attempts are closed. A
    /// list of addresses is tried in the same way, in its own order.
    ///
    /// Cancel safety: a cancelled call closes its attempts.
    ///
    /// # Errors
    ///
    /// The error of connect(2); if several addresses or a name failed, the kind of the last error, with a text that names each address and
    /// its error. `InvalidInput` without an address. The errors of [`lookup_host`](super::lookup_host), and the errors of a wait
    /// ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[doc(alias = "happy eyeballs")]
    #[track_caller]
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        connect(address).map(|socket| TcpStream { socket })
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
        connect_to(*address, Some(timeout)).map(|socket| TcpStream { socket })
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
    /// The clone has the timeouts that the stream has now. A later change of one has no effect on the other.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        self.socket.duplicate(std::net::TcpStream::try_clone).map(|socket| TcpStream { socket })
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

    /// Sets the time for which a close waits for unsent data; `None` for the system's default. With a linger of zero,
    /// the close resets the connection. The system counts in seconds, and a fraction of a second is cut off.
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self.socket.get()).set_linger(linger)
    }

    /// Returns the time for which a close waits for unsent data; `None` for the system's default.
    ///
    /// # Errors
    ///
    /// The error of getsockopt(2).
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.socket.get()).linger()
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
    /// Binds a listener to an address. Waits only for the lookup of a name. Of several addresses the first that can be bound counts.
    ///
    /// # Errors
    ///
    /// The error of the last address, `InvalidInput` without an address, and those of [`lookup_host`](super::lookup_host).
    ///
    /// # Panics
    ///
    /// As [`TcpStream::connect`] does, for a name.
    #[track_caller]
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        each(address, std::net::TcpListener::bind).map(TcpListener::from)
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
        let (stream, peer) = self.socket.accept()?;
        let peer = peer.as_socket().ok_or_else(|| io::Error::from(ErrorKind::InvalidData))?;
        Ok((TcpStream { socket: self.socket.wrap_alike(stream.into()) }, peer))
    }

    /// Returns an iterator over connections, each of which is waited for. It has no end.
    ///
    /// In a cancelled task, each item is an error, and none is waited for. A loop that skips such errors never ends. Leave it when
    /// [`is_cancelled`](crate::io::is_cancelled) is true:
    ///
    /// ```
    /// use cede::net::{TcpListener, TcpStream};
    /// cede::run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let _client = TcpStream::connect(listener.local_addr()?)?;
    ///     let mut server = cede::spawn(move || {
    ///         for stream in listener.incoming() {
    ///             match stream {
    ///                 Ok(stream) => println!("a connection from {:?}", stream.peer_addr()),
    ///                 Err(error) if cede::io::is_cancelled(&error) => break,
    ///                 Err(error) => eprintln!("{error}"), // the next connection may be good
    ///             }
    ///         }
    ///     });
    ///     cede::yield_now();
    ///     server.cancel();
    ///     server.join().unwrap();
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
    /// The clone has the timeouts that the listener has now. A later change of one has no effect on the other.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        self.socket.duplicate(std::net::TcpListener::try_clone).map(|socket| TcpListener { socket })
    }

    /// Sets the time to live of packets. The accepted streams have it, too.
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
