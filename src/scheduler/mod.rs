//! One worker: the tasks of a run taking turns on one thread.
//!
//! A turn goes straight from one task to the next: the one that yields puts itself at the end of the run queue, takes the
//! first, and switches to it. No loop is visited while somebody is ready. Only when nobody is does the *event loop*
//! run, a context of its own on a stack of its own (256 KiB): it runs callbacks, fires timers, reads the remote wakes of
//! other threads, and sleeps.
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
//! 1. A worker lives in the frame of `run` on its thread, and the thread's `WORKER` points to it exactly while that frame stands and is
//!    not in another run. Tasks never leave the thread, so neither does a reference to the worker.
//! 2. A context is in the run queue at most once: `Fresh` and `Ready` TCBs are in it, the running one, parked ones and
//!    ended ones are not. The run queue has room for every TCB of the table.
//! 3. `current` is the context that runs, and every other one in use is suspended.
//! 4. A stack is given back only when its task has ended and another context runs: until then it waits in `retired_stack`.
//! 5. No `RefCell` borrow of anything here is alive across a switch, and no code of a user's runs inside one.

pub(crate) mod clock;
mod current;
mod debugger;
pub(crate) mod handshake;
pub(crate) mod event_loop;
mod holder;
pub(crate) mod remote;
mod attach;
pub(crate) mod backtrace;
mod phase;
mod poll;
pub(crate) mod progress;
pub(crate) mod rng;
pub(crate) mod run_queue;
mod task_id;
pub(crate) mod task_ref;
pub(crate) mod tcb;
pub(crate) mod tcb_ext;
mod tcb_links;
pub(crate) mod tcb_table;
pub(crate) mod timers;
pub(crate) mod wake;

use self::clock::Clock;
pub(crate) use self::current::worker;
pub(crate) use self::holder::Holder;
pub(crate) use self::phase::{Phase, flags};
use self::progress::{Current, Sleep, Ticks};
use self::run_queue::RunQueue;
pub use self::task_id::Task;
pub(crate) use self::tcb::WaitSpec;
use self::tcb::{Tcb, Woken};
use self::tcb_table::{TcbTable, tcb_of};
use self::timers::Timers;
use crate::arch::{Context, Entry, switch};
use crate::stack::Shape;
use crate::stack::pool::Stack;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ptr::null;
use std::rc::Rc;
use std::time::Instant;

/// The cooperative budget: how many calls that may wait complete before one of them gives up a turn.
pub(crate) const COOP_BUDGET: u32 = 4096;

/// What happens to whom is left of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Main runs.
    Running,
    /// Main has returned, and everybody is cancelled.
    Ending,
    /// The grace period is over, and whoever is left is unwound.
    Unwinding,
}

/// What the event loop is told when nobody is ready and no timer is armed.
pub(crate) enum StallAction {
    /// Sleep, but ask again at this time.
    Sleep(Option<Instant>),
    /// Somebody was made ready.
    Continue,
}

/// What is told of a panic that nobody is left to join for.
pub(crate) type Unhandled = dyn Fn(&str, &(dyn Any + Send));

/// The payload that unwinds a task which ignored its cancel for longer than the grace period.
pub(crate) struct TaskUnwound;

/// The worker of a run. What every turn touches comes first.
#[repr(C)]
pub(crate) struct Worker {
    pub(crate) current: Current,
    /// Turns until timers and remote wakes are looked at.
    ticks: Ticks,
    run_queue: RunQueue,
    retired_stack: Cell<Option<Stack>>,
    event_loop: Cell<*const Tcb>,
    main: Cell<*const Tcb>,
    event_loop_queued: Cell<bool>,
    /// How many more calls that may wait complete before one of them gives up a turn: see `task::wait::consume_budget`.
    /// At least 1.
    pub(crate) budget: Cell<u32>,
    /// Decides which of several things that are ready comes first; the same in every run.
    pub(crate) random: Cell<u64>,
    pub(crate) live: Cell<usize>,
    pub(crate) next_id: Cell<u64>,
    pub(crate) mode: Cell<Mode>,
    /// Main waits for `live` to become 0.
    pub(crate) shutting_down: Cell<bool>,
    pub(crate) table: Rc<TcbTable>,
    pub(crate) timers: Timers,
    pub(crate) remote: remote::RemoteReceiver,
    /// The number of the remote queue, and so of the run.
    run: u64,
    /// What the event loop runs: callbacks of tasks that have ended.
    jobs: RefCell<VecDeque<Box<dyn FnOnce()>>>,
    /// What the event loop is to run when it is told to, by number.
    held: RefCell<HashMap<u64, Box<dyn FnOnce()>>>,
    /// The event loop runs one of them, in which nobody may wait.
    in_job: Cell<bool>,
    /// It is in the registry of `handshake`: it may own locks.
    registered: Cell<bool>,
    /// The run is over: callbacks that are added now are never called.
    callbacks_over: Cell<bool>,
    /// How often the event loop has entered a task.
    pub(crate) entered: Cell<u64>,
    /// What time it is for the run: real, or paused and set forward by the event loop.
    pub(crate) clock: Clock,
    /// The shape of a stack that nobody shaped.
    pub(crate) shape: Shape,
    /// Asked when nobody is ready: the layers below this one know what that means.
    pub(crate) on_stall: Box<dyn Fn(&Worker) -> StallAction>,
    /// Told of a panic that nobody is left to join for: the task's label and the payload.
    pub(crate) unhandled: Rc<Unhandled>,
    /// When `on_shutdown_overdue` is to be called.
    pub(crate) force_unwind_at: Cell<Option<Instant>>,
    /// Called when main has been cancelled for too long.
    on_shutdown_overdue: Box<dyn Fn(&Worker)>,
    /// How many tasks have ended.
    ended: Cell<u64>,
    /// Where the next random number comes from, in a run whose order is permuted; else 0.
    rng: Cell<u64>,
    stop: Cell<bool>,
    sleep: Sleep,
    /// How many tasks were started, how often tasks have waited, and how many wakes came from other threads.
    spawned: Cell<u64>,
    parks: Cell<u64>,
    remote_wakes: Cell<u64>,
    /// The number of the next job that is held.
    next_held: Cell<u64>,
    /// The time of the last poll, if somebody has waited since: nanoseconds by the run's clock since `began`, plus one;
    /// else 0.
    coarse_now: Cell<u64>,
    began: Instant,
}

impl Worker {
    /// A worker with its event loop, not yet the thread's. It must stay in place from `enter` on.
    pub(crate) fn new(
        shape: Shape,
        on_stall: Box<dyn Fn(&Worker) -> StallAction>,
        unhandled: Rc<Unhandled>,
        clock: Clock,
        on_shutdown_overdue: Box<dyn Fn(&Worker)>,
    ) -> Worker {
        let (remote, began) = (remote::RemoteReceiver::new(), clock.now());
        Worker {
            run: remote.run(),
            current: Current::new(),
            ticks: Ticks::new(),
            run_queue: RunQueue::new(),
            retired_stack: Cell::new(None),
            event_loop: Cell::new(null()),
            main: Cell::new(null()),
            event_loop_queued: Cell::new(false),
            budget: Cell::new(COOP_BUDGET),
            random: Cell::new(1),
            live: Cell::new(0),
            next_id: Cell::new(1),
            mode: Cell::new(Mode::Running),
            shutting_down: Cell::new(false),
            table: Rc::new(TcbTable::new()),
            timers: Timers::new(),
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
            sleep: Sleep::new(),
            spawned: Cell::new(0),
            parks: Cell::new(0),
            remote_wakes: Cell::new(0),
            next_held: Cell::new(0),
            coarse_now: Cell::new(0),
            began,
        }
    }

    /// The number of this run. No other in the process has it, before or after.
    #[inline(always)]
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// A TCB with a number, and room for it in the run queue.
    #[inline]
    pub(crate) fn new_tcb(&self) -> &Tcb {
        let tcb = self.table.take();
        let id = self.next_id.replace(self.next_id.get() + 1);
        if self.run_queue.capacity() < self.table.capacity() {
            self.run_queue.reserve(self.table.capacity());
        }
        // SAFETY: the table lives as long as the worker, and the TCB is taken.
        let tcb = unsafe { &*tcb };
        tcb.allocate(id);
        tcb
    }

    /// Makes a TCB a task that will run `entry(arg)` on `stack` when its turn comes.
    ///
    /// # Safety
    ///
    /// The TCB is new; `entry` keeps the contract of `arch` and ends by `Worker::end`; `stack.top()` and above is what
    /// `arg` needs, and nothing below is used.
    #[inline]
    pub(crate) unsafe fn start(&self, tcb: &Tcb, stack: Stack, top: usize, entry: Entry, arg: usize) {
        // SAFETY: the caller's.
        unsafe { (*tcb.context()).init(stack.limit(), top, entry, arg) };
        tcb.start(stack);
        self.live.set(self.live.get() + 1);
        self.spawned.set(self.spawned.get() + 1);
        // SAFETY: invariant 2.
        unsafe { self.run_queue.push_back(tcb.context()) };
    }

    /// The task that runs.
    #[inline]
    pub(crate) fn current(&self) -> &Tcb {
        // SAFETY: invariant 3, and contexts in use lie in the table.
        unsafe { &*tcb_of(self.current.get()) }
    }

    pub(crate) fn is_event_loop(&self, tcb: &Tcb) -> bool {
        std::ptr::eq(tcb, self.event_loop.get())
    }

    pub(crate) fn is_main(&self, tcb: &Tcb) -> bool {
        std::ptr::eq(tcb, self.main.get())
    }

    pub(crate) fn main(&self) -> &Tcb {
        // SAFETY: set by `enter`, and the table lives as long as the worker.
        unsafe { &*self.main.get() }
    }

    /// Goes to the end of the run queue and lets everybody else who is ready have a turn first.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn turn(&self) {
        self.poll_if_due();
        let me = self.current.get();
        if let Some(next) = self.run_queue.pop_front() {
            // SAFETY: invariants 2 and 3: a place has just become free, and `next` is suspended.
            unsafe {
                self.run_queue.push_back(me);
                self.current.set(next);
                self.run_queue.fetch_ahead();
                switch(me, next);
            }
        }
    }

    /// Lets the task that was made last run at once, and goes on when it first waits, yields or ends.
    pub(crate) fn enter_last(&self) {
        let Some(last) = self.run_queue.pop_back() else { return };
        // SAFETY: invariants 2 and 3: a place has just become free, and who was in the run queue is suspended.
        unsafe {
            self.run_queue.push_front(self.current.get());
            self.switch_to(last);
        }
    }

    /// Suspends the running task until it is woken, and returns whether that was by the deadline. Returns at once if a wake
    /// came before.
    #[inline(always)]
    pub(crate) fn park(&self, wait: WaitSpec, deadline: Option<Instant>) -> bool {
        self.parks.set(self.parks.get() + 1);
        let tcb = self.current();
        if tcb.take_early_wake(wait) {
            return false;
        }
        let wait_seq = tcb.park(wait, deadline, self.coarse_now());
        if let Some(deadline) = deadline {
            self.timers.arm(deadline, tcb, wait_seq);
        }
        let next = if self.ticks.count() { self.next() } else { self.next_late() };
        // SAFETY: invariants 2 and 3; the TCB is parked, so a wake will put it into the run queue, once.
        unsafe { self.switch_to(next) };
        if deadline.is_some() {
            tcb.remove_flags(flags::HAS_DEADLINE);
        }
        // A timer that fires advances the sequence number.
        let timed_out = !tcb.is_waiting(wait_seq);
        if !timed_out {
            tcb.end_wait(wait_seq);
            if deadline.is_some() {
                // SAFETY: entries of the heap name TCBs of this worker's table, which lives as long as the worker.
                self.timers.disarmed(|tcb, wait_seq| unsafe { !(*tcb).is_waiting(wait_seq) });
            }
        }
        timed_out
    }

    /// # Safety
    ///
    /// `next` is suspended, and the running context is parked, or will be woken by whoever it switches to.
    #[inline(always)]
    unsafe fn switch_to(&self, next: *const Context) {
        let me = self.current.replace(next);
        // SAFETY: the caller's.
        unsafe { switch(me, next) };
        // A started task never moves to another thread, so this is still its worker.
        assert!(
            worker().is_some_and(|own| std::ptr::eq(own, self)),
            "a task was resumed by a thread that is not its own"
        );
    }

    /// Whose turn is next when it is time to poll for events: the event loop's, which does so, unless it is in the run
    /// queue. Not to be done by the task that waits or has ended: a wake would come before it has parked, and a stack that is
    /// nobody's is no place.
    #[cold]
    fn next_late(&self) -> *const Context {
        self.ticks.count_late();
        if self.event_loop_queued.get() {
            return self.next();
        }
        // SAFETY: the event loop was set by `enter`, and is suspended: a task runs.
        unsafe { (*self.event_loop.get()).context() }
    }

    /// Whose turn is next: the first in the run queue, or the event loop.
    #[inline]
    fn next(&self) -> *const Context {
        if self.rng.get() != 0 {
            self.shuffle_next();
        }
        // SAFETY: the event loop was set by `enter`.
        self.run_queue.pop_front().unwrap_or_else(|| unsafe { (*self.event_loop.get()).context() })
    }

    /// Makes a parked task ready. For any other task, the next wait returns at once.
    #[inline]
    pub(crate) fn wake(&self, tcb: &Tcb) {
        if tcb.wake() == Woken::Ready {
            // SAFETY: invariant 2: the task was parked, so it was not in the run queue.
            unsafe { self.run_queue.push_back(tcb.context()) };
        }
    }

    /// Makes a task's current public park return, or else its next one. Other waits are not affected.
    #[inline]
    pub(crate) fn unpark(&self, tcb: &Tcb) {
        if tcb.unpark() == Woken::Ready {
            // SAFETY: as in `wake`.
            unsafe { self.run_queue.push_back(tcb.context()) };
        }
    }

    /// The running task has ended: which that is, counted.
    #[inline]
    pub(crate) fn count_end(&self) -> u64 {
        let count = self.ended.get() + 1;
        self.ended.set(count);
        count
    }

    /// Takes the running task's stack, which has ended but is still stood on, and gives back the one before it.
    #[inline]
    pub(crate) fn retire_stack(&self, stack: Option<Stack>) {
        drop(self.retired_stack.replace(stack));
    }

    /// The running task has ended, and its stack was retired. Returns whom to enter next: the value for its entry to
    /// return.
    #[inline]
    pub(crate) fn end(&self) -> *const Context {
        self.live.set(self.live.get() - 1);
        if self.live.get() == 0 && self.shutting_down.get() {
            self.wake(self.main());
        }
        let next = if self.ticks.count() { self.next() } else { self.next_late() };
        self.current.set(next);
        next
    }

    /// Gives back the stack of the task that ended last. Not to be called on it.
    #[inline]
    pub(crate) fn free_retired_stack(&self) {
        drop(self.retired_stack.take());
    }

    /// Queues something for the event loop to run, behind everybody who is ready now.
    pub(crate) fn queue_job(&self, job: Box<dyn FnOnce()>) {
        self.jobs.borrow_mut().push_back(job);
        // The event loop itself looks when it has run what it has.
        if !self.is_event_loop(self.current()) && !self.event_loop_queued.replace(true) {
            // SAFETY: the event loop is suspended and not in the run queue; there is room for every TCB.
            unsafe { self.run_queue.push_back((*self.event_loop.get()).context()) };
        }
    }
}
