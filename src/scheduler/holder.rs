//! The holder of a lock, recorded for reports.
#![forbid(unsafe_code)]

use crate::sys::likely;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The task that holds a lock for which other tasks wait. The locking code updates it, and only reports read it. A
/// stale entry is harmless: a report does not find a holder that has ended.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    /// The number of the holder's run; 0 for no holder.
    run: AtomicU64,
    id: AtomicU64,
}

impl Holder {
    /// Creates a record without a holder.
    pub(crate) const fn none() -> Holder {
        Holder { run: AtomicU64::new(0), id: AtomicU64::new(0) }
    }

    /// Records the task `id` of the run `run` as the holder.
    #[inline(always)]
    pub(super) fn record(&self, run: u64, id: u64) {
        // A lock without waiters is often locked by one task again and again, and a look costs less than a store: only one store
        // leaves the processor's queue in a cycle.
        if !likely(self.run.load(Relaxed) == run) {
            self.run.store(run, Relaxed);
        }
        if !likely(self.id.load(Relaxed) == id) {
            self.id.store(id, Relaxed);
        }
    }

    /// Records that there is no holder, or that a plain thread is the holder: plain threads have no names.
    #[inline]
    pub(crate) fn clear(&self) {
        self.run.store(0, Relaxed);
    }

    /// Returns the run and the number of the holding task, if the holder is a task.
    pub(crate) fn task(&self) -> Option<(u64, u64)> {
        Some((self.run.load(Relaxed), self.id.load(Relaxed))).filter(|(run, id)| *run != 0 && *id != 0)
    }

    /// Returns whether the holder is a task of `run`, as far as it is known.
    #[inline]
    pub(crate) fn is_in(&self, run: u64) -> bool {
        self.run.load(Relaxed) == run
    }
}
