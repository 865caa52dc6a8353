//! What comes of a wait that has a deadline.
#![forbid(unsafe_code)]

use crate::wait::Cancelled;
use crate::wait::queue::Ended;

/// Why a wait with a deadline came to nothing. Whoever waited has left the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WaitTimeoutError {
    /// The deadline came first.
    #[error("the deadline came before what was waited for")]
    Timeout,
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("the task was cancelled")]
    Cancelled,
}

impl From<Cancelled> for WaitTimeoutError {
    fn from(_: Cancelled) -> WaitTimeoutError {
        WaitTimeoutError::Cancelled
    }
}

impl WaitTimeoutError {
    /// Without a deadline there is no timeout.
    pub(super) fn without_deadline(self) -> Cancelled {
        Cancelled
    }
}

/// A wait of which only matters whether something came of it.
pub(super) fn outcome<V>(ended: Ended<V>) -> Result<V, WaitTimeoutError> {
    match ended {
        Ended::Granted(value) | Ended::Closed(value) => Ok(value),
        Ended::TimedOut(_) => Err(WaitTimeoutError::Timeout),
        Ended::Cancelled(_) => Err(WaitTimeoutError::Cancelled),
    }
}
