//! A biased lock: no atomic read-modify-write while only one run uses the lock. Protects the state of every type in `sync`.
//!
//! An atomic read-modify-write costs 5 to 6 ns, more than a task switch, and a message takes at least two locks. But the tasks
//! of one worker cannot preempt each other, so the lock has to exclude other threads only, and most locks are never used by a
//! second thread. Therefore a lock is biased towards the first run that locks it, its *owner*. The word `owner` belongs to that
//! run: it has the run's number while the lock is free, and `INSIDE` while the run holds the lock. Another thread first revokes
//! the bias, permanently:
//!
//! ```text
//! owner                                    another thread
//!   owner is this run?                       lock `shared`
//!   owner = INSIDE                           bias = SHARED
//!   light fence                              heavy fence
//!   bias is still this run? locked           wait until owner is not INSIDE
//!   ...                                      locked; every later call of any thread locks `shared`
//!   owner = this run
//! ```
//!
//! The asymmetric fences guarantee that the owner sees `SHARED` and backs out, or the revoking thread sees `INSIDE`: see
//! `membarrier`. The owner pays for two plain writes and two reads (less than 1 ns). The revocation costs one system call (some
//! microseconds), once in the life of a lock.
//!
//! A plain thread that locks before any run has done so takes `shared` and does not change the bias, because a channel is often
//! created before the run that uses it. Where the heavy fence is not available, no lock gets an owner. If a seccomp filter
//! forbids membarrier(2) later, when locks have owners already, the revoking thread requests the fence from the owner's thread
//! instead (`handshake`), and no further lock gets an owner.
//!
//! A thread that finds a shared lock held backs off for a moment. Meanwhile the thread that holds it does many operations whose memory stays
//! in the cache of its core. With a plain mutex the memory moves between the cores with nearly each
//! operation: a message between two workers, through a channel of 1,024 places, takes 94 ns then, and 26 ns with the pauses (`cargo run
//! --release -p peers --bin cores -- --only places`, free cores).
//!
//! A lock is held briefly: a task never suspends while it holds one, and no user code runs meanwhile, except `Ord` of the items
//! of a `PriorityQueue`. The lock is not fair: a thread that locks `shared` may overtake another one (barging). FIFO order is
//! up to the wait queues in the protected state.
//!
//! # Mark
//!
//! The owner can release the lock with a [`Mark`], which the owner word has then. A mark means one fact about the state, which so
//! costs no store of its own: the speed of an uncontended lock is that of its stores. Locking in any other way than by `lock_marked`
//! removes the mark first, with a function of the state's type that stores the fact. The revoking thread does that, too, after
//! the owner has left. A mutex marks that a task of the owner holds it, and that nothing else has happened since.

use crate::scheduler::{Worker, current_run, handshake, worker};
use crate::sys::{likely, membarrier};
use std::cell::UnsafeCell;
use std::fmt;
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::mem::forget;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, yield_now};
use std::time::Duration;

/// The bias of a lock that no run has locked. Not 0, which is the run of a plain thread: that may see a mark before it sees the bias that was
/// set before the mark, and must not enter then.
const UNOWNED: u64 = u64::MAX - 4;
/// The bias of a lock after its revocation: all threads lock `shared`.
const SHARED: u64 = u64::MAX;
/// The owner word of a lock that no run owns, or whose owner has seen the revocation. No run has this number.
const NOT_OWNED: u64 = u64::MAX;
/// The owner word of a lock that its owner holds. No run has this number.
const INSIDE: u64 = u64::MAX - 1;

/// The owner word of a lock that its owner has released with a mark. No run has these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    pub(crate) const FIRST: Mark = Mark(u64::MAX - 2);
    pub(crate) const SECOND: Mark = Mark(u64::MAX - 3);

    /// Returns the mark that this owner word is.
    fn of(owner: u64) -> Option<Mark> {
        Some(Mark(owner)).filter(|mark| [Mark::FIRST, Mark::SECOND].contains(mark))
    }
}

/// The numbers of pauses of the processor, of 10 to 60 ns each, between looks at a lock that another thread holds.
const BACK_OFF: &[u32] = &[8, 16, 32, 64, 128];

/// A biased lock around the state of a blocking type. See the module head.
pub(crate) struct BiasedLock<T> {
    /// The number of the run that owns the lock, or one of the two constants above.
    bias: AtomicU64,
    /// The number of the run that owns the lock, while that run does not hold it, a mark, or one of the constants above. Only the owner's
    /// thread writes it: a lock has at most one owner in its life.
    owner: AtomicU64,
    /// Held by a thread that holds the lock and is not the owner.
    shared: Mutex<()>,
    /// Stores in the state what a mark means.
    unmark: fn(&mut T, Mark),
    value: UnsafeCell<T>,
}

// SAFETY: at most one `Guard` exists at a time, and its release happens before the next acquisition (protocol in the module
// head). So the value moves between threads but is never shared: `T: Send` is enough.
unsafe impl<T: Send> Sync for BiasedLock<T> {}

impl<T> BiasedLock<T> {
    pub(crate) const fn new(value: T) -> BiasedLock<T> {
        BiasedLock::with_marks(value, |_, _| unreachable!("no mark is set"))
    }

    /// Creates a lock that can have marks. `unmark` stores in the state what a mark means. It must not run code of the user.
    pub(crate) const fn with_marks(value: T, unmark: fn(&mut T, Mark)) -> BiasedLock<T> {
        BiasedLock {
            unmark,
            bias: AtomicU64::new(UNOWNED),
            owner: AtomicU64::new(NOT_OWNED),
            shared: Mutex::new(()),
            value: UnsafeCell::new(value),
        }
    }

    /// Locks. May block the thread briefly; never suspends the task.
    ///
    /// # Panics
    ///
    /// If this run owns the lock and holds it already.
    #[inline(always)]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.lock_for(worker())
    }

    /// Like `lock`, for a caller that has already looked up `worker`, the worker of this thread.
    #[inline(always)]
    pub(crate) fn lock_for(&self, worker: Option<&Worker>) -> Guard<'_, T> {
        let run = worker.map_or(0, Worker::run);
        if self.enter(run) {
            return Guard { lock: self, shared: None, run, _not_send: PhantomData };
        }
        self.lock_shared()
    }

    /// Locks if the run of `worker` owns the lock, with less work than `lock`. Otherwise returns `None`: call `lock` then.
    #[inline(always)]
    pub(crate) fn lock_as_owner(&self, worker: &Worker) -> Option<OwnerGuard<'_, T>> {
        let run = worker.run();
        self.enter(run).then(|| OwnerGuard { lock: self, run, _not_send: PhantomData })
    }

    /// Like `lock_as_owner`, for the run of this thread, if it has one.
    #[inline(always)]
    pub(crate) fn lock_in_run(&self) -> Option<OwnerGuard<'_, T>> {
        let run = current_run();
        self.enter(run).then(|| OwnerGuard { lock: self, run, _not_send: PhantomData })
    }

    /// Locks and removes `mark`, if the lock has it and belongs to the run of this thread. Does not call `unmark`.
    #[inline(always)]
    pub(crate) fn lock_marked(&self, mark: Mark) -> Option<OwnerGuard<'_, T>> {
        if !likely(self.owner.load(Ordering::Relaxed) == mark.0) {
            return None;
        }
        let run = current_run();
        self.enter_marked(run, mark).then(|| OwnerGuard { lock: self, run, _not_send: PhantomData })
    }

    /// Locks a marked lock as the owner. Returns false if `run` does not own the lock, or if its bias is being revoked.
    #[inline(always)]
    fn enter_marked(&self, run: u64, mark: Mark) -> bool {
        if !likely(self.bias.load(Ordering::Relaxed) == run) {
            return false;
        }
        self.owner.store(INSIDE, Ordering::Relaxed);
        membarrier::asymmetric_light();
        if likely(self.bias.load(Ordering::Relaxed) == run) {
            return true;
        }
        // The revoking thread finds the mark, and removes it.
        self.owner.store(mark.0, Ordering::Release);
        false
    }

    /// Locks as the owner. Returns false if `run` does not own the lock, if its bias is being revoked, if the lock is marked, or if
    /// `run` is 0.
    #[inline(always)]
    fn enter(&self, run: u64) -> bool {
        if !likely(self.owner.load(Ordering::Relaxed) == run) {
            return false;
        }
        self.owner.store(INSIDE, Ordering::Relaxed);
        membarrier::asymmetric_light();
        if likely(self.bias.load(Ordering::Relaxed) == run) {
            return true;
        }
        self.owner.store(NOT_OWNED, Ordering::Release);
        false
    }

    /// Locks for a caller that is not the owner, by way of `shared`: makes the first run the owner, or revokes the bias of the
    /// present owner. Locks a marked lock for its owner, too.
    #[inline(never)]
    fn lock_shared(&self) -> Guard<'_, T> {
        if let Some(mark) = Mark::of(self.owner.load(Ordering::Relaxed))
            && let Some(mut owned) = self.lock_marked(mark)
        {
            (self.unmark)(&mut owned, mark);
            let run = owned.run;
            forget(owned);
            return Guard { lock: self, shared: None, run, _not_send: PhantomData };
        }
        let shared = match self.shared.try_lock() {
            Ok(shared) => shared,
            Err(_) => self.back_off(),
        };
        // `bias` changes only while `shared` is locked.
        match self.bias.load(Ordering::Relaxed) {
            SHARED => {}
            UNOWNED => {
                if let Some(worker) = worker().filter(|_| membarrier::is_available()) {
                    handshake::register(worker);
                    // No other thread holds the lock: it would hold `shared`.
                    self.owner.store(INSIDE, Ordering::Relaxed);
                    self.bias.store(worker.run(), Ordering::Relaxed);
                    return Guard { lock: self, shared: None, run: worker.run(), _not_send: PhantomData };
                }
            }
            owner => {
                if owner == current_run() {
                    twice();
                }
                self.bias.store(SHARED, Ordering::Relaxed);
                if !membarrier::asymmetric_heavy() {
                    // If the owner's run has ended, it is not inside.
                    let _ = handshake::ask(owner);
                }
                if let Some(mark) = self.wait_for_owner() {
                    // SAFETY: this thread holds `shared`, and the owner does not access the state: it backs out from now on.
                    (self.unmark)(unsafe { &mut *self.value.get() }, mark);
                }
            }
        }
        Guard { lock: self, shared: Some(shared), run: 0, _not_send: PhantomData }
    }

    /// Locks `shared`, which another thread holds: see the module head.
    #[cold]
    #[inline(never)]
    fn back_off(&self) -> MutexGuard<'_, ()> {
        for pauses in BACK_OFF {
            (0..*pauses).for_each(|_| spin_loop());
            if let Ok(shared) = self.shared.try_lock() {
                return shared;
            }
        }
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the owner, which may hold the lock at the revocation, has released it. Returns the mark that it has left: it
    /// keeps that mark from now on, but may be inside for a moment before it sees the revocation. The wait takes nanoseconds unless the
    /// owner's thread is descheduled. Sleeps after 100 yields, because a thread of real-time priority that only yields can keep
    /// the owner's thread from ever running.
    #[cold]
    fn wait_for_owner(&self) -> Option<Mark> {
        let mut looks = 0;
        loop {
            let owner = self.owner.load(Ordering::Acquire);
            if owner != INSIDE {
                return Mark::of(owner);
            }
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
    panic!("one thread locked the state of a sync type twice: this is a defect of cede")
}

impl<T> fmt::Debug for BiasedLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BiasedLock").finish_non_exhaustive()
    }
}

/// A guard: the lock is held until the guard is dropped.
pub(crate) struct Guard<'a, T> {
    lock: &'a BiasedLock<T>,
    /// `None` if the owner holds the lock.
    shared: Option<MutexGuard<'a, ()>>,
    /// The run that owns the lock, if it holds the lock.
    run: u64,
    _not_send: PhantomData<*const ()>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: this guard holds the lock while it exists, so no other guard accesses the value.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard is mutably borrowed for as long as the returned reference lives.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.shared.is_none() {
            self.lock.owner.store(self.run, Ordering::Release);
        }
    }
}

/// The guard of `lock_as_owner`.
pub(crate) struct OwnerGuard<'a, T> {
    lock: &'a BiasedLock<T>,
    run: u64,
    _not_send: PhantomData<*const ()>,
}

impl<T> OwnerGuard<'_, T> {
    /// Returns the run that owns the lock: that of the caller.
    #[inline(always)]
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Releases the lock with a mark. Only for locks made by `with_marks`.
    #[inline(always)]
    pub(crate) fn release_marked(self, mark: Mark) {
        self.lock.owner.store(mark.0, Ordering::Release);
        forget(self);
    }
}

impl<T> Deref for OwnerGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: this guard holds the lock while it exists, so no other guard accesses the value.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for OwnerGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard is mutably borrowed for as long as the returned reference lives.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for OwnerGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.owner.store(self.run, Ordering::Release);
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
