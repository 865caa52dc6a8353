//! `JoinError`: the error of joining a task.
#![forbid(unsafe_code)]

use crate::coroutine::raw::Payload;
use crate::stack::StackError;
use crate::wait::Cancelled;
use std::any::Any;
use std::fmt;

/// The error of joining a task: the task gave no value, or the wait for it did not complete.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The task panicked, with this payload.
    #[error("the task panicked{}", text_of(.0))]
    Panicked(Payload),
    /// The task was cancelled before its first turn, or it did not end when it was cancelled and was unwound or abandoned.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task never ran: no stack could be allocated at its first turn, or, for a task that another thread spawned, a size of its
    /// builder is out of bounds.
    #[error("the task was not started: {0}")]
    Stack(Box<StackError>),
    /// The wait was interrupted: the waiting task was cancelled, or a deadline or scope around the wait ended it. The task
    /// continues, and can be joined again.
    #[error("the wait for the task was cancelled")]
    Interrupted,
    /// The task waits, directly or through further tasks, for the task that joins it: the join would never end.
    #[error("cannot join: the task waits for the task that joins it, so neither would ever end")]
    Deadlock,
}

impl From<Cancelled> for JoinError {
    fn from(_: Cancelled) -> JoinError {
        JoinError::Interrupted
    }
}

/// Returns the text of a payload, if it is a string, as the payload of `panic!` is.
pub(crate) fn text_in(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str))
}

fn text_of(payload: &Payload) -> String {
    text_in(&**payload).map(|text| format!(": {text}")).unwrap_or_default()
}

impl JoinError {
    /// Returns the payload of a panic, for [`resume_unwind`](std::panic::resume_unwind); `None` for any other error.
    ///
    /// ```
    /// let error = cede::run(|| cede::spawn(|| panic!("no")).join()).unwrap_err();
    /// assert_eq!(error.into_panic().unwrap().downcast_ref(), Some(&"no"));
    /// ```
    pub fn into_panic(self) -> Option<Payload> {
        match self {
            JoinError::Panicked(payload) => Some(payload),
            _ => None,
        }
    }
}

impl JoinError {
    /// Returns whether the task failed on its own: it panicked, or it had no stack.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, JoinError::Panicked(_) | JoinError::Stack(_))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(payload) => write!(f, "Panicked({:?})", text_of(payload).trim_start_matches(": ")),
            JoinError::Cancelled => f.write_str("Cancelled"),
            JoinError::Stack(error) => f.debug_tuple("Stack").field(error).finish(),
            JoinError::Interrupted => f.write_str("Interrupted"),
            JoinError::Deadlock => f.write_str("Deadlock"),
        }
    }
}
