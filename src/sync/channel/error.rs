//! Why a message was not sent or received. What was to be sent comes back.

use std::fmt;

/// Why [`Sender::send`](super::Sender::send) did not send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendError<T> {
    /// The channel was closed, or its last receiver is gone: nobody will ever take the message.
    #[error("cannot send: the channel was closed, or its last receiver dropped")]
    Disconnected(T),
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("cannot wait to send: the task was cancelled")]
    Cancelled(T),
}

/// Why [`Sender::try_send`](super::Sender::try_send) did not send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TrySendError<T> {
    /// There is no room, or, at capacity 0, nobody waits to receive.
    #[error("cannot send at once: the channel is full")]
    Full(T),
    /// As in [`SendError`].
    #[error("cannot send: the channel was closed, or its last receiver dropped")]
    Disconnected(T),
}

/// Why [`Sender::send_timeout`](super::Sender::send_timeout) or [`Sender::send_deadline`](super::Sender::send_deadline) did not
/// send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendTimeoutError<T> {
    /// Nobody made room in time.
    #[error("cannot send: the channel stayed full until the deadline")]
    Timeout(T),
    /// As in [`SendError`].
    #[error("cannot send: the channel was closed, or its last receiver dropped")]
    Disconnected(T),
    /// As in [`SendError`].
    #[error("cannot wait to send: the task was cancelled")]
    Cancelled(T),
}

/// Why [`Receiver::recv`](super::Receiver::recv) received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RecvError {
    /// The channel is empty, and was closed or lost its last sender: no message will ever come.
    #[error("nothing to receive: the channel is empty, and was closed or lost its last sender")]
    Disconnected,
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("cannot wait to receive: the task was cancelled")]
    Cancelled,
}

/// Why [`Receiver::try_recv`](super::Receiver::try_recv) received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TryRecvError {
    /// There is no message now.
    #[error("nothing to receive now: the channel is empty")]
    Empty,
    /// As in [`RecvError`].
    #[error("nothing to receive: the channel is empty, and was closed or lost its last sender")]
    Disconnected,
}

/// Why [`Receiver::recv_timeout`](super::Receiver::recv_timeout) or [`Receiver::recv_deadline`](super::Receiver::recv_deadline)
/// received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RecvTimeoutError {
    /// No message came in time.
    #[error("nothing to receive: the channel stayed empty until the deadline")]
    Timeout,
    /// As in [`RecvError`].
    #[error("nothing to receive: the channel is empty, and was closed or lost its last sender")]
    Disconnected,
    /// As in [`RecvError`].
    #[error("cannot wait to receive: the task was cancelled")]
    Cancelled,
}

/// What the errors of sending have in common: `into_inner`, and a Debug that asks nothing of the message.
macro_rules! with_message {
    ($($error:ident: $($kind:ident)+;)+) => { $(
        impl<T> $error<T> {
            /// The message.
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
    /// Without a deadline there is no timeout.
    pub(super) fn without_deadline(self) -> SendError<T> {
        match self {
            SendTimeoutError::Disconnected(message) => SendError::Disconnected(message),
            SendTimeoutError::Timeout(message) | SendTimeoutError::Cancelled(message) => SendError::Cancelled(message),
        }
    }
}

impl RecvTimeoutError {
    pub(super) fn without_deadline(self) -> RecvError {
        match self {
            RecvTimeoutError::Disconnected => RecvError::Disconnected,
            RecvTimeoutError::Timeout | RecvTimeoutError::Cancelled => RecvError::Cancelled,
        }
    }
}

impl<T> From<SendError<T>> for TrySendError<T> {
    /// A send that was cut short is one that could not be done at once.
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
