//! Parking: the public wait that an `Unparker` ends.
//!
//! [`park`] suspends the task until an [`Unparker`] of the task is used. An unpark that comes before the park is kept as a permit for the
//! next public park, so no wake is lost between checking a condition and parking. A wake may also be spurious, so the caller checks its
//! condition again. Every park has a reason, which reports of deadlocks and dumps show.
#![forbid(unsafe_code)]

use crate::scheduler::wake::WakeHandle;
use crate::scheduler::{Task, WaitSpec, Worker};
use crate::wait::{Cancelled, consume_budget, running, wait};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Why a task waits, for people to read.
///
/// ```
/// let reason: cede::task::Reason = "the printer is busy".into();
/// assert_eq!(reason.to_string(), "the printer is busy");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reason(&'static str);

impl Reason {
    /// A reason in words, best as what is waited for: "a free connection".
    pub const fn new(why: &'static str) -> Reason {
        Reason(why)
    }
}

impl From<&'static str> for Reason {
    fn from(why: &'static str) -> Reason {
        Reason(why)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Suspends the task until its [`Unparker`] is used. Returns at once if it was used since the last park, also if the task has
/// waited for something else in between: an unpark is kept until a park takes it, and several before a park count as one. May
/// return without a reason: check the condition again.
///
/// # Errors
///
/// [`Cancelled`] if the task is cancelled, before or meanwhile; also at once while the thread panics, since a destructor
/// must not be interleaved with other tasks.
///
/// # Panics
///
/// Outside of a run, in a callback, and inside [`no_suspend`](crate::no_suspend).
///
/// ```
/// cede::run(|| {
///     let main = cede::task::Unparker::current();
///     cede::spawn(move || main.unpark());
///     cede::task::park("the other task")?;
///     Ok::<(), cede::task::Cancelled>(())
/// })?;
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
#[track_caller]
pub fn park(reason: impl Into<Reason>) -> Result<(), Cancelled> {
    let what = waiting(reason);
    public_park(running("park"), what, None)
}

/// As [`park`], but not beyond `deadline`, by the clock of [`time::now`](crate::time::now): then it returns `Ok` too, and the
/// clock tells which.
///
/// # Errors
///
/// # Panics
///
/// As [`park`].
///
/// ```
/// use std::time::{Duration, Instant};
/// cede::run(|| {
///     let deadline = Instant::now() + Duration::from_millis(1);
///     while Instant::now() < deadline {
///         cede::task::park_until("a millisecond", deadline).unwrap();
///     }
/// });
/// ```
#[track_caller]
pub fn park_until(reason: impl Into<Reason>, deadline: Instant) -> Result<(), Cancelled> {
    let what = waiting(reason);
    public_park(running("park"), what, Some(deadline))
}

/// As [`park`], but no cancel cuts it short: for a wait that must not be left half-way. Keep it brief: whoever cancels the
/// task waits as long. A certain deadlock and the end of the grace period do end it.
///
/// # Panics
///
/// As [`park`].
///
/// ```
/// cede::run(|| {
///     let main = cede::task::Unparker::current();
///     cede::spawn(move || main.unpark());
///     cede::task::park_shielded("the last write");
/// });
/// ```
#[track_caller]
pub fn park_shielded(reason: impl Into<Reason>) {
    let wait_for = WaitSpec { uncancellable: true, ..waiting(reason) };
    // An uncancellable wait does not return Cancelled, except in a panicking thread, where it cannot wait.
    let _ = public_park(running("park"), wait_for, None);
}

#[track_caller]
fn public_park(worker: &Worker, wait_for: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
    if worker.current().has_permit() {
        // It will not wait.
        consume_budget();
    }
    wait(worker, wait_for, deadline)
}

/// To be called before the worker is looked up: `into` may be anybody's code, and a generator that suspends in it may go on in
/// another run.
fn waiting(reason: impl Into<Reason>) -> WaitSpec {
    WaitSpec { reason: reason.into().0, public: true, ..WaitSpec::DEFAULT }
}

/// Wakes one task, from anywhere: from a task, a callback, or another thread.
///
/// Clones wake the same task. When the task has ended it does nothing. As long as one exists, a task that is parked might
/// still be woken, so the run is not reported as deadlocked for certain.
#[derive(Clone)]
pub struct Unparker {
    waker: WakeHandle,
    /// Shared with the TCB and the other unparkers of the task. Present until the drop.
    task: Option<Arc<Task>>,
}

impl Unparker {
    /// One for the task that this code is part of.
    ///
    /// # Panics
    ///
    /// Outside of a run.
    ///
    /// ```
    /// cede::run(|| {
    ///     let main = cede::task::Unparker::current();
    ///     std::thread::spawn(move || main.unpark());
    ///     cede::task::park("the thread").unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn current() -> Unparker {
        let worker = running("make an Unparker");
        let tcb = worker.current();
        let task = tcb.ext(|ext| Arc::clone(ext.unparker.get_or_insert_with(|| Arc::new(Task::of(tcb)))));
        Unparker { waker: WakeHandle::of(worker, tcb), task: Some(task) }
    }

    /// Makes the task's current park return, or else its next one. A sleep, a join, a lock, a channel or any other wait neither
    /// ends by it nor takes it.
    ///
    /// ```
    /// use cede::task::{Unparker, park};
    /// cede::run(|| {
    ///     Unparker::current().unpark();
    ///     cede::time::sleep(std::time::Duration::from_millis(1))?;
    ///     park("the unpark of before") // returns at once
    /// })?;
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub fn unpark(&self) {
        self.waker.unpark();
    }

    /// Whom it wakes.
    pub fn task(&self) -> &Task {
        self.task.as_ref().expect("it is present until the drop")
    }
}

impl Drop for Unparker {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let left = Arc::downgrade(&task);
        drop(task);
        // Only the TCB's own reference is left, so the task can no longer be unparked, and its worker may sleep for that.
        if left.strong_count() <= 1 && !self.waker.is_here() {
            self.waker.notify();
        }
    }
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparker").field("task", self.task()).finish()
    }
}
