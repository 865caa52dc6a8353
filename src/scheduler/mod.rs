//! The scheduler of a run: one [`Worker`] schedules the tasks of a run on one thread, cooperatively.
//!
//! A task that gives up its turn appends itself to the *run queue* (a FIFO ring buffer, `run_queue`), takes the first
//! entry, and switches straight to it. No loop runs between two turns while a task is ready. When no task is ready, the
//! worker enters the *event loop* (`event_loop`), a context with a stack of its own (256 KiB). The event loop runs
//! callbacks, fires timers, reads the remote wakes of other threads, and sleeps.
//!
//! Scheduling is round robin, which is the *fairness* guarantee: a task that becomes ready has its turn after every
//! task that was ready before it. Polling every EVENT_INTERVAL turns (`poll`) keeps busy tasks from starving timers and
//! remote wakes, and the cooperative budget (`wait::budget`) makes a task yield whose calls never have to wait.
//! `Config::seed` replaces round robin by a pseudo-random order (`rng`).
//!
//! ```text
//!            spawn                    turn                     park
//! Fresh ---------> run queue ------------------> running ---------------> Parked
//!                      ^                          |  |                      |
//!                      +-------- yield_now -------+  +-- ends --> Ended     |
//!                      +------------------------- wake ---------------------+
//! ```
//!
//! # Invariants
//!
//! 1. A worker lives in the frame of `run`, on one thread, and does not move from `enter` to `leave`. During that time
//!    the thread's `WORKER` points to it, except while the run is hidden (`fiber`). Tasks never move to another thread, so
//!    no reference to the worker leaves the thread.
//! 2. A context is in the run queue at most once. The contexts of `Fresh` and `Ready` TCBs are in it, except the
//!    running one and the event loop, which is in it only if `event_loop_queued` is set. Parked and ended ones are not.
//!    The run queue has room for every TCB of the table.
//! 3. `current` is the running context, and every other context in use is suspended.
//! 4. The stack of an ended task is freed only when another context runs. Until then `retired_stack` keeps it.
//! 5. No `RefCell` borrow of scheduler state is alive across a switch, and no user code runs inside such a borrow.

pub(crate) mod clock;
pub(crate) mod crew;
mod current;
mod debugger;
pub(crate) mod handshake;
pub(crate) mod job;
pub(crate) mod event_loop;
pub(crate) mod fiber;
mod holder;
#[cfg(feature = "io")]
pub(crate) mod io;
#[cfg(feature = "io")]
mod io_timer;
#[cfg(not(feature = "io"))]
#[path = "no_io.rs"]
mod io;
pub(crate) mod remote;
mod remote_wake;
mod attach;
pub(crate) mod backtrace;
mod phase;
mod poll;
#[cfg(feature = "io")]
pub(crate) mod poll_thread;
pub(crate) mod progress;
pub(crate) mod rng;
mod spin;
mod start;
mod starts;
pub(crate) mod run_queue;
pub(crate) mod search;
mod task_id;
pub(crate) mod task_ref;
pub(crate) mod tcb;
pub(crate) mod tcb_ext;
mod tcb_links;
pub(crate) mod tcb_place;
pub(crate) mod tcb_table;
pub(crate) mod timer_thread;
mod timer_wheel;
pub(crate) mod timers;
pub(crate) mod wake;
pub(crate) mod waker;

use self::clock::Clock;
use self::crew::Member;
pub(crate) use self::current::{current_run, worker, worker_of};
pub(crate) use self::holder::Holder;
pub(crate) use self::phase::{Phase, flags};
use self::progress::{Current, Sleep, Ticks};
use self::run_queue::RunQueue;
use self::search::Search;
pub use self::task_id::Task;
pub(crate) use self::tcb::WaitSpec;
use self::tcb::{Tcb, Woken};
use self::tcb_table::{TcbTable, tcb_of};
use self::timers::{NO_TIMER, Timers};
use crate::arch::{Context, switch};
#[cfg(feature = "io")]
use crate::reactor::Reactor;
use crate::stack::Shape;
use crate::stack::pool::Stack;
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ptr::null;
use std::rc::Rc;
use std::time::Instant;

/// The cooperative budget: the number of calls that a task may complete without waiting before it yields. See
/// `wait::budget`.
pub(crate) const COOP_BUDGET: u32 = 4096;

/// The stage of a run's shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Main runs.
    Running,
    /// Main has returned and all tasks are cancelled: the grace period runs.
    Ending,
    /// The grace period is over: the remaining tasks are unwound.
    Unwinding,
}

/// The decision of `on_stall`: the event loop's next step when no task is ready and no timer is armed.
pub(crate) enum StallAction {
    /// Sleep until a remote wake arrives, and ask again at this time, if any.
    Sleep(Option<Instant>),
    /// Iterate again without sleeping: a task may have become ready.
    Continue,
}

/// The hook for the panic of a task that has no handle left. Receives the task's label and the payload.
pub(crate) type Unhandled = dyn Fn(&str, &(dyn Any + Send));

/// A hook that a higher layer sets.
pub(crate) type Hook = Box<dyn Fn(&Worker)>;

pub(crate) use crate::coroutine::raw::TaskUnwound;

/// The worker of a run. The fields that every turn uses come first.
#[repr(C)]
pub(crate) struct Worker {
    pub(crate) current: Current,
    /// Counts turns down to the next poll.
    ticks: Ticks,
    run_queue: RunQueue,
    /// The stack of the task that ended last: still in use until the switch away from it (invariant 4).
    retired_stack: Cell<Option<Stack>>,
    /// The stack on which the tasks that have none begin their first turns: see `start`.
    first_stack: OnceCell<Stack>,
    event_loop: Cell<*const Tcb>,
    main: Cell<*const Tcb>,
    /// The event loop is in the run queue.
    event_loop_queued: Cell<bool>,
    /// The rest of the cooperative budget: see `wait::budget`. At least 1 between two calls.
    pub(crate) budget: Cell<u32>,
    /// The cooperative budget of a turn: `COOP_BUDGET`, or 1 in a search.
    pub(crate) coop_budget: Cell<u32>,
    /// The search for a schedule that fails, if the run is one.
    search: RefCell<Option<Search>>,
    /// The state of the generator for select (`rng`). Begins with 1, so without a seed every run draws the same
    /// sequence.
    pub(crate) random: Cell<u64>,
    /// The number of tasks that have not ended, without main.
    pub(crate) live: Cell<usize>,
    pub(crate) next_id: Cell<u64>,
    pub(crate) mode: Cell<Mode>,
    /// Main waits for `live` to become 0.
    pub(crate) shutting_down: Cell<bool>,
    pub(crate) table: Rc<TcbTable>,
    pub(crate) timers: Timers,
    pub(crate) remote: remote::RemoteReceiver,
    /// The number of the run, which its remote queue has, too.
    run: u64,
    /// The jobs that the event loop runs next: callbacks, and hooks for unhandled panics.
    jobs: RefCell<VecDeque<Box<dyn FnOnce()>>>,
    /// Jobs that are kept until they are released, by number: see `hold`.
    held: RefCell<HashMap<u64, Box<dyn FnOnce()>>>,
    /// The event loop runs a job, which must not wait.
    in_job: Cell<bool>,
    /// The run is in the registry of `handshake`: it may own biased locks.
    registered: Cell<bool>,
    /// The run is over: callbacks added now are never called.
    callbacks_over: Cell<bool>,
    /// The number of times that the event loop has entered a task.
    pub(crate) entered: Cell<u64>,
    /// The clock of the run: real, or paused and advanced by the event loop.
    pub(crate) clock: Clock,
    /// The stack shape of tasks whose builder sets none.
    pub(crate) shape: Shape,
    /// Called when no task is ready and no timer is armed. Set by `runtime`, a higher layer, which tells a deadlock
    /// from a stall.
    pub(crate) on_stall: Box<dyn Fn(&Worker) -> StallAction>,
    /// Called with the panic of a task that has no handle left.
    pub(crate) unhandled: Rc<Unhandled>,
    /// The end of the grace period that begins when a deadlock cancels main, or of the 500 ms after a forced unwind.
    /// Then `on_shutdown_overdue` is called.
    pub(crate) force_unwind_at: Cell<Option<Instant>>,
    /// Called at `force_unwind_at` if main has not returned: starts the forced unwind.
    on_shutdown_overdue: Hook,
    /// The number of tasks that have ended.
    ended: Cell<u64>,
    /// The state of the generator that shuffles the run queue (`rng`); 0 in a run without a seed, which is round robin.
    rng: Cell<u64>,
    /// Makes the event loop return to main.
    stop: Cell<bool>,
    /// The membership in the crew of the run.
    member: OnceCell<Box<Member>>,
    /// The value of `entered` at which the event loop began to be quiet, without a ready task.
    quiet_since: Cell<Option<u64>>,
    /// The run was opened inside a fiber, which its event loop suspends.
    pub(crate) in_fiber: bool,
    /// The event loop suspends the fiber next, for one round of the executor.
    give_way: Cell<bool>,
    /// Called when the fiber of the run was dropped: cancels main.
    on_fiber_dropped: Option<Hook>,
    fiber_was_dropped: Cell<bool>,
    sleep: Sleep,
    /// Counters for metrics: tasks spawned, waits of tasks, and wakes from other threads.
    spawned: Cell<u64>,
    parks: Cell<u64>,
    remote_wakes: Cell<u64>,
    /// The number of the next job that `hold` keeps.
    next_held: Cell<u64>,
    /// The time of the first wait since the last poll, in nanoseconds of the run's clock since `began`, plus one; 0 if
    /// no task has waited since.
    coarse_now: Cell<u64>,
    /// The number of tasks that are suspended in a wait with `WaitSpec::in_progress`.
    pub(crate) in_progress: Cell<usize>,
    /// The number of tasks that must not be abandoned now, because another thread or the kernel uses what they borrow: see
    /// `wait::wait_until_done` and `wait::wait_for_kernel`.
    pub(crate) lent: Cell<usize>,
    /// The number of tasks that wait for tasks which borrow from them, and which may run on other workers: see
    /// `wait::wait_for_borrowers`.
    pub(crate) lenders: Cell<usize>,
    /// The start of the run, by its clock.
    began: Instant,
    /// The driver that the reactor will use.
    #[cfg(feature = "io")]
    pub(crate) driver: Cell<crate::reactor::Driver>,
    /// The reactor, made by the first wait for I/O.
    #[cfg(feature = "io")]
    reactor: OnceCell<Box<Reactor>>,
    /// The times of its polls.
    #[cfg(feature = "io")]
    io_timer: io_timer::IoTimer,
}

impl Worker {
    /// Creates a worker that is not attached to the thread yet. It must not move from `enter` to `leave`. `on_fiber_dropped` is set if the
    /// calling code belongs to a fiber.
    pub(crate) fn new(
        shape: Shape,
        on_stall: Box<dyn Fn(&Worker) -> StallAction>,
        unhandled: Rc<Unhandled>,
        clock: Clock,
        on_shutdown_overdue: Hook,
        on_fiber_dropped: Option<Hook>,
    ) -> Worker {
        let (remote, began) = (remote::RemoteReceiver::new(), clock.now());
        Worker {
            run: remote.run(),
            current: Current::new(),
            ticks: Ticks::new(),
            run_queue: RunQueue::new(),
            retired_stack: Cell::new(None),
            first_stack: OnceCell::new(),
            event_loop: Cell::new(null()),
            main: Cell::new(null()),
            event_loop_queued: Cell::new(false),
            budget: Cell::new(COOP_BUDGET),
            coop_budget: Cell::new(COOP_BUDGET),
            search: RefCell::new(None),
            random: Cell::new(1),
            live: Cell::new(0),
            next_id: Cell::new(1),
            mode: Cell::new(Mode::Running),
            shutting_down: Cell::new(false),
            table: Rc::new(TcbTable::new()),
            timers: Timers::new(began),
            remote,
            clock,
            jobs: RefCell::default(),
            held: RefCell::default(),
            in_job: Cell::new(false),
            registered: Cell::new(false),
            callbacks_over: Cell::new(false),
            entered: Cell::new(0),
            shape,
            on_stall,
            unhandled,
            force_unwind_at: Cell::new(None),
            on_shutdown_overdue,
            ended: Cell::new(0),
            rng: Cell::new(0),
            stop: Cell::new(false),
            member: OnceCell::new(),
            quiet_since: Cell::new(None),
            in_fiber: on_fiber_dropped.is_some(),
            give_way: Cell::new(false),
            on_fiber_dropped,
            fiber_was_dropped: Cell::new(false),
            sleep: Sleep::new(),
            spawned: Cell::new(0),
            parks: Cell::new(0),
            remote_wakes: Cell::new(0),
            next_held: Cell::new(0),
            coarse_now: Cell::new(0),
            in_progress: Cell::new(0),
            lent: Cell::new(0),
            lenders: Cell::new(0),
            began,
            #[cfg(feature = "io")]
            driver: Cell::default(),
            #[cfg(feature = "io")]
            reactor: OnceCell::new(),
            #[cfg(feature = "io")]
            io_timer: io_timer::IoTimer::new(),
        }
    }

    /// Returns the number of this run, which no other run of the process ever has.
    #[inline(always)]
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Returns the TCB of the running task.
    #[inline]
    pub(crate) fn current(&self) -> &Tcb {
        // SAFETY: `current` is a context in use (invariant 3), so it is in `self.table`, which lives as long as the
        // worker.
        unsafe { &*tcb_of(self.current.get()) }
    }

    pub(crate) fn is_event_loop(&self, tcb: &Tcb) -> bool {
        std::ptr::eq(tcb, self.event_loop.get())
    }

    pub(crate) fn is_main(&self, tcb: &Tcb) -> bool {
        std::ptr::eq(tcb, self.main.get())
    }

    pub(crate) fn main(&self) -> &Tcb {
        // SAFETY: `enter` set `main` to a TCB of `self.table`, which lives as long as the worker.
        unsafe { &*self.main.get() }
    }

    /// Gives up the turn: appends the running task to the run queue and switches to the first task in it.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn turn(&self) {
        if self.poll_if_due() {
            return;
        }
        let me = self.current.get();
        if let Some(next) = self.run_queue.pop_front() {
            // SAFETY: the pop freed a slot for `me`, which runs and so is not in the run queue (invariant 2). `next` is
            // suspended (invariant 3).
            unsafe {
                self.run_queue.push_back(me);
                self.current.set(next);
                self.run_queue.fetch_ahead();
                switch(me, next);
            }
        }
    }

    /// Switches to the task that was spawned last. The caller is the next in the run queue, so it continues when that
    /// task first waits, yields or ends.
    pub(crate) fn enter_last(&self) {
        let Some(last) = self.run_queue.pop_back() else { return };
        // SAFETY: the pop freed a slot for the running context, which is not in the run queue (invariant 2). `last` was
        // in it, so it is suspended (invariant 3).
        unsafe {
            self.run_queue.push_front(self.current.get());
            self.switch_to(last);
        }
    }

    /// Suspends the running task until it is woken. Returns whether the deadline ended the wait. Returns false at once
    /// if a wake arrived before the call: no wakeup is lost. `tcb` is the running task's: every caller has found it already.
    #[inline(always)]
    pub(crate) fn park(&self, tcb: &Tcb, wait: WaitSpec, deadline: Option<Instant>) -> bool {
        debug_assert!(std::ptr::eq(tcb, self.current()), "only the running task can park");
        self.parks.set(self.parks.get() + 1);
        if tcb.take_early_wake(wait) {
            return false;
        }
        let wait_seq = tcb.park(wait, deadline, self.coarse_now());
        let timer = deadline.map_or(NO_TIMER, |deadline| self.timers.arm(deadline, tcb, wait_seq));
        if wait.in_progress {
            self.in_progress.set(self.in_progress.get() + 1);
        }
        let next = if self.ticks.count() { self.next() } else { self.next_late() };
        if wait.fd >= 0 {
            self.run_queue.fetch_next();
        }
        // SAFETY: `next` is the event loop or was in the run queue, so it is suspended (invariant 3). The running TCB
        // is parked: the wake that ends the wait puts it into the run queue once (invariant 2).
        unsafe { self.switch_to(next) };
        if wait.in_progress {
            self.in_progress.set(self.in_progress.get() - 1);
        }
        if deadline.is_some() {
            tcb.remove_flags(flags::HAS_DEADLINE);
        }
        // A timer that fires advances the sequence number.
        let timed_out = !tcb.is_waiting(wait_seq);
        if !timed_out {
            tcb.end_wait(wait_seq);
            if let Some(deadline) = deadline {
                self.timers.disarm(deadline, timer);
            }
        }
        timed_out
    }

    /// Switches to `next`, and returns when the running context is entered again.
    ///
    /// # Safety
    ///
    /// `next` is suspended. The running context is parked, is in the run queue, is the event loop, or is main in
    /// `leave`, which the event loop enters when it returns.
    #[inline(always)]
    unsafe fn switch_to(&self, next: *const Context) {
        let me = self.current.replace(next);
        // SAFETY: the caller ensures that `next` is suspended; `current` is now `next`, and no other context saves into
        // `me`.
        unsafe { switch(me, next) };
        // Invariant 1: a task that has started never moves to another thread.
        assert!(
            worker().is_some_and(|own| std::ptr::eq(own, self)),
            "a task was resumed on a thread that is not the thread of its run: tasks must stay on one thread"
        );
    }

    /// Returns the context to enter when a poll is due: the event loop, which polls. If the event loop is in the run
    /// queue already, returns the first entry instead.
    ///
    /// A task that parks or ends does not poll itself: a wake would put its context into the run queue before the
    /// switch has saved it, and an ended task's stack is retired.
    #[cold]
    fn next_late(&self) -> *const Context {
        self.ticks.count_late();
        if self.event_loop_queued.get() {
            return self.next();
        }
        // SAFETY: `enter` set `event_loop` to a TCB of `self.table`, which lives as long as the worker.
        unsafe { (*self.event_loop.get()).context() }
    }

    /// Returns the context to enter: the first in the run queue, or the event loop if no task is ready.
    #[inline]
    fn next(&self) -> *const Context {
        if self.rng.get() != 0 {
            self.shuffle_next(None);
        }
        // SAFETY: `enter` set `event_loop` to a TCB of `self.table`, which lives as long as the worker.
        self.run_queue.pop_front().unwrap_or_else(|| unsafe { (*self.event_loop.get()).context() })
    }

    /// Wakes a task: makes a parked task ready. For any other task, the next wait returns at once.
    #[inline]
    pub(crate) fn wake(&self, tcb: &Tcb) {
        if tcb.wake() == Woken::Ready {
            // SAFETY: the task was parked, so it was not in the run queue, which has room for every TCB (invariant 2).
            unsafe { self.run_queue.push_back(tcb.context()) };
        }
    }

    /// Ends the task's current public park, or lets its next one return at once. Does not affect other waits.
    #[inline]
    pub(crate) fn unpark(&self, tcb: &Tcb) {
        if tcb.unpark() == Woken::Ready {
            // SAFETY: the task was parked, so it was not in the run queue, which has room for every TCB (invariant 2).
            unsafe { self.run_queue.push_back(tcb.context()) };
        }
    }

    /// Ends a sleep of the event loop, for code outside of the run that has queued a job.
    pub(crate) fn notify(&self) {
        // False if the run has ended.
        let _ = self.remote.notify(self.run);
    }

    /// Queues a job for the event loop, which runs it after all tasks that are ready now.
    pub(crate) fn queue_job(&self, job: Box<dyn FnOnce()>) {
        self.jobs.borrow_mut().push_back(job);
        // The event loop itself checks for new jobs after the current ones.
        if !self.is_event_loop(self.current()) && !self.event_loop_queued.replace(true) {
            // SAFETY: `event_loop_queued` was false, so the event loop is not in the run queue, which has room for
            // every TCB (invariant 2). Its TCB is in `self.table`, which lives as long as the worker.
            unsafe { self.run_queue.push_back((*self.event_loop.get()).context()) };
        }
    }
}
