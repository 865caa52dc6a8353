//! The clock of a run: real, or paused for tests.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The clock of a run.
pub(crate) struct Clock {
    /// The time of a paused clock, without the time that has passed since `running`; `None` for a real clock.
    paused: Option<Cell<Instant>>,
    /// The time at which `go_on` let a paused clock run; `None` before.
    running: Cell<Option<Instant>>,
}

impl Clock {
    pub(crate) fn real() -> Clock {
        Clock { paused: None, running: Cell::new(None) }
    }

    /// Returns whether [`jump`](Self::jump) advances the clock, also after `go_on`.
    pub(crate) fn jumps(&self) -> bool {
        self.paused.is_some()
    }

    /// Creates a clock that does not run. When no task is ready, the event loop advances it to the next timer.
    pub(crate) fn paused() -> Clock {
        Clock { paused: Some(Cell::new(Instant::now())), running: Cell::new(None) }
    }

    pub(crate) fn now(&self) -> Instant {
        match &self.paused {
            None => Instant::now(),
            Some(now) => match self.running.get() {
                None => now.get(),
                Some(since) => later(now.get(), since.elapsed()),
            },
        }
    }

    /// Advances a paused clock to `to`. Returns false for a real clock, where the caller must sleep instead.
    pub(crate) fn jump(&self, to: Instant) -> bool {
        if let Some(now) = &self.paused {
            now.set(now.get() + to.saturating_duration_since(self.now()));
        }
        self.paused.is_some()
    }

    /// Returns the real time at which the clock will show `at` if it does not jump. `None` if that is never: the clock
    /// is paused, or the time cannot be represented.
    pub(crate) fn real_time_of(&self, at: Instant) -> Option<Instant> {
        match (&self.paused, self.running.get()) {
            (None, _) => Some(at),
            (Some(_), None) => None,
            (Some(_), Some(_)) => Instant::now().checked_add(at.saturating_duration_since(self.now())),
        }
    }

    /// Lets a paused clock run, from its current time. Called when a grace period begins: a task that stays ready would
    /// keep the event loop from advancing the clock, and the grace period would never end.
    ///
    /// A sleep may have advanced the clock to the latest time that an `Instant` can represent, where no grace period
    /// would ever end. Then the clock is set back by `ROOM`.
    pub(crate) fn go_on(&self) {
        if let Some(now) = &self.paused
            && now.get().checked_add(ROOM).is_none()
        {
            now.set(now.get().checked_sub(ROOM).unwrap_or(now.get()));
        }
        self.running.set(Some(Instant::now()));
    }
}

/// The time for which a clock must be able to run: 100 years.
const ROOM: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Returns `at + duration`, or the latest time that an `Instant` can represent.
fn later(mut at: Instant, duration: Duration) -> Instant {
    if let Some(then) = at.checked_add(duration) {
        return then;
    }
    // std has no constant for the latest `Instant`: approach it, and halve the step whenever it is too large.
    let mut step = duration;
    while !step.is_zero() {
        match at.checked_add(step) {
            Some(then) => at = then,
            None => step /= 2,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_at_the_last_moment_stays_there() {
        let last = later(Instant::now(), Duration::MAX);
        assert_eq!(last.checked_add(Duration::from_nanos(1)), None);
        assert_eq!(later(last, Duration::from_nanos(1)), last);
        let clock = Clock::paused();
        clock.go_on();
        assert!(clock.jump(last));
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(clock.now(), last);
    }

    #[test]
    fn clock_knows_the_real_time_of_a_deadline() {
        let (hour, now) = (Duration::from_secs(3600), Instant::now());
        assert_eq!(Clock::real().real_time_of(now), Some(now));
        let clock = Clock::paused();
        assert!(clock.jump(clock.now() + hour));
        let deadline = clock.now() + hour;
        assert_eq!(clock.real_time_of(deadline), None);
        clock.go_on();
        let real = clock.real_time_of(deadline).unwrap();
        assert!(real <= Instant::now() + hour && real >= now);
    }

    #[test]
    fn clock_that_goes_on_from_the_last_moment_has_room() {
        let clock = Clock::paused();
        assert!(clock.jump(later(Instant::now(), Duration::MAX)));
        clock.go_on();
        assert!(clock.now().checked_add(ROOM / 2).is_some());
    }
}
