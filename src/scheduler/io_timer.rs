//! The interval between two polls of the reactor while tasks are ready: 50 us, measured in ticks of `arch::clock`.
//!
//! The frequency of that counter is unknown (1 GHz to 5 GHz on x86-64, 24 MHz to 1 GHz on aarch64), so the first
//! millisecond of busy time measures it, once in a process. Until then polls come after `FIRST` ticks.
#![forbid(unsafe_code)]

use crate::arch::clock;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The time between two polls. Each poll is a system call, which costs as much as many turns. `--bin io` measures the cost for
/// tasks that only yield, and the time until a busy run sees an event.
const INTERVAL: Duration = Duration::from_micros(50);

/// The interval in ticks before the frequency is known: 1 us for a counter of 4 GHz, 170 us for one of 24 MHz.
const FIRST: u64 = 4096;

/// The shortest time that measures the frequency.
const MEASURED: Duration = Duration::from_millis(1);

/// The longest time that reading both clocks takes, unless the thread was preempted in between.
const READING: Duration = Duration::from_micros(5);

/// The interval in ticks, once it is known; 0 before.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// The times of a worker's polls.
pub(super) struct IoTimer {
    /// The time of the last poll, in ticks.
    polled_at: Cell<u64>,
    /// The beginning of the measurement, by both clocks.
    began: Cell<Option<(Instant, u64)>>,
}

impl IoTimer {
    pub(super) fn new() -> IoTimer {
        IoTimer { polled_at: Cell::new(0), began: Cell::new(None) }
    }

    /// Returns whether the last poll was `intervals` intervals ago. If so, the caller polls.
    #[inline]
    pub(super) fn is_due(&self, intervals: u64) -> bool {
        let now = clock();
        let ticks = TICKS.load(Relaxed);
        let passed = now.wrapping_sub(self.polled_at.get());
        // A target without a clock polls each time.
        let is_due = now == 0 || passed >= intervals.saturating_mul(if ticks == 0 { FIRST } else { ticks });
        if is_due {
            self.polled_at.set(now);
            if ticks == 0 {
                self.measure();
            }
        }
        is_due
    }

    /// Counts a poll that the caller makes, or has made, in any case.
    pub(super) fn polled(&self) {
        self.polled_at.set(clock());
    }

    /// Measures the frequency of the counter, from the first call to one at least `MEASURED` later.
    #[cold]
    fn measure(&self) {
        let (now, ticks) = (Instant::now(), clock());
        if now.elapsed() > READING {
            return; // preempted: the two clocks do not belong together
        }
        match self.began.get() {
            None => self.began.set(Some((now, ticks))),
            Some((began, first)) if now - began >= MEASURED => {
                TICKS.store(interval(ticks.wrapping_sub(first), now - began), Relaxed);
            }
            Some(_) => {}
        }
    }
}

/// Returns the interval in ticks of a counter that has counted `ticks` in `time`. At least 1: 0 is unknown.
fn interval(ticks: u64, time: Duration) -> u64 {
    let ticks = u128::from(ticks) * INTERVAL.as_nanos() / time.as_nanos().max(1);
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_follows_the_frequency() {
        let second = Duration::from_secs(1);
        assert_eq!(interval(3_000_000_000, second), 150_000);
        assert_eq!(interval(24_000_000, second), 1200);
        assert_eq!(interval(24_000, MEASURED), 1200);
        assert_eq!(interval(1, second), 1);
    }

    #[test]
    fn busy_worker_measures_the_frequency() {
        if clock() == 0 {
            return; // no counter
        }
        let (began, first) = (Instant::now(), clock());
        let timer = IoTimer::new();
        while TICKS.load(Relaxed) == 0 || began.elapsed() < Duration::from_millis(50) {
            timer.is_due(1);
            assert!(began.elapsed() < Duration::from_secs(30), "the frequency remains unknown");
        }
        // The same over a longer time. Another test of this process may have measured first.
        let expected = interval(clock().wrapping_sub(first), began.elapsed());
        let measured = TICKS.load(Relaxed);
        assert!(measured / 2 <= expected && expected / 2 <= measured, "{measured} ticks, expected {expected}");
        assert!(!{
            timer.polled();
            timer.is_due(1)
        });
    }
}
