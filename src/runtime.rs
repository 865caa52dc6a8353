//! Running: what begins with main, and what is left when it ends.
#![forbid(unsafe_code)]

use crate::scheduler::timers::Clock;
use crate::scheduler::{Mode, Unhandled, Verdict, Wait, Worker, attention};
use crate::stack::{DEFAULT_SIZE, Shape, StackError};
use crate::task::{DeadlockReport, inspect, report_unhandled};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

/// Runs `main` and the tasks that it spawns on this thread, and returns what `main` returned.
///
/// `main` may borrow, and has the thread's own stack. When it has returned, tasks that are left are cancelled and awaited;
/// what does not end within a grace period is unwound, and what does not end then is left behind and named on stderr. Nothing
/// of the run is left when this returns.
///
/// # Panics
///
/// With the panic of `main`; if the run is deadlocked, with the report; inside of another run; without a stack for the
/// scheduler. [`Config::run`] returns the last three as errors.
///
/// ```
/// let mut log = Vec::new();
/// let sum: i32 = cede::run(|| {
///     log.push("main may borrow");
///     let mut tasks: Vec<_> = (1..=3).map(|n| cede::spawn(move || n * n)).collect();
///     tasks.iter_mut().map(|task| task.join().unwrap()).sum()
/// });
/// assert_eq!(sum, 14);
/// ```
#[track_caller]
pub fn run<T>(main: impl FnOnce() -> T) -> T {
    match Config::new().run(main) {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// Why a run gave no value.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError<T> {
    /// Everybody waited, and nobody was left to wake them.
    #[error("deadlock: {report}")]
    Deadlock {
        /// Who waited for what.
        report: DeadlockReport,
        /// What main returned, or its panic, after its wait had been ended by [`Cancelled`](crate::task::Cancelled).
        outcome: std::thread::Result<T>,
    },
    /// This thread is in a run already. Main was not called.
    #[error("cannot start a run inside of another: spawn a task instead")]
    AlreadyRunning,
    /// There is no stack for the scheduler. Main was not called.
    #[error(transparent)]
    Stack(#[from] StackError),
}

// By hand, so that T need not be Debug.
impl<T> fmt::Debug for RunError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Deadlock { report, .. } => {
                f.debug_struct("Deadlock").field("report", report).finish_non_exhaustive()
            }
            RunError::AlreadyRunning => f.write_str("AlreadyRunning"),
            RunError::Stack(error) => f.debug_tuple("Stack").field(error).finish(),
        }
    }
}

/// How a run is to be.
///
/// ```
/// let answer = cede::Config::new().stack_size(128 * 1024).run(|| 42)?;
/// assert_eq!(answer, 42);
/// # Ok::<(), cede::RunError<i32>>(())
/// ```
#[must_use = "a configuration runs nothing until it is given a main"]
pub struct Config {
    stack_size: usize,
    grace: Duration,
    stall: Duration,
    closed_world: bool,
    unhandled: Rc<Unhandled>,
    paused_clock: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("stack_size", &self.stack_size)
            .field("grace", &self.grace)
            .field("stall_report", &self.stall)
            .field("closed_world", &self.closed_world)
            .field("paused_clock", &self.paused_clock)
            .finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::new()
    }
}

impl Config {
    /// Stacks of the default size, a second of grace, a report of a stall after five.
    pub fn new() -> Self {
        Config {
            stack_size: DEFAULT_SIZE,
            grace: Duration::from_secs(1),
            stall: Duration::from_secs(5),
            closed_world: false,
            unhandled: Rc::new(report_unhandled),
            paused_clock: false,
        }
    }

    /// The size of a task's stack in bytes, for tasks that are not shaped by a [`Builder`](crate::Builder).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// How long tasks may take to end after main has returned and they have been cancelled, before they are unwound.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// After how long a wait of everybody is reported on stderr, once, if a wake may still come from another thread.
    pub fn stall_report(mut self, after: Duration) -> Self {
        self.stall = after;
        self
    }

    /// Says that nobody outside of the run will ever wake its tasks, so that a wait of everybody is a deadlock for certain.
    pub fn closed_world(mut self, closed: bool) -> Self {
        self.closed_world = closed;
        self
    }

    /// What is told of a task's panic when nobody is left to join it: the task's label and the payload. It runs on the
    /// scheduler's own stack (256 KiB) and may not wait. Otherwise a line goes to stderr.
    pub fn on_unhandled_panic(mut self, f: impl Fn(&str, &(dyn Any + Send)) + 'static) -> Self {
        self.unhandled = Rc::new(f);
        self
    }

    /// Whether the run's clock stands still while anybody is ready, and jumps to the next deadline when nobody is: for tests
    /// that sleep, which then take no time and always go the same way. Wakes from other threads and a paused clock do not go
    /// together: nobody waits for them.
    ///
    /// ```
    /// use std::time::Duration;
    /// cede::Config::new().paused_clock(true).run(|| {
    ///     let before = cede::time::now();
    ///     cede::time::sleep(Duration::from_secs(3600))?;
    ///     assert_eq!(cede::time::now() - before, Duration::from_secs(3600));
    ///     Ok::<(), cede::task::Cancelled>(())
    /// })?.unwrap();
    /// # Ok::<(), cede::RunError<_>>(())
    /// ```
    pub fn paused_clock(mut self, paused: bool) -> Self {
        self.paused_clock = paused;
        self
    }

    /// Runs `main` and the tasks that it spawns: see [`run`].
    ///
    /// # Errors
    ///
    /// [`RunError::Deadlock`] with the report and with what main came to; [`RunError::AlreadyRunning`] and
    /// [`RunError::Stack`] before main is called.
    ///
    /// # Panics
    ///
    /// With the panic of `main`.
    pub fn run<T>(self, main: impl FnOnce() -> T) -> Result<T, RunError<T>> {
        let shape = Shape::new(self.stack_size, 0)?;
        let deadlock: Rc<RefCell<Option<DeadlockReport>>> = Rc::default();
        let stalled = stalled(self.closed_world, self.stall, Rc::clone(&deadlock));
        let clock = if self.paused_clock { Clock::paused() } else { Clock::real() };
        let worker = Worker::new(shape, stalled, self.unhandled, clock);
        let outcome = worker.with_thread(|worker| {
            let outcome = catch_unwind(AssertUnwindSafe(main));
            worker.insist_on_main();
            sweep(worker, self.grace);
            outcome
        })?;
        let Some(outcome) = outcome else { return Err(RunError::AlreadyRunning) };
        let report = deadlock.borrow_mut().take();
        match (report, outcome) {
            (Some(report), outcome) => Err(RunError::Deadlock { report, outcome }),
            (None, Ok(value)) => Ok(value),
            (None, Err(payload)) => resume_unwind(payload),
        }
    }
}

/// What the hub asks when nobody is ready and no timer is armed.
fn stalled(
    closed_world: bool,
    after: Duration,
    deadlock: Rc<RefCell<Option<DeadlockReport>>>,
) -> Box<dyn Fn(&Worker) -> Verdict> {
    let since: Cell<Option<(u64, Instant)>> = Cell::new(None);
    let reported = Cell::new(false);
    Box::new(move |worker| {
        if closed_world || inspect::is_closed(worker) || is_only_thread() {
            // Whoever could have woken somebody is gone, but may have done so just before.
            fence(Ordering::Acquire);
            if worker.inbox.has_letters() {
                return Verdict::GoOn;
            }
            deadlock.borrow_mut().get_or_insert_with(|| inspect::report(worker));
            inspect::break_waits(worker);
            return Verdict::GoOn;
        }
        if reported.get() {
            return Verdict::Sleep(None);
        }
        // Somebody outside may come; if nobody does for a while, say once who waits.
        let entered = worker.entered.get();
        let began = match since.get() {
            Some((at, began)) if at == entered => began,
            _ => Instant::now(),
        };
        since.set(Some((entered, began)));
        match began.checked_add(after) {
            Some(then) if Instant::now() < then => Verdict::Sleep(Some(then)),
            None => Verdict::Sleep(None),
            Some(_) => {
                reported.set(true);
                // Where stderr cannot be written there is nobody to tell.
                let _ = writeln!(
                    std::io::stderr(),
                    "cede: nobody has run for {} ms, and only another thread could change that: {}",
                    after.as_millis(),
                    inspect::report(worker)
                );
                Verdict::Sleep(None)
            }
        }
    })
}

/// Whether the process has no thread but this one. In doubt it has.
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// How long tasks have to end after they were unwound.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// Main has ended: cancels everybody, waits, unwinds those who stay, and leaves those behind who stay even then.
fn sweep(worker: &Worker, grace: Duration) {
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
