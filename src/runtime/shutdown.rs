//! Shutdown: ends all tasks of a run before `run` returns.
//!
//! The stages, each for the tasks that the stage before did not end:
//!
//! 1. All tasks are cancelled. The grace period ([`Config::shutdown_grace`](super::Config::shutdown_grace)) begins.
//! 2. When the grace period is over, the tasks are unwound (a forced unwind), and have 500 ms to end.
//! 3. The tasks that remain are abandoned: their stacks are leaked, and their names are written to stderr.
//!
//! Main itself is never unwound or abandoned, because its stack belongs to the caller of `run`.
#![forbid(unsafe_code)]

use crate::report::report;
use crate::scheduler::{Mode, WaitSpec, Worker, flags};
use crate::task::inspect;
use std::time::{Duration, Instant};

/// The time that tasks have to end after the forced unwind.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// The number of generations of callbacks that run after the grace period. A callback that a callback of one generation adds
/// belongs to the next generation. Bounded, because a callback may always add another one.
const LAST_GENERATIONS: usize = 1000;

/// Shuts the run down after main returned: cancels all tasks, waits for the grace period, unwinds the remaining tasks, waits
/// 500 ms, and abandons the tasks that remain.
pub(super) fn shut_down(worker: &Worker, grace: Duration) {
    worker.force_unwind_at.set(None);
    worker.mode.set(Mode::Ending);
    worker.clock.go_on();
    // Main may carry the flags of a deadlock. From here on its stack serves the shutdown, which nothing cancels.
    worker.main().flags.set(0);
    inspect::tell_all(worker, flags::CANCELLED);
    wait_for_tasks(worker, worker.clock.now().checked_add(grace));
    if worker.live.get() > 0 && cfg!(panic = "unwind") {
        unwind(worker);
        wait_for_tasks(worker, Some(after_last_grace(worker)));
    }
    run_callbacks(worker);
    if worker.drop_jobs() {
        // The dropped jobs may own results of tasks. If such a result is an unjoined panic, a new job reports it.
        run_callbacks(worker);
    }
    if worker.live.get() > 0 {
        inspect::abandon(worker);
    }
}

/// Runs the remaining callbacks, and the callbacks that those add.
fn run_callbacks(worker: &Worker) {
    for _ in 0..LAST_GENERATIONS {
        worker.run_last_jobs();
        // Tasks that the callbacks spawned are cancelled before their first turn. One turn of main lets them end.
        worker.turn();
        if !worker.has_jobs() {
            break;
        }
    }
}

/// Forces all tasks to unwind. Each task starts to unwind in its next turn.
fn unwind(worker: &Worker) {
    worker.mode.set(Mode::Unwinding);
    inspect::tell_all(worker, flags::CANCELLED | flags::UNWIND_REQUESTED);
    worker.poll_soon();
}

/// Makes progress possible for a main that was cancelled by a deadlock and has not returned within the grace period.
///
/// Main may be waiting for the tasks of a scope, so all tasks are unwound. The second call comes 500 ms later. A task of a
/// scope that has still not ended then would block main permanently, so the process is aborted.
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

/// Returns the end of the 500 ms after a forced unwind, or the current time if `Instant` cannot represent it.
fn after_last_grace(worker: &Worker) -> Instant {
    let now = worker.clock.now();
    now.checked_add(LAST_GRACE).unwrap_or(now)
}

/// Waits until all tasks have ended and all callbacks have run, or until `deadline`. `None` waits without a limit.
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
            // Lets the event loop run callbacks, which may spawn tasks.
            worker.turn();
        }
    }
    worker.shutting_down.set(false);
}
