//! The timers of a run: the deadlines of its waits, which fire in the order of their times, and at equal times in the
//! order of arming.
//!
//! A timer wheel holds the deadlines (`timer_wheel`). A wait that ends before its deadline removes its timer.
//!
//! An `Instant` reaches further than the wheel, whose times are nanoseconds since the run's start, in 63 bits: 292 years.
//! Later deadlines are kept in a sorted map, and all of them come after those in the wheel.
#![forbid(unsafe_code)]

use super::tcb::Tcb;
use super::timer_wheel::{Key, Wheel};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A wait: its TCB, and its sequence number.
type Wait = (*const Tcb, u32);

/// The timers of a run.
pub(crate) struct Timers {
    /// The start of the run.
    origin: Instant,
    inner: RefCell<Inner>,
}

struct Inner {
    wheel: Wheel<Wait>,
    /// The deadlines more than 292 years after `origin`, with the number of their arming.
    far: BTreeMap<(Instant, u64), Wait>,
    /// The number of the last arming of such a deadline.
    sequence: u64,
}

/// The node of no timer in the wheel: a `Key` of a deadline in `far`.
const FAR: u32 = u32::MAX;
/// The key of a wait without a deadline.
pub(super) const NO_TIMER: Key = Key { node: FAR, sequence: 0 };

impl Timers {
    /// Creates the timers of a run that starts at `origin`.
    pub(crate) fn new(origin: Instant) -> Timers {
        Timers { origin, inner: RefCell::new(Inner { wheel: Wheel::new(), far: BTreeMap::new(), sequence: 0 }) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.armed() == 0
    }

    /// Returns the number of armed timers: deadlines that have not fired, of waits that have not ended.
    pub(crate) fn armed(&self) -> usize {
        let inner = self.inner.borrow();
        inner.wheel.len() + inner.far.len()
    }

    /// Arms a timer for the wait `wait_seq` of the task. The caller disarms it when the wait has ended.
    ///
    /// Not inlined, as `disarm`: waits without a deadline would pay for it.
    #[inline(never)]
    pub(crate) fn arm(&self, deadline: Instant, tcb: *const Tcb, wait_seq: u32) -> Key {
        let inner = &mut *self.inner.borrow_mut();
        match self.nanos(deadline) {
            Some(time) => inner.wheel.arm(time, (tcb, wait_seq)),
            None => inner.arm_far(deadline, (tcb, wait_seq)),
        }
    }

    /// Removes a timer, if it has not fired.
    #[inline(never)]
    pub(crate) fn disarm(&self, deadline: Instant, key: Key) {
        let inner = &mut *self.inner.borrow_mut();
        if key.node == FAR {
            inner.far.remove(&(deadline, key.sequence));
        } else {
            inner.wheel.cancel(key);
        }
    }

    /// Removes and returns the first timer whose deadline has passed. Its wait may be over: its task was woken, and has
    /// not run yet.
    pub(crate) fn due(&self, now: Instant) -> Option<Wait> {
        let mut inner = self.inner.borrow_mut();
        inner.wheel.pop(self.nanos(now).unwrap_or(i64::MAX)).or_else(|| {
            let first = inner.far.first_entry().filter(|first| first.key().0 <= now)?;
            Some(first.remove())
        })
    }

    /// Returns the earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        let inner = self.inner.borrow();
        inner.wheel.first().map(|time| self.instant(time)).or_else(|| inner.first_far())
    }

    /// Returns the time until which the worker may sleep: the earliest deadline, or an earlier time if many deadlines
    /// are close to each other. Takes constant time.
    pub(crate) fn sleep_limit(&self) -> Option<Instant> {
        let inner = self.inner.borrow();
        inner.wheel.lower_bound().map(|time| self.instant(time)).or_else(|| inner.first_far())
    }

    /// Returns the time of an `Instant` in the wheel. `None` if it is too late for the wheel.
    #[inline]
    fn nanos(&self, at: Instant) -> Option<i64> {
        match at.checked_duration_since(self.origin) {
            // No u128 here: half of the cost of arming.
            Some(since) if since.as_secs() < i64::MAX as u64 / SECOND => {
                Some((since.as_secs() * SECOND) as i64 + i64::from(since.subsec_nanos()))
            }
            Some(_) => None,
            // Long past, more than 292 years at the limit of the type.
            None => Some(i64::try_from((self.origin - at).as_nanos()).map_or(i64::MIN, |before| -before)),
        }
    }

    fn instant(&self, time: i64) -> Instant {
        let distance = Duration::from_nanos(time.unsigned_abs());
        let at = if time < 0 { self.origin.checked_sub(distance) } else { self.origin.checked_add(distance) };
        at.unwrap_or(self.origin)
    }
}

impl Inner {
    #[cold]
    fn arm_far(&mut self, deadline: Instant, wait: Wait) -> Key {
        self.sequence += 1;
        self.far.insert((deadline, self.sequence), wait);
        Key { node: FAR, sequence: self.sequence }
    }

    fn first_far(&self) -> Option<Instant> {
        self.far.first_key_value().map(|((deadline, _), _)| *deadline)
    }
}

#[cfg(test)]
#[path = "timers_tests.rs"]
mod tests;
