//! The errors of generators. Each error gives back what was not delivered.

use std::error::Error;
use std::fmt;

/// The error of `send`: the value was not delivered. Holds the value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendError<T> {
    /// The generator has not started, so no `yield` waits for a value: call `start` first.
    #[error("cannot send to a generator that has not been started: call start() first")]
    NotStarted(T),
    /// The receiver has ended and accepts no more values.
    #[error("cannot send: the receiver has finished")]
    Finished(T),
}

impl<T> SendError<T> {
    /// Returns the value that was not delivered.
    ///
    /// ```
    /// let mut sink = cede::Sink::new(|_: &cede::Inbox<u32>| ());
    /// assert_eq!(sink.send(7).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendError::NotStarted(value) | SendError::Finished(value) => value,
        }
    }
}

// Implemented by hand, so that T need not be Debug.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::NotStarted(_) => "NotStarted(..)",
            SendError::Finished(_) => "Finished(..)",
        })
    }
}

/// The interrupt that [`try_yield`](crate::Yielder::try_yield) returns instead of a sent value.
#[derive(Debug, thiserror::Error)]
pub enum Interrupt {
    /// The generator is being closed or dropped: clean up and return. Python's `GeneratorExit`.
    #[error("the generator is being closed")]
    Closed,
    /// The consumer called [`throw`](crate::Generator::throw) with this error: handle it, or pass it to
    /// [`rethrow`](crate::Yielder::rethrow).
    #[error("an error was thrown into the generator: {0}")]
    Thrown(#[source] Box<dyn Error>),
}

/// The error of [`throw`](crate::Generator::throw): the generator did not handle the thrown error. Holds that error.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ThrowError(pub Box<dyn Error>);

impl ThrowError {
    /// Returns the error that was thrown.
    ///
    /// ```
    /// let mut g = cede::Generator::new(|y| y.yield_(1));
    /// g.next();
    /// let error = g.throw(std::fmt::Error).unwrap_err().into_inner();
    /// assert!(error.is::<std::fmt::Error>());
    /// ```
    pub fn into_inner(self) -> Box<dyn Error> {
        self.0
    }
}

/// The error of [`close`](crate::Generator::close): the generator did not end, or ended with an error.
#[derive(thiserror::Error)]
pub enum CloseError<Y> {
    /// The body yielded this value instead of ending. The body is still suspended.
    #[error("the generator ignored that it was being closed, and yielded")]
    Ignored(Y),
    /// The body ended by rethrowing this error.
    #[error("the generator raised an error while it was being closed: {0}")]
    Raised(#[source] Box<dyn Error>),
}

impl<Y> fmt::Debug for CloseError<Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseError::Ignored(_) => f.write_str("Ignored(..)"),
            CloseError::Raised(error) => f.debug_tuple("Raised").field(error).finish(),
        }
    }
}
