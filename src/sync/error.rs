//! The error of waits with a deadline, common to the types of `sync`.
#![forbid(unsafe_code)]

use crate::wait::Cancelled;
use crate::wait::queue::Ended;

/// The error of a wait with a deadline. The wait took nothing, and the caller is no longer in the wait queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WaitTimeoutError {
    /// The deadline passed first.
    #[error("the wait timed out: its deadline passed")]
    Timeout,
    /// The task was cancelled before its wait ended, or would have to wait while its thread panics.
    #[error("the wait was cancelled")]
    Cancelled,
}

impl From<Cancelled> for WaitTimeoutError {
    fn from(_: Cancelled) -> WaitTimeoutError {
        WaitTimeoutError::Cancelled
    }
}

impl WaitTimeoutError {
    /// Converts the error of a wait without a deadline. Such a wait never returns `Timeout`.
    pub(super) fn without_deadline(self) -> Cancelled {
        Cancelled
    }
}

/// Converts the outcome of a wait to which a grant and a close of the queue mean the same: success.
pub(super) fn outcome<V>(ended: Ended<V>) -> Result<V, WaitTimeoutError> {
    match ended {
        Ended::Granted(value) | Ended::Closed(value) => Ok(value),
        Ended::TimedOut(_) => Err(WaitTimeoutError::Timeout),
        Ended::Cancelled(_) => Err(WaitTimeoutError::Cancelled),
    }
}
