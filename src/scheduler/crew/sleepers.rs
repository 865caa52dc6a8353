//! The set of workers that sleep, which the workers that have something to do wake from.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A set of worker numbers.
pub(super) struct Sleepers {
    words: Box<[AtomicU64]>,
}

impl Sleepers {
    /// Creates an empty set of numbers below `workers`.
    pub(super) fn new(workers: usize) -> Sleepers {
        Sleepers { words: (0..workers.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Returns whether no worker sleeps. A sleeper that is added or removed at the same time may be missed.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.load(SeqCst) == 0)
    }

    /// Adds a worker, which is not in the set.
    pub(super) fn insert(&self, worker: usize) {
        self.words[worker / 64].fetch_or(1 << (worker % 64), SeqCst);
    }

    /// Removes a worker. Returns whether it was in the set: of several callers, one gets true.
    pub(super) fn remove(&self, worker: usize) -> bool {
        let bit = 1 << (worker % 64);
        self.words[worker / 64].fetch_and(!bit, SeqCst) & bit != 0
    }

    /// Removes any worker, and returns its number.
    pub(super) fn remove_any(&self) -> Option<usize> {
        for (n, word) in self.words.iter().enumerate() {
            loop {
                let bits = word.load(SeqCst);
                if bits == 0 {
                    break;
                }
                let worker = n * 64 + bits.trailing_zeros() as usize;
                if self.remove(worker) {
                    return Some(worker);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sleeper_is_removed_once() {
        let sleepers = Sleepers::new(130);
        [0, 63, 64, 129].into_iter().for_each(|worker| sleepers.insert(worker));
        assert!(!sleepers.is_empty());
        assert!(sleepers.remove(64) && !sleepers.remove(64) && !sleepers.remove(1));
        let rest: Vec<_> = std::iter::from_fn(|| sleepers.remove_any()).collect();
        assert_eq!((rest, sleepers.is_empty()), (vec![0, 63, 129], true));
    }
}
