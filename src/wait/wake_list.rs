//! Those who are to be woken when a lock has been given up.
#![forbid(unsafe_code)]

use crate::scheduler::wake::WakeHandle;

/// Wakes everybody in it when it is dropped. Declared before the guard of the lock, so dropped after it, also when somebody's
/// `Ord` panics in between.
#[derive(Default)]
pub(crate) struct WakeList {
    /// Mostly there is one, and no memory is needed.
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

    /// For whoever wakes them itself.
    pub(crate) fn into_wakers(mut self) -> Vec<WakeHandle> {
        let mut wakers = std::mem::take(&mut self.others);
        wakers.splice(0..0, self.first.take());
        wakers
    }
}

impl Drop for WakeList {
    #[inline]
    fn drop(&mut self) {
        // Who is gone by now needs no wake.
        if let Some(waker) = self.first {
            let _ = waker.wake();
        }
        for waker in &self.others {
            let _ = waker.wake();
        }
    }
}
