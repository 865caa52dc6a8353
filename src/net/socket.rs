//! The common part of all sockets: a descriptor of `std`, its link to the reactor, and the timeouts.
#![forbid(unsafe_code)]

use super::sys;
use super::timeouts::Timeouts;
use crate::io::buffer::{Chunk, Lent};
use crate::io::operation::Operator;
use crate::io::source::{Moved, Source};
use crate::io::way::Way;
use crate::reactor::Interest;
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A type of socket of `std`.
pub(super) trait StdSocket: AsFd {
    /// Makes the type of stream that wraps this socket known to `io::copy`.
    fn announce() {}
}

/// A socket of `std` whose calls wait.
#[derive(Debug)]
pub(super) struct Socket<S: StdSocket> {
    pub(super) source: Source,
    timeouts: Timeouts,
    /// Present until the drop or `release`.
    inner: Option<S>,
}

impl<S: StdSocket> Socket<S> {
    /// Wraps a stream that this library made, with the type `SOCK_STREAM`.
    pub(super) fn new(inner: S) -> Socket<S> {
        Socket::with(inner, Source::new(), Timeouts::none())
    }

    /// Wraps a socket of the type of this one: a connection that it accepted.
    pub(super) fn wrap_alike<T: StdSocket>(&self, inner: T) -> Socket<T> {
        Socket::with(inner, self.source_alike(), Timeouts::none())
    }

    fn source_alike(&self) -> Source {
        Source::with_messages(self.source.has_messages())
    }

    fn with(inner: S, source: Source, timeouts: Timeouts) -> Socket<S> {
        S::announce();
        Socket { source, timeouts, inner: Some(inner) }
    }

    /// Wraps a socket, and takes over the timeouts that it has in the kernel.
    pub(super) fn adopt(inner: S) -> Socket<S> {
        // The types of `std` also hold sockets of other types than `SOCK_STREAM`, such as `SOCK_SEQPACKET`. Nothing is assumed of
        // a descriptor that is no socket.
        let socket_type = socket2::SockRef::from(&inner).r#type();
        let is_stream = socket_type.is_ok_and(|socket_type| socket_type == socket2::Type::STREAM);
        let timeouts = Timeouts::of_kernel(&inner);
        Socket::with(inner, Source::with_messages(!is_stream), timeouts)
    }

    /// Wraps a duplicate of the descriptor, with the same timeouts.
    pub(super) fn duplicate(&self, clone: impl FnOnce(&S) -> io::Result<S>) -> io::Result<Socket<S>> {
        clone(self.get()).map(|duplicate| Socket::with(duplicate, self.source_alike(), self.timeouts.copy()))
    }

    /// Returns the socket of `std`, with the timeouts in the kernel, where its calls use them.
    pub(super) fn release(mut self) -> S {
        self.timeouts.set_in_kernel(self.get());
        self.source.close(self.fd());
        self.inner.take().expect("present until the drop")
    }

    #[inline]
    pub(super) fn get(&self) -> &S {
        self.inner.as_ref().expect("present until the drop")
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    #[inline]
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.get().as_fd()
    }

    #[inline]
    pub(super) fn timeout(&self, interest: Interest) -> Option<Duration> {
        self.timeouts.get(interest)
    }

    /// Like `std`, refuses a timeout of zero.
    pub(super) fn set_timeout(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        self.timeouts.set(interest, timeout)
    }

    /// Makes a call that transfers no bytes of a stream.
    #[inline]
    #[track_caller]
    pub(super) fn call<T>(&self, interest: Interest, mut f: impl FnMut(&S) -> io::Result<T>) -> io::Result<T> {
        let inner = self.get();
        self.source.call(self.fd(), interest, self.timeout(interest), || f(inner))
    }

    /// Makes a send to a peer whose queue may be full: see `Source::call_with_pauses`.
    #[track_caller]
    pub(super) fn call_with_pauses<T>(&self, mut f: impl FnMut(&S) -> io::Result<T>) -> io::Result<T> {
        let inner = self.get();
        self.source.call_with_pauses(self.fd(), self.timeout(Interest::Writable), || f(inner))
    }

    /// Receives bytes of a stream by one of the calls of `sys`.
    #[inline]
    #[track_caller]
    pub(super) fn receive_into(&self, call: Call, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.fd();
        let timeout = self.timeout(Interest::Readable);
        if !buffer.is_empty() {
            match self.way(&mut || call(fd, buffer))? {
                Way::Done(len) => return Ok(len),
                Way::Operate(operator) => return self.receive_by(operator, buffer),
                Way::Wait => {}
            }
        }
        self.source.transfer(fd, Interest::Readable, timeout, || call(fd, buffer))
    }

    /// Like [`receive_into`](Self::receive_into), but returns `None` where the call would wait.
    pub(super) fn try_receive_into(&self, call: Call, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let fd = self.fd();
        self.source.try_transfer(Interest::Readable, || call(fd, buffer))
    }

    /// Receives bytes of a stream into a buffer of the thread's pool, which is taken only for an attempt.
    #[inline]
    #[track_caller]
    pub(super) fn receive(&self, call: Call) -> io::Result<Chunk> {
        let fd = self.fd();
        let timeout = self.timeout(Interest::Readable);
        match self.way(&mut || receive_once(call, fd))? {
            Way::Done(chunk) => Ok(chunk),
            Way::Operate(operator) => self.receive_lent_by(operator, call),
            Way::Wait => self.source.transfer(fd, Interest::Readable, timeout, || receive_once(call, fd)),
        }
    }

    /// Like [`receive`](Self::receive), but returns `None` where the call would wait.
    pub(super) fn try_receive(&self, call: Call) -> io::Result<Option<Chunk>> {
        let fd = self.fd();
        self.source.try_transfer(Interest::Readable, || receive_once(call, fd))
    }

    #[track_caller]
    pub(super) fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let fd = self.fd();
        let timeout = self.timeout(Interest::Readable);
        self.source.transfer(fd, Interest::Readable, timeout, || sys::recv_vectored(fd, buffers))
    }

    /// Receives without taking the data.
    #[track_caller]
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.fd();
        self.call(Interest::Readable, |_| sys::recv(fd, buffer, libc::MSG_PEEK).map(|moved| moved.value))
    }

    #[inline]
    #[track_caller]
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let fd = self.fd();
        let timeout = self.timeout(Interest::Writable);
        match Operator::of_task() {
            Some(operator) => self.send_by(operator, bytes),
            None => self.source.transfer(fd, Interest::Writable, timeout, || sys::send(fd, bytes)),
        }
    }

    #[track_caller]
    pub(super) fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = self.fd();
        let timeout = self.timeout(Interest::Writable);
        self.source.transfer(fd, Interest::Writable, timeout, || sys::send_vectored(fd, buffers))
    }

    /// The link to the reactor, and the descriptor.
    pub(super) fn link(&self) -> (&Source, BorrowedFd<'_>) {
        (&self.source, self.fd())
    }

    /// Waits until a connect that was begun has ended, and returns its error.
    #[track_caller]
    pub(super) fn finish_connect(&self) -> io::Result<()> {
        let mut begun = false;
        // The first attempt only makes the call wait.
        self.call(Interest::Writable, |_| {
            if std::mem::replace(&mut begun, true) { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
        })?;
        self.connect_outcome()
    }

    /// Returns the error of a connect that has ended.
    pub(super) fn connect_outcome(&self) -> io::Result<()> {
        match SockRef::from(self.get()).take_error()? {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }
}

/// A call that receives bytes of a stream.
pub(super) type Call = fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<Moved<usize>>;

#[inline]
pub(super) fn receive_once(call: Call, fd: BorrowedFd<'_>) -> io::Result<Moved<Chunk>> {
    let mut buffer = Lent::take();
    let Moved { value: len, took_all } = call(fd, &mut buffer[..])?;
    Ok(Moved { value: Chunk { buffer, len }, took_all })
}

impl<S: StdSocket> Drop for Socket<S> {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            self.source.close(inner.as_fd());
        }
    }
}

/// Implements `Read` and `Write` for a stream and for a shared reference to it, and what all sockets have.
macro_rules! stream {
    ($Stream:ident, $call:expr) => {
        impl $Stream {
            /// Waits for data, reads it into a buffer that the thread lends, and calls `f` with the bytes. At the end of the stream
            /// there are none. Returns the value of `f`.
            ///
            /// A buffer is taken only when there is data, so 10,000 connections that wait hold none. A buffer that is
            /// used again is not zeroed. A buffer has 16 KiB, and a call gets no more bytes than that. `f` may wait and
            /// may lend from other streams: while it has the buffer, other calls get other buffers. The thread keeps at
            /// most 16 buffers that are not lent. A run with io_uring has 64 more, from the first call that waits.
            ///
            /// The bytes are taken from the stream before the call of `f`, so `f` must use all of them.
            ///
            /// Cancel safety: a cancelled call takes nothing, and does not call `f`.
            ///
            /// # Errors
            ///
            /// The error of recv(2), and the errors of a wait ([`io`](crate::io)).
            ///
            /// # Panics
            ///
            /// If `f` panics, or if the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
            ///
            /// ```
            #[doc = concat!("use cede::net::", stringify!($Stream), ";")]
            /// use std::io::Write;
            #[doc = concat!("fn echo(stream: &", stringify!($Stream), ") -> std::io::Result<()> {")]
            ///     while stream.lend(|bytes| (&*stream).write_all(bytes).map(|()| !bytes.is_empty()))?? {}
            ///     Ok(())
            /// }
            /// ```
            #[doc(alias = "read")]
            #[doc(alias = "fill_buf")]
            #[inline]
            #[track_caller]
            pub fn lend<T>(&self, f: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
                let chunk = self.socket.receive($call)?;
                Ok(f(chunk.bytes()))
            }

            /// Returns the stream with buffers for input and output, which the thread lends: see [`Buffered`](crate::io::Buffered).
            #[doc(alias = "BufReader")]
            #[doc(alias = "BufWriter")]
            pub fn buffered(&self) -> crate::io::Buffered<&$Stream> {
                crate::io::Buffered::new(self)
            }
        }

        impl crate::io::stream::Transfer for $Stream {
            #[track_caller]
            fn receive(&self) -> io::Result<crate::io::buffer::Chunk> {
                self.socket.receive($call)
            }

            fn try_receive(&self) -> io::Result<Option<crate::io::buffer::Chunk>> {
                self.socket.try_receive($call)
            }

            #[track_caller]
            fn receive_into(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.socket.receive_into($call, buffer)
            }

            fn try_receive_into(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
                self.socket.try_receive_into($call, buffer)
            }

            #[track_caller]
            fn send(&self, bytes: &[u8]) -> io::Result<usize> {
                self.socket.send(bytes)
            }
        }

        impl crate::io::known::KnownStream for $Stream {
            fn fd(&self) -> BorrowedFd<'_> {
                self.socket.fd()
            }

            fn source(&self) -> &crate::io::source::Source {
                self.socket.source()
            }

            fn timeout(&self, interest: Interest) -> Option<Duration> {
                self.socket.timeout(interest)
            }
        }

        impl Read for &$Stream {
            #[inline]
            #[track_caller]
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.socket.receive_into($call, buffer)
            }

            #[track_caller]
            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.socket.recv_vectored(buffers)
            }
        }

        impl Write for &$Stream {
            #[inline]
            #[track_caller]
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.socket.send(bytes)
            }

            #[track_caller]
            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.socket.send_vectored(buffers)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Read for $Stream {
            #[inline]
            #[track_caller]
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buffer)
            }

            #[track_caller]
            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }

        impl Write for $Stream {
            #[inline]
            #[track_caller]
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                (&*self).write(bytes)
            }

            #[track_caller]
            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(buffers)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    };
}

/// Implements the timeouts of a socket, with the meaning of `std`, and the conversions from and to the type of `std`.
macro_rules! common {
    ($Socket:ident, $Std:ty, nonblocking: $nonblocking:expr $(, stream: $name:ident)? $(, field: $field:ident)?) => {
        impl super::socket::StdSocket for $Std {
            $(
                #[inline]
                fn announce() {
                    crate::io::known::know_stream::<$Socket>(crate::io::known::StreamName::$name);
                }
            )?
        }

        impl $Socket {
            /// Sets the timeout of each read, receive or accept; `None` for none. A wait that takes longer fails with
            /// the kind [`TimedOut`](std::io::ErrorKind::TimedOut). Meant for code that cannot pass a deadline on;
            /// [`timeout`](crate::timeout) limits any number of calls together.
            ///
            /// The timeout belongs to this value, not to the socket in the kernel: a clone has the timeouts of the moment of
            /// its `try_clone`, and a later change of one has no effect on the other. The conversions from and to the type of
            /// `std` read the timeouts from the kernel and set them there.
            ///
            /// # Errors
            ///
            /// `InvalidInput` if the timeout is zero.
            pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.socket.set_timeout(Interest::Readable, timeout)
            }

            /// Sets the timeout of each write or send; `None` for none. Otherwise like [`set_read_timeout`](Self::set_read_timeout).
            ///
            /// # Errors
            ///
            /// `InvalidInput` if the timeout is zero.
            pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.socket.set_timeout(Interest::Writable, timeout)
            }

            /// Returns the timeout of reads.
            ///
            /// # Errors
            ///
            /// Never fails. The `io::Result` is that of the method of `std`.
            pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.socket.timeout(Interest::Readable))
            }

            /// Returns the timeout of writes.
            ///
            /// # Errors
            ///
            /// Never fails. The `io::Result` is that of the method of `std`.
            pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.socket.timeout(Interest::Writable))
            }

            /// Returns the error of the socket, and clears it.
            ///
            /// # Errors
            ///
            /// The error of getsockopt(2).
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket.get().take_error()
            }
        }

        impl From<$Std> for $Socket {
            /// Wraps a socket, whichever mode it is in: blocking or non-blocking. A stream keeps its mode. A listener
            /// or datagram socket is set to non-blocking mode, and with it each duplicate of its descriptor. Takes over
            /// the timeouts that the socket has in the kernel (`SO_RCVTIMEO`, `SO_SNDTIMEO`).
            fn from(socket: $Std) -> $Socket {
                if $nonblocking {
                    // accept(2) has no flag for one call. It fails only for a descriptor that is none.
                    let _ = socket.set_nonblocking(true);
                }
                $Socket { socket: Socket::adopt(socket) $(, $field: Default::default())? }
            }
        }

        impl From<$Socket> for $Std {
            /// Returns the socket in blocking mode, with the timeouts set in the kernel. Both also hold for each duplicate
            /// of its descriptor.
            fn from(socket: $Socket) -> $Std {
                let socket = socket.socket.release();
                let _ = socket.set_nonblocking(false);
                socket
            }
        }

        impl AsFd for $Socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.get().as_fd()
            }
        }

        impl AsRawFd for $Socket {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.get().as_raw_fd()
            }
        }

        impl fmt::Debug for $Socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.socket.get().fmt(f)
            }
        }
    };
}

pub(super) use {common, stream};
