//! The event loop: what runs when no task does.

use super::remote::{Order, RemoteQueue};
use super::{StallAction, Worker, worker};
use crate::arch::Context;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// The event loop's entry. Returns when the run is over, to main.
///
/// # Safety
///
/// `worker` is the address of a worker that outlives the run.
pub(super) unsafe extern "C" fn run(worker: usize) -> *const Context {
    // SAFETY: the caller's.
    let worker = unsafe { &*(worker as *const Worker) };
    while !worker.stop.get() {
        worker.free_retired_stack();
        worker.run_jobs();
        worker.poll_events();
        if let Some(next) = worker.run_queue.pop_front() {
            if std::ptr::eq(next, worker.current.get()) {
                continue; // itself, queued behind everybody who has had a turn by now
            }
            worker.entered.set(worker.entered.get() + 1);
            // SAFETY: whoever was in the run queue is suspended; the event loop is entered again when nobody is ready,
            // or when it is queued.
            unsafe { worker.switch_to(next) };
        } else if !worker.remote.has_pending() {
            worker.idle();
        }
    }
    worker.current.set(worker.main().context());
    worker.main().context()
}

/// A job that a worker keeps until it is released. This can be sent anywhere; the job stays.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    queue: &'static RemoteQueue,
    run: u64,
    number: u64,
}

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        (self.run, self.number) == (other.run, other.number)
    }
}

impl Held {
    /// Has the worker's event loop run it, behind everybody who is ready.
    pub(crate) fn release(self) {
        match worker() {
            Some(worker) if worker.run() == self.run => worker.release_job(Order::Run(self.number)),
            // If the run has ended the job is gone.
            _ => drop(self.queue.push_job(self.run, Order::Run(self.number))),
        }
    }

    /// Drops it. False if it was released, or if this is not its run.
    pub(crate) fn remove(self) -> bool {
        let own = worker().filter(|worker| worker.run() == self.run);
        // Dropped outside of the borrow: what it owns may be code of anybody's.
        let job = own.and_then(|worker| worker.held.borrow_mut().remove(&self.number));
        job.is_some()
    }

    /// From any thread: has the worker drop it, for a caller that knows that it was not released and never will be. False if
    /// the run has ended: it went with the run.
    pub(crate) fn discard(self) -> bool {
        match worker() {
            Some(worker) if worker.run() == self.run => self.remove(),
            _ => self.queue.push_job(self.run, Order::Drop(self.number)),
        }
    }
}

impl Worker {
    /// Runs the jobs that are queued now, on the caller's stack: for the end of a run, when no task takes turns any more. Jobs
    /// that these queue stay queued.
    pub(crate) fn run_last_jobs(&self) {
        let count = self.jobs.borrow().len();
        (0..count).for_each(|_| self.run_job());
    }

    /// Drops all jobs without running them, and refuses callbacks from now on: for the end of a run. Whether there were any.
    pub(crate) fn drop_jobs(&self) -> bool {
        self.callbacks_over.set(true);
        let held = std::mem::take(&mut *self.held.borrow_mut());
        let jobs: Vec<_> = self.jobs.borrow_mut().drain(..).chain(held.into_values()).collect();
        let any = !jobs.is_empty();
        // Outside of all borrows: destructors are the user's code. As in a callback, they may not wait; and a panic keeps no
        // other job from being dropped.
        jobs.into_iter().for_each(|job| self.call_job(Box::new(move || drop(job))));
        any
    }

    /// Whether a callback that is added now may still be called.
    pub(crate) fn runs_callbacks(&self) -> bool {
        !self.callbacks_over.get()
    }

    /// Keeps a job until it is released, by this worker or from another thread. It is dropped if the run ends before.
    pub(crate) fn hold(&self, job: Box<dyn FnOnce()>) -> Held {
        let number = self.next_held.replace(self.next_held.get() + 1);
        self.held.borrow_mut().insert(number, job);
        Held { queue: self.remote.queue(), run: self.run(), number }
    }

    pub(super) fn release_job(&self, order: Order) {
        let (Order::Run(number) | Order::Drop(number)) = order;
        let job = self.held.borrow_mut().remove(&number);
        let Some(job) = job else { return };
        let job = match order {
            Order::Run(_) => job,
            // By the event loop, too: remote wakes are read in the middle of any task's turn, and a destructor may be long.
            Order::Drop(_) => Box::new(move || drop(job)),
        };
        self.jobs.borrow_mut().push_back(job);
        // Also where the event loop itself reads the remote wakes: it has run its jobs by then.
        if !self.event_loop_queued.replace(true) {
            // SAFETY: the event loop is not in the run queue, and is entered from there when it is suspended; it passes
            // over itself.
            unsafe { self.run_queue.push_back((*self.event_loop.get()).context()) };
        }
    }

    /// Whether the event loop has anything to run.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.jobs.borrow().is_empty()
    }

    fn run_job(&self) {
        let job = self.jobs.borrow_mut().pop_front();
        if let Some(job) = job {
            self.call_job(job);
        }
    }

    /// Runs a job as a callback: nothing waits in it, and its panic ends nothing else.
    fn call_job(&self, job: Box<dyn FnOnce()>) {
        self.set_in_job(true);
        // A failing callback has been reported by the panic hook; the rest still run.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
            std::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(payload))));
        }
        self.set_in_job(false);
    }

    /// Runs what was queued up to now. What is queued meanwhile comes after those who are ready.
    fn run_jobs(&self) {
        self.event_loop_queued.set(false);
        let count = self.jobs.borrow().len();
        for _ in 0..count {
            self.run_job();
        }
        if !self.jobs.borrow().is_empty() && !self.event_loop_queued.replace(true) {
            // SAFETY: the event loop runs, so it is not in the run queue; it is entered from there after it has
            // switched away.
            unsafe { self.run_queue.push_back(self.current.get()) };
        }
    }

    /// Nobody is ready: sleeps until a timer or a remote wake, or lets those who know decide what a stall means.
    fn idle(&self) {
        // SAFETY: entries of the heap name TCBs of this table.
        let timer = self.timers.next(|tcb, wait_seq| unsafe { !(*tcb).is_waiting(wait_seq) });
        if let Some(next) = timer {
            if !self.clock.jump(next) {
                self.sleep_until(Some(
                    self.force_unwind_at.get().map_or(next, |force_unwind_at| force_unwind_at.min(next)),
                ));
            }
            return;
        }
        if let StallAction::Sleep(until) = (self.on_stall)(self) {
            self.sleep_until([until, self.force_unwind_at.get()].into_iter().flatten().min());
        }
    }

    /// Sleeps until there is a remote wake, or until `deadline`.
    fn sleep_until(&self, deadline: Option<Instant>) {
        self.sleep.begin();
        self.remote.sleep(deadline);
        self.sleep.end();
    }
}
