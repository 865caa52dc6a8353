//! The common part of the standard streams: calls on a descriptor that other processes may share, so its mode must stay as it is.
//!
//! Neither readiness nor the mode of the descriptor may be relied on: another process can take the data that poll(2) has reported, and can
//! set or clear `O_NONBLOCK`. So a call either cannot wait (`RWF_NOWAIT`), or runs on a thread of the pool with a buffer of its own.
#![forbid(unsafe_code)]

use super::async_fd::wait;
use super::error::interrupted;
use crate::blocking::{Detached, Lane};
use crate::reactor::Interest;
use crate::sync::{Mutex, MutexGuard};
use crate::sys::fork::{self, PerProcess};
use crate::sys::poll_fd;
use crate::task::JoinError;
use crate::wait::Cancelled;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
use std::time::Duration;

/// The state of a stream, which the tasks and threads of a process share. Its waiters are served in the order of a `Mutex`.
pub(super) struct Shared<T: 'static>(PerProcess<Mutex<T>>);

impl<T: Send> Shared<T> {
    pub(super) const fn new(make: fn() -> Mutex<T>) -> Shared<T> {
        Shared(PerProcess::new(make))
    }

    /// Waits until no other call uses the stream.
    #[track_caller]
    pub(super) fn lock(&'static self) -> io::Result<MutexGuard<'static, T>> {
        // Without the handler a child process takes the state of its parent, which no other call uses at the fork in most cases.
        let _ = fork::watch();
        self.0.get().lock().map_err(interrupted)
    }
}

/// Returns the result of a call that cannot wait; `None` if it would have to, or if the descriptor does not support such calls.
pub(super) fn unless_it_waits(result: io::Result<usize>) -> Option<io::Result<usize>> {
    match &result {
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => None,
            _ => Some(result),
        },
        Ok(_) => Some(result),
    }
}

/// Waits until `fd` is ready, if it is not. Returns whether it was: then a call may wait nevertheless.
#[track_caller]
pub(super) fn was_ready(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<bool> {
    if poll_fd(fd, interest == Interest::Readable, Some(Duration::ZERO))? {
        return Ok(true);
    }
    // The wait watches a duplicate: after it nothing is registered for a descriptor that the program may replace by dup2(2).
    wait(fd, interest)?;
    Ok(false)
}

/// Repeats a call on the thread of the pool until it has ended. In non-blocking mode, which another process may have set, waits in poll(2).
pub(super) fn block<T>(
    fd: BorrowedFd<'_>,
    interest: Interest,
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll_fd(fd, interest == Interest::Readable, None)?;
            }
            result => return result,
        }
    }
}

/// A call on the pool that goes on after a cancel of its waiter.
pub(super) type Pending<T> = Option<Detached<io::Result<T>>>;

/// Begins a call on the pool.
pub(super) fn begin<T: Send + 'static>(
    pending: &mut Pending<T>,
    lane: &'static Lane,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<()> {
    *pending = Some(lane.submit(call)?);
    Ok(())
}

/// Waits for the call on the pool, and takes its result. `None` if there is none.
///
/// # Errors
///
/// The errors of a wait: then the call goes on, and is still pending.
#[track_caller]
pub(super) fn finish<T>(pending: &mut Pending<T>, reason: &'static str) -> Result<Option<io::Result<T>>, io::Error> {
    let Some(call) = pending else { return Ok(None) };
    match call.join_for(reason) {
        Ok(result) => {
            *pending = None;
            Ok(Some(result))
        }
        Err(JoinError::Panicked(payload)) => {
            *pending = None;
            resume_unwind(payload)
        }
        Err(_) => Err(interrupted(Cancelled)),
    }
}

/// Replaces the error of a stream that the program has closed, as std does.
pub(super) fn or_if_closed<T>(result: io::Result<T>, value: T) -> io::Result<T> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(value),
        result => result,
    }
}
