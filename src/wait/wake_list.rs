//! A list of waiters to wake after a lock was released.
#![forbid(unsafe_code)]

use crate::scheduler::wake::WakeHandle;

/// A list of wake handles that wakes all its waiters when dropped. Declare it before the guard of the lock: then it is dropped
/// after the guard, also if `Ord` of an item panics in between.
#[derive(Default)]
pub(crate) struct WakeList {
    /// Most lists have one entry, which needs no allocation.
    first: Option<WakeHandle>,
    others: Vec<WakeHandle>,
}

impl WakeList {
    #[inline]
    pub(crate) fn push(&mut self, waker: WakeHandle) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.others.push(waker);
        }
    }

    pub(crate) fn extend(&mut self, wakers: Vec<WakeHandle>) {
        wakers.into_iter().for_each(|waker| self.push(waker));
    }

    /// Returns the wake handles without waking: the caller wakes the waiters.
    pub(crate) fn into_wakers(mut self) -> Vec<WakeHandle> {
        let mut wakers = std::mem::take(&mut self.others);
        wakers.splice(0..0, self.first.take());
        wakers
    }
}

impl Drop for WakeList {
    #[inline]
    fn drop(&mut self) {
        // False if a waiter has ended since: then there is no task to wake.
        if let Some(waker) = self.first {
            let _ = waker.wake();
        }
        for waker in &self.others {
            let _ = waker.wake();
        }
    }
}
