//! The cancel of main: by Ctrl-C, by a [`Canceller`](super::Canceller), and by the drop of the future of its run.
#![forbid(unsafe_code)]

use crate::scheduler::event_loop::Held;
use crate::scheduler::{Mode, Worker, flags, worker};
use std::borrow::Cow;
use std::time::Duration;

/// Stores a job in the worker that cancels main for this reason, when another thread releases the job.
pub(super) fn hold_cancel(worker: &Worker, reason: &'static str) -> Held {
    worker.hold(Box::new(move || {
        if let Some(worker) = self::worker() {
            cancel_main(worker, reason.into());
        }
    }))
}

/// Cancels main because the future of its run was dropped. Main has one grace period to return, before its tasks are unwound.
pub(super) fn on_fiber_dropped(worker: &Worker, grace: Duration) {
    // The shutdown of a main that has returned goes on, and its sleeps block the thread.
    if worker.mode.get() != Mode::Running {
        return;
    }
    worker.clock.go_on();
    if worker.force_unwind_at.get().is_none() {
        worker.force_unwind_at.set(worker.clock.now().checked_add(grace));
    }
    cancel_main(worker, "its future was dropped".into());
}

/// Cancels main, unless it has returned: then its stack serves the shutdown.
fn cancel_main(worker: &Worker, reason: Cow<'static, str>) {
    if worker.mode.get() != Mode::Running {
        return;
    }
    let main = worker.main();
    main.ext(|ext| {
        ext.cancel_reason.get_or_insert(reason);
    });
    main.add_flags(flags::CANCELLED);
    worker.wake_if_interrupted(main);
}
