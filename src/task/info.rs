//! The state of tasks: of one task, of the current task, and of all tasks of a run.
#![forbid(unsafe_code)]

use super::park::Reason;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Phase, Task, Worker, worker};
use std::fmt;

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// The task is in the run queue and waits for its first or its next turn.
    Pending,
    /// The task runs: it is the current task.
    Running,
    /// The task waits, for this reason.
    Waiting(Reason),
    /// The task has returned or panicked.
    Done,
    /// The task was cancelled before its first turn, was unwound, or never ran because it had no stack.
    Cancelled,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskState::Pending => f.write_str("pending"),
            TaskState::Running => f.write_str("running"),
            TaskState::Waiting(reason) => write!(f, "waiting: {reason}"),
            TaskState::Done => f.write_str("done"),
            TaskState::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// Returns the current task; `None` outside a run.
///
/// ```
/// cede::run(|| assert_eq!(cede::task::current().unwrap().name(), Some("main")));
/// assert!(cede::task::current().is_none());
/// ```
pub fn current() -> Option<Task> {
    worker().map(|worker| Task::of(worker.current()))
}

/// The identity of a task among all tasks of the process: the number of its run, and its number in the run.
///
/// Other than a [`Task`], an `Id` has no name and is `Copy`, so [`current_id`] costs next to nothing. No two tasks of a process have the
/// same.
///
/// ```
/// let ids = [(); 2].map(|()| cede::run(|| cede::task::current_id().unwrap()));
/// assert_ne!(ids[0], ids[1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    run: u64,
    task: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run, self.task)
    }
}

/// Returns the identity of the current task; `None` outside a run. Cheaper than [`current`], and unique in the process.
///
/// ```
/// cede::run(|| assert!(cede::task::current_id().is_some()));
/// assert!(cede::task::current_id().is_none());
/// ```
#[inline]
pub fn current_id() -> Option<Id> {
    worker().map(|worker| Id { run: worker.run(), task: worker.current().id() })
}

/// Returns all tasks of this worker that have not ended, main included, with their states, in no particular order. Outside a
/// run there are none. [`Handle::dump`](super::Handle::dump) lists the tasks of several workers.
///
/// ```
/// cede::run(|| {
///     let _handle = cede::spawn(|| ());
///     assert_eq!(cede::task::all().len(), 2);
/// });
/// ```
pub fn all() -> Vec<(Task, TaskState)> {
    let mut all = Vec::new();
    if let Some(worker) = worker() {
        worker.table.for_each(|tcb| {
            if !worker.is_event_loop(tcb) && !tcb.is_finished() {
                all.push((Task::of(tcb), state_of(Some(worker), tcb)));
            }
        });
    }
    all
}

pub(crate) fn state_of(worker: Option<&Worker>, tcb: &Tcb) -> TaskState {
    match tcb.phase() {
        Phase::Ready if worker.is_some_and(|worker| std::ptr::eq(worker.current(), tcb)) => TaskState::Running,
        Phase::Free | Phase::Fresh | Phase::Ready => TaskState::Pending,
        Phase::Parked => TaskState::Waiting(Reason::new(tcb.wait().reason)),
        Phase::Ended => TaskState::Done,
        Phase::Cancelled => TaskState::Cancelled,
    }
}
