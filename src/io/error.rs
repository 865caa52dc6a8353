//! The errors of waits for I/O.
#![forbid(unsafe_code)]

use crate::wait::{Cancelled, Cause, Worker, cause, worker};
use std::fmt;
use std::io::{Error, ErrorKind};

/// The inner error of an [`Error`] that a cancel, a deadline or a timeout caused. A separate type, because
/// [`Error::source`](std::error::Error::source) returns the source of the inner error: so a search along the sources,
/// also of an error of another crate around it, finds [`Cancelled`].
#[derive(Debug)]
struct WaitEnded {
    by: Cause,
    source: Cancelled,
}

impl fmt::Display for WaitEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Cause::Cancel => self.source.fmt(f),
            Cause::Deadline => f.write_str("the wait timed out: its deadline passed"),
        }
    }
}

impl std::error::Error for WaitEnded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Returns the error of a wait that was cancelled.
fn cancel() -> Error {
    Error::other(WaitEnded { by: Cause::Cancel, source: Cancelled })
}

/// Returns the error of a wait of the running task that has just returned `Cancelled`.
#[cold]
pub(super) fn cancelled(worker: &Worker) -> Error {
    match cause(worker) {
        Cause::Cancel => cancel(),
        Cause::Deadline => timed_out(),
    }
}

/// Returns the error of a wait of the calling task, which has just returned `Cancelled`.
#[cold]
pub(crate) fn interrupted(_: Cancelled) -> Error {
    worker().map_or_else(cancel, cancelled)
}

/// Returns the error of a wait whose time is up.
#[cold]
pub(super) fn timed_out() -> Error {
    Error::new(ErrorKind::TimedOut, WaitEnded { by: Cause::Deadline, source: Cancelled })
}

/// Returns whether an I/O error came from a wait that a cancel, a deadline or a timeout ended.
///
/// ```
/// use cede::net::UdpSocket;
/// use std::error::Error;
/// cede::run(|| {
///     let mut receiver = cede::spawn(|| {
///         let socket = UdpSocket::bind("127.0.0.1:0")?;
///         socket.recv(&mut [0; 8]) // nothing arrives
///     });
///     cede::yield_now();
///     receiver.cancel();
///     let error = receiver.join().unwrap().unwrap_err();
///     assert!(cede::io::is_cancelled(&error));
///     assert!(error.source().unwrap().is::<cede::task::Cancelled>());
/// });
/// ```
pub fn is_cancelled(error: &Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        let partial = inner.downcast_ref::<super::Partial>();
        inner.is::<WaitEnded>() || partial.is_some_and(|cut| is_cancelled(&cut.error))
    })
}
