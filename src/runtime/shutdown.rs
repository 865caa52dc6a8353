//! The end of a run: nobody is left running when `run` returns.
#![forbid(unsafe_code)]

use crate::report::report;
use crate::scheduler::{Mode, WaitSpec, Worker, flags};
use crate::task::inspect;
use std::time::{Duration, Instant};

/// How long tasks have to end after they were unwound.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// How many generations of callbacks run after the grace period: those that callbacks add, and that these add in turn. A bound,
/// since a callback may add another one for ever.
const LAST_GENERATIONS: usize = 1000;

/// Main has ended: cancels everybody, waits, unwinds those who stay, and leaves those behind who stay even then.
pub(super) fn shut_down(worker: &Worker, grace: Duration) {
    worker.force_unwind_at.set(None);
    worker.mode.set(Mode::Ending);
    worker.clock.go_on();
    worker.main().flags.set(0);
    inspect::tell_all(worker, flags::CANCELLED);
    wait_for_tasks(worker, worker.clock.now().checked_add(grace));
    if worker.live.get() > 0 && cfg!(panic = "unwind") {
        unwind(worker);
        wait_for_tasks(worker, Some(after_last_grace(worker)));
    }
    run_callbacks(worker);
    if worker.drop_jobs() {
        // Results that were dropped with them may be panics, which are reported by jobs too.
        run_callbacks(worker);
    }
    if worker.live.get() > 0 {
        inspect::abandon(worker);
    }
}

/// Runs the callbacks that are left, and those that they add.
fn run_callbacks(worker: &Worker) {
    for _ in 0..LAST_GENERATIONS {
        worker.run_last_jobs();
        // Tasks that these spawned are cancelled: one turn drops them.
        worker.turn();
        if !worker.has_jobs() {
            break;
        }
    }
}

fn unwind(worker: &Worker) {
    worker.mode.set(Mode::Unwinding);
    inspect::tell_all(worker, flags::CANCELLED | flags::UNWIND_REQUESTED);
    worker.poll_soon();
}

/// Main was cancelled, because the run is deadlocked, and has not returned for a grace period. It may be waiting for the tasks
/// of its scope, so whoever is left is unwound; and if one of those stays even then, nobody could ever go on.
pub(super) fn on_shutdown_overdue(worker: &Worker) {
    if worker.mode.get() == Mode::Unwinding {
        return inspect::stop_for_scopes(worker, false);
    }
    report!("main was cancelled, because the run is deadlocked, and has not returned yet");
    if cfg!(panic = "unwind") {
        unwind(worker);
    } else {
        worker.mode.set(Mode::Unwinding);
    }
    worker.force_unwind_at.set(Some(after_last_grace(worker)));
}

/// A moment that the clock cannot tell would never come: if that one is such, there is no grace left.
fn after_last_grace(worker: &Worker) -> Instant {
    let now = worker.clock.now();
    now.checked_add(LAST_GRACE).unwrap_or(now)
}

/// Waits until all tasks have ended and all callbacks have run, or until `deadline`, if it is not unlimited.
fn wait_for_tasks(worker: &Worker, deadline: Option<Instant>) {
    worker.shutting_down.set(true);
    while (worker.live.get() > 0 || worker.has_jobs()) && deadline.is_none_or(|deadline| worker.clock.now() < deadline)
    {
        if worker.live.get() > 0 {
            worker.park(
                WaitSpec {
                    reason: "the end of its tasks",
                    only_this_run: true,
                    uncancellable: true,
                    ..WaitSpec::DEFAULT
                },
                deadline,
            );
        } else {
            // Callbacks, which may spawn.
            worker.turn();
        }
    }
    worker.shutting_down.set(false);
}
