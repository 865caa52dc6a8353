//! Waiting: the one primitive that everything that waits is made of.
//!
//! [`park`] suspends the task until an [`Unparker`] of it is used. A wake that comes before is kept, so nothing is lost between
//! looking at a condition and parking; a wake that was meant for an earlier wait may come late, so the caller looks at its
//! condition again. The two are kept apart: an unpark is a permit for the next public park and for nothing else, a wake of the
//! library's own is a token for the next wait of any kind. Every park says why, for the report of a deadlock.
//!
//! Cancelling is a value: a flag that every wait looks at, from then on until the task ends.

use super::callbacks::ext;
use super::{Task, limits};
use crate::scheduler::tcb::Tcb;
use crate::scheduler::wake::{WakeHandle, block_thread};
use crate::scheduler::{COOP_BUDGET, Mode, Phase, WaitSpec, Worker, flags, worker};
use crate::suspend_check;
use std::borrow::Cow;
use std::fmt;
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
    if worker.current().permit.get() {
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
    /// What was given to [`JoinHandle::cancel_with`](super::JoinHandle::cancel_with), or what the run itself has to say: that
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
    let given = ext(tcb, |ext| ext.cancel_reason.clone());
    let of_the_run = || match worker.mode.get() {
        _ if tcb.has_flags(flags::DEADLOCKED) => Some("the run is deadlocked".into()),
        Mode::Running => None,
        _ => Some("main has ended".into()),
    };
    Some(Cancellation { reason: given.or_else(of_the_run) })
}

/// The run's time, or the real one.
pub(super) fn now() -> Instant {
    worker().map_or_else(Instant::now, |worker| worker.clock.now())
}

#[track_caller]
pub(crate) fn running<'a>(what: &str) -> &'a Worker {
    match worker() {
        Some(worker) => worker,
        None => super::not_running(what),
    }
}

/// Waits, with everything that a wait has to look at. All of the library's waits come by here.
#[inline(always)]
#[track_caller]
pub(crate) fn wait(worker: &Worker, wait: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
    if panicking() {
        return Err(Cancelled);
    }
    refuse(worker);
    let tcb = worker.current();
    if tcb.flags.get() != 0 {
        return wait_slow(worker, tcb, wait, deadline);
    }
    worker.park(wait, deadline);
    if tcb.flags.get() == 0 {
        return Ok(());
    }
    worker.unwind_if_requested();
    if !wait.uncancellable && tcb.has_flags(flags::CANCELLED) { Err(Cancelled) } else { Ok(()) }
}

/// The same for a task that was told something, or that has limits open.
#[cold]
fn wait_slow(worker: &Worker, tcb: &Tcb, wait: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
    let view = limits::view(tcb);
    let limit = view.deadline().filter(|_| !wait.uncancellable);
    let is_own = limit.is_none_or(|limit| deadline.is_some_and(|deadline| deadline <= limit));
    let effective = WaitSpec {
        uncancellable: wait.uncancellable || view.shielded,
        limited: !wait.uncancellable,
        limit_first: !is_own,
        ..wait
    };
    if flags_interrupt(tcb, effective) || !wait.uncancellable && limits::is_interrupted(worker, tcb) {
        // A task that grants something during the turn sees that this wait is over.
        tcb.wait.set(effective);
        // A wait that is cut short still gives up its turn, so that a task which ignores its cancel starves nobody.
        worker.turn();
        worker.unwind_if_requested();
        return if wait.uncancellable { Ok(()) } else { Err(Cancelled) };
    }
    let rang = worker.park(effective, if is_own { deadline } else { limit });
    worker.unwind_if_requested();
    if wait.uncancellable {
        return Ok(());
    }
    // What came before the deadline is not taken for late, however late the task got to run; the next wait will be.
    let view = limits::view(tcb);
    if flags_interrupt(tcb, effective) || view.scope_cancelled {
        return Err(Cancelled);
    }
    let is_late = rang && !is_own && view.is_over(worker);
    if is_late {
        view.saw_deadline();
    }
    if is_late { Err(Cancelled) } else { Ok(()) }
}

/// As [`wait`]; outside of a run it blocks the thread, which nobody can cancel. Ends when a [`WakeHandle`] of whoever
/// waits is used, and may end without a reason. An uncancellable wait returns `Cancelled` too if it must not be waited again:
/// after a certain deadlock, when the grace period is over, and while the thread panics.
#[inline(always)]
#[track_caller]
pub(crate) fn wait_anywhere(wait_for: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
    match worker() {
        Some(worker) => {
            let outcome = wait(worker, wait_for, deadline);
            let given_up = flags::DEADLOCKED | flags::UNWOUND;
            let broken = wait_for.uncancellable && worker.current().has_flags(given_up);
            outcome.and(if broken { Err(Cancelled) } else { Ok(()) })
        }
        None => {
            block_thread(deadline);
            Ok(())
        }
    }
}

/// The cooperative budget: counts a call that may wait and did not. Every `COOP_BUDGET`th such call gives up its turn
/// once: a task that takes what another thread keeps supplying never waits, and would otherwise starve timers, cancels,
/// deadlines and all other tasks.
///
/// Callers have done by then what they were called for, so that what needs no wait is done at once, whatever the budget. What
/// they have in hand is given back by its destructor: the turn may be unwound out of.
#[inline(always)]
pub(crate) fn consume_budget() {
    consume_budget_of(worker());
}

/// The same for a caller that has found this thread's worker already, or that has waited: with none nothing is counted.
#[inline(always)]
pub(crate) fn consume_budget_of(worker: Option<&Worker>) {
    if is_budget_spent(worker) {
        yield_for_budget(worker);
    }
}

/// Counts a call, and tells whether it is one that is to give up its turn: by `yield_for_budget`.
#[inline(always)]
pub(crate) fn is_budget_spent(worker: Option<&Worker>) -> bool {
    worker.is_some_and(|worker| {
        let left = worker.budget.get().wrapping_sub(1);
        worker.budget.set(left);
        left == 0
    })
}

/// Gives up a turn, where that is possible.
#[cold]
#[inline(never)]
pub(crate) fn yield_for_budget(worker: Option<&Worker>) {
    let Some(worker) = worker else { return };
    let tcb = worker.current();
    if panicking() || tcb.has_flags(flags::NO_SUSPEND) || worker.is_in_job() || worker.is_event_loop(tcb) {
        // No turn may be given up here: the next call counts again.
        worker.budget.set(1);
        return;
    }
    worker.budget.set(COOP_BUDGET);
    // A turn alone would look at timers and at the wakes of other threads only every 64th time.
    worker.poll_soon();
    worker.turn();
}

/// Whether a wait of this kind does not begin, or ends, for what the task was told.
fn flags_interrupt(tcb: &Tcb, wait: WaitSpec) -> bool {
    let bits = flags::UNWIND_REQUESTED | flags::DEADLOCKED | if wait.uncancellable { 0 } else { flags::CANCELLED };
    tcb.has_flags(bits)
}

/// Wakes a task whose flags have changed, if that ends the wait that it is in.
pub(crate) fn wake_if_interrupted(worker: &Worker, tcb: &Tcb) {
    if tcb.phase.get() == Phase::Parked && flags_interrupt(tcb, tcb.wait.get()) {
        worker.wake(tcb);
    }
}

/// Whether nothing may be granted to a waiter in a line: its task is gone, or was interrupted and has not run since.
#[inline(always)]
pub(crate) fn is_out(waker: &WakeHandle) -> bool {
    waker.is_out(is_over)
}

/// Whether the wait of a task of this run is over, though it has not been entered since: the task was cancelled or is to be
/// unwound, a scope around the wait was cancelled, or a deadline has come, by the run's clock. What the wait itself does not
/// heed does not count.
#[cold]
#[inline(never)]
fn is_over(worker: &Worker, tcb: &Tcb) -> bool {
    let wait = tcb.wait.get();
    if flags_interrupt(tcb, wait) {
        return true;
    }
    let timed = tcb.has_flags(flags::HAS_DEADLINE);
    // Of an own deadline and a limit the wait heeds the one that it is parked with.
    let own = tcb.deadline.get().filter(|_| timed && !wait.limit_first);
    // The cancel of a scope and a deadline that is moved wake the task: one that is still parked was told of neither.
    let may_be_limited = wait.limited && (timed || tcb.phase.get() != Phase::Parked);
    own.is_some_and(|own| own <= worker.clock.now()) || may_be_limited && limits::is_interrupted(worker, tcb)
}

/// Panics where nothing may wait.
#[track_caller]
pub(super) fn refuse(worker: &Worker) {
    if worker.current().has_flags(flags::NO_SUSPEND) || cfg!(debug_assertions) {
        suspend_check::refuse_to_wait();
    }
    assert!(!worker.is_in_job(), "cannot wait in a callback: spawn a task from it instead");
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
    waker: WakeHandle,
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
        let tcb = worker.current();
        let target = ext(tcb, |ext| {
            let make = || Arc::new(Target { waker: WakeHandle::of(worker, tcb), task: Task::of(tcb) });
            Arc::clone(ext.target.get_or_insert_with(make))
        });
        Unparker { target: Some(target) }
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
        self.target().waker.unpark();
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
        let waker = self.target().waker;
        let Some(target) = self.target.take() else { return };
        let left = Arc::downgrade(&target);
        drop(target);
        // Only the TCB's own is left: nobody can wake the task any more, and its worker may be asleep.
        if left.strong_count() <= 1 && !waker.is_here() {
            waker.notify();
        }
    }
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparker").field("task", self.task()).finish()
    }
}

/// Whether somebody holds an unparker for this task.
pub(crate) fn can_be_unparked(tcb: &Tcb) -> bool {
    ext(tcb, |ext| ext.target.as_ref().is_some_and(|target| Arc::strong_count(target) > 1))
}
