//! The I/O errors of waits that a cancel or a deadline ended.
#![forbid(unsafe_code)]

use super::{Cancelled, Cause, Worker, cause, worker};
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
pub(crate) fn cancelled(worker: &Worker) -> Error {
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
pub(crate) fn timed_out() -> Error {
    Error::new(ErrorKind::TimedOut, WaitEnded { by: Cause::Deadline, source: Cancelled })
}

/// Returns whether an inner error of an [`Error`] is that of a wait that a cancel or a deadline ended.
#[cfg(feature = "io")]
pub(crate) fn is_wait_ended(inner: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    inner.is::<WaitEnded>()
}
