//! Stall and deadlock detection. A run stalls when no task is ready and no timer is armed.
//!
//! The stall is a deadlock if no wake can come: the run is a closed world, or every wait can be ended only by a task of this
//! run, or the process has no other thread. Otherwise another thread may still wake a task, so the worker sleeps. A stall that
//! lasts is reported on stderr, once in a run.
//!
//! While a task waits for an operation in progress (a call of `blocking`), there is no stall. A run of several workers stalls when all of them
//! have (`scheduler::crew`); then each makes its part of the report, in its event loop.
#![forbid(unsafe_code)]

use crate::observe::deadlock::{self, DeadlockReport};
use crate::observe::watchdog::is_only_thread;
use crate::report::report;
use crate::scheduler::crew::Stalled;
use crate::scheduler::{self, StallAction, Worker};
use std::cell::Cell;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Returns the function that the event loop calls on a stall.
///
/// A stall that lasts for `after` is reported. A deadlock stores its report in `deadlock` and cancels all tasks, main included.
/// If main has not returned `grace` later, its tasks are unwound.
pub(super) fn on_stall(
    closed_world: bool,
    after: Duration,
    grace: Duration,
    deadlock: Arc<Mutex<Option<DeadlockReport>>>,
) -> Box<dyn Fn(&Worker) -> StallAction> {
    let since: Cell<Option<(u64, Instant)>> = Cell::new(None);
    let reported = Cell::new(false);
    Box::new(move |worker| {
        // An operation in progress will wake its task: neither a deadlock nor a stall.
        if worker.in_progress.get() > 0 {
            return StallAction::Sleep(None);
        }
        let stalled = if closed_world || deadlock::is_closed(worker) { Stalled::Closed } else { Stalled::Open };
        let stalled = match worker.existing_member().filter(|member| member.crew().workers() > 1) {
            None => stalled,
            Some(member) => {
                worker.publish_stall(stalled);
                // The last worker that stalls goes on here.
                let Some(stalled) = member.crew().all_stalled() else { return StallAction::Sleep(None) };
                stalled
            }
        };
        // Asked by the last worker only: a handle that another worker has seen may be gone. The drop of the last handle wakes a worker.
        let is_closed = stalled == Stalled::Closed && (closed_world || !worker.has_handles());
        // The executor that polls the fiber of a run may wake a task, too, on this thread.
        if is_closed || !worker.in_fiber && is_only_thread() {
            // A thread may have queued a wake just before it exited: check the remote queues once more.
            fence(Ordering::Acquire);
            if worker.remote.has_pending() {
                return StallAction::Continue;
            }
            let deadlock = Arc::clone(&deadlock);
            with_report(worker, move |report| {
                deadlock.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(report);
                let break_waits = move |worker: &Worker| {
                    deadlock::break_waits(worker);
                    if !worker.is_helper() {
                        // Main was cancelled. It has one grace period to return, before its tasks are unwound.
                        worker.clock.go_on();
                        if worker.force_unwind_at.get().is_none() {
                            worker.force_unwind_at.set(worker.clock.now().checked_add(grace));
                        }
                    }
                };
                for_each_worker(break_waits);
            });
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
                with_report(worker, move |report| {
                    let ms = after.as_millis();
                    report!("no task has run for {ms} ms, and only another thread can wake one: {report}");
                });
                StallAction::Sleep(None)
            }
        }
    })
}

/// Calls `f` with a report of the waiting tasks of all workers: now, or on another thread when the last of several workers has made its part.
/// No effect while another worker gathers a report.
fn with_report(worker: &Worker, f: impl FnOnce(DeadlockReport) + Send + 'static) {
    let Some(member) = worker.existing_member().filter(|member| member.crew().workers() > 1) else {
        return f(deadlock::report(worker));
    };
    let crew = member.crew();
    if !crew.begin_report() {
        return;
    }
    let gathered = Arc::new(Mutex::new((Vec::new(), Some(f))));
    for number in 0..crew.workers() {
        let (crew, gathered) = (Arc::clone(crew), Arc::clone(&gathered));
        let add_part = move || {
            let Some(worker) = scheduler::worker() else { return };
            let part = deadlock::part(worker);
            let mut all = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            all.0.push(part);
            if all.0.len() == crew.workers()
                && let (parts, Some(f)) = std::mem::take(&mut *all)
            {
                drop(all);
                f(deadlock::assemble(parts));
                crew.end_report();
            }
        };
        member.crew().call(number, Box::new(add_part));
    }
}

/// Calls `f` on each worker of the run: now, or in the event loops of several.
fn for_each_worker(f: impl Fn(&Worker) + Clone + Send + 'static) {
    let Some(worker) = scheduler::worker() else { return };
    let call = move || {
        if let Some(worker) = scheduler::worker() {
            f(worker);
        }
    };
    match worker.existing_member().filter(|member| member.crew().workers() > 1) {
        None => call(),
        Some(member) => member.crew().call_others(usize::MAX, call),
    }
}
