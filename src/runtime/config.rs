//! `Config`: the options of a run, and `Config::run`, which starts one.
#![forbid(unsafe_code)]

use super::cancel;
use super::crew::{self, AroundWorker};
use super::shutdown::{self, shut_down};
use super::stall::on_stall;
use super::{RunError, WorkersError};
use crate::observe::watchdog::{WatchdogConfig, watched};
use crate::observe::{DeadlockReport, EndlessWait, SlowTurn};
use crate::report::report;
use crate::scheduler::clock::Clock;
use crate::scheduler::crew::{Crew, Member};
use crate::scheduler::{Unhandled, Worker, fiber};
use crate::stack::{DEFAULT_SIZE, Shape};
use crate::task::report_unhandled;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Options of a run: stack size, clock, grace period, diagnostics.
///
/// ```
/// let answer = cede::Config::new().stack_size(128 * 1024).run(|| 42)?;
/// assert_eq!(answer, 42);
/// # Ok::<(), cede::RunError<i32>>(())
/// ```
#[derive(Clone)]
#[must_use = "a `Config` does nothing until `run` is called"]
pub struct Config {
    stack_size: usize,
    grace: Duration,
    stall: Duration,
    closed_world: bool,
    pub(super) unhandled: Rc<Unhandled>,
    pub(super) paused_clock: bool,
    seed: Option<u64>,
    /// The seed of a search, which picks the tasks instead of `seed`.
    pub(super) search: Option<u64>,
    /// The place in which the run stores the number of steps of its search.
    pub(super) steps: Option<Rc<Cell<u64>>>,
    watchdog: WatchdogConfig,
    #[cfg(feature = "io")]
    driver: crate::reactor::Driver,
    cancel_on_ctrl_c: bool,
    around_worker: Option<Arc<AroundWorker>>,
    workers: usize,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("workers", &self.workers)
            .field("stack_size", &self.stack_size)
            .field("shutdown_grace", &self.grace)
            .field("report_stall", &self.stall)
            .field("closed_world", &self.closed_world)
            .field("paused_clock", &self.paused_clock)
            .field("seed", &self.seed)
            .field("replay", &self.search)
            .field("dump_on_signal", &self.watchdog.dump_on)
            .field("report_slow_turns", &self.watchdog.watch)
            .field("report_endless_waits", &self.watchdog.endless)
            .field("cancel_on_ctrl_c", &self.cancel_on_ctrl_c)
            .finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::new()
    }
}

impl Config {
    /// Creates the default options: one worker, stacks of 64 KiB, a grace period of 1 s, a report of a stall after 5 s.
    pub fn new() -> Self {
        Config {
            stack_size: DEFAULT_SIZE,
            grace: Duration::from_secs(1),
            stall: Duration::from_secs(5),
            closed_world: false,
            unhandled: Rc::new(report_unhandled),
            paused_clock: false,
            seed: None,
            search: None,
            steps: None,
            watchdog: WatchdogConfig::default(),
            #[cfg(feature = "io")]
            driver: crate::reactor::Driver::Auto,
            cancel_on_ctrl_c: false,
            around_worker: None,
            workers: 1,
        }
    }

    /// Sets the number of workers: threads that run the tasks of the run. The default is 1, the calling thread; 0 is the number of cores
    /// that the process may use ([`available_parallelism`](std::thread::available_parallelism)).
    ///
    /// Main is on the calling thread. A task stays on the thread where it has started, so what it owns need not be `Send`, and
    /// [`spawn`](crate::spawn()) starts its task on the thread of the caller. Only closures that have not started move to other threads:
    /// [`spawn_anywhere`](crate::task::spawn_anywhere) and [`Handle`](crate::task::Handle) take closures that are `Send`. When main returns,
    /// all workers shut down, and their threads are joined.
    ///
    /// A child process that a task makes with fork(2) has only the calling thread: it must call exec or `_exit`.
    ///
    /// With several workers, [`seed`](Self::seed) and [`paused_clock`](Self::paused_clock) are errors. A program behaves the same with one
    /// worker, so it can be tested with them.
    ///
    /// ```
    /// use cede::task::spawn_anywhere;
    /// let sum = cede::Config::new().workers(2).run(|| {
    ///     let mut tasks: Vec<_> = (1..=100_u64).map(|n| spawn_anywhere(move || n * n)).collect();
    ///     tasks.iter_mut().map(|task| task.join().unwrap()).sum::<u64>()
    /// })?;
    /// assert_eq!(sum, 338_350);
    /// # Ok::<(), cede::RunError<u64>>(())
    /// ```
    #[doc(alias = "threads")]
    #[doc(alias = "worker_threads")]
    #[doc(alias = "multi_thread")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the size in bytes of the stacks of tasks. A [`Builder`](crate::Builder) overrides it for one task.
    ///
    /// Only touched pages use memory, but many small stacks need fewer page tables than large ones: with 100,000 tasks of 16 KiB a turn
    /// takes two thirds of the time that it takes with the default of 64 KiB. Smaller stacks than 32 KiB have no room to print a backtrace.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Sets the grace period: the time within which the cancelled tasks can end after main has returned. Tasks that do
    /// not end in it are unwound. Tasks that have not ended 500 ms later are abandoned, with the exceptions that
    /// [`run`](crate::run()) lists.
    ///
    /// After a deadlock, main is cancelled and has one grace period to return. If main has not returned when the grace
    /// period ends, the other tasks are unwound; main itself never is.
    #[doc(alias = "grace")]
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long a stall lasts before it is reported on stderr, once in a run.
    ///
    /// A run stalls if no task is ready, no timer is armed, and no task waits for I/O or for a call of
    /// [`blocking`](crate::blocking). If no other thread can wake a task, the stall is a deadlock and ends the run.
    /// Otherwise the run continues after the report.
    #[doc(alias = "stall_report")]
    pub fn report_stall(mut self, after: Duration) -> Self {
        self.stall = after;
        self
    }

    /// Promises that no other thread wakes tasks of the run. Then every stall is a deadlock, and ends the run with
    /// [`RunError::Deadlock`] at once. If another thread wakes a task nevertheless, a stall may end the run too early.
    pub fn closed_world(mut self, closed: bool) -> Self {
        self.closed_world = closed;
        self
    }

    /// Sets the hook for unhandled panics. The panic of a task is unhandled (*unjoined*) if its handle was dropped without a
    /// join. Without a hook, the panic is reported on stderr. [`scope`](crate::scope) returns the panics of its own tasks.
    ///
    /// `f` receives the label of the task (its name or its number) and the payload. It runs on the stack of the event loop
    /// (256 KiB) and must not wait. A task that never ran because no stack could be allocated is unhandled like a panic: its payload is a
    /// [`StackError`](crate::StackError).
    pub fn on_unhandled_panic(mut self, f: impl Fn(&str, &(dyn Any + Send)) + 'static) -> Self {
        self.unhandled = Rc::new(f);
        self
    }

    /// Pauses the clock of the run, for tests that sleep. The sleeps then take no time, and end in the same order in every run.
    ///
    /// A paused clock does not advance while a task is ready. When no task is ready, it jumps to the next timer. Do not
    /// combine it with wakes from other threads or with sockets: the clock jumps without waiting for them. Calls of
    /// [`blocking`](crate::blocking) and transfers of files are the exception: the clock does not advance while a task waits for one.
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

    /// Schedules ready tasks in a pseudo-random order derived from `seed`, to expose order-dependent bugs. Selects choose
    /// among ready cases in the same way.
    ///
    /// Try several seeds in a test. With a [paused clock](Self::paused_clock) and without wakes from other threads, a seed
    /// always repeats the same run. A run prints its seed on stderr if main panics, if a task panics and is not joined, or if
    /// the run is deadlocked. Each turn takes a few nanoseconds longer.
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

    /// Sets the interface of the kernel through which the run waits for I/O. The default is [`Driver::Auto`](crate::io::Driver::Auto):
    /// io_uring if it is available, and otherwise epoll or poll(2).
    ///
    /// The first wait for I/O makes the driver. A run without I/O has none.
    #[cfg(feature = "io")]
    pub fn driver(mut self, driver: crate::io::Driver) -> Self {
        self.driver = driver;
        self
    }

    /// Prints a [`dump`](crate::dump()) of the run on stderr whenever `signal` arrives, for example `libc::SIGUSR1`.
    ///
    /// The run makes the dump between two turns: at once if no task is ready, and otherwise after at most 1,024 turns.
    /// The watchdog thread of the run looks up the names of the functions and prints them. If one turn delays the dump
    /// for more than a second, the watchdog first reports the running task with its stack; the dump follows after that
    /// turn. Each run that asked for the signal prints its own dump.
    ///
    /// A handler that the process had installed for the signal before is called too, and is restored at the end of the run.
    /// As with any signal, blocking system calls may fail with `Interrupted`.
    ///
    /// ```no_run
    /// # const SIGUSR1: i32 = 10;
    /// cede::Config::new().dump_on_signal(SIGUSR1).run(|| { /* kill -USR1 prints a dump */ })?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    pub fn dump_on_signal(mut self, signal: i32) -> Self {
        self.watchdog.dump_on = Some(signal);
        self
    }

    /// Sets whether Ctrl-C (SIGINT) cancels main. The first Ctrl-C during the run cancels the main task: its waits return errors, as
    /// after a cancel by a handle, and [`task::cancelled`](crate::task::cancelled) has the reason "Ctrl-C". When main returns, the run
    /// shuts down as usual. The second Ctrl-C ends the process by the default action of the signal, also during the shutdown, and
    /// while a task blocks the thread.
    ///
    /// If several runs set this at the same time, the first Ctrl-C cancels the mains of all of them. A handler that the program had
    /// installed for the signal before is called, too, and listeners of `signal` receive it. At the end of the run, the previous action
    /// is restored. If the process ignores SIGINT, as the background jobs of a shell do, the option has no effect.
    ///
    /// The run has a watchdog thread, which requests the cancel: main sees it between two turns. A task that never yields delays it.
    ///
    /// ```no_run
    /// cede::Config::new().cancel_on_ctrl_c(true).run(|| {
    ///     cede::scope(|s| {
    ///         s.spawn(|| cede::time::sleep(std::time::Duration::from_secs(3600))); // cancelled with main's wait for the scope
    ///     })
    ///     .unwrap();
    ///     eprintln!("saving the results");
    /// })?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    #[doc(alias = "SIGINT")]
    pub fn cancel_on_ctrl_c(mut self, cancel: bool) -> Self {
        self.cancel_on_ctrl_c = cancel;
        self
    }

    /// Sets a closure that is called on the thread of the run, and on that of each further worker, and calls its argument, once: the whole run. So what it holds around that call
    /// is there for all tasks. A runtime of another library is entered once in this way:
    ///
    /// ```
    /// # struct Handle; impl Handle { fn enter(&self) -> Guard<'_> { Guard(self) } } struct Guard<'a>(#[allow(dead_code)] &'a Handle);
    /// # let handle = Handle; // a tokio::runtime::Handle
    /// let sum = cede::Config::new()
    ///     .around_worker(move |run| {
    ///         let _guard = handle.enter(); // tokio::runtime::Handle::enter
    ///         run();
    ///     })
    ///     .run(|| 1 + 2)?;
    /// assert_eq!(sum, 3);
    /// # Ok::<(), cede::RunError<i32>>(())
    /// ```
    ///
    /// Tasks cannot hold such a guard each: it would be dropped in another order than it was made. With [`run_async`](Self::run_async) the
    /// closure is suspended with the run, so that a guard in it would be seen by all that the executor runs meanwhile; there the executor
    /// has entered its runtime already.
    ///
    /// The code of the closure is not a part of the run. A panic of it after the run replaces the output of the run. If it returns without
    /// the call, the run fails with [`RunError::NotStarted`]; a second call of the argument has no effect.
    pub fn around_worker(mut self, f: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> Self {
        self.around_worker = Some(Arc::new(f));
        self
    }

    /// Reports each turn that lasts longer than `allowed`: its task computes or blocks without yielding. A slow turn is
    /// reported on stderr twice: while it lasts, with the name and the backtrace of the task, and after its end, with its
    /// total duration.
    ///
    /// The reports come from the watchdog, a thread beside the run, which checks the progress of the run at intervals
    /// of a quarter of `allowed`. The checks do not slow the turns down. The watchdog interrupts the thread of the run
    /// only to copy the stack of a slow task, by SIGURG. A handler for SIGURG that the program installed before still
    /// gets the program's signals, and not those of the watchdog. If both arrive at once, the handler may miss the
    /// program's. A run that sleeps because no task is ready is not slow.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// cede::Config::new().report_slow_turns(Duration::from_millis(5)).run(|| {
    ///     let start = Instant::now();
    ///     while start.elapsed() < Duration::from_millis(20) {} // is reported on stderr
    /// })?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    #[doc(alias = "watch")]
    #[doc(alias = "watchdog")]
    pub fn report_slow_turns(mut self, allowed: Duration) -> Self {
        self.watchdog.watch = Some(allowed);
        self
    }

    /// Sets the hook for slow turns: `f` is called instead of each report on stderr, so twice for a slow turn. Without
    /// [`report_slow_turns`](Self::report_slow_turns) it is never called.
    ///
    /// `f` runs on the thread of the watchdog, and may wake a task of the run. So with this hook, the absence of other
    /// threads in the process is not taken as the proof of a deadlock.
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

    /// Reports waits that only a cancel can end while other tasks of the run go on: tasks that wait for each other in a cycle, by joins and
    /// by the locks of [`sync`](crate::sync), and tasks in [`park`](crate::task::park) of which no [`Unparker`](crate::task::Unparker)
    /// exists. Each is reported once on stderr, within `allowed` from its begin, or as soon as each task that was ready then has had a turn.
    /// [`dump`](crate::dump()) marks such waits without this option,
    /// and if no task goes on, the run is deadlocked and ends by itself.
    ///
    /// The watchdog, a thread beside the run, makes each worker look at the states of its tasks, twice in `allowed`. If the looks take more
    /// than a fiftieth of the time, they become rarer. A wait with a deadline is never reported,
    /// nor is one for a [`Semaphore`](crate::sync::Semaphore), since any task may add permits. The report assumes that the task that
    /// has locked a lock also unlocks it: a guard that was given to another task makes it wrong.
    ///
    /// ```
    /// use std::time::Duration;
    /// cede::Config::new().report_endless_waits(Duration::from_millis(5)).run(|| {
    ///     let forgotten = cede::spawn(|| cede::task::park("a friend")); // is reported on stderr
    ///     cede::time::sleep(Duration::from_millis(20))?;
    ///     forgotten.cancel();
    ///     Ok::<(), cede::task::Cancelled>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn report_endless_waits(mut self, allowed: Duration) -> Self {
        self.watchdog.endless = Some(allowed);
        self
    }

    /// Sets the hook for endless waits: `f` is called instead of each report on stderr. Without
    /// [`report_endless_waits`](Self::report_endless_waits) it is never called.
    ///
    /// `f` runs on the thread of the watchdog, and may wake a task of the run. So with this hook, the absence of other
    /// threads in the process is not taken as the proof of a deadlock.
    ///
    /// ```
    /// use std::time::Duration;
    /// cede::Config::new()
    ///     .report_endless_waits(Duration::from_millis(100))
    ///     .on_endless_wait(|wait| eprintln!("stuck: {wait}"))
    ///     .run(|| ())?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    pub fn on_endless_wait(mut self, f: impl Fn(&EndlessWait) + Send + Sync + 'static) -> Self {
        self.watchdog.on_endless_wait = Some(Arc::new(f));
        self
    }

    /// Runs `main` and the tasks that it spawns on this thread, and returns the value of `main`. Like [`run`](crate::run()), but
    /// with these options, and with errors instead of panics.
    ///
    /// # Errors
    ///
    /// [`RunError::Deadlock`] if the run was deadlocked, with the report and with the value or the panic of main.
    ///
    /// With the other errors, main was not called: [`RunError::AlreadyRunning`] inside another run, [`RunError::Stack`] if the
    /// stack size is invalid or the stack of the event loop cannot be allocated, [`RunError::Io`] if the operating system
    /// refuses the watchdog, and [`RunError::NotStarted`] if the closure of [`around_worker`](Self::around_worker) did not start it.
    ///
    /// # Panics
    ///
    /// Panics with the payload of `main` if `main` panics and the run was not deadlocked.
    #[track_caller]
    pub fn run<T>(self, main: impl FnOnce() -> T) -> Result<T, RunError<T>> {
        self.run_at(Location::caller(), main)
    }

    /// Returns the number of workers, if the other options permit it.
    fn checked_workers(&self) -> Result<usize, WorkersError> {
        let workers = match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(crew::MAX_WORKERS),
            workers => workers,
        };
        match workers {
            1 => Ok(1),
            _ if self.seed.or(self.search).is_some() => Err(WorkersError::Seed { workers }),
            _ if self.paused_clock => Err(WorkersError::PausedClock { workers }),
            _ if fiber::current().is_some() => Err(WorkersError::Async { workers }),
            _ if workers > crew::MAX_WORKERS => Err(WorkersError::TooMany { workers }),
            _ => Ok(workers),
        }
    }

    /// Like [`run`](Self::run), for a run that was started at `place`.
    pub(super) fn run_at<T>(
        mut self,
        place: &'static Location<'static>,
        main: impl FnOnce() -> T,
    ) -> Result<T, RunError<T>> {
        let workers = self.checked_workers()?;
        let shape = Shape::new(self.stack_size, 0)?;
        let deadlock: Arc<Mutex<Option<DeadlockReport>>> = Arc::default();
        let on_stall = on_stall(self.closed_world, self.stall, self.grace, Arc::clone(&deadlock));
        let clock = if self.paused_clock { Clock::paused() } else { Clock::real() };
        let tell_seed = move || match (self.search, self.seed) {
            (Some(seed), _) => report!("this run was part of a search: Config::replay({seed}) repeats its order"),
            (None, Some(seed)) => report!("this run was shuffled: Config::seed({seed}) repeats its order"),
            (None, None) => {}
        };
        let hook = self.unhandled;
        let unhandled: Rc<Unhandled> = Rc::new(move |label, payload| {
            hook(label, payload);
            tell_seed();
        });
        let on_fiber_dropped: Box<dyn Fn(&Worker)> =
            Box::new(move |worker| cancel::on_fiber_dropped(worker, self.grace));
        let on_fiber_dropped = fiber::current().map(|_| on_fiber_dropped);
        let worker =
            Worker::new(shape, on_stall, unhandled, clock, Box::new(shutdown::on_shutdown_overdue), on_fiber_dropped);
        match (self.search, self.seed) {
            (Some(seed), _) => worker.begin_search(seed),
            (None, Some(seed)) => worker.seed_rng(seed),
            (None, None) => {}
        }
        #[cfg(feature = "io")]
        worker.driver.set(self.driver);
        let options = crew::Options {
            shape,
            grace: self.grace,
            stall: self.stall,
            closed_world: self.closed_world,
            deadlock: Arc::clone(&deadlock),
            watchdog: self.watchdog.clone(),
            around: self.around_worker,
            place,
            #[cfg(feature = "io")]
            driver: self.driver,
        };
        self.watchdog.on_ctrl_c = self.cancel_on_ctrl_c.then(|| cancel::hold_cancel(&worker, "Ctrl-C"));
        let go = |worker: &Worker| {
            let outcome = catch_unwind(AssertUnwindSafe(main));
            shut_down(worker, self.grace);
            outcome
        };
        let (mut start, mut outcome) = (Some((go, self.watchdog)), None);
        let mut run = || {
            if let Some((go, watchdog)) = start.take() {
                outcome = Some(match watchdog.is_empty() {
                    true => worker.with_thread(place, go).map_err(RunError::Stack),
                    false => watched(&worker, watchdog, place, go).map_err(RunError::from),
                });
            }
        };
        let mut around = || match &options.around {
            None => run(),
            Some(around) => around(&mut run),
        };
        if workers == 1 {
            around();
        } else {
            let (crew, mut deques) = Crew::new(workers);
            worker.join_crew(Member::new(Arc::clone(&crew), 0, deques.remove(0)));
            crew::with_workers(&crew, deques, &options, around)?;
        }
        if let Some(steps) = self.steps {
            steps.set(worker.steps());
        }
        let Some(outcome) = outcome else { return Err(RunError::NotStarted) };
        let Some(outcome) = outcome? else { return Err(RunError::AlreadyRunning) };
        let report = deadlock.lock().unwrap_or_else(PoisonError::into_inner).take();
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
