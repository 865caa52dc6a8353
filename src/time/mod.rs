//! Time for tasks: [`sleep`], periodic ticks ([`interval`]), delayed calls ([`after`]), repeated attempts ([`retry`]), and the clock of the
//! run ([`now`]).
//!
//! A test pauses the clock with [`Config::paused_clock`](crate::Config::paused_clock): it jumps to the next deadline when all tasks wait, or
//! by [`advance`].
//!
//! No timer fires early. Timers with the same deadline fire in the order in which they were set. A duration too long for
//! `Instant`, such as `Duration::MAX`, never passes.
#![forbid(unsafe_code)]

mod interval;
mod retry;

pub use self::interval::{Interval, MissedTicks, interval, interval_at};
pub use self::retry::{Backoff, RetryError, retry, retry_if};
use crate::task::{JoinError, JoinHandle, spawn};
use crate::wait::{Cancelled, WaitSpec, running, sleep_in_fiber, wait, worker};
use std::time::{Duration, Instant};

/// Returns the current time of the run's clock, which tests can pause
/// ([`Config::paused_clock`](crate::Config::paused_clock)). Outside a run, returns `Instant::now()`.
///
/// ```
/// cede::run(|| assert!(cede::time::now() <= std::time::Instant::now()));
/// ```
pub fn now() -> Instant {
    crate::wait::now()
}

/// Advances the paused clock of the run by `duration`, and gives the tasks whose deadlines have passed a turn. All of them
/// see the new time; with [`sleep`] in place of `advance`, each would see the time of its own deadline.
///
/// # Errors
///
/// [`Cancelled`] if the task is cancelled. The clock was advanced.
///
/// # Panics
///
/// If the clock of the run is not [paused](crate::Config::paused_clock), and the panics of [`sleep`].
///
/// ```
/// use std::time::Duration;
/// cede::Config::new().paused_clock(true).run(|| {
///     let start = cede::time::now();
///     cede::time::advance(Duration::from_secs(5)).unwrap();
///     assert_eq!(cede::time::now() - start, Duration::from_secs(5));
/// }).unwrap();
/// ```
#[track_caller]
pub fn advance(duration: Duration) -> Result<(), Cancelled> {
    let worker = running("advance the clock");
    assert!(worker.clock.jumps(), "cannot advance the clock: it is not paused; see Config::paused_clock");
    let to = worker.clock.now().checked_add(duration).expect("the clock cannot show a time that far away");
    worker.clock.jump(to);
    worker.poll_soon(); // fires the timers
    sleep(Duration::ZERO)
}

/// Waits until at least `duration` has passed. With `Duration::ZERO`, yields once. In a [fiber](crate::fiber()) outside of a run, suspends the
/// fiber, by the real clock.
///
/// # Errors
///
/// [`Cancelled`] if the task is cancelled before or during the wait, if the fiber is dropped, if a deadline or scope around the call ends the
/// wait, or if the thread is panicking.
///
/// # Panics
///
/// If called outside of runs and [fibers](crate::fiber()), in a callback, or inside [`no_suspend`](crate::no_suspend).
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// cede::run(|| cede::time::sleep(Duration::from_millis(2))).unwrap();
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Result<(), Cancelled> {
    until(now().checked_add(duration))
}

/// Waits until the clock of [`now`] reaches `deadline`. If it has passed already, yields once.
///
/// # Errors
///
/// The errors of [`sleep`].
///
/// # Panics
///
/// The panics of [`sleep`].
///
/// ```
/// use std::time::Duration;
/// cede::run(|| cede::time::sleep_until(cede::time::now() + Duration::from_millis(1))).unwrap();
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Result<(), Cancelled> {
    until(Some(deadline))
}

/// Waits until `deadline`. `None` is a deadline that never comes.
#[track_caller]
fn until(deadline: Option<Instant>) -> Result<(), Cancelled> {
    if worker().is_none()
        && let Some(outcome) = sleep_in_fiber(deadline)
    {
        return outcome;
    }
    let worker = running("sleep");
    if deadline.is_some_and(|deadline| deadline <= worker.clock.now()) {
        crate::yield_now();
        return crate::task::check();
    }
    // Only the deadline or a cancel ends a sleep. After a spurious wakeup, the task waits again.
    while deadline.is_none_or(|deadline| worker.clock.now() < deadline) {
        wait(worker, WaitSpec { reason: "the end of its sleep", only_this_run: true, ..WaitSpec::DEFAULT }, deadline)?;
    }
    Ok(())
}

/// A handle of a delayed call. Returned by [`after`]. Dropping it does not cancel the call.
#[derive(Debug)]
pub struct TimerHandle<T> {
    task: JoinHandle<Option<T>>,
}

/// Spawns a task that calls `f` after `duration`.
///
/// # Panics
///
/// The panics of [`spawn`].
///
/// ```
/// use std::time::Duration;
/// cede::run(|| {
///     let timer = cede::time::after(Duration::from_millis(1), || "rang");
///     assert_eq!(timer.join().unwrap(), Some("rang"));
///     let timer = cede::time::after(Duration::MAX, || "never");
///     assert!(timer.cancel());
/// });
/// ```
#[track_caller]
pub fn after<T: 'static>(duration: Duration, f: impl FnOnce() -> T + 'static) -> TimerHandle<T> {
    let deadline = now().checked_add(duration);
    TimerHandle { task: spawn(move || until(deadline).ok().map(|()| f())) }
}

impl<T: 'static> TimerHandle<T> {
    /// Cancels the delayed call. Returns true if it had not ended yet. If `f` is already running, its task is cancelled: the
    /// waits in `f` return errors.
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// Waits for the delayed call, and returns its value, or `None` if the call was cancelled before `f` was called, or if
    /// its task was unwound or abandoned at the end of the run.
    ///
    /// # Errors
    ///
    /// The errors of [`JoinHandle::join`], except [`JoinError::Cancelled`]: the call returns `Ok(None)` instead.
    #[track_caller]
    pub fn join(mut self) -> Result<Option<T>, JoinError> {
        match self.task.join() {
            // Cancelled before its first turn, so the closure could not return `None` itself.
            Err(JoinError::Cancelled) => Ok(None),
            result => result,
        }
    }
}
