//! Why an item was not put into a queue, or none was taken out. What was to be put in comes back.

use std::fmt;

/// Why `push` did not put its item into the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PushError<T> {
    /// The queue was closed.
    #[error("cannot push: the queue was closed")]
    Closed(T),
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("cannot wait for room in the queue: the task was cancelled")]
    Cancelled(T),
}

/// Why `try_push` did not put its item into the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TryPushError<T> {
    /// There is no room.
    #[error("cannot push at once: the queue is full")]
    Full(T),
    /// As in [`PushError`].
    #[error("cannot push: the queue was closed")]
    Closed(T),
}

/// Why `push_deadline` or `push_timeout` did not put its item into the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PushTimeoutError<T> {
    /// Nobody made room in time.
    #[error("cannot push: the queue stayed full until the deadline")]
    Timeout(T),
    /// As in [`PushError`].
    #[error("cannot push: the queue was closed")]
    Closed(T),
    /// As in [`PushError`].
    #[error("cannot wait for room in the queue: the task was cancelled")]
    Cancelled(T),
}

/// Why `pop` took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PopError {
    /// The queue was closed and is empty: nothing will ever come.
    #[error("nothing to pop: the queue was closed, and is empty")]
    Closed,
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("cannot wait for an item: the task was cancelled")]
    Cancelled,
}

/// Why `try_pop` took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TryPopError {
    /// There is nothing now.
    #[error("nothing to pop now: the queue is empty")]
    Empty,
    /// As in [`PopError`].
    #[error("nothing to pop: the queue was closed, and is empty")]
    Closed,
}

/// Why `pop_deadline` or `pop_timeout` took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PopTimeoutError {
    /// Nothing came in time.
    #[error("nothing to pop: the queue stayed empty until the deadline")]
    Timeout,
    /// As in [`PopError`].
    #[error("nothing to pop: the queue was closed, and is empty")]
    Closed,
    /// As in [`PopError`].
    #[error("cannot wait for an item: the task was cancelled")]
    Cancelled,
}

/// What the errors of pushing have in common: `into_inner`, and a Debug that asks nothing of the item.
macro_rules! with_item {
    ($($error:ident: $($kind:ident)+;)+) => { $(
        impl<T> $error<T> {
            /// The item.
            pub fn into_inner(self) -> T {
                match self {
                    $($error::$kind(item))|+ => item,
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

with_item! {
    PushError: Closed Cancelled;
    TryPushError: Full Closed;
    PushTimeoutError: Timeout Closed Cancelled;
}

impl<T> PushTimeoutError<T> {
    /// Without a deadline there is no timeout.
    pub(super) fn without_deadline(self) -> PushError<T> {
        match self {
            PushTimeoutError::Closed(item) => PushError::Closed(item),
            PushTimeoutError::Timeout(item) | PushTimeoutError::Cancelled(item) => PushError::Cancelled(item),
        }
    }
}

impl PopTimeoutError {
    pub(super) fn without_deadline(self) -> PopError {
        match self {
            PopTimeoutError::Closed => PopError::Closed,
            PopTimeoutError::Timeout | PopTimeoutError::Cancelled => PopError::Cancelled,
        }
    }
}
