//! The cooperative budget: makes a task yield whose calls never have to wait, so that it cannot starve other tasks.
#![forbid(unsafe_code)]

use super::can_suspend;
use crate::scheduler::{Worker, worker};

/// Counts a call that completed without waiting. After `COOP_BUDGET` (4,096) such calls yields once, so that a task
/// draining a channel that another thread fills cannot starve timers, cancels, deadlines and other tasks.
///
/// Callers complete their operation first, so an operation that needs no wait is done at once, whatever the budget. The
/// yield may unwind the task, so callers hold the result in a value whose destructor gives it back.
#[inline(always)]
pub(crate) fn consume_budget() {
    consume_budget_of(worker());
}

/// Like [`consume_budget`], for a caller that has looked up this thread's worker already. A caller that has waited
/// passes `None`, which counts nothing.
#[inline(always)]
pub(crate) fn consume_budget_of(worker: Option<&Worker>) {
    if is_budget_spent(worker) {
        yield_for_budget(worker);
    }
}

/// Counts a call. Returns whether the budget is spent: then the caller must call [`yield_for_budget`].
#[inline(always)]
pub(crate) fn is_budget_spent(worker: Option<&Worker>) -> bool {
    worker.is_some_and(|worker| {
        let left = worker.budget.get().wrapping_sub(1);
        worker.budget.set(left);
        left == 0
    })
}

/// Refills the budget of a task whose turn has just begun, because it has waited.
#[cfg(feature = "io")]
#[inline(always)]
pub(crate) fn refill_budget(worker: &Worker) {
    worker.budget.set(worker.coop_budget.get());
}

/// Yields and refills the budget. Where the task cannot yield, leaves a budget of one call.
#[cold]
#[inline(never)]
pub(crate) fn yield_for_budget(worker: Option<&Worker>) {
    let Some(worker) = worker else { return };
    if !can_suspend(worker) {
        // The next call tries again.
        worker.budget.set(1);
        return;
    }
    worker.budget.set(worker.coop_budget.get());
    // A yield alone polls timers and remote wakes only every EVENT_INTERVAL turns.
    worker.poll_soon();
    worker.turn();
}
