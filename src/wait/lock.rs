//! The lock that everything in `sync` lies under: free of atomic operations while only one run uses it.
//!
//! An atomic read-modify-write costs 5 to 6 ns, more than a task switch, and a message takes at least two locks. But tasks of
//! one worker cannot interrupt each other, so among them a lock protects nothing: it is there for other threads, which most
//! locks never see. So a lock belongs to the first run that locks it, its *owner*, which only has to say that it is inside:
//!
//! ```text
//! owner                                    anybody else, after it
//!   inside = true                            take `shared`
//!   light fence                              bias = SHARED
//!   bias is still mine? go in                heavy fence
//!   ...                                      wait until inside is false
//!   inside = false                           go in; from now on everybody takes `shared`
//! ```
//!
//! Either the owner sees `SHARED` and turns back, or the other sees `inside`: see `membarrier`. The owner pays two
//! plain writes and two reads (about 1 ns); the other one system call (some microseconds) in a lock's life. Before a
//! run has locked it plain threads take `shared` and leave the bias alone: who makes a channel often does so before the
//! run. Where there is no heavy fence no lock ever has an owner. In a process that forbids it later, by seccomp, when
//! locks have owners already, the owner's thread is asked for the fence instead (`handshake`), and no further lock gets
//! an owner.
//!
//! Nobody suspends while holding one, and no code of a user's runs under one.

use crate::scheduler::{Worker, handshake, worker};
use crate::sys::membarrier;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, yield_now};
use std::time::Duration;

/// No run has locked it.
const NOBODY: u64 = 0;
/// A run has, and then somebody else.
const SHARED: u64 = u64::MAX;

pub(crate) struct BiasedLock<T> {
    /// The number of the run that owns it, or one of the two above.
    bias: AtomicU64,
    /// The owner is inside. Written by its thread only, as there is one owner in a lock's life.
    inside: AtomicBool,
    /// Held by whoever is inside and is not the owner.
    shared: Mutex<()>,
    value: UnsafeCell<T>,
}

// SAFETY: one at a time gets at the value, and what it does happens before what the next one does: see the head.
unsafe impl<T: Send> Sync for BiasedLock<T> {}

impl<T> BiasedLock<T> {
    pub(crate) const fn new(value: T) -> BiasedLock<T> {
        BiasedLock {
            bias: AtomicU64::new(NOBODY),
            inside: AtomicBool::new(false),
            shared: Mutex::new(()),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits, briefly and without suspending, until nobody else is inside.
    ///
    /// # Panics
    ///
    /// If this run holds it already.
    #[inline(always)]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.lock_for(worker())
    }

    /// The same for a caller that has found this thread's worker already.
    #[inline(always)]
    pub(crate) fn lock_for(&self, worker: Option<&Worker>) -> Guard<'_, T> {
        if let Some(worker) = worker
            && self.enter(worker.run())
        {
            return Guard { lock: self, shared: None, _not_send: PhantomData };
        }
        self.lock_shared()
    }

    /// Goes in as the owner.
    #[inline(always)]
    fn enter(&self, run: u64) -> bool {
        if self.bias.load(Ordering::Relaxed) != run {
            return false;
        }
        if self.inside.load(Ordering::Relaxed) {
            twice();
        }
        self.inside.store(true, Ordering::Relaxed);
        membarrier::asymmetric_light();
        if self.bias.load(Ordering::Relaxed) == run {
            return true;
        }
        self.inside.store(false, Ordering::Release);
        false
    }

    #[inline(never)]
    fn lock_shared(&self) -> Guard<'_, T> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // Changes only under `shared`.
        match self.bias.load(Ordering::Relaxed) {
            SHARED => {}
            NOBODY => {
                if let Some(worker) = worker().filter(|_| membarrier::is_available()) {
                    handshake::register(worker);
                    // Nobody else is inside: they would hold `shared`.
                    self.inside.store(true, Ordering::Relaxed);
                    self.bias.store(worker.run(), Ordering::Relaxed);
                    return Guard { lock: self, shared: None, _not_send: PhantomData };
                }
            }
            owner => {
                self.bias.store(SHARED, Ordering::Relaxed);
                if !membarrier::asymmetric_heavy() {
                    // If the owner's run has ended, it is not inside.
                    let _ = handshake::ask(owner);
                }
                self.wait_for_owner();
            }
        }
        Guard { lock: self, shared: Some(shared), _not_send: PhantomData }
    }

    /// Waits until the owner, which may have been inside when its bias was taken away, has left. That takes nanoseconds, unless
    /// its thread does not run; and a thread of real-time priority that only yielded could keep it from running for ever.
    #[cold]
    fn wait_for_owner(&self) {
        let mut looks = 0;
        while self.inside.load(Ordering::Acquire) {
            looks += 1;
            if looks < 100 { yield_now() } else { sleep(Duration::from_micros(100)) }
        }
    }
}

impl<T: Default> Default for BiasedLock<T> {
    fn default() -> BiasedLock<T> {
        BiasedLock::new(T::default())
    }
}

#[cold]
#[inline(never)]
fn twice() -> ! {
    panic!("the lock of a sync type was taken twice by one thread: this is a defect of cede")
}

impl<T> fmt::Debug for BiasedLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BiasedLock").finish_non_exhaustive()
    }
}

/// Whoever has it is inside.
pub(crate) struct Guard<'a, T> {
    lock: &'a BiasedLock<T>,
    /// None for the owner.
    shared: Option<MutexGuard<'a, ()>>,
    _not_send: PhantomData<*const ()>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: this one is inside.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this one is inside, alone.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.shared.is_none() {
            self.lock.inside.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
