//! Running: what begins with main, and what is left when it ends.
#![forbid(unsafe_code)]

mod config;
mod shutdown;
mod stall;

use crate::observe::DeadlockReport;
use crate::observe::watchdog::WatchError;
use crate::stack::StackError;
use std::fmt;

pub use self::config::Config;

/// Runs `main` and the tasks that it spawns on this thread, and returns what `main` returned.
///
/// `main` may borrow, and has the thread's own stack. When it has returned, tasks that are left are cancelled and awaited;
/// what does not end within a grace period is unwound, and what does not end then is abandoned and named on stderr. Nothing
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
    /// The system refused what the configuration asks for: a signal's handler, or a thread that watches. Main was not called.
    #[error("cannot watch the run: {0}")]
    Io(#[from] std::io::Error),
}

impl<T> From<WatchError> for RunError<T> {
    fn from(error: WatchError) -> RunError<T> {
        match error {
            WatchError::Stack(error) => RunError::Stack(error),
            WatchError::Io(error) => RunError::Io(error),
        }
    }
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
            RunError::Io(error) => f.debug_tuple("Io").field(error).finish(),
        }
    }
}
