//! Parking: the wait that an `Unparker` ends.
//!
//! [`park`] suspends the task until an [`Unparker`] of the task is used. An unpark that comes before the park is kept
//! for the next park, so no wakeup is lost between checking a condition and parking. A wakeup may also be
//! spurious, so the caller checks its condition again. Every park has a [`Reason`], which deadlock reports and dumps show.
#![forbid(unsafe_code)]

use crate::scheduler::wake::WakeHandle;
use crate::scheduler::{Task, WaitSpec, Worker};
use crate::wait::{Cancelled, consume_budget, running, wait};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The reason of a wait in words, for deadlock reports and dumps.
///
/// ```
/// let reason: cede::task::Reason = "a free printer".into();
/// assert_eq!(reason.to_string(), "a free printer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reason(&'static str);

impl Reason {
    /// Creates a reason. It reads best if it names what the task waits for: "a free connection".
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

/// Waits until an [`Unparker`] of the task is used. Returns at once if an unparker was used since the last park: an unpark
/// is kept until a park takes it, even if the task waits for something else in between. Several unparks before a park count
/// as one.
///
/// A wakeup may be spurious: check the condition again after the call.
///
/// Cancel safety: a call that is cancelled while it waits may consume an unpark. Check the condition then too.
///
/// # Errors
///
/// [`Cancelled`] if the task is cancelled before or during the wait, if a deadline or scope around the call ends the wait,
/// or if the thread is panicking: a destructor must not be interleaved with other tasks.
///
/// # Panics
///
/// Panics if called outside a run, in a callback, or inside [`no_suspend`](crate::no_suspend).
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

/// Like [`park`], but gives up at `deadline`, by the clock of [`time::now`](crate::time::now). Returns `Ok` both
/// after an unpark and at the deadline: compare the clock with the deadline to tell the two apart.
///
/// # Errors
///
/// The errors of [`park`].
///
/// # Panics
///
/// The panics of [`park`].
///
/// ```
/// use cede::time::now;
/// cede::run(|| {
///     let deadline = now() + std::time::Duration::from_millis(1);
///     while now() < deadline {
///         cede::task::park_until("a millisecond", deadline).unwrap();
///     }
/// });
/// ```
#[track_caller]
pub fn park_until(reason: impl Into<Reason>, deadline: Instant) -> Result<(), Cancelled> {
    let what = waiting(reason);
    public_park(running("park"), what, Some(deadline))
}

/// Like [`park`], but no cancel, deadline or scope ends the wait. Use it for a wait that must be completed.
///
/// Keep the wait brief, because a cancel of the task takes effect only after it. A deadlock of the run and the forced
/// unwind at the end of the grace period do end the wait. If the thread is panicking, the call returns at once.
///
/// # Panics
///
/// The panics of [`park`].
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
    // An uncancellable wait returns `Cancelled` only if the thread is panicking, where it cannot wait.
    let _ = public_park(running("park"), wait_for, None);
}

#[track_caller]
fn public_park(worker: &Worker, wait_for: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
    if worker.current().has_permit() {
        // The park will not wait: count it in the cooperative budget.
        consume_budget();
    }
    wait(worker, wait_for, deadline)
}

/// Returns the specification of a public park. Must be called before the worker is looked up: `into` is user code, and a
/// generator that suspends in it may continue in another run.
fn waiting(reason: impl Into<Reason>) -> WaitSpec {
    WaitSpec { reason: reason.into().0, public: true, ..WaitSpec::DEFAULT }
}

/// A handle that wakes one task from its [`park`]. It can be used in a task, in a callback, or on another thread.
///
/// Clones wake the same task. After the task has ended, an unparker has no effect. A parked task with an unparker may still
/// be woken. So its run is reported as deadlocked only if it is a closed world, or if the process has no other thread.
#[derive(Clone)]
pub struct Unparker {
    waker: WakeHandle,
    /// Shared with the TCB and the task's other unparkers. `None` only during the drop.
    task: Option<Arc<Task>>,
}

impl Unparker {
    /// Creates an unparker of the current task.
    ///
    /// # Panics
    ///
    /// Panics if called outside a run.
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

    /// Wakes the task from its current [`park`], or makes its next park return at once. An unpark does not end other
    /// waits (a sleep, a join, a lock, a channel), and they do not consume it.
    ///
    /// ```
    /// use cede::task::{Unparker, park};
    /// cede::run(|| {
    ///     Unparker::current().unpark();
    ///     cede::time::sleep(std::time::Duration::from_millis(1))?;
    ///     park("the earlier unpark") // returns at once
    /// })?;
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub fn unpark(&self) {
        self.waker.unpark();
    }

    /// Returns the task that the unparker wakes.
    pub fn task(&self) -> &Task {
        self.task.as_ref().expect("the task is present until the drop")
    }
}

impl Drop for Unparker {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let left = Arc::downgrade(&task);
        drop(task);
        // Only the TCB's own reference is left, so no thread can unpark the task any more. Its worker may be asleep and
        // wait for an unpark: wake it, so that it checks for a deadlock.
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
