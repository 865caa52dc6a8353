//! Time for tasks: sleeping, ticking, and calling later.
//!
//! Deadlines are `Instant`s inside and `Duration`s at the surface. Nothing is early; what is due at the same moment comes in
//! the order in which it was asked for; a duration too long for the clock (`Duration::MAX`) never comes.
#![forbid(unsafe_code)]

use crate::task::{JoinError, JoinHandle, spawn};
use crate::wait::{Cancelled, WaitSpec, running, wait};
use std::fmt;
use std::time::{Duration, Instant};

/// What time it is: the run's own, which tests can pause ([`Config::paused_clock`](crate::Config::paused_clock)); outside of
/// a run the real one.
///
/// ```
/// cede::run(|| assert!(cede::time::now() <= std::time::Instant::now()));
/// ```
pub fn now() -> Instant {
    crate::wait::now()
}

/// Waits for `duration`, and at least for one turn. Never shorter.
///
/// # Errors
///
/// [`Cancelled`] if the task is cancelled, before or meanwhile.
///
/// # Panics
///
/// Outside of a run, in a callback, and inside [`no_suspend`](crate::no_suspend).
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// cede::run(|| cede::time::sleep(Duration::from_millis(2))).unwrap();
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Result<(), Cancelled> {
    until(running("sleep").clock.now().checked_add(duration))
}

/// Waits until `deadline`, by the clock of [`now`], and at least for one turn.
///
/// # Errors
///
/// # Panics
///
/// As [`sleep`].
///
/// ```
/// use std::time::Duration;
/// cede::run(|| cede::time::sleep_until(cede::time::now() + Duration::from_millis(1))).unwrap();
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Result<(), Cancelled> {
    until(Some(deadline))
}

/// `None` is never.
#[track_caller]
fn until(deadline: Option<Instant>) -> Result<(), Cancelled> {
    let worker = running("sleep");
    if deadline.is_some_and(|deadline| deadline <= worker.clock.now()) {
        crate::yield_now();
        return crate::task::check();
    }
    // A sleep is ended by its deadline or by a cancel, not by an unpark: a stray one is waited through.
    while deadline.is_none_or(|deadline| worker.clock.now() < deadline) {
        wait(worker, WaitSpec { reason: "its time to come", only_this_run: true, ..WaitSpec::DEFAULT }, deadline)?;
    }
    Ok(())
}

/// Ticks at regular times: see [`interval`].
#[derive(Clone)]
pub struct Interval {
    next: Option<Instant>,
    period: Duration,
}

/// Ticks every `period`, the first time at once.
///
/// Ticks are counted from the start, so they do not drift. Those that were missed because the task was late are made up for
/// at once, one after the other; [`skip_missed`](Interval::skip_missed) drops them instead.
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
    assert!(!period.is_zero(), "an interval of no time would tick for ever at once");
    Interval { next: Some(now()), period }
}

impl Interval {
    /// Waits for the next tick, and returns when it was due.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled; the tick is still to come.
    ///
    /// # Panics
    ///
    /// As [`sleep`].
    #[track_caller]
    pub fn tick(&mut self) -> Result<Instant, Cancelled> {
        until(self.next)?;
        // Only a tick that never comes has no time, and that is not returned from.
        let due = self.next.unwrap_or_else(now);
        self.next = due.checked_add(self.period);
        Ok(due)
    }

    /// Forgets the ticks that are overdue: the next one is the next that is still to come.
    pub fn skip_missed(&mut self) {
        let now = now();
        if let Some(next) = self.next.filter(|next| *next <= now) {
            // In one step, however short the period is and however late it is. At most a period more than the time that has gone
            // by; what no clock can tell never comes.
            let period = self.period.as_nanos();
            let step = ((now - next).as_nanos() / period + 1).checked_mul(period);
            self.next = step.and_then(duration).and_then(|step| next.checked_add(step));
        }
    }
}

/// So many nanoseconds, if a `Duration` can tell.
fn duration(nanos: u128) -> Option<Duration> {
    let second = Duration::from_secs(1).as_nanos();
    // The rest is less than a second.
    Some(Duration::new(u64::try_from(nanos / second).ok()?, (nanos % second) as u32))
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval").field("period", &self.period).finish_non_exhaustive()
    }
}

/// A call that is to come: see [`after`]. Dropping it leaves the call to come.
#[derive(Debug)]
pub struct TimerHandle<T> {
    task: JoinHandle<Option<T>>,
}

/// Calls `f` in a task of its own, `duration` from now.
///
/// # Panics
///
/// As [`spawn`].
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
    /// Keeps the call from coming. True if it had not come yet.
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// Waits for the call, and returns what it returned; `None` if it was cancelled.
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`].
    #[track_caller]
    pub fn join(mut self) -> Result<Option<T>, JoinError> {
        match self.task.join() {
            // Before its first turn, so that there was nobody to say so.
            Err(JoinError::Cancelled) => Ok(None),
            result => result,
        }
    }
}
