//! The errors of sending and receiving. The error of a failed send returns the message.

use std::fmt;

/// The error of [`Sender::send`](super::Sender::send). Holds the message, which was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendError<T> {
    /// The channel was closed, or its last receiver was dropped. No later send can succeed.
    #[error("cannot send: the channel was closed, or its last receiver dropped")]
    Disconnected(T),
    /// The task was cancelled before its wait ended, or would have to wait while its thread panics.
    #[error("the wait to send was cancelled")]
    Cancelled(T),
}

/// The error of [`Sender::try_send`](super::Sender::try_send). Holds the message, which was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TrySendError<T> {
    /// The channel is full, or, at capacity 0, no receiver waits.
    #[error("cannot send at once: the channel is full")]
    Full(T),
    /// Like [`SendError::Disconnected`].
    #[error("cannot send: the channel was closed, or its last receiver dropped")]
    Disconnected(T),
}

/// The error of [`Sender::send_timeout`](super::Sender::send_timeout) and
/// [`Sender::send_deadline`](super::Sender::send_deadline). Holds the message, which was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendTimeoutError<T> {
    /// The deadline passed before there was room, or, at capacity 0, before a receiver took the message.
    #[error("cannot send: the channel stayed full until the deadline")]
    Timeout(T),
    /// Like [`SendError::Disconnected`].
    #[error("cannot send: the channel was closed, or its last receiver dropped")]
    Disconnected(T),
    /// Like [`SendError::Cancelled`].
    #[error("the wait to send was cancelled")]
    Cancelled(T),
}

/// The error of [`Receiver::recv`](super::Receiver::recv). No message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RecvError {
    /// The channel is empty, and was closed or lost its last sender. No later receive can succeed.
    #[error("nothing to receive: the channel is empty, and was closed or lost its last sender")]
    Disconnected,
    /// The task was cancelled before its wait ended, or would have to wait while its thread panics.
    #[error("the wait to receive was cancelled")]
    Cancelled,
}

/// The error of [`Receiver::try_recv`](super::Receiver::try_recv). No message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TryRecvError {
    /// The channel is empty, but a message may still come.
    #[error("nothing to receive now: the channel is empty")]
    Empty,
    /// Like [`RecvError::Disconnected`].
    #[error("nothing to receive: the channel is empty, and was closed or lost its last sender")]
    Disconnected,
}

/// The error of [`Receiver::recv_timeout`](super::Receiver::recv_timeout) and
/// [`Receiver::recv_deadline`](super::Receiver::recv_deadline). No message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RecvTimeoutError {
    /// The deadline passed before a message came.
    #[error("nothing to receive: the channel stayed empty until the deadline")]
    Timeout,
    /// Like [`RecvError::Disconnected`].
    #[error("nothing to receive: the channel is empty, and was closed or lost its last sender")]
    Disconnected,
    /// Like [`RecvError::Cancelled`].
    #[error("the wait to receive was cancelled")]
    Cancelled,
}

/// Implements the common part of the send errors: `into_inner`, and a `Debug` that does not require `T: Debug`.
macro_rules! with_message {
    ($($error:ident: $($kind:ident)+;)+) => { $(
        impl<T> $error<T> {
            /// Returns the message that was not sent.
            pub fn into_inner(self) -> T {
                match self {
                    $($error::$kind(message))|+ => message,
                }
            }
        }

        impl<T> fmt::Debug for $error<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($error::$kind(_) => concat!(stringify!($kind), "(..)"),)+
                })
            }
        }
    )+ };
}

with_message! {
    SendError: Disconnected Cancelled;
    TrySendError: Full Disconnected;
    SendTimeoutError: Timeout Disconnected Cancelled;
}

impl<T> SendTimeoutError<T> {
    /// Converts the error of a send without a deadline. Such a send never returns `Timeout`.
    pub(super) fn without_deadline(self) -> SendError<T> {
        match self {
            SendTimeoutError::Disconnected(message) => SendError::Disconnected(message),
            SendTimeoutError::Timeout(message) | SendTimeoutError::Cancelled(message) => SendError::Cancelled(message),
        }
    }
}

impl RecvTimeoutError {
    /// Converts the error of a receive without a deadline. Such a receive never returns `Timeout`.
    pub(super) fn without_deadline(self) -> RecvError {
        match self {
            RecvTimeoutError::Disconnected => RecvError::Disconnected,
            RecvTimeoutError::Timeout | RecvTimeoutError::Cancelled => RecvError::Cancelled,
        }
    }
}

impl<T> From<SendError<T>> for TrySendError<T> {
    /// Converts `Cancelled` to `Full`: a send that waited before it was cancelled found the channel full.
    fn from(error: SendError<T>) -> TrySendError<T> {
        match error {
            SendError::Disconnected(message) => TrySendError::Disconnected(message),
            SendError::Cancelled(message) => TrySendError::Full(message),
        }
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> SendTimeoutError<T> {
        match error {
            SendError::Disconnected(message) => SendTimeoutError::Disconnected(message),
            SendError::Cancelled(message) => SendTimeoutError::Cancelled(message),
        }
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> RecvTimeoutError {
        match error {
            RecvError::Disconnected => RecvTimeoutError::Disconnected,
            RecvError::Cancelled => RecvTimeoutError::Cancelled,
        }
    }
}
