//! The cancel of main by Ctrl-C.

use crate::scheduler::event_loop::Held;
use crate::scheduler::{Mode, Worker, flags, worker};
use crate::wait::wake_if_interrupted;

/// Stores a job in the worker that cancels main. The watchdog releases the job when Ctrl-C arrives.
pub(super) fn hold_cancel(worker: &Worker) -> Held {
    worker.hold(Box::new(cancel_main))
}

fn cancel_main() {
    let Some(worker) = worker() else { return };
    // A main that has returned is not cancelled: its stack serves the shutdown.
    if worker.mode.get() != Mode::Running {
        return;
    }
    let main = worker.main();
    main.ext(|ext| {
        ext.cancel_reason.get_or_insert("Ctrl-C".into());
    });
    main.add_flags(flags::CANCELLED);
    wake_if_interrupted(worker, main);
}
