//! The readiness of a descriptor as a case of a select.
#![forbid(unsafe_code)]

use super::async_fd::Async;
use crate::reactor::Interest;
use crate::sync::select::Case;
use crate::sync::select::sealed::{Granted, Internal, Operation, Plan, Registration};
use crate::sys::poll_fd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A case that becomes ready when a descriptor is ready. Returned by [`readable`] and [`writable`].
#[derive(Debug)]
pub struct ReadyCase<'a> {
    fd: BorrowedFd<'a>,
    interest: Interest,
    /// A duplicate of the descriptor, so that this wait is independent of any registration that the descriptor has. Made by the first
    /// wait in a task; a plain thread needs none.
    watched: Option<Async<OwnedFd>>,
    enqueued: bool,
    error: Option<io::Error>,
}

/// Returns a case for [`select!`](crate::select) or a [`Select`](crate::sync::Select) that becomes ready when `fd` is readable, or has an
/// error or a hang-up, which the next read reports.
///
/// Readiness is a hint: see [`wait`](super::wait()). Works in tasks and in plain threads; the descriptor may be in blocking mode.
///
/// Cancel safety: the case takes no data.
///
/// ```
/// use cede::{net::UnixStream, select, sync::channel};
/// use std::io::Write;
/// cede::run(|| {
///     let (here, there) = UnixStream::pair()?;
///     let (_orders, stop) = channel::unbounded::<()>();
///     (&here).write_all(b"data")?;
///     let count = select! {
///         readable(there) => there.lend(|bytes| bytes.len()),
///         recv(stop) -> _ => Ok(0),
///     };
///     assert_eq!(count.unwrap()?, 4);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn readable<F: AsFd + ?Sized>(fd: &F) -> ReadyCase<'_> {
    ReadyCase::new(fd.as_fd(), Interest::Readable)
}

/// Returns a case like that of [`readable`], for a descriptor that becomes writable.
pub fn writable<F: AsFd + ?Sized>(fd: &F) -> ReadyCase<'_> {
    ReadyCase::new(fd.as_fd(), Interest::Writable)
}

impl<'a> ReadyCase<'a> {
    fn new(fd: BorrowedFd<'a>, interest: Interest) -> ReadyCase<'a> {
        ReadyCase { fd, interest, watched: None, enqueued: false, error: None }
    }

    /// Returns whether the descriptor is watched. Call it once, after the select has chosen this case.
    ///
    /// # Errors
    ///
    /// The error of dup(2), poll(2) or the driver's setup, as if no descriptor is left. Such an error makes the case ready.
    pub fn take(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Returns whether the descriptor is ready now.
    fn poll(&self) -> io::Result<bool> {
        poll_fd(self.fd, self.interest == Interest::Readable, Some(Duration::ZERO))
    }

    /// Adds the calling task to the waiters of the descriptor. Returns false if the descriptor may be ready already.
    fn watch(&mut self) -> io::Result<bool> {
        if crate::wait::worker().is_none() {
            return Ok(true);
        }
        if self.watched.is_none() {
            self.watched = Some(Async::new(self.fd.try_clone_to_owned()?));
        }
        let watched = self.watched.as_ref().expect("set above");
        self.enqueued = watched.source().begin_wait(watched.as_fd(), self.interest)?;
        Ok(self.enqueued)
    }
}

impl Case for ReadyCase<'_> {}

impl Operation for ReadyCase<'_> {
    fn try_complete(&mut self, _: Internal) -> bool {
        let outcome = if self.error.is_some() { Ok(true) } else { self.poll() };
        outcome.unwrap_or_else(|error| {
            self.error = Some(error);
            true
        })
    }

    fn enqueue(&mut self, _: Registration, plan: &mut Plan, _: Internal) -> bool {
        plan.external = true;
        self.watch().unwrap_or_else(|error| {
            // The next attempt completes with the error.
            self.error = Some(error);
            false
        })
    }

    fn is_ready(&self, _: Registration, _: Internal) -> bool {
        match &self.watched {
            Some(watched) => watched.source().may_be_ready(self.interest),
            // In a plain thread the descriptor tells. An error is reported by the next attempt.
            None => self.poll().unwrap_or(true),
        }
    }

    fn leave(&mut self, _: Granted, _: Internal) {
        if let Some(watched) = &self.watched
            && std::mem::take(&mut self.enqueued)
        {
            watched.source().end_wait(self.interest);
        }
    }

    fn descriptor(&self, _: Internal) -> Option<(BorrowedFd<'_>, bool)> {
        Some((self.fd, self.interest == Interest::Readable))
    }
}

/// The cases of descriptors in `select!`, which is defined in a lower layer.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_descriptor {
    ($which:ident $fd:expr) => {
        $crate::io::$which(&$fd)
    };
}
