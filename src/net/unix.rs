//! Unix stream sockets and listeners.
#![forbid(unsafe_code)]

use super::socket::{Socket, common, stream};
use super::sys::{nonblocking_pair, nonblocking_socket};
use crate::io::HalfClose;
use crate::io::error::interrupted;
use crate::reactor::Interest;
use socket2::{Domain, SockAddr, Type};
#[cfg(any(target_os = "android", target_os = "linux"))]
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(any(target_os = "android", target_os = "linux"))]
use std::os::unix::ffi::OsStrExt;
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
        Self::connect_to(&SockAddr::unix(path)?)
    }

    /// Connects to an address like [`connect`](Self::connect). On Linux and Android, the address may be in the abstract namespace.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and `InvalidInput` for an unnamed address.
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect) does.
    #[track_caller]
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        Self::connect_to(&named(address)?)
    }

    #[track_caller]
    fn connect_to(address: &SockAddr) -> io::Result<UnixStream> {
        let socket = nonblocking_socket(Domain::UNIX, Type::STREAM)?;
        loop {
            match socket.connect(address) {
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
    /// The clone has the timeouts that the stream has now. A later change of one has no effect on the other.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        self.socket.duplicate(std::os::unix::net::UnixStream::try_clone).map(|socket| UnixStream { socket })
    }
}

impl HalfClose for UnixStream {
    fn close_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Returns the address in the form of socket2, which has no conversion.
fn named(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return SockAddr::unix(path);
    }
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Some(name) = address.as_abstract_name() {
        // A path that begins with a zero byte is an abstract name: unix(7).
        return SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()));
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        "cannot connect to an unnamed Unix socket: give an address with a name",
    ))
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

    /// Binds a listener to an address, which may be in Linux's abstract namespace.
    ///
    /// # Errors
    ///
    /// The error of bind(2), `AddrInUse` if the address is in use.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use cede::net::{UnixListener, UnixStream};
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    /// cede::run(|| {
    ///     let address = SocketAddr::from_abstract_name(format!("cede example {}", std::process::id()))?;
    ///     let listener = UnixListener::bind_addr(&address)?;
    ///     let _stream = UnixStream::connect_addr(&address)?;
    ///     listener.accept()?;
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        std::os::unix::net::UnixListener::bind_addr(address).map(UnixListener::from)
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
        let (stream, peer) = self.socket.accept_by(std::os::unix::net::UnixListener::accept)?;
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
    /// Returns an iterator over connections, each of which is waited for. It has no end.
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming { listener: self }
    }

    /// Returns a second listener for the same socket, with a descriptor of its own.
    ///
    /// The clone has the timeouts that the listener has now. A later change of one has no effect on the other.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        self.socket.duplicate(std::os::unix::net::UnixListener::try_clone).map(|socket| UnixListener { socket })
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = UnixIncoming<'a>;

    fn into_iter(self) -> UnixIncoming<'a> {
        self.incoming()
    }
}

/// The iterator of [`UnixListener::incoming`], as [`std::os::unix::net::Incoming`].
#[derive(Debug)]
pub struct UnixIncoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for UnixIncoming<'_> {
    type Item = io::Result<UnixStream>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}
