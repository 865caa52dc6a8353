//! Runs: starting a run, the options of a run, stall and deadlock detection, and shutdown.
#![forbid(unsafe_code)]

mod cancel;
mod config;
mod crew;
mod explore;
mod run_async;
mod shutdown;
mod stall;

use crate::observe::DeadlockReport;
use crate::observe::watchdog::WatchError;
use crate::stack::StackError;
use std::fmt;

pub use self::config::Config;
pub use self::explore::{FailedSchedule, RunFailure};
pub use self::run_async::{Canceller, RunFuture};

/// Runs `main` and the tasks that it spawns on this thread, and returns the value of `main`. [`Config::workers`] adds threads.
///
/// `main` may borrow, and runs on the thread's own stack. When `main` has returned, the run shuts down: the remaining
/// tasks are cancelled and awaited. Tasks that do not end within the grace period ([`Config::shutdown_grace`]) are
/// unwound. Tasks that do not end within another 500 ms are abandoned: their stacks are leaked, and their names are
/// written to stderr. There are two exceptions: for a task of a [`scope`](crate::scope()) the process aborts, because
/// the task borrows from the scope, and a task in [`unblock`](crate::blocking::unblock), or whose read or write a disk has begun,
/// is awaited without a limit. No task runs after `run` has returned.
///
/// # Panics
///
/// * If `main` panics, with the same payload.
/// * If the run is deadlocked, with the report as the message.
/// * If the thread is already inside a run.
/// * If the stack of the event loop cannot be allocated.
///
/// [`Config::run`] returns the last three as errors.
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

/// The error of [`Config::run`].
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError<T> {
    /// The run was deadlocked: every task waited, main included, and no wake could come.
    #[error("deadlock: {report}")]
    Deadlock {
        /// The waiting tasks, and what each of them waited for.
        report: DeadlockReport,
        /// The value that main returned, or its panic. The deadlock cancelled main: its wait returned
        /// [`Cancelled`](crate::task::Cancelled), so main could end.
        outcome: std::thread::Result<T>,
    },
    /// The thread is already inside a run. Main was not called.
    #[error("cannot start a run inside of another: spawn a task instead")]
    AlreadyRunning,
    /// The closure of [`Config::around_worker`] returned without a call of its argument. Main was not called.
    #[error("the closure of Config::around_worker did not call its argument, which is the run")]
    NotStarted,
    /// The number of workers does not go with the rest. Main was not called.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// The stack size is invalid, or the stack of the event loop could not be allocated. Main was not called.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The operating system refused a signal handler, a pipe or the thread of the watchdog. Main was not called.
    #[error("cannot watch the run: {0}")]
    Io(#[from] std::io::Error),
}

/// The part of [`RunError`] that [`Config::workers`] causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkersError {
    /// A run with several workers has no seed: their threads run at the same time, in an order that no seed repeats.
    #[error(
        "Config::seed needs a run of one worker, and this one has {workers}: test the program with Config::workers(1)"
    )]
    Seed {
        /// The number of workers.
        workers: usize,
    },
    /// A run with several workers has no paused clock: while one of them is idle, another may run.
    #[error(
        "Config::paused_clock needs a run of one worker, and this one has {workers}: test the program with Config::workers(1)"
    )]
    PausedClock {
        /// The number of workers.
        workers: usize,
    },
    /// A run inside of a future has one worker: a future that is forgotten would leave its threads behind.
    #[error(
        "a run in a future has one worker, and this one would have {workers}: use Config::run on a thread of its own"
    )]
    Async {
        /// The number of workers.
        workers: usize,
    },
    /// More workers than a run can have: 1,024.
    #[error("a run has at most 1024 workers, not {workers}")]
    TooMany {
        /// The number of workers.
        workers: usize,
    },
    /// The operating system refused a thread.
    #[error("cannot start the thread of a worker: {0}")]
    Thread(std::io::Error),
}

impl<T> From<WatchError> for RunError<T> {
    fn from(error: WatchError) -> RunError<T> {
        match error {
            WatchError::Stack(error) => RunError::Stack(error),
            WatchError::Io(error) => RunError::Io(error),
        }
    }
}

// Not derived: a derive would require `T: Debug`.
impl<T> fmt::Debug for RunError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Deadlock { report, .. } => {
                f.debug_struct("Deadlock").field("report", report).finish_non_exhaustive()
            }
            RunError::AlreadyRunning => f.write_str("AlreadyRunning"),
            RunError::NotStarted => f.write_str("NotStarted"),
            RunError::Workers(error) => f.debug_tuple("Workers").field(error).finish(),
            RunError::Stack(error) => f.debug_tuple("Stack").field(error).finish(),
            RunError::Io(error) => f.debug_tuple("Io").field(error).finish(),
        }
    }
}
