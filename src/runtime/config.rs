//! How a run is to be, and running it.
#![forbid(unsafe_code)]

use super::RunError;
use super::shutdown::{self, shut_down};
use super::stall::on_stall;
use crate::observe::watchdog::{WatchdogConfig, watched};
use crate::observe::{DeadlockReport, SlowTurn};
use crate::report::report;
use crate::scheduler::timers::Clock;
use crate::scheduler::{Unhandled, Worker};
use crate::stack::{DEFAULT_SIZE, Shape};
use crate::task::report_unhandled;
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

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
    seed: Option<u64>,
    watchdog: WatchdogConfig,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("stack_size", &self.stack_size)
            .field("shutdown_grace", &self.grace)
            .field("report_stall", &self.stall)
            .field("closed_world", &self.closed_world)
            .field("paused_clock", &self.paused_clock)
            .field("seed", &self.seed)
            .field("dump_on_signal", &self.watchdog.dump_on)
            .field("report_slow_turns", &self.watchdog.watch)
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
            seed: None,
            watchdog: WatchdogConfig::default(),
        }
    }

    /// The size of a task's stack in bytes, for tasks that are not shaped by a [`Builder`](crate::Builder).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// How long tasks may take to end after main has returned and they have been cancelled, before they are unwound.
    #[doc(alias = "grace")]
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// After how long a wait of everybody is reported on stderr, once, if a wake may still come from another thread.
    #[doc(alias = "stall_report")]
    pub fn report_stall(mut self, after: Duration) -> Self {
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

    /// Permutes whose turn it is: whoever is ready may be next, in an order that depends on nothing but `seed`; and lets every
    /// select choose accordingly. For tests that are to find what depends on the order of turns; they try several seeds, and with a
    /// [paused clock](Self::paused_clock) and no wakes from other threads a seed always leads to the same run. When such a run fails
    /// (main panics, a task panics and nobody joins it, everybody waits), the seed is told on stderr. Each turn costs some
    /// nanoseconds more.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// let order = |seed| cede::Config::new().seed(seed).run(|| {
    ///     let log = Rc::new(RefCell::new(Vec::new()));
    ///     let task = |n| { let log = Rc::clone(&log); cede::spawn(move || log.borrow_mut().push(n)) };
    ///     cede::join_all((0..8).map(task).collect::<Vec<_>>());
    ///     log.take()
    /// }).unwrap();
    /// assert_eq!(order(7), order(7));
    /// assert!((0..10).any(|seed| order(seed) != [0, 1, 2, 3, 4, 5, 6, 7]));
    /// ```
    #[doc(alias = "shuffle")]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Prints a [`dump`](crate::dump()) of the run on stderr whenever this signal arrives, as `libc::SIGUSR1`.
    ///
    /// The worker makes the dump when it polls for events, which it does at least once a round, and at once when it sleeps; a
    /// thread of the library's own looks up the names and prints. If a task keeps the worker for more than a second, that
    /// one is named instead, with its stack, and the dump follows when its turn is over. Several runs print one each. A
    /// handler that was there before is called too, and put back at the end of the run. As with any signal, system calls
    /// that wait may fail with `Interrupted`.
    ///
    /// ```no_run
    /// # const SIGUSR1: i32 = 10;
    /// cede::Config::new().dump_on_signal(SIGUSR1).run(|| { /* kill -USR1 says what it does */ })?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    pub fn dump_on_signal(mut self, signal: i32) -> Self {
        self.watchdog.dump_on = Some(signal);
        self
    }

    /// Reports a task that keeps the worker for longer than `allowed`, while it does: its name and where it is, on stderr,
    /// once for each such turn, and once more how long it took in all.
    ///
    /// A thread of the library's own looks four times in `allowed` whether the worker gets on; turns cost nothing more. Only
    /// to see a slow task's stack does it interrupt the worker, by SIGURG, which nobody else may need to notice: a handler
    /// that was there before is called for those that are not the watchdog's. A worker that sleeps is not slow.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// cede::Config::new().report_slow_turns(Duration::from_millis(5)).run(|| {
    ///     let start = Instant::now();
    ///     while start.elapsed() < Duration::from_millis(20) {} // is named on stderr
    /// })?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    #[doc(alias = "watch")]
    #[doc(alias = "watchdog")]
    pub fn report_slow_turns(mut self, allowed: Duration) -> Self {
        self.watchdog.watch = Some(allowed);
        self
    }

    /// What is told of a slow turn instead of stderr: see [`report_slow_turns`](Self::report_slow_turns), without which there are none. It is
    /// called on the watching thread, which counts among those that may wake a task: no deadlock is certain then because the
    /// process has no other.
    ///
    /// ```
    /// use std::time::Duration;
    /// cede::Config::new()
    ///     .report_slow_turns(Duration::from_millis(100))
    ///     .on_slow_turn(|slow| eprintln!("too long: {:?}", slow.task))
    ///     .run(|| ())?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    pub fn on_slow_turn(mut self, f: impl Fn(&SlowTurn) + Send + Sync + 'static) -> Self {
        self.watchdog.on_slow_turn = Some(Arc::new(f));
        self
    }

    /// Runs `main` and the tasks that it spawns: see [`run`](crate::run()).
    ///
    /// # Errors
    ///
    /// [`RunError::Deadlock`] with the report and with what main came to; [`RunError::AlreadyRunning`],
    /// [`RunError::Stack`] and [`RunError::Io`] before main is called.
    ///
    /// # Panics
    ///
    /// With the panic of `main`.
    #[track_caller]
    pub fn run<T>(self, main: impl FnOnce() -> T) -> Result<T, RunError<T>> {
        let place = Location::caller();
        let shape = Shape::new(self.stack_size, 0)?;
        let deadlock: Rc<RefCell<Option<DeadlockReport>>> = Rc::default();
        let on_stall = on_stall(self.closed_world, self.stall, self.grace, Rc::clone(&deadlock));
        let clock = if self.paused_clock { Clock::paused() } else { Clock::real() };
        let tell_seed = move || {
            if let Some(seed) = self.seed {
                report!("that run was permuted: Config::seed({seed}) repeats it");
            }
        };
        let hook = self.unhandled;
        let unhandled: Rc<Unhandled> = Rc::new(move |label, payload| {
            hook(label, payload);
            tell_seed();
        });
        let worker = Worker::new(shape, on_stall, unhandled, clock, Box::new(shutdown::on_shutdown_overdue));
        if let Some(seed) = self.seed {
            worker.seed_rng(seed);
        }
        let go = |worker: &Worker| {
            let outcome = catch_unwind(AssertUnwindSafe(main));
            shut_down(worker, self.grace);
            outcome
        };
        let outcome = match self.watchdog.is_empty() {
            true => worker.with_thread(place, go)?,
            false => watched(&worker, self.watchdog, place, go)?,
        };
        let Some(outcome) = outcome else { return Err(RunError::AlreadyRunning) };
        let report = deadlock.borrow_mut().take();
        if report.is_some() || outcome.is_err() {
            tell_seed();
        }
        match (report, outcome) {
            (Some(report), outcome) => Err(RunError::Deadlock { report, outcome }),
            (None, Ok(value)) => Ok(value),
            (None, Err(payload)) => resume_unwind(payload),
        }
    }
}
