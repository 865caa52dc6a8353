//! Cancellation as a value: cancelling a task sets a sticky flag, which every wait checks.
#![forbid(unsafe_code)]

use crate::scheduler::{Mode, flags, worker};
use std::borrow::Cow;
use std::fmt;

/// The error of a wait that was interrupted: its task or a scope around it was cancelled, or a deadline around it
/// passed.
///
/// The cancellation of a task is sticky: each later wait of the task returns this error, too. Clean up and return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the wait was cancelled")]
pub struct Cancelled;

/// Returns whether this task was cancelled; false outside of a run.
///
/// ```
/// cede::run(|| assert!(!cede::task::is_cancelled()));
/// ```
pub fn is_cancelled() -> bool {
    worker().is_some_and(|worker| worker.current().has_flags(flags::CANCELLED))
}

/// The cancellation of a task or of a token, with its reason. Returned by [`cancelled`] and by
/// [`CancellationToken::cancelled`](crate::sync::CancellationToken::cancelled).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    reason: Option<Cow<'static, str>>,
}

impl Cancellation {
    pub(crate) fn new(reason: Option<Cow<'static, str>>) -> Cancellation {
        Cancellation { reason }
    }

    /// Returns the reason that was given to [`JoinHandle::cancel_with`](crate::task::JoinHandle::cancel_with) or to
    /// [`CancellationToken::cancel_with`](crate::sync::CancellationToken::cancel_with), or the reason of the run: main has ended, or the run is deadlocked. `None` for a cancel without a reason.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

impl fmt::Display for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "cancelled: {reason}"),
            None => f.write_str("cancelled"),
        }
    }
}

/// Returns the cancellation of this task with its reason; `None` if the task was not cancelled, and outside of a run. A
/// deadline or a scope that ends a wait does not cancel the task.
///
/// ```
/// cede::run(|| {
///     let mut task = cede::spawn(|| {
///         let _ = cede::task::park("work");
///         cede::task::cancelled().map(|why| why.to_string())
///     });
///     cede::yield_now();
///     task.cancel_with("the user hung up");
///     assert_eq!(task.join().unwrap().as_deref(), Some("cancelled: the user hung up"));
/// });
/// ```
pub fn cancelled() -> Option<Cancellation> {
    let worker = worker()?;
    let tcb = worker.current();
    if !tcb.has_flags(flags::CANCELLED) {
        return None;
    }
    let given = tcb.ext(|ext| ext.cancel_reason.clone());
    let of_the_run = || match worker.mode.get() {
        _ if tcb.has_flags(flags::DEADLOCKED) => Some("the run is deadlocked".into()),
        Mode::Running => None,
        _ => Some("main has ended".into()),
    };
    Some(Cancellation { reason: given.or_else(of_the_run) })
}
