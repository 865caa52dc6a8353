//! The clock of a run: real, or paused for tests.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The clock of a run.
pub(crate) struct Clock {
    /// The time at which a paused clock stands; none for a real one.
    paused: Option<Cell<Instant>>,
    /// Since when a paused clock goes on all the same.
    running: Cell<Option<Instant>>,
}

impl Clock {
    pub(crate) fn real() -> Clock {
        Clock { paused: None, running: Cell::new(None) }
    }

    /// Stands still until the event loop sets it forward: when nobody is ready, to the next deadline.
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

    /// Sets a paused clock forward. False for a real one, which has to be waited for.
    pub(crate) fn jump(&self, to: Instant) -> bool {
        if let Some(now) = &self.paused {
            now.set(now.get() + to.saturating_duration_since(self.now()));
        }
        self.paused.is_some()
    }

    /// Lets a paused clock go on from where it stands: at the end of a run, where somebody may be ready for ever.
    ///
    /// A sleep may have set it forward to the last moment that an `Instant` can tell. There no grace period would ever be
    /// over, so the clock is set back as far as it needs to go on.
    pub(crate) fn go_on(&self) {
        if let Some(now) = &self.paused
            && now.get().checked_add(ROOM).is_none()
        {
            now.set(now.get().checked_sub(ROOM).unwrap_or(now.get()));
        }
        self.running.set(Some(Instant::now()));
    }
}

/// How long a clock that goes on has to be able to: 100 years.
const ROOM: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// So much later, but not later than an `Instant` can tell.
fn later(mut at: Instant, duration: Duration) -> Instant {
    if let Some(then) = at.checked_add(duration) {
        return then;
    }
    // There is no name for the last moment. So go on in ever smaller steps, until none is left.
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
    fn clock_that_goes_on_from_the_last_moment_has_room() {
        let clock = Clock::paused();
        assert!(clock.jump(later(Instant::now(), Duration::MAX)));
        clock.go_on();
        assert!(clock.now().checked_add(ROOM / 2).is_some());
    }
}
