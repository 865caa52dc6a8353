//! Suspending a task until it is woken: all waits of tasks call [`wait`] or [`wait_until_done`], except those at the end
//! of a scope or a run.
//!
//! A wait may end by a *spurious wakeup*, so its caller checks its condition again. A wake that arrives before the task
//! has parked is kept as a token, so there is no *lost wakeup*.
#![forbid(unsafe_code)]

use super::cancel::Cancelled;
use super::limits;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::wake::{Place, WakeHandle, block_thread};
use crate::scheduler::{WaitSpec, Worker, fiber, flags, worker};
use crate::stack::arena::Kind;
use crate::stack::overflow::abort_naming;
use crate::suspend_check;
use std::thread::panicking;
use std::time::Instant;

/// Returns the current time by the run's clock, or by the real clock outside of a run.
pub(crate) fn now() -> Instant {
    worker().map_or_else(Instant::now, |worker| worker.clock.now())
}

/// Returns the worker. Panics outside of a run, where `what` is not possible.
#[track_caller]
pub(crate) fn running<'a>(what: &str) -> &'a Worker {
    match worker() {
        Some(worker) => worker,
        None => not_running(what),
    }
}

/// Suspends the running task until it is woken or `deadline` passes. Returns `Cancelled` if the task was cancelled, or
/// if a scope or deadline around the wait ended it. Unwinds instead of returning if a forced unwind was requested.
///
/// In a panicking thread a wait returns `Cancelled` at once, because a destructor must not be interleaved with other
/// tasks. Only there an uncancellable wait returns `Cancelled`.
#[inline(always)]
#[track_caller]
pub(crate) fn wait(worker: &Worker, wait: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
    if panicking() {
        return Err(Cancelled);
    }
    if cfg!(debug_assertions) {
        suspend_check::refuse_to_wait();
    }
    let tcb = worker.current();
    // A `no_suspend` section sets a flag, so one comparison checks that, too.
    if tcb.flags() != 0 || worker.is_in_job() {
        return wait_slow(worker, tcb, wait, deadline);
    }
    worker.park(tcb, wait, deadline);
    if tcb.flags() == 0 {
        return Ok(());
    }
    worker.unwind_if_requested();
    if !wait.uncancellable && tcb.has_flags(flags::CANCELLED) { Err(Cancelled) } else { Ok(()) }
}

/// Like [`wait`], for a task with a flag set (it was cancelled, has limits open, or the run is deadlocked), and for a call where
/// no wait is allowed, which panics.
#[cold]
#[track_caller]
fn wait_slow(worker: &Worker, tcb: &Tcb, wait: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
    refuse(worker);
    let view = limits::view(tcb);
    let limit = view.deadline().filter(|_| !wait.uncancellable);
    let is_own = limit.is_none_or(|limit| deadline.is_some_and(|deadline| deadline <= limit));
    let effective = WaitSpec {
        uncancellable: wait.uncancellable || view.shielded,
        limited: !wait.uncancellable,
        limit_first: !is_own,
        ..wait
    };
    if tcb.flags_interrupt(effective) || !wait.uncancellable && limits::is_interrupted(worker, tcb) {
        // A task that grants something during the turn below must see that this wait is over.
        tcb.set_wait(effective);
        // The wait gives up its turn even though it is over, so that a task that ignores its cancel cannot starve other
        // tasks.
        worker.turn();
        worker.unwind_if_requested();
        return if wait.uncancellable { Ok(()) } else { Err(Cancelled) };
    }
    let timed_out = worker.park(tcb, effective, if is_own { deadline } else { limit });
    worker.unwind_if_requested();
    if wait.uncancellable {
        return Ok(());
    }
    // Only a wait that its timer ended is late: a wake that arrived before the deadline counts, no matter when the task
    // ran. The next wait is late in any case.
    let view = limits::view(tcb);
    if tcb.flags_interrupt(effective) || view.scope_cancelled {
        return Err(Cancelled);
    }
    let is_late = timed_out && !is_own && view.is_over(worker);
    if is_late {
        view.saw_deadline();
    }
    if is_late { Err(Cancelled) } else { Ok(()) }
}

/// Like [`wait`], but outside of a run it suspends the fiber that calls, or blocks the thread, which cannot be cancelled. Ends when a [`WakeHandle`] of
/// the waiter is used, and may end by a spurious wakeup. An uncancellable wait returns `Cancelled`, too, if the caller
/// must not wait again: after a deadlock, after a forced unwind, and while the thread panics.
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
        None if block_thread(deadline) => Ok(()),
        None => Err(Cancelled),
    }
}

/// Like [`wait_anywhere`], for a wait that readiness of one of the descriptors ends, too, readable (`true`) or writable. The caller has
/// registered a task as a waiter for them; a plain thread waits for them here.
#[cfg(feature = "io")]
#[track_caller]
pub(crate) fn wait_anywhere_in_poll(
    wait_for: WaitSpec,
    fds: &[(std::os::fd::BorrowedFd<'_>, bool)],
    deadline: Option<Instant>,
) -> Result<(), Cancelled> {
    if fds.is_empty() || worker().is_some() {
        return wait_anywhere(wait_for, deadline);
    }
    if crate::scheduler::wake::block_thread_in_poll(fds, deadline) { Ok(()) } else { Err(Cancelled) }
}

/// Suspends the running task until `done` returns true. The operation that makes it true must then wake the task.
///
/// For an operation on another thread that borrows from the task's stack. Nothing ends the wait early: no cancel,
/// deadline, scope, deadlock or forced unwind, which the task's next wait reports. Nor does this function unwind: where
/// that would be necessary, the process aborts. The run does not abandon the task during the wait (`Worker::lent`).
///
/// The caller must have checked [`can_suspend`].
pub(crate) fn wait_until_done(worker: &Worker, reason: &'static str, done: impl Fn() -> bool) {
    let wait = WaitSpec { reason, in_progress: true, uncancellable: true, ..WaitSpec::DEFAULT };
    let guard = AbortOnUnwind(worker);
    worker.begin_lent();
    // Other events wake the task too: a forced unwind, or a stale wake of an earlier wait.
    while !done() {
        worker.park(worker.current(), wait, None);
    }
    worker.end_lent();
    std::mem::forget(guard);
}

/// Suspends the running task until `is_done` returns true, for a task whose frame tasks of any worker borrow from. The last of them must
/// then wake it. Nothing ends the wait early, and it does not unwind: see [`wait_until_done`].
///
/// Unlike there, tasks of the run end the wait, which may never end. So it can be part of a deadlock, and at the end of the run a worker
/// waits only until the workers of these tasks have come as far (`Worker::lenders`).
///
/// The caller must have checked [`can_suspend`].
pub(crate) fn wait_for_borrowers(worker: &Worker, reason: &'static str, is_done: impl Fn() -> bool) {
    let wait = WaitSpec { reason, only_this_run: true, uncancellable: true, ..WaitSpec::DEFAULT };
    let guard = AbortOnUnwind(worker);
    worker.lenders.set(worker.lenders.get() + 1);
    while !is_done() {
        worker.park(worker.current(), wait, None);
    }
    worker.lenders.set(worker.lenders.get() - 1);
    std::mem::forget(guard);
}

/// Aborts the process if a wait unwinds that must not, which the scheduler does only if its invariants are broken.
pub(crate) struct AbortOnUnwind<'a>(pub(crate) &'a Worker);

impl Drop for AbortOnUnwind<'_> {
    fn drop(&mut self) {
        let why = "was unwound while another thread, task or the kernel used what it borrows";
        abort_naming(Kind::Task, self.0.current().name().as_deref(), why);
    }
}

impl Worker {
    /// Keeps the run from abandoning its tasks: what one of them borrows is used from outside.
    pub(super) fn begin_lent(&self) {
        self.lent.set(self.lent.get() + 1);
    }

    /// Ends the effect of [`begin_lent`](Self::begin_lent).
    pub(super) fn end_lent(&self) {
        self.lent.set(self.lent.get() - 1);
        if self.lent.get() == 0 && self.shutting_down.get() {
            self.wake(self.main());
        }
    }
}

/// Returns whether nothing may be granted to a waiter in a wait queue: its task is gone, or its wait was interrupted
/// and the task has not run since.
#[inline(always)]
pub(crate) fn is_out(waker: &WakeHandle) -> bool {
    waker.is_out(is_over)
}

/// Like [`is_out`], and returns whether the waiter belongs to the run of the calling code. `worker` is that of this thread.
#[inline(always)]
pub(crate) fn place<'a>(waker: &WakeHandle, worker: Option<&'a Worker>) -> Place<'a> {
    waker.place(worker, is_over)
}

/// Returns whether the wait of a task of this run was interrupted, although the task has not run since: the task was
/// cancelled or will be unwound, a scope around the wait was cancelled, or a deadline has passed by the run's clock.
/// Ignores the events that do not end this wait, such as the cancel of a shielded one.
#[cold]
#[inline(never)]
fn is_over(worker: &Worker, tcb: &Tcb) -> bool {
    let wait = tcb.wait();
    if tcb.flags_interrupt(wait) {
        return true;
    }
    let deadline = tcb.deadline();
    // The wait obeys the deadline that it is parked with: its own, or that of a limit.
    let own = deadline.filter(|_| !wait.limit_first);
    // The cancel of a scope and a change of a deadline wake the task, so neither has happened to a task that is still
    // parked: the limits of a parked task without a deadline need no check.
    let may_be_limited = wait.limited && (deadline.is_some() || !tcb.is_parked());
    own.is_some_and(|own| own <= worker.clock.now()) || may_be_limited && limits::is_interrupted(worker, tcb)
}

/// Sleeps in a fiber, outside of a run. Returns `None` if the calling code belongs to no fiber.
#[track_caller]
pub(crate) fn sleep_in_fiber(deadline: Option<Instant>) -> Option<Result<(), Cancelled>> {
    let fiber = fiber::current()?;
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        fiber.yield_now();
        return Some(if fiber.is_cancelled() { Err(Cancelled) } else { Ok(()) });
    }
    // Only the deadline or the drop of the fiber ends a sleep.
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if !fiber.wait(deadline) {
            return Some(Err(Cancelled));
        }
    }
    Some(Ok(()))
}

/// Wakes a task whose flags have changed, if they end its current wait, for code that may not belong to the run of the task, which is open on this thread: see
/// [`fiber`](crate::scheduler::fiber).
pub(crate) fn wake_hidden_if_interrupted(worker: &Worker, tcb: &Tcb) {
    if tcb.is_parked() && tcb.flags_interrupt(tcb.wait()) {
        WakeHandle::of(worker, tcb).wake();
    }
}

/// Returns whether the calling code may suspend: not while its thread panics, in a callback, inside `no_suspend`, or on
/// the event loop.
#[inline]
pub(crate) fn can_suspend(worker: &Worker) -> bool {
    let tcb = worker.current();
    !panicking() && !tcb.has_flags(flags::NO_SUSPEND) && !worker.is_in_job() && !worker.is_event_loop(tcb)
}

/// Panics where a wait is not allowed: in a callback, and in a `no_suspend` section.
#[track_caller]
pub(crate) fn refuse(worker: &Worker) {
    if worker.current().has_flags(flags::NO_SUSPEND) || cfg!(debug_assertions) {
        suspend_check::refuse_to_wait();
    }
    assert!(!worker.is_in_job(), "cannot wait in a callback: spawn a task from it instead");
}

/// Panics because `what` is not possible outside of a run.
#[cold]
#[track_caller]
pub(crate) fn not_running(what: &str) -> ! {
    panic!("cannot {what} outside of a run: call cede::run(|| ...) and do it in there")
}

/// The event that ended a wait that returned [`Cancelled`].
#[cfg(any(feature = "io", feature = "tokio", feature = "futures-io"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A cancel of the task or of a scope around the wait, a deadlock, or a panic of the thread.
    Cancel,
    /// A deadline around the wait.
    Deadline,
}

#[cfg(any(feature = "io", feature = "tokio", feature = "futures-io"))]
/// Returns the event that ended the wait from which the running task has just returned with [`Cancelled`].
pub(crate) fn cause(worker: &Worker) -> Cause {
    let tcb = worker.current();
    let view = limits::view(tcb);
    let is_cancelled =
        tcb.has_flags(flags::DEADLOCKED | flags::UNWOUND) || !view.shielded && tcb.has_flags(flags::CANCELLED);
    if !is_cancelled && !view.scope_cancelled && view.is_over(worker) { Cause::Deadline } else { Cause::Cancel }
}
