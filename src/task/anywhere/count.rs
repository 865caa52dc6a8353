//! The number of parts of a scope that have not ended: its closure, and its tasks on all workers.
#![forbid(unsafe_code)]

use crate::wait::WakeHandle;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// A count that begins with one part, the closure of the scope, and that wakes the waiter when it reaches zero.
pub(super) struct Count {
    left: AtomicUsize,
    /// The task that waits, which stays the same.
    waiter: WakeHandle,
}

impl Count {
    pub(super) fn new(waiter: WakeHandle) -> Count {
        Count { left: AtomicUsize::new(1), waiter }
    }

    /// Adds a part. The caller is a part itself, so the count is not zero.
    pub(super) fn enter(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// Calls `end`, which uses what the part borrows for the last time, and then removes the part.
    pub(super) fn leave_after(&self, end: impl FnOnce()) {
        end();
        if self.left.fetch_sub(1, AcqRel) == 1 {
            // False if the run has ended: not before the waiter.
            let _ = self.waiter.wake();
        }
    }

    /// Removes the part of the waiter itself. Called by the waiter before its first [`is_done`](Self::is_done).
    pub(super) fn leave(&self) {
        self.left.fetch_sub(1, AcqRel);
    }

    /// Returns whether all parts have ended. What they have used is free then.
    pub(super) fn is_done(&self) -> bool {
        self.left.load(Acquire) == 0
    }

    /// Returns the number of parts.
    pub(super) fn left(&self) -> usize {
        self.left.load(Relaxed)
    }
}
