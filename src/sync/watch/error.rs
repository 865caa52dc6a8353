//! The errors of sending and waiting. The error of a failed send returns the value.

use std::fmt;

/// The error of [`Sender::send`](super::Sender::send): the channel has no receivers. Holds the value, which was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("cannot send: the channel has no receivers")]
pub struct SendError<T>(pub T);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

/// The error of a wait of a [`Receiver`](super::Receiver).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RecvError {
    /// The last sender was dropped, and the receiver has seen the last value.
    #[error("no new value: the last sender was dropped")]
    Disconnected,
    /// The task was cancelled before its wait ended, or would have to wait while its thread panics.
    #[error("the wait for a new value was cancelled")]
    Cancelled,
}

/// The error of a wait of a [`Receiver`](super::Receiver) with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RecvTimeoutError {
    /// The deadline passed first.
    #[error("no new value: the deadline passed")]
    Timeout,
    /// Like [`RecvError::Disconnected`].
    #[error("no new value: the last sender was dropped")]
    Disconnected,
    /// Like [`RecvError::Cancelled`].
    #[error("the wait for a new value was cancelled")]
    Cancelled,
}

impl RecvTimeoutError {
    /// Converts the error of a wait without a deadline, for which `Timeout` cannot occur.
    pub(super) fn without_deadline(self) -> RecvError {
        match self {
            RecvTimeoutError::Disconnected => RecvError::Disconnected,
            RecvTimeoutError::Timeout | RecvTimeoutError::Cancelled => RecvError::Cancelled,
        }
    }
}
