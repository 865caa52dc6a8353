//! The end of a run: nobody is left running when `run` returns.
#![forbid(unsafe_code)]

use crate::scheduler::{Mode, Wait, Worker, attention};
use crate::task::inspect;
use std::time::Duration;

/// How long tasks have to end after they were unwound.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// Main has ended: cancels everybody, waits, unwinds those who stay, and leaves those behind who stay even then.
pub(super) fn sweep(worker: &Worker, grace: Duration) {
    worker.mode.set(Mode::Ending);
    worker.clock.go_on();
    worker.main().attention.set(0);
    inspect::tell_all(worker, attention::CANCEL);
    wait_for_the_end(worker, grace);
    if worker.live.get() > 0 && cfg!(panic = "unwind") {
        worker.mode.set(Mode::Unwinding);
        inspect::tell_all(worker, attention::CANCEL | attention::UNWIND);
        worker.hurry();
        wait_for_the_end(worker, LAST_GRACE);
    }
    if worker.live.get() > 0 {
        inspect::abandon(worker);
    }
    worker.run_last_jobs();
}

fn wait_for_the_end(worker: &Worker, grace: Duration) {
    let deadline = worker.clock.now().checked_add(grace);
    worker.sweeping.set(true);
    while (worker.live.get() > 0 || worker.has_jobs()) && deadline.is_none_or(|deadline| worker.clock.now() < deadline)
    {
        if worker.live.get() > 0 {
            worker.park(Wait { why: "the end of its tasks", closed: true, stubborn: true, ..Wait::NOTHING }, deadline);
        } else {
            // Callbacks, which may spawn.
            worker.turn();
        }
    }
    worker.sweeping.set(false);
}
