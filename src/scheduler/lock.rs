//! The lock that everything in `sync` lies under: free of atomic operations while only one run uses it.
//!
//! An atomic read-modify-write costs 5 to 6 ns, more than a task switch, and a message takes at least two locks. But tasks of
//! one worker cannot interrupt each other, so among them a lock protects nothing: it is there for other threads, which most
//! locks never see. So a lock belongs to the first run that locks it, its *owner*, which only has to say that it is inside:
//!
//! ```text
//! owner                                    the first other thread, once
//!   inside = true                            take `shared`
//!   (the compiler keeps the order)           bias = SHARED
//!   bias is still mine? go in                membarrier(2)
//!   ...                                      wait until inside is false
//!   inside = false                           go in; from now on everybody takes `shared`
//! ```
//!
//! Either the owner sees `SHARED` and turns back, or the other sees `inside`: membarrier makes every running thread of the
//! process pass a full fence, so the owner's write cannot still be on its way when its read came before. The owner pays two
//! plain writes and two reads (about 1 ns); the other one system call (some microseconds) in a lock's life. Where there is
//! no membarrier, every lock is shared from the start.
//!
//! Nobody suspends while holding one, and no code of a user's runs under one.

use super::worker;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, compiler_fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nobody has locked it.
const NOBODY: u64 = 0;
/// More than one run, or a plain thread.
const SHARED: u64 = u64::MAX;

pub(crate) struct Lock<T> {
    /// The number of the run that owns it, or one of the two above.
    bias: AtomicU64,
    /// The owner is inside. Written by its thread only.
    inside: AtomicBool,
    /// Who is inside, once it is shared.
    shared: Mutex<()>,
    value: UnsafeCell<T>,
}

// SAFETY: one at a time gets at the value, and what it does happens before what the next one does: see the head.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Lock<T> {
        Lock {
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
        if let Some(worker) = worker()
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
        // The other half is `heavy_fence`.
        compiler_fence(Ordering::SeqCst);
        if self.bias.load(Ordering::Relaxed) == run {
            return true;
        }
        self.inside.store(false, Ordering::Release);
        false
    }

    #[inline(never)]
    fn lock_shared(&self) -> Guard<'_, T> {
        if self.bias.load(Ordering::Relaxed) == NOBODY {
            let own = worker().filter(|_| has_heavy_fence()).map_or(SHARED, super::Worker::run);
            let first = self.bias.compare_exchange(NOBODY, own, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if first && own != SHARED && self.enter(own) {
                return Guard { lock: self, shared: None, _not_send: PhantomData };
            }
        }
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // Changes to SHARED only under `shared`, or before anybody was inside.
        if self.bias.load(Ordering::Relaxed) != SHARED {
            self.bias.store(SHARED, Ordering::Relaxed);
            heavy_fence();
            while self.inside.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        }
        Guard { lock: self, shared: Some(shared), _not_send: PhantomData }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Lock<T> {
        Lock::new(T::default())
    }
}

#[cold]
#[inline(never)]
fn twice() -> ! {
    panic!("the lock of a sync type was taken twice by one thread: this is a defect of cede")
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

/// Whoever has it is inside.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
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

/// Whether `heavy_fence` can be had. 0 for not asked, 1 for no, 2 for yes.
static HEAVY_FENCE: AtomicU8 = AtomicU8::new(0);

#[cfg(target_os = "linux")]
fn has_heavy_fence() -> bool {
    match HEAVY_FENCE.load(Ordering::Relaxed) {
        0 => {
            let there = membarrier(REGISTER_PRIVATE_EXPEDITED);
            HEAVY_FENCE.store(1 + u8::from(there), Ordering::Relaxed);
            there
        }
        known => known == 2,
    }
}

#[cfg(not(target_os = "linux"))]
fn has_heavy_fence() -> bool {
    HEAVY_FENCE.load(Ordering::Relaxed) == 2
}

/// Makes every running thread of the process pass a full fence.
#[cold]
fn heavy_fence() {
    #[cfg(target_os = "linux")]
    {
        // In a child of fork the registration may be gone.
        if membarrier(PRIVATE_EXPEDITED) || membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED) {
            return;
        }
    }
    // Nothing is biased unless it worked before, so going on would be a race.
    eprintln!("cede: the kernel refused membarrier(2), which it had granted before");
    std::process::abort();
}

/// Commands of membarrier(2), from linux/membarrier.h.
#[cfg(target_os = "linux")]
const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
#[cfg(target_os = "linux")]
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

#[cfg(target_os = "linux")]
fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
