//! The event loop of a run: the context that the worker enters when no task is ready, or when a task waits or ends
//! while a poll is due.
//!
//! Each iteration frees the stack of the task that ended last, runs the queued jobs, polls timers and remote wakes, and
//! enters the first ready task. If no task is ready, it sleeps until the next timer or remote wake.
//!
//! A *job* is a closure that runs on the event loop's stack: a callback of `on_done`, or the hook for an unhandled
//! panic. A job must not wait.

use super::fiber::{self, FiberHandle};
use super::remote::{Order, RemoteQueue};
use super::{StallAction, Worker, worker};
use crate::arch::Context;
use crate::stack::depot::shrink_idle;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The time without a ready task after which the event loop asks whether the run is deadlocked, if other threads wake its tasks.
const QUIET: Duration = Duration::from_millis(1);
/// The same in a fiber, where the timer thread ends it.
const QUIET_IN_FIBER: Duration = Duration::from_millis(10);

/// The entry function of the event loop's context. Returns main's context when the run is over.
///
/// # Safety
///
/// `worker` is the address of a `Worker` that lives until this function has returned.
pub(super) unsafe extern "C" fn run(worker: usize) -> *const Context {
    // SAFETY: the caller passes the address of a worker that lives until this function has returned.
    let worker = unsafe { &*(worker as *const Worker) };
    while !worker.stop.get() {
        worker.end_stall();
        worker.free_retired_stack();
        worker.run_jobs();
        if !worker.start_between_polls() {
            worker.poll_events(None);
            if worker.in_fiber {
                worker.follow_fiber();
            }
        }
        if let Some(next) = worker.run_queue.pop_front() {
            if std::ptr::eq(next, worker.current.get()) {
                continue; // the event loop's own entry, behind the tasks that have just had a turn
            }
            worker.entered.set(worker.entered.get() + 1);
            worker.stop_searching();
            // SAFETY: `next` was in the run queue, so it is suspended (invariants 2 and 3). The running context is the
            // event loop.
            unsafe { worker.switch_to(next) };
        } else if !worker.remote.has_pending() && !worker.start_any() {
            worker.idle();
        }
    }
    worker.current.set(worker.main().context());
    worker.main().context()
}

/// A handle to a job that a worker keeps until it is released. The handle can be sent to any thread; the job stays.
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
    /// Releases the job: the worker's event loop runs it after all tasks that are ready. No effect if the run has
    /// ended.
    pub(crate) fn release(self) {
        match worker() {
            Some(worker) if worker.run() == self.run => worker.release_job(Order::Run(self.number)),
            // If the run has ended, it has dropped the job.
            _ => drop(self.queue.push_job(self.run, Order::Run(self.number))),
        }
    }

    /// Drops the job. Returns false if it was released, or if the caller does not belong to the job's run.
    pub(crate) fn remove(self) -> bool {
        let own = worker().filter(|worker| worker.run() == self.run);
        // Dropped outside of the borrow: the destructors of what the job owns are user code.
        let job = own.and_then(|worker| worker.held.borrow_mut().remove(&self.number));
        job.is_some()
    }

    /// Drops the job on its worker's thread, from any thread. The caller knows that the job was not released and never
    /// will be. Returns false if the run has ended, which has dropped the job.
    pub(crate) fn discard(self) -> bool {
        match worker() {
            Some(worker) if worker.run() == self.run => self.remove(),
            _ => self.queue.push_job(self.run, Order::Drop(self.number)),
        }
    }
}

impl Worker {
    /// Runs the jobs that are queued now on the caller's stack, at the end of a run. Jobs that these jobs queue stay
    /// queued.
    pub(crate) fn run_last_jobs(&self) {
        let count = self.jobs.borrow().len();
        (0..count).for_each(|_| self.run_job());
    }

    /// Drops all jobs without running them, and refuses later callbacks: at the end of a run. Returns whether there
    /// were any jobs.
    pub(crate) fn drop_jobs(&self) -> bool {
        self.callbacks_over.set(true);
        let held = std::mem::take(&mut *self.held.borrow_mut());
        let jobs: Vec<_> = self.jobs.borrow_mut().drain(..).chain(held.into_values()).collect();
        let any = !jobs.is_empty();
        // Outside of all borrows, since destructors are user code. Like a callback, they must not wait, and a panic of
        // one does not keep the other jobs from being dropped.
        jobs.into_iter().for_each(|job| self.drop_as_job(job));
        any
    }

    /// Returns whether a callback that is added now may still be called.
    pub(crate) fn runs_callbacks(&self) -> bool {
        !self.callbacks_over.get()
    }

    /// Keeps a job until it is released, by this worker or from another thread. If the run ends first, the job is
    /// dropped.
    pub(crate) fn hold(&self, job: Box<dyn FnOnce()>) -> Held {
        let number = self.next_held.replace(self.next_held.get() + 1);
        self.held.borrow_mut().insert(number, job);
        Held { queue: self.remote.queue(), run: self.run(), number }
    }

    /// Queues a held job, to be run or dropped by the event loop. No effect if the job is no longer held.
    pub(super) fn release_job(&self, order: Order) {
        let (Order::Run(number) | Order::Drop(number)) = order;
        let job = self.held.borrow_mut().remove(&number);
        let Some(job) = job else { return };
        let job = match order {
            Order::Run(_) => job,
            // The event loop drops it, too: a task may read remote wakes during its own turn, and a destructor may take
            // long.
            Order::Drop(_) => Box::new(move || drop(job)),
        };
        self.jobs.borrow_mut().push_back(job);
        // Needed even if the event loop itself is reading the remote wakes: it has run this iteration's jobs already.
        self.queue_event_loop();
    }

    /// Puts the event loop into the run queue, unless it is there.
    pub(super) fn queue_event_loop(&self) {
        if !self.event_loop_queued.replace(true) {
            // SAFETY: `event_loop_queued` was false, so the event loop is not in the run queue, which has room for
            // every TCB (invariant 2). If the event loop runs now, it skips its own entry. Its TCB lives as long as the
            // worker.
            unsafe { self.run_queue.push_back((*self.event_loop.get()).context()) };
        }
    }

    /// Returns whether jobs are queued.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.jobs.borrow().is_empty()
    }

    fn run_job(&self) {
        let job = self.jobs.borrow_mut().pop_front();
        if let Some(job) = job {
            self.call_job(job);
        }
    }

    /// Drops a value as a job: its destructor is user code.
    pub(crate) fn drop_as_job(&self, value: impl Sized) {
        self.call_job(|| drop(value));
    }

    /// Runs a job. Waits in it panic, and its panic ends nothing else.
    pub(super) fn call_job(&self, job: impl FnOnce()) {
        self.set_in_job(true);
        // The panic hook has reported a job that panicked. The other jobs still run, also if the payload's destructor
        // panics.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
            std::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(payload))));
        }
        self.set_in_job(false);
    }

    /// Runs the jobs that are queued now. Jobs that are queued during the call run after the tasks that are ready.
    fn run_jobs(&self) {
        self.event_loop_queued.set(false);
        let count = self.jobs.borrow().len();
        for _ in 0..count {
            self.run_job();
        }
        if !self.jobs.borrow().is_empty() && !self.event_loop_queued.replace(true) {
            // SAFETY: the running context, here the event loop, is not in the run queue, which has room for every TCB
            // (invariant 2).
            unsafe { self.run_queue.push_back(self.current.get()) };
        }
    }

    /// Sleeps until the next timer or remote wake. If no timer is armed, asks `on_stall` what to do. Called if no task
    /// is ready.
    ///
    /// A paused clock jumps to the next timer instead. While a task waits for an operation in progress it does not
    /// jump: the operation takes no time by that clock, however long it takes.
    fn idle(&self) {
        // A paused clock stops at deadlines only.
        let timer = if self.clock.jumps() { self.timers.next() } else { self.timers.sleep_limit() };
        if let Some(next) = timer {
            // A paused clock does not jump past an event that is there already.
            if self.clock.jumps() && self.poll_io(Some(Duration::ZERO)) {
                return;
            }
            if self.in_progress.get() > 0 || !self.clock.jump(next) {
                let next = self.force_unwind_at.get().map_or(next, |force_unwind_at| force_unwind_at.min(next));
                self.sleep_until(self.clock.real_time_of(next));
            }
            return;
        }
        if self.waits_for_io() {
            // The kernel will wake a task: no stall.
            self.sleep_until(self.force_unwind_at.get().and_then(|at| self.clock.real_time_of(at)));
            return;
        }
        // What the stall means takes a look at all tasks and threads. Where another thread has woken a task before, the next wake often comes
        // before that is worth it.
        let entered = self.entered.get();
        if self.remote_wakes.get() > 0 && self.quiet_since.replace(Some(entered)) != Some(entered) {
            let asked_at = Instant::now() + if self.in_fiber { QUIET_IN_FIBER } else { QUIET };
            let force_unwind_at = self.force_unwind_at.get().and_then(|at| self.clock.real_time_of(at));
            self.sleep_until(Some(force_unwind_at.map_or(asked_at, |at| at.min(asked_at))));
            return;
        }
        if let StallAction::Sleep(until) = (self.on_stall)(self) {
            let force_unwind_at = self.force_unwind_at.get().and_then(|at| self.clock.real_time_of(at));
            self.sleep_until([until, force_unwind_at].into_iter().flatten().min());
        }
    }

    /// Sleeps until a remote wake arrives, or until `deadline` by the real clock. In a fiber, suspends the fiber.
    fn sleep_until(&self, deadline: Option<Instant>) {
        // The stack pool may have memory to return before.
        let deadline = [deadline, shrink_idle()].into_iter().flatten().min();
        if !self.announce_sleep() {
            return;
        }
        self.sleep.begin();
        match fiber::current().filter(|fiber| fiber.can_suspend()) {
            Some(fiber) => self.sleep_in_fiber(fiber, deadline),
            None => {
                if !self.sleep_in_poller(deadline) && !self.spin() {
                    self.remote.block(deadline);
                }
            }
        }
        self.sleep.end();
        self.end_sleep();
    }

    fn sleep_in_fiber(&self, fiber: &FiberHandle, deadline: Option<Instant>) {
        // The poller knows no waker, so the poll thread watches it. An event that is there already needs no sleep.
        if let Some(_watch) = self.watch_poller() {
            fiber.sleep(&self.remote, self.poller_deadline(deadline));
        }
    }

    /// Gives way to the executor that polls the fiber of this run, if that is due, and handles the drop of the fiber.
    fn follow_fiber(&self) {
        let Some(fiber) = fiber::current() else { return };
        if self.give_way.replace(false) {
            self.sleep.begin();
            fiber.give_way();
            self.sleep.end();
        }
        if fiber.is_cancelled() && !self.fiber_was_dropped.replace(true) {
            self.on_fiber_dropped.iter().for_each(|f| f(self));
        }
    }

    /// Makes the event loop give way to the executor before the next task, if the run had enough turns since it did so last: the first turns of
    /// a run poll, too, and those at its end.
    pub(super) fn give_way_soon(&self) {
        let had_turns = || fiber::current().is_some_and(|fiber| fiber.had_turns(self.ticks.total()));
        if !self.is_event_loop(self.current()) && had_turns() {
            self.give_way.set(true);
            self.queue_event_loop();
        }
    }
}
