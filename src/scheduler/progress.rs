//! What another thread may see of a worker while it works: whether it gets on, and with whom.
//!
//! The worker writes with plain stores, as to a `Cell`: relaxed atomics are the same machine code. It counts whenever a
//! task gives up its turn, before the switch, so two looks that see the same [`Moment`] saw one and the same turn.
#![forbid(unsafe_code)]

use crate::arch::Context;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

/// The context that runs. Only its own thread may follow the pointer.
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

/// Counts how often tasks give up their turns, down to the next poll and in all.
#[repr(C)]
pub(crate) struct Ticks {
    left: AtomicU32,
    /// What `left` was when it was last set.
    granted: AtomicU32,
    /// All that were counted before that.
    before: AtomicU64,
}

impl Ticks {
    pub(super) fn new() -> Ticks {
        Ticks { left: AtomicU32::new(0), granted: AtomicU32::new(0), before: AtomicU64::new(0) }
    }

    /// Counts one. False when it is time to poll for events: then `count_late` counts it.
    #[inline(always)]
    pub(crate) fn count(&self) -> bool {
        let left = self.left.load(Relaxed);
        if left == 0 {
            return false;
        }
        self.left.store(left - 1, Relaxed);
        true
    }

    /// Counts one for which no tick was left.
    pub(crate) fn count_late(&self) {
        self.before.store(self.before.load(Relaxed) + 1, Relaxed);
    }

    /// How many may come before the next poll.
    pub(crate) fn set(&self, ticks: u32) {
        self.before.store(self.total(), Relaxed);
        self.granted.store(ticks, Relaxed);
        self.left.store(ticks, Relaxed);
    }

    /// How many were counted. Exact on the worker's own thread.
    pub(crate) fn total(&self) -> u64 {
        self.before.load(Relaxed) + u64::from(self.granted.load(Relaxed).wrapping_sub(self.left.load(Relaxed)))
    }
}

/// When the worker sleeps, because nobody is ready.
pub(crate) struct Sleep {
    now: AtomicBool,
    /// How often it has slept.
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

/// A worker's progress, for other threads to look at.
#[derive(Clone, Copy)]
pub(crate) struct Progress<'a> {
    pub(super) current: &'a Current,
    pub(super) ticks: &'a Ticks,
    pub(super) sleep: &'a Sleep,
}

/// One turn, or one look at it. The current context is a number here: it may be somebody else's by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    current: usize,
    left: u32,
    before: u64,
    slept: u32,
    asleep: bool,
}

impl Progress<'_> {
    /// Where the worker is now. Parts of it may be from before and after a step; then no second look sees the same.
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
    /// Whether the worker slept, which is no turn.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tick_is_counted_however_often_the_rest_is_thrown_away() {
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
