//! The errors of joining a task.
#![forbid(unsafe_code)]

use crate::coroutine::raw::Payload;
use crate::wait::Cancelled;
use std::any::Any;
use std::fmt;

/// Why a task gave no value.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It panicked, with this payload.
    #[error("the task panicked{}", text_of(.0))]
    Panicked(Payload),
    /// It was cancelled before it ever ran, or did not end when it was told to and had to be unwound or left behind.
    #[error("the task was cancelled")]
    Cancelled,
    /// Whoever waits was cancelled. The task goes on, and can be joined again.
    #[error("the wait for the task was interrupted: the task that waits was cancelled")]
    Interrupted,
    /// The task waits, perhaps through others, for the one that joins it: this would never end.
    #[error("cannot join: the task waits for the one that joins it, so neither would ever end")]
    Deadlock,
}

impl From<Cancelled> for JoinError {
    fn from(_: Cancelled) -> JoinError {
        JoinError::Interrupted
    }
}

/// The text that most payloads are.
pub(super) fn text_in(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str))
}

fn text_of(payload: &Payload) -> String {
    text_in(&**payload).map(|text| format!(": {text}")).unwrap_or_default()
}

impl JoinError {
    /// The payload of a panic, for [`resume_unwind`](std::panic::resume_unwind).
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

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(payload) => write!(f, "Panicked({:?})", text_of(payload).trim_start_matches(": ")),
            JoinError::Cancelled => f.write_str("Cancelled"),
            JoinError::Interrupted => f.write_str("Interrupted"),
            JoinError::Deadlock => f.write_str("Deadlock"),
        }
    }
}
