//! A list of waiters to wake after a lock was released.
#![forbid(unsafe_code)]

use crate::coroutine::raw::drop_catching;
use crate::scheduler::wake::WakeHandle;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::panicking;

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
        match (self.first.take(), self.others.is_empty()) {
            // False if a waiter has ended since: then there is no task to wake.
            (Some(waker), true) => _ = waker.wake(),
            (Some(waker), false) => each(std::iter::once(waker).chain(self.others.drain(..)), |waker| _ = waker.wake()),
            (None, _) => {}
        }
    }
}

/// Wakes all waiters, in order. The caller must have released the lock.
pub(crate) fn wake_all(wakers: Vec<WakeHandle>) {
    match wakers[..] {
        [] => {}
        // False if the waiter has ended since: then there is no task to wake.
        [waker] => _ = waker.wake(),
        _ => each(wakers.into_iter(), |waker| _ = waker.wake()),
    }
}

/// Calls `wake` for each item, in order. The waker of an executor is foreign code, which may panic: then the items behind it have
/// their calls, too, and the panic goes on after them. In a thread that panics already it ends here.
#[inline(never)]
pub(crate) fn each<T>(items: impl Iterator<Item = T>, wake: impl Fn(T)) {
    let mut first = None;
    for item in items {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| wake(item))) {
            match first {
                None => first = Some(payload),
                // The panic hook has printed its message.
                Some(_) => std::mem::forget(drop_catching(payload)),
            }
        }
    }
    match first {
        Some(payload) if !panicking() => resume_unwind(payload),
        payload => std::mem::forget(drop_catching(payload)),
    }
}
