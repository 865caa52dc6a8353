//! The cooperative budget: a task that never has to wait still gives up its turn now and then.
#![forbid(unsafe_code)]

use crate::scheduler::{COOP_BUDGET, Worker, flags, worker};
use std::thread::panicking;

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
