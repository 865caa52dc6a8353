//! A fair mutual-exclusion lock. `raw_mutex` has the lock itself, and the rule that decides which caller is next; this file has
//! the value and the guard.
//!
//! # Invariant
//!
//! 1. At most one guard exists, and only the guard's owner accesses the value: a guard is created only by a caller that has
//!    acquired the raw mutex (its invariant 1).

use super::error::WaitTimeoutError;
use super::raw_mutex::{OnCancel, RawMutex};
use crate::time::now;
use crate::wait::{Cancelled, Worker, is_budget_spent, yield_for_budget};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// A fair mutual-exclusion lock, shared by tasks of one or several runs and by plain threads.
///
/// While a task waits, the other tasks of its run continue; a plain thread blocks.
///
/// # Order
///
/// Among the tasks of one worker, the lock is FIFO: they acquire it in arrival order, and a later caller never overtakes a
/// waiter. A release grants the mutex to the next of them directly, at the cost of one switch.
///
/// Between workers and plain threads, overtaking (barging) is bounded to half a millisecond. A waiter of another thread
/// often sleeps, and all callers would wait until it is awake. So a release grants the mutex to the first waiting task of
/// its own worker. Without one, it wakes the first waiter, and the first caller that comes locks the mutex. A waiter that
/// was overtaken keeps its place. Once it has waited for half a millisecond, it is granted the mutex by the next release,
/// so no waiter starves. The time of a waiter begins with its wait if another worker or a thread holds the mutex then, and
/// otherwise with the first release on another thread that finds it first in the queue. Before a plain thread queues, it
/// tries again for some microseconds.
///
/// # Failures
///
/// The mutex is never poisoned: a holder that panics, or that is cancelled, releases it when its guard is dropped.
///
/// The mutex is not reentrant: a task that locks it twice waits for itself, and the report of the deadlock or stall
/// names the task as the holder. A guard that is leaked, as by [`mem::forget`](std::mem::forget), keeps the mutex
/// locked permanently.
///
/// ```
/// use cede::sync::Mutex;
/// use std::sync::Arc;
/// let stock = Arc::new(Mutex::new(3));
/// cede::run(|| {
///     for _ in 0..5 {
///         let stock = Arc::clone(&stock);
///         cede::spawn(move || {
///             let mut left = stock.lock()?;
///             if *left > 0 {
///                 cede::yield_now(); // the mutex stays locked during this yield
///                 *left -= 1;
///             }
///             Ok::<(), cede::task::Cancelled>(())
///         });
///     }
///     while *stock.lock()? > 0 {
///         cede::yield_now();
///     }
///     Ok::<(), cede::task::Cancelled>(())
/// })?;
/// assert_eq!(*stock.lock()?, 0); // five tasks took three items, and none went below zero
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
pub struct Mutex<T: ?Sized> {
    pub(super) raw: RawMutex,
    value: UnsafeCell<T>,
}

// SAFETY: only the owner of the single guard accesses the value (invariant 1), so `T: Send` is enough. Each release happens
// before the next acquisition, since both lock the state of `raw`.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// Creates an unlocked mutex.
    ///
    /// ```
    /// static COUNT: cede::sync::Mutex<u32> = cede::sync::Mutex::new(0);
    /// *COUNT.lock()? += 1;
    /// assert_eq!(*COUNT.lock()?, 1);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { raw: RawMutex::new(), value: UnsafeCell::new(value) }
    }

    /// Consumes the mutex and returns the value. Takes no lock: an owned mutex has no guards.
    ///
    /// ```
    /// assert_eq!(cede::sync::Mutex::new(5).into_inner(), 5);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex, and returns a guard that keeps it locked until the guard is dropped. Waits while the mutex is
    /// locked. Waiting tasks of one worker are served in FIFO order; see [Order](Self#order).
    ///
    /// Cancel safety: a call that returns [`Cancelled`] has left the wait queue and holds nothing. If the mutex was granted
    /// before the cancel, the call returns the guard, and the task's next wait returns `Cancelled`.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before or during the wait, if a deadline or scope around the call ends the
    /// wait, or if the call would have to wait while the thread panics, as in a destructor. A free mutex is locked without
    /// waiting, and without an error, in all these cases.
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// let list = cede::sync::Mutex::new(vec![1]);
    /// list.lock()?.push(2);
    /// assert_eq!(*list.lock()?, [1, 2]);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, Cancelled> {
        match self.raw.take(None, OnCancel::GiveUp) {
            Ok(worker) => Ok(self.taken(worker)),
            Err(error) => Err(error.without_deadline()),
        }
    }

    /// Locks the mutex if it is free, without waiting; returns `None` otherwise. The call does not overtake waiting tasks of
    /// its worker. While a waiter of another thread wakes up to lock the mutex, the mutex is free; see [Order](Self#order).
    ///
    /// ```
    /// let cell = cede::sync::Mutex::new(1);
    /// let guard = cell.try_lock().unwrap();
    /// assert!(cell.try_lock().is_none());
    /// # drop(guard);
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.raw.try_take().then(|| self.guard())
    }

    /// Like [`lock`](Self::lock), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if the deadline passes first, [`WaitTimeoutError::Cancelled`] where
    /// [`lock`](Self::lock) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`lock`](Self::lock).
    ///
    /// ```
    /// use cede::sync::{Mutex, WaitTimeoutError};
    /// let cell = Mutex::new(1);
    /// let guard = cell.lock()?;
    /// assert_eq!(cell.lock_deadline(cede::time::now()).unwrap_err(), WaitTimeoutError::Timeout);
    /// # drop(guard);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock_deadline(&self, deadline: Instant) -> Result<MutexGuard<'_, T>, WaitTimeoutError> {
        Ok(self.taken(self.raw.take(Some(deadline), OnCancel::GiveUp)?))
    }

    /// Like [`lock_deadline`](Self::lock_deadline), but gives up after the duration `timeout`. A `timeout` that is too long
    /// for an [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`lock_deadline`](Self::lock_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`lock`](Self::lock).
    ///
    /// ```
    /// let cell = cede::sync::Mutex::new(1);
    /// assert_eq!(*cell.lock_timeout(std::time::Duration::MAX)?, 1);
    /// # Ok::<(), cede::sync::WaitTimeoutError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>, WaitTimeoutError> {
        Ok(self.taken(self.raw.take(now().checked_add(timeout), OnCancel::GiveUp)?))
    }

    /// Returns a mutable reference to the value. Takes no lock: a mutably borrowed mutex has no other users.
    ///
    /// ```
    /// let mut cell = cede::sync::Mutex::new(1);
    /// *cell.get_mut() = 2;
    /// assert_eq!(cell.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Returns whether the mutex is locked, or granted to a waiter. Other tasks and threads can change that at any time.
    ///
    /// ```
    /// assert!(!cede::sync::Mutex::new(1).is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Creates the guard after `take`, and counts the call against the cooperative budget of `worker`.
    #[inline]
    fn taken(&self, worker: Option<&Worker>) -> MutexGuard<'_, T> {
        if is_budget_spent(worker) {
            self.give_way(worker);
        }
        self.guard()
    }

    /// Yields for the cooperative budget while the mutex is locked. The temporary guard releases it if the task is unwound in the
    /// yield.
    #[cold]
    #[inline(never)]
    fn give_way(&self, worker: Option<&Worker>) {
        let given_up_if_unwound = self.guard();
        yield_for_budget(worker);
        std::mem::forget(given_up_if_unwound);
    }

    /// Creates a guard for a caller that has just acquired the lock and has no guard for it yet.
    #[inline]
    pub(super) fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, _not_send: PhantomData }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("Mutex").field(&&*guard).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

/// A guard of a [`Mutex`]: gives access to the value, and releases the mutex when dropped.
///
/// The guard is not `Send`, like the one of the standard library: it stays on its thread. Tasks of one run may pass it to each
/// other.
#[must_use = "the mutex is released at once if the guard is not kept"]
pub struct MutexGuard<'a, T: ?Sized> {
    pub(super) mutex: &'a Mutex<T>,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: `&MutexGuard` gives out only `&T`, and `T: Sync`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the mutex is locked by this guard while the guard exists, so no other guard accesses the value (invariant 1).
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard is mutably borrowed for as long as the returned reference lives.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.raw.give_up();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
