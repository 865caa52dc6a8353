//! Suspending a task until it is woken: the one function through which every task waits.
#![forbid(unsafe_code)]

use super::cancel::Cancelled;
use super::limits;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::wake::{WakeHandle, block_thread};
use crate::scheduler::{WaitSpec, Worker, flags, worker};
use crate::suspend_check;
use std::thread::panicking;
use std::time::Instant;

/// The run's time, or the real one.
pub(crate) fn now() -> Instant {
    worker().map_or_else(Instant::now, |worker| worker.clock.now())
}

#[track_caller]
pub(crate) fn running<'a>(what: &str) -> &'a Worker {
    match worker() {
        Some(worker) => worker,
        None => not_running(what),
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
    if tcb.flags() != 0 {
        return wait_slow(worker, tcb, wait, deadline);
    }
    worker.park(wait, deadline);
    if tcb.flags() == 0 {
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
        tcb.set_wait(effective);
        // A wait that is cut short still gives up its turn, so that a task which ignores its cancel starves nobody.
        worker.turn();
        worker.unwind_if_requested();
        return if wait.uncancellable { Ok(()) } else { Err(Cancelled) };
    }
    let timed_out = worker.park(effective, if is_own { deadline } else { limit });
    worker.unwind_if_requested();
    if wait.uncancellable {
        return Ok(());
    }
    // What came before the deadline is not taken for late, however late the task got to run; the next wait will be.
    let view = limits::view(tcb);
    if flags_interrupt(tcb, effective) || view.scope_cancelled {
        return Err(Cancelled);
    }
    let is_late = timed_out && !is_own && view.is_over(worker);
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

/// Whether a wait of this kind does not begin, or ends, for what the task was told.
fn flags_interrupt(tcb: &Tcb, wait: WaitSpec) -> bool {
    let bits = flags::UNWIND_REQUESTED | flags::DEADLOCKED | if wait.uncancellable { 0 } else { flags::CANCELLED };
    tcb.has_flags(bits)
}

/// Wakes a task whose flags have changed, if that ends the wait that it is in.
pub(crate) fn wake_if_interrupted(worker: &Worker, tcb: &Tcb) {
    if tcb.is_parked() && flags_interrupt(tcb, tcb.wait()) {
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
    let wait = tcb.wait();
    if flags_interrupt(tcb, wait) {
        return true;
    }
    let deadline = tcb.deadline();
    // The wait obeys the deadline that it is parked with: its own, or that of a limit.
    let own = deadline.filter(|_| !wait.limit_first);
    // The cancel of a scope and a moved deadline wake the task, so a task that is still parked has seen neither.
    let may_be_limited = wait.limited && (deadline.is_some() || !tcb.is_parked());
    own.is_some_and(|own| own <= worker.clock.now()) || may_be_limited && limits::is_interrupted(worker, tcb)
}

/// Panics where nothing may wait.
#[track_caller]
pub(crate) fn refuse(worker: &Worker) {
    if worker.current().has_flags(flags::NO_SUSPEND) || cfg!(debug_assertions) {
        suspend_check::refuse_to_wait();
    }
    assert!(!worker.is_in_job(), "cannot wait in a callback: spawn a task from it instead");
}

#[cold]
#[track_caller]
pub(crate) fn not_running(what: &str) -> ! {
    panic!("cannot {what} outside of a run: call cede::run(|| ...) and do it in there")
}
