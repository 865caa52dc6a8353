//! Those who are to be woken when a lock has been given up.
#![forbid(unsafe_code)]

use crate::scheduler::wake::WakeKey;

/// Wakes everybody in it when it is dropped. Declared before the guard of the lock, so dropped after it, also when somebody's
/// `Ord` panics in between.
#[derive(Default)]
pub(super) struct Woken {
    /// Mostly there is one, and no memory is needed.
    first: Option<WakeKey>,
    others: Vec<WakeKey>,
}

impl Woken {
    #[inline]
    pub(super) fn push(&mut self, key: WakeKey) {
        if self.first.is_none() {
            self.first = Some(key);
        } else {
            self.others.push(key);
        }
    }

    pub(super) fn extend(&mut self, keys: Vec<WakeKey>) {
        keys.into_iter().for_each(|key| self.push(key));
    }

    /// For whoever wakes them itself.
    pub(super) fn into_keys(mut self) -> Vec<WakeKey> {
        let mut keys = std::mem::take(&mut self.others);
        keys.splice(0..0, self.first.take());
        keys
    }
}

impl Drop for Woken {
    #[inline]
    fn drop(&mut self) {
        // Who is gone by now needs no wake.
        if let Some(key) = self.first {
            let _ = key.wake();
        }
        for key in &self.others {
            let _ = key.wake();
        }
    }
}
