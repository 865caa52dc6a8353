//! Waiting: the one primitive that everything that waits is made of.
//!
//! [`park`] suspends the task until somebody unparks it. A wake that comes before is kept, so nothing is lost between
//! looking at a condition and parking; a wake that was meant for an earlier wait may come late, so whoever parks looks at its
//! condition again. Every park says why, for the report of a deadlock.
//!
//! Cancelling is a value: a flag that every wait looks at, from then on until the task ends.

use super::Task;
use super::done::extra;
use crate::scheduler::inbox::{Inbox, Wake};
use crate::scheduler::table::Block;
use crate::scheduler::{Phase, Wait, Worker, attention, worker};
use crate::section;
use std::fmt;
use std::ptr::null;
use std::sync::Arc;
use std::thread::panicking;
use std::time::Instant;

/// The task was cancelled. Every wait returns this until it ends: clean up and return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the task was cancelled")]
pub struct Cancelled;

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

/// Suspends the task until its [`Unparker`] is used. Returns at once if it was used since the last park. May return without
/// a reason: look at what you wait for again.
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
    wait(running("park"), waiting(reason), None)
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
    wait(running("park"), waiting(reason), Some(deadline))
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
    let wait_for = Wait { stubborn: true, ..waiting(reason) };
    // A stubborn wait does not return Cancelled, except in a panicking thread, where it cannot wait.
    let _ = wait(running("park"), wait_for, None);
}

fn waiting(reason: impl Into<Reason>) -> Wait {
    Wait { why: reason.into().0, on: null(), closed: false, stubborn: false }
}

/// Whether this task was cancelled. False outside of a run.
///
/// ```
/// cede::run(|| assert!(!cede::task::is_cancelled()));
/// ```
pub fn is_cancelled() -> bool {
    worker().is_some_and(|worker| worker.current().has_attention(attention::CANCEL))
}

/// An error if this task was cancelled, for long computations that wait for nothing.
///
/// # Errors
///
/// [`Cancelled`], then and from then on.
///
/// ```
/// cede::run(|| {
///     for _ in 0..3 {
///         cede::task::check()?;
///     }
///     Ok::<(), cede::task::Cancelled>(())
/// })?;
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
pub fn check() -> Result<(), Cancelled> {
    if is_cancelled() { Err(Cancelled) } else { Ok(()) }
}

#[track_caller]
pub(crate) fn running<'a>(what: &str) -> &'a Worker {
    match worker() {
        Some(worker) => worker,
        None => super::not_running(what),
    }
}

/// Waits, with everything that a wait has to look at. All of the library's waits come by here.
#[track_caller]
pub(crate) fn wait(worker: &Worker, wait: Wait, deadline: Option<Instant>) -> Result<(), Cancelled> {
    if panicking() {
        return Err(Cancelled);
    }
    refuse_in_section();
    assert!(!worker.is_in_job(), "cannot wait in a callback: spawn a task from it instead");
    let block = worker.current();
    if block.attention.get() == 0 || !is_cut_short(block, wait) {
        worker.park(wait, deadline);
        worker.unwind_if_told();
        return if !wait.stubborn && block.has_attention(attention::CANCEL) { Err(Cancelled) } else { Ok(()) };
    }
    // A wait that is cut short still gives up its turn, so that a task which ignores its cancel starves nobody.
    worker.turn();
    worker.unwind_if_told();
    if wait.stubborn { Ok(()) } else { Err(Cancelled) }
}

/// Whether a wait of this kind does not begin, or ends.
fn is_cut_short(block: &Block, wait: Wait) -> bool {
    let bits = attention::UNWIND | attention::BROKEN | if wait.stubborn { 0 } else { attention::CANCEL };
    block.has_attention(bits)
}

/// Wakes a task whose attention has changed, if that ends the wait that it is in.
pub(crate) fn cut_short(worker: &Worker, block: &Block) {
    if block.phase.get() == Phase::Parked && is_cut_short(block, block.wait.get()) {
        worker.wake(block);
    }
}

#[track_caller]
pub(super) fn refuse_in_section() {
    if let Some(section) = section::left_open(0) {
        panic!("cannot wait or yield inside {section}: close it first");
    }
}

/// Wakes one task, from anywhere: from a task, a callback, or another thread.
///
/// Clones wake the same task. When the task has ended it does nothing. As long as one exists, a task that is parked might
/// still be woken, so the run is not reported as deadlocked for certain.
#[derive(Clone)]
pub struct Unparker {
    /// There until it is dropped.
    target: Option<Arc<Target>>,
}

/// Whom an unparker wakes.
pub(super) struct Target {
    inbox: Arc<Inbox>,
    wake: Wake,
    task: Task,
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
        let block = worker.current();
        let target = extra(block, |extra| {
            let make = || {
                let wake = Wake { key: std::ptr::from_ref(block) as usize, address: block.id.get() };
                Arc::new(Target { inbox: Arc::clone(&worker.inbox), wake, task: Task::of(block) })
            };
            Arc::clone(extra.target.get_or_insert_with(make))
        });
        Unparker { target: Some(target) }
    }

    /// Makes the task's current park return, or else its next one.
    pub fn unpark(&self) {
        let Target { inbox, wake, .. } = self.target();
        match worker() {
            Some(worker) if Arc::ptr_eq(&worker.inbox, inbox) => {
                // SAFETY: the key came from a block of this worker's table, and blocks stay in place as long as it.
                let block = unsafe { &*(wake.key as *const Block) };
                if block.id.get() == wake.address {
                    worker.wake(block);
                }
            }
            // The run may be over; then there is nobody to wake.
            _ => drop(inbox.post(*wake)),
        }
    }

    /// Whom it wakes.
    pub fn task(&self) -> &Task {
        &self.target().task
    }

    fn target(&self) -> &Target {
        self.target.as_ref().expect("it is not being dropped")
    }
}

impl Drop for Unparker {
    fn drop(&mut self) {
        let inbox = Arc::clone(&self.target().inbox);
        let Some(target) = self.target.take() else { return };
        let left = Arc::downgrade(&target);
        drop(target);
        // Only the block's own is left: nobody can wake the task any more, and its worker may be asleep.
        if left.strong_count() <= 1 && worker().is_none_or(|worker| !Arc::ptr_eq(&worker.inbox, &inbox)) {
            inbox.nudge();
        }
    }
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparker").field("task", self.task()).finish()
    }
}

/// Whether somebody holds an unparker for this task.
pub(super) fn can_be_unparked(block: &Block) -> bool {
    extra(block, |extra| extra.target.as_ref().is_some_and(|target| Arc::strong_count(target) > 1))
}
