//! Intervals: periodic ticks.

use super::{now, until};
use crate::wait::Cancelled;
use std::fmt;
use std::time::{Duration, Instant};

/// The choice of what an [`Interval`] does with the ticks that a late task has missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[doc(alias = "MissedTickBehavior")]
pub enum MissedTicks {
    /// The missed ticks come at once, one for each call, until the interval has caught up.
    #[default]
    Burst,
    /// A tick comes at once, and the next one a whole period after it: the ticks are shifted.
    Delay,
    /// A tick comes at once, and the next one at the next multiple of the period: the other missed ticks are dropped.
    Skip,
}

/// A timer that ticks periodically. Created by [`interval`] and [`interval_at`].
#[derive(Clone)]
#[must_use = "an interval only ticks in calls of `tick`"]
pub struct Interval {
    /// The time of the next tick; `None` if `Instant` cannot represent it.
    next: Option<Instant>,
    period: Duration,
    missed: MissedTicks,
}

/// Creates an interval: a timer that ticks every `period`. The first tick is due at once.
///
/// The due times are multiples of `period` after the start, so ticks do not drift. What happens to the ticks that a late task has missed is
/// up to [`missed_ticks`](Interval::missed_ticks); by default, the next calls of [`tick`](Interval::tick) return at once.
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
    interval_at(now(), period)
}

/// Creates an interval like [`interval`], whose first tick is due at `start`.
///
/// # Panics
///
/// If `period` is zero.
///
/// ```
/// use std::time::Duration;
/// cede::Config::new().paused_clock(true).run(|| {
///     let start = cede::time::now();
///     let mut ticks = cede::time::interval_at(start + Duration::from_secs(5), Duration::from_secs(1));
///     let times: Vec<_> = (0..3).map(|_| (ticks.tick().unwrap() - start).as_secs()).collect();
///     assert_eq!(times, [5, 6, 7]);
/// }).unwrap();
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "interval: the period must not be zero");
    Interval { next: Some(start), period, missed: MissedTicks::Burst }
}

impl Interval {
    /// Waits for the next tick, and returns the time at which it was due.
    ///
    /// # Errors
    ///
    /// The errors of [`sleep`](super::sleep). The tick is not lost: the next call waits for it.
    ///
    /// # Panics
    ///
    /// The panics of [`sleep`](super::sleep).
    #[track_caller]
    pub fn tick(&mut self) -> Result<Instant, Cancelled> {
        until(self.next)?;
        // `next` is `None` only if the tick never comes, and then `until` does not return `Ok`.
        let due = self.next.unwrap_or_else(now);
        self.next = due.checked_add(self.period);
        match self.missed {
            MissedTicks::Burst => {}
            MissedTicks::Delay => {
                let now = now();
                if self.next.is_some_and(|next| next <= now) {
                    self.next = now.checked_add(self.period);
                }
            }
            MissedTicks::Skip => self.skip_missed(),
        }
        Ok(due)
    }

    /// Sets what happens to the ticks that a late task has missed.
    ///
    /// ```
    /// use cede::time::{MissedTicks, interval, now, sleep};
    /// use std::time::Duration;
    ///
    /// let times = |missed| {
    ///     cede::Config::new().paused_clock(true).run(|| {
    ///         let start = now();
    ///         let mut ticks = interval(Duration::from_secs(2)).missed_ticks(missed);
    ///         ticks.tick().unwrap();
    ///         sleep(Duration::from_secs(5)).unwrap(); // misses the ticks at 2 and 4
    ///         [(); 4].map(|()| {
    ///             ticks.tick().unwrap();
    ///             (now() - start).as_secs()
    ///         })
    ///     })
    /// };
    /// assert_eq!(times(MissedTicks::Burst).unwrap(), [5, 5, 6, 8]);
    /// assert_eq!(times(MissedTicks::Delay).unwrap(), [5, 7, 9, 11]);
    /// assert_eq!(times(MissedTicks::Skip).unwrap(), [5, 6, 8, 10]);
    /// ```
    pub fn missed_ticks(mut self, missed: MissedTicks) -> Interval {
        self.missed = missed;
        self
    }

    /// Returns the period.
    pub fn period(&self) -> Duration {
        self.period
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

    /// Makes the next tick due one period from now.
    ///
    /// ```
    /// use std::time::Duration;
    /// cede::Config::new().paused_clock(true).run(|| {
    ///     let start = cede::time::now();
    ///     let mut idle = cede::time::interval(Duration::from_secs(10));
    ///     idle.reset();
    ///     cede::time::sleep(Duration::from_secs(4)).unwrap();
    ///     idle.reset(); // there was work: 10 more seconds
    ///     assert_eq!((idle.tick().unwrap() - start).as_secs(), 14);
    /// }).unwrap();
    /// ```
    pub fn reset(&mut self) {
        self.next = now().checked_add(self.period);
    }

    /// Makes the next tick due at `at`.
    pub fn reset_at(&mut self, at: Instant) {
        self.next = Some(at);
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
        f.debug_struct("Interval")
            .field("period", &self.period)
            .field("missed_ticks", &self.missed)
            .finish_non_exhaustive()
    }
}
