//! The errors of pushing to and popping from a queue. A failed push returns the item.

use std::fmt;

/// The error of `push`. Holds the item, which is not in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PushError<T> {
    /// The queue was closed.
    #[error("cannot push: the queue was closed")]
    Closed(T),
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("the wait for room in the queue was cancelled")]
    Cancelled(T),
}

/// The error of `try_push`. Holds the item, which is not in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TryPushError<T> {
    /// The queue is full.
    #[error("cannot push at once: the queue is full")]
    Full(T),
    /// The queue was closed.
    #[error("cannot push: the queue was closed")]
    Closed(T),
}

/// The error of `push_deadline` and `push_timeout`. Holds the item, which is not in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PushTimeoutError<T> {
    /// The queue was full until the deadline.
    #[error("cannot push: the queue stayed full until the deadline")]
    Timeout(T),
    /// The queue was closed.
    #[error("cannot push: the queue was closed")]
    Closed(T),
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("the wait for room in the queue was cancelled")]
    Cancelled(T),
}

/// The error of `pop`. No item was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PopError {
    /// The queue was closed and is empty: no item can arrive.
    #[error("nothing to pop: the queue was closed, and is empty")]
    Closed,
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("the wait for an item was cancelled")]
    Cancelled,
}

/// The error of `try_pop`. No item was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TryPopError {
    /// The queue is empty at present.
    #[error("nothing to pop now: the queue is empty")]
    Empty,
    /// The queue was closed and is empty: no item can arrive.
    #[error("nothing to pop: the queue was closed, and is empty")]
    Closed,
}

/// The error of `pop_deadline` and `pop_timeout`. No item was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PopTimeoutError {
    /// The queue was empty until the deadline.
    #[error("nothing to pop: the queue stayed empty until the deadline")]
    Timeout,
    /// The queue was closed and is empty: no item can arrive.
    #[error("nothing to pop: the queue was closed, and is empty")]
    Closed,
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("the wait for an item was cancelled")]
    Cancelled,
}

/// Implements `into_inner`, and a `Debug` without `T: Debug`, for the errors of pushing.
macro_rules! with_item {
    ($($error:ident: $($kind:ident)+;)+) => { $(
        impl<T> $error<T> {
            /// Returns the item.
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
    /// Converts the error of a wait without a deadline, for which `Timeout` cannot occur.
    pub(super) fn without_deadline(self) -> PushError<T> {
        match self {
            PushTimeoutError::Closed(item) => PushError::Closed(item),
            PushTimeoutError::Timeout(item) | PushTimeoutError::Cancelled(item) => PushError::Cancelled(item),
        }
    }
}

impl PopTimeoutError {
    /// Converts the error of a wait without a deadline, for which `Timeout` cannot occur.
    pub(super) fn without_deadline(self) -> PopError {
        match self {
            PopTimeoutError::Closed => PopError::Closed,
            PopTimeoutError::Timeout | PopTimeoutError::Cancelled => PopError::Cancelled,
        }
    }
}
