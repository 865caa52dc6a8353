//! Cancellation as a value: a sticky flag of the task, checked by every wait.
#![forbid(unsafe_code)]

use crate::scheduler::{Mode, flags, worker};
use std::borrow::Cow;
use std::fmt;

/// The task was cancelled. Every wait returns this until it ends: clean up and return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the task was cancelled")]
pub struct Cancelled;

/// Whether this task was cancelled. False outside of a run.
///
/// ```
/// cede::run(|| assert!(!cede::task::is_cancelled()));
/// ```
pub fn is_cancelled() -> bool {
    worker().is_some_and(|worker| worker.current().has_flags(flags::CANCELLED))
}

/// Why this task was cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    reason: Option<Cow<'static, str>>,
}

impl Cancellation {
    /// What was given to [`JoinHandle::cancel_with`](crate::task::JoinHandle::cancel_with), or what the run itself has to say: that
    /// main has ended, or that everybody waits.
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

/// Whether this task was cancelled, and why; `None` if it was not. A deadline or a scope that ended a wait is no cancel of the
/// task.
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
