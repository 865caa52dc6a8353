//! Stall and deadlock detection. A run stalls when no task is ready and no timer is armed.
//!
//! The stall is a deadlock if no wake can come: the run is a closed world, or every wait can be ended only by a task of this
//! run, or the process has no other thread. Otherwise another thread may still wake a task, so the worker sleeps. A stall that
//! lasts is reported on stderr, once in a run.
//!
//! While a task waits for an operation in progress (a call of `blocking`), there is no stall.
#![forbid(unsafe_code)]

use crate::observe::deadlock::{self, DeadlockReport};
use crate::observe::watchdog::is_only_thread;
use crate::report::report;
use crate::scheduler::{StallAction, Worker};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

/// Returns the function that the event loop calls on a stall.
///
/// A stall that lasts for `after` is reported. A deadlock stores its report in `deadlock` and cancels all tasks, main included.
/// If main has not returned `grace` later, its tasks are unwound.
pub(super) fn on_stall(
    closed_world: bool,
    after: Duration,
    grace: Duration,
    deadlock: Rc<RefCell<Option<DeadlockReport>>>,
) -> Box<dyn Fn(&Worker) -> StallAction> {
    let since: Cell<Option<(u64, Instant)>> = Cell::new(None);
    let reported = Cell::new(false);
    Box::new(move |worker| {
        // An operation in progress will wake its task: neither a deadlock nor a stall.
        if worker.in_progress.get() > 0 {
            return StallAction::Sleep(None);
        }
        // The executor that polls the fiber of a run may wake a task, too, on this thread.
        if closed_world || deadlock::is_closed(worker) || !worker.in_fiber && is_only_thread() {
            // A thread may have queued a wake just before it exited: check the remote queue once more.
            fence(Ordering::Acquire);
            if worker.remote.has_pending() {
                return StallAction::Continue;
            }
            deadlock.borrow_mut().get_or_insert_with(|| deadlock::report(worker));
            deadlock::break_waits(worker);
            // Main was cancelled. It has one grace period to return, before its tasks are unwound.
            worker.clock.go_on();
            if worker.force_unwind_at.get().is_none() {
                worker.force_unwind_at.set(worker.clock.now().checked_add(grace));
            }
            return StallAction::Continue;
        }
        if reported.get() {
            return StallAction::Sleep(None);
        }
        // Another thread may still wake a task. A stall is the same one as long as the event loop has entered no task.
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
                    "no task has run for {} ms, and only another thread can wake one: {}",
                    after.as_millis(),
                    deadlock::report(worker)
                );
                StallAction::Sleep(None)
            }
        }
    })
}
