//! Time for tasks: [`sleep`], periodic ticks ([`interval`]), delayed calls ([`after`]), and the clock of the run ([`now`]).
//!
//! No timer fires early. Timers with the same deadline fire in the order in which they were set. A duration too long for
//! `Instant`, such as `Duration::MAX`, never passes.
#![forbid(unsafe_code)]

use crate::task::{JoinError, JoinHandle, spawn};
use crate::wait::{Cancelled, WaitSpec, running, sleep_in_fiber, wait, worker};
use std::fmt;
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

/// A timer that ticks periodically. Created by [`interval`].
#[derive(Clone)]
pub struct Interval {
    next: Option<Instant>,
    period: Duration,
}

/// Creates an interval: a timer that ticks every `period`. The first tick is due at once.
///
/// The due times are multiples of `period` after the start, so ticks do not drift. If the task is late
/// and has missed n ticks, the next n calls of [`tick`](Interval::tick) return without sleeping.
/// [`skip_missed`](Interval::skip_missed) drops the missed ticks instead.
///
/// # Panics
///
/// If `period` is zero.
///
/// ```
/// use std::time::Duration;
/// cede::Config::new().paused_clock(true).run(|| {
///     let start = cede::time::now();
///     let mut ticks = cede::time::interval(Duration::from_secs(1));
///     let times: Vec<_> = (0..3).map(|_| (ticks.tick().unwrap() - start).as_secs()).collect();
///     assert_eq!(times, [0, 1, 2]);
/// }).unwrap();
/// ```
#[doc(alias = "ticker")]
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "interval: the period must not be zero");
    Interval { next: Some(now()), period }
}

impl Interval {
    /// Waits for the next tick, and returns the time at which it was due.
    ///
    /// # Errors
    ///
    /// The errors of [`sleep`]. The tick is not lost: the next call waits for it.
    ///
    /// # Panics
    ///
    /// The panics of [`sleep`].
    #[track_caller]
    pub fn tick(&mut self) -> Result<Instant, Cancelled> {
        until(self.next)?;
        // `next` is `None` only if the tick never comes, and then `until` does not return `Ok`.
        let due = self.next.unwrap_or_else(now);
        self.next = due.checked_add(self.period);
        Ok(due)
    }

    /// Drops all overdue ticks. The next tick is the first one that is due in the future.
    pub fn skip_missed(&mut self) {
        let now = now();
        if let Some(next) = self.next.filter(|next| *next <= now) {
            // One multiplication instead of a loop, which would be slow after a long delay with a short period. The step is at
            // most one period longer than the delay. If `Instant` cannot represent the result, the next tick never comes.
            let period = self.period.as_nanos();
            let step = ((now - next).as_nanos() / period + 1).checked_mul(period);
            self.next = step.and_then(duration).and_then(|step| next.checked_add(step));
        }
    }
}

/// Converts nanoseconds to a `Duration`, or returns `None` if they do not fit.
fn duration(nanos: u128) -> Option<Duration> {
    let second = Duration::from_secs(1).as_nanos();
    // The remainder is less than a second, so it fits a `u32`.
    Some(Duration::new(u64::try_from(nanos / second).ok()?, (nanos % second) as u32))
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval").field("period", &self.period).finish_non_exhaustive()
    }
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
