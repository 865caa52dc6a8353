//! Waiting for any descriptor.
#![forbid(unsafe_code)]

use super::source::Source;
use crate::reactor::Interest;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

/// Waits until `fd` is ready for `interest`: readable or writable. An error or a hang-up of `fd` also ends the wait,
/// and the next call on `fd` reports it.
///
/// In a task the wait suspends the task; in a plain thread it blocks the thread. `fd` itself may be in blocking mode.
/// But readiness is only a hint: another thread or process may take the data first, and then a blocking read would
/// block. If that can happen, make the read or write itself non-blocking (`O_NONBLOCK` or `MSG_DONTWAIT`), and wait
/// again on `WouldBlock`.
///
/// Cancel safety: a wait takes nothing.
///
/// # Errors
///
/// The errors of a wait (see the [module docs](crate::io)), and those of the driver. On Linux, regular files and
/// directories are refused with `PermissionDenied`, because the kernel takes them as always ready. Other systems report
/// them as ready.
///
/// # Panics
///
/// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// cede::run(|| {
///     let (mut here, there) = UnixStream::pair()?;
///     let mut reader = cede::spawn(move || {
///         cede::io::wait(&there, cede::io::Interest::Readable)?;
///         (&there).read(&mut [0; 8])
///     });
///     cede::yield_now();
///     here.write_all(b"ready")?;
///     assert_eq!(reader.join().unwrap()?, 5);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn wait(fd: impl AsFd, interest: Interest) -> io::Result<()> {
    if crate::wait::worker().is_none() {
        return Source::new().wait_once(fd.as_fd(), interest, None);
    }
    // A duplicate, so that this wait is independent of any registration that the descriptor has.
    // Its drop ends the registration, also if the wait unwinds.
    let duplicate = Async::new(fd.as_fd().try_clone_to_owned()?);
    duplicate.source.wait_once(duplicate.as_fd(), interest, None)
}

/// A wrapper of a descriptor, for example of a socket or a pipe that another crate opened. Calls made through
/// [`read_with`](Self::read_with) and [`write_with`](Self::write_with) wait instead of failing with `WouldBlock`.
///
/// The descriptor must be in non-blocking mode, or the calls must not block (`MSG_DONTWAIT`): otherwise a call blocks
/// all tasks of the run.
///
/// ```
/// use cede::io::Async;
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// let (mut here, there) = UnixStream::pair()?;
/// there.set_nonblocking(true)?;
/// cede::run(move || {
///     let there = Async::new(there);
///     let mut reader = cede::spawn(move || there.read_with(|mut stream| stream.read(&mut [0; 8])));
///     cede::yield_now();
///     here.write_all(b"data")?;
///     assert_eq!(reader.join().unwrap()?, 4);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Async<T: AsFd> {
    source: Source,
    /// Present until the drop or `into_inner`.
    inner: Option<T>,
}

impl<T: AsFd> Async<T> {
    /// Wraps a descriptor. Makes no system call.
    pub fn new(inner: T) -> Async<T> {
        Async { source: Source::new(), inner: Some(inner) }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the descriptor's owner.
    pub fn get_ref(&self) -> &T {
        self.inner.as_ref().expect("present until the drop")
    }

    /// Ends the registration of the descriptor, and returns its owner.
    pub fn into_inner(mut self) -> T {
        self.source.close(self.get_ref().as_fd());
        self.inner.take().expect("present until the drop")
    }

    /// Calls `f` until it returns neither `WouldBlock` nor `Interrupted`. After `WouldBlock`, first waits until the descriptor is
    /// readable.
    ///
    /// # Errors
    ///
    /// The other errors of `f`, and those of [`wait`].
    ///
    /// # Panics
    ///
    /// As [`wait`] does.
    #[track_caller]
    pub fn read_with<R>(&self, mut f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let inner = self.get_ref();
        self.source.call_suspendable(inner.as_fd(), Interest::Readable, || f(inner))
    }

    /// Calls `f` until it returns neither `WouldBlock` nor `Interrupted`. After `WouldBlock`, first waits until the descriptor is
    /// writable.
    ///
    /// # Errors
    ///
    /// The other errors of `f`, and those of [`wait`].
    ///
    /// # Panics
    ///
    /// As [`wait`] does.
    #[track_caller]
    pub fn write_with<R>(&self, mut f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let inner = self.get_ref();
        self.source.call_suspendable(inner.as_fd(), Interest::Writable, || f(inner))
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + IntoRawFd> IntoRawFd for Async<T> {
    /// Ends the registration of the descriptor, and returns it. The caller must close it.
    fn into_raw_fd(self) -> RawFd {
        self.into_inner().into_raw_fd()
    }
}

impl<T: AsFd> AsRef<T> for Async<T> {
    fn as_ref(&self) -> &T {
        self.get_ref()
    }
}

impl<T: AsFd> Drop for Async<T> {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            self.source.close(inner.as_fd());
        }
    }
}
