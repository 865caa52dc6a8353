//! What it means that nobody is ready and no timer is armed: a deadlock for certain, or a wait for another thread.
#![forbid(unsafe_code)]

use crate::observe::deadlock::{self, DeadlockReport};
use crate::observe::watchdog::is_only_thread;
use crate::report::report;
use crate::scheduler::{StallAction, Worker};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

/// What the event loop asks when nobody is ready and no timer is armed.
pub(super) fn on_stall(
    closed_world: bool,
    after: Duration,
    grace: Duration,
    deadlock: Rc<RefCell<Option<DeadlockReport>>>,
) -> Box<dyn Fn(&Worker) -> StallAction> {
    let since: Cell<Option<(u64, Instant)>> = Cell::new(None);
    let reported = Cell::new(false);
    Box::new(move |worker| {
        if closed_world || deadlock::is_closed(worker) || is_only_thread() {
            // Whoever could have woken somebody is gone, but may have done so just before.
            fence(Ordering::Acquire);
            if worker.remote.has_pending() {
                return StallAction::Continue;
            }
            deadlock.borrow_mut().get_or_insert_with(|| deadlock::report(worker));
            deadlock::break_waits(worker);
            // Main was cancelled: a grace period from now whoever is left is unwound.
            worker.clock.go_on();
            if worker.force_unwind_at.get().is_none() {
                worker.force_unwind_at.set(worker.clock.now().checked_add(grace));
            }
            return StallAction::Continue;
        }
        if reported.get() {
            return StallAction::Sleep(None);
        }
        // Somebody outside may come; if nobody does for a while, say once who waits.
        let entered = worker.entered.get();
        let began = match since.get() {
            Some((at, began)) if at == entered => began,
            _ => Instant::now(),
        };
        since.set(Some((entered, began)));
        match began.checked_add(after) {
            Some(then) if Instant::now() < then => StallAction::Sleep(Some(then)),
            None => StallAction::Sleep(None),
            Some(_) => {
                reported.set(true);
                report!(
                    "nobody has run for {} ms, and only another thread could change that: {}",
                    after.as_millis(),
                    deadlock::report(worker)
                );
                StallAction::Sleep(None)
            }
        }
    })
}
