//! The progress of a worker, as the watchdog's thread reads it: the number of turns, and the running context.
//!
//! The worker stores with relaxed atomics, which compile to the same machine code as stores to a `Cell`. The worker
//! counts a turn at its end, before the switch, so two reads that return the same [`Moment`] have seen the same turn.
#![forbid(unsafe_code)]

use crate::arch::Context;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

/// The running context. Only the worker's own thread may dereference the pointer.
pub(crate) struct Current(AtomicPtr<Context>);

impl Current {
    pub(super) fn new() -> Current {
        Current(AtomicPtr::default())
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> *const Context {
        self.0.load(Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, context: *const Context) {
        self.0.store(context.cast_mut(), Relaxed);
    }

    #[inline(always)]
    pub(crate) fn replace(&self, context: *const Context) -> *const Context {
        let before = self.get();
        self.set(context);
        before
    }
}

/// A counter of turns: down to the next poll, and in all.
#[repr(C)]
pub(crate) struct Ticks {
    /// The number of turns left until the next poll.
    left: AtomicU32,
    /// The value that `left` was last set to.
    granted: AtomicU32,
    /// The number of turns counted before `left` was last set.
    before: AtomicU64,
}

impl Ticks {
    pub(super) fn new() -> Ticks {
        Ticks { left: AtomicU32::new(0), granted: AtomicU32::new(0), before: AtomicU64::new(0) }
    }

    /// Counts a turn. Returns false, without counting, if a poll is due: then the caller calls `count_late`.
    #[inline(always)]
    pub(crate) fn count(&self) -> bool {
        let left = self.left.load(Relaxed);
        if left == 0 {
            return false;
        }
        self.left.store(left - 1, Relaxed);
        true
    }

    /// Returns whether a poll is due.
    pub(crate) fn is_due(&self) -> bool {
        self.left.load(Relaxed) == 0
    }

    /// Counts a turn that `count` did not count.
    pub(crate) fn count_late(&self) {
        self.before.store(self.before.load(Relaxed) + 1, Relaxed);
    }

    /// Sets the number of turns before the next poll.
    pub(crate) fn set(&self, ticks: u32) {
        self.before.store(self.total(), Relaxed);
        self.granted.store(ticks, Relaxed);
        self.left.store(ticks, Relaxed);
    }

    /// Returns the number of turns counted. Exact only on the worker's own thread.
    pub(crate) fn total(&self) -> u64 {
        self.before.load(Relaxed) + u64::from(self.granted.load(Relaxed).wrapping_sub(self.left.load(Relaxed)))
    }
}

/// The sleep of a worker that has no ready task.
pub(crate) struct Sleep {
    /// The worker sleeps.
    now: AtomicBool,
    /// The number of sleeps that have ended.
    count: AtomicU32,
}

impl Sleep {
    pub(super) fn new() -> Sleep {
        Sleep { now: AtomicBool::new(false), count: AtomicU32::new(0) }
    }

    pub(super) fn begin(&self) {
        self.now.store(true, Relaxed);
    }

    pub(super) fn end(&self) {
        self.count.store(self.count.load(Relaxed).wrapping_add(1), Relaxed);
        self.now.store(false, Relaxed);
    }
}

/// The progress of a worker, readable by other threads.
#[derive(Clone, Copy)]
pub(crate) struct Progress<'a> {
    pub(super) current: &'a Current,
    pub(super) ticks: &'a Ticks,
    pub(super) sleep: &'a Sleep,
}

/// A snapshot of a worker's progress, which identifies a turn. `current` is an address that must not be dereferenced:
/// the context may belong to another task by the time of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    current: usize,
    left: u32,
    before: u64,
    slept: u32,
    asleep: bool,
}

impl Progress<'_> {
    /// Takes a snapshot. If the worker makes a step during the call, the snapshot is a mix, and no later one equals it.
    pub(crate) fn look(&self) -> Moment {
        Moment {
            current: self.current.get() as usize,
            left: self.ticks.left.load(Relaxed),
            before: self.ticks.before.load(Relaxed),
            slept: self.sleep.count.load(Relaxed),
            asleep: self.sleep.now.load(Relaxed),
        }
    }
}

impl Moment {
    /// Returns whether the worker slept, which is not a turn.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `set` discards the turns left, and `total` stays exact.
    #[test]
    fn ticks_set_before_zero_all_are_counted() {
        let ticks = Ticks::new();
        let mut all = 0;
        for round in 0..100 {
            ticks.set(round % 7);
            for _ in 0..round % 11 {
                all += 1;
                if !ticks.count() {
                    ticks.count_late();
                }
                assert_eq!(ticks.total(), all);
            }
        }
        assert!(all > 400);
    }
}
