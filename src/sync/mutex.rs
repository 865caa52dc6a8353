//! A lock around a value, handed over in the order in which it was asked for.
//!
//! # Invariants
//!
//! 1. Whoever holds a guard is the only one at the value: `locked` is true from the moment a guard is made, or promised to a
//!    waiter, until it is dropped.
//! 2. Somebody waits only while it is locked. So whoever gives it up hands it to the first in line, and `locked` stays true.

use super::error::{WaitTimeoutError, outcome};
use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Line, WaitQueue, wait_in};
use crate::wait::{Cancelled, Holder, WaitSpec, WakeHandle, Worker, consume_budget_of, worker};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// A value that one at a time gets at: tasks of one run or of several, and plain threads.
///
/// It is handed over in the order in which it was asked for: whoever waits has it before anybody who comes later. A panic or
/// a cancel while it is held gives it up like any other end; it is never poisoned.
///
/// It is not re-entrant. Who locks it again while holding it waits for itself; in a task the report of the deadlock says so, by
/// name. A guard that is forgotten keeps it locked for ever.
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
///                 cede::yield_now(); // nobody else gets at it meanwhile
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
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
pub struct Mutex<T: ?Sized> {
    pub(super) turn: Turn,
    value: UnsafeCell<T>,
}

// SAFETY: one at a time gets at the value (invariant 1), and what it does happens before what the next one does: both go
// through the lock in `turn`.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

/// Whose turn it is with the value.
pub(super) struct Turn {
    state: BiasedLock<State>,
    holder: Holder,
}

#[derive(Default)]
struct State {
    locked: bool,
    /// Each with whether the holder has still to be told: who passes it on does not get at the holder.
    waiters: WaitQueue<bool>,
}

struct Lockers;

impl Line for Lockers {
    type State = State;
    type Value = bool;

    fn waiters(state: &mut State) -> &mut WaitQueue<bool> {
        &mut state.waiters
    }

    fn regrant(state: &mut State, _: bool) -> Vec<WakeHandle> {
        let Some(waiter) = state.waiters.grant() else {
            state.locked = false;
            return Vec::new();
        };
        *state.waiters.value(waiter) = true;
        vec![state.waiters.waker(waiter)]
    }
}

impl Turn {
    const fn new() -> Turn {
        Turn { state: BiasedLock::new(State { locked: false, waiters: WaitQueue::new() }), holder: Holder::nobody() }
    }

    #[inline]
    fn try_take(&self) -> bool {
        let mut state = self.state.lock();
        if state.locked {
            return false;
        }
        state.locked = true;
        self.holder.set_current();
        true
    }

    /// Takes it, in turn. No cancel cuts an `uncancellable` wait short. Returns the worker to count the call at, if it
    /// did not wait.
    #[inline(always)]
    #[track_caller]
    fn take(&self, deadline: Option<Instant>, uncancellable: bool) -> Result<Option<&Worker>, WaitTimeoutError> {
        let worker = worker();
        let mut state = self.state.lock_for(worker);
        if !state.locked {
            state.locked = true;
            self.holder.set_task_of(worker);
            return Ok(worker);
        }
        let waiter = state.waiters.enqueue(false);
        drop(state);
        let wait = WaitSpec {
            reason: "a mutex",
            external: true,
            uncancellable,
            holder: &raw const self.holder,
            ..WaitSpec::DEFAULT
        };
        if outcome(wait_in::<Lockers>(&self.state, waiter, wait, deadline))? {
            self.holder.set_current();
        }
        Ok(None)
    }

    /// Takes it for whoever had it before, cancelled or not. False if it cannot be had, because the run is deadlocked.
    #[track_caller]
    pub(super) fn take_again(&self) -> bool {
        self.take(None, true).is_ok()
    }

    /// Hands it to the first in line, or to nobody.
    #[inline]
    fn give_up(&self) {
        let mut state = self.state.lock();
        let Some(waiter) = state.waiters.grant() else {
            // Nobody asks who holds it before the next one has taken it, and told.
            state.locked = false;
            return;
        };
        let waker = state.waiters.waker(waiter);
        self.holder.set(waker);
        drop(state);
        // Who is gone by now needs no wake.
        let _ = waker.wake();
    }
}

impl<T> Mutex<T> {
    /// A mutex that nobody holds.
    ///
    /// ```
    /// static COUNT: cede::sync::Mutex<u32> = cede::sync::Mutex::new(0);
    /// *COUNT.lock()? += 1;
    /// assert_eq!(*COUNT.lock()?, 1);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { turn: Turn::new(), value: UnsafeCell::new(value) }
    }

    /// The value. Nobody holds it, since nobody else has the mutex.
    ///
    /// ```
    /// assert_eq!(cede::sync::Mutex::new(5).into_inner(), 5);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until it has been given up by everybody who asked for it before, and holds it then until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled while it waits, and if it would have to wait while the thread panics, as in a
    /// destructor. What nobody holds is had without waiting, in both cases.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
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
        match self.turn.take(None, false) {
            Ok(worker) => Ok(self.taken(worker)),
            Err(error) => Err(error.without_deadline()),
        }
    }

    /// Holds it if nobody does and nobody waits for it.
    ///
    /// ```
    /// let cell = cede::sync::Mutex::new(1);
    /// let guard = cell.try_lock().unwrap();
    /// assert!(cell.try_lock().is_none());
    /// # drop(guard);
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.turn.try_take().then(|| self.guard())
    }

    /// As [`lock`](Self::lock), but waits no longer than until `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError`], which tells a deadline from a cancel.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
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
        Ok(self.taken(self.turn.take(Some(deadline), false)?))
    }

    /// As [`lock_deadline`](Self::lock_deadline), `timeout` from now; one that is too long to tell never comes.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`lock_deadline`](Self::lock_deadline).
    ///
    /// ```
    /// let cell = cede::sync::Mutex::new(1);
    /// assert_eq!(*cell.lock_timeout(std::time::Duration::MAX)?, 1);
    /// # Ok::<(), cede::sync::WaitTimeoutError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>, WaitTimeoutError> {
        Ok(self.taken(self.turn.take(now().checked_add(timeout), false)?))
    }

    /// The value, without locking: nobody else has the mutex.
    ///
    /// ```
    /// let mut cell = cede::sync::Mutex::new(1);
    /// *cell.get_mut() = 2;
    /// assert_eq!(cell.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Whether somebody holds it; that may change at any time.
    ///
    /// ```
    /// assert!(!cede::sync::Mutex::new(1).is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.turn.state.lock().locked
    }

    /// The guard, after `take`; and the call is counted.
    #[inline]
    fn taken(&self, worker: Option<&Worker>) -> MutexGuard<'_, T> {
        let guard = self.guard();
        consume_budget_of(worker);
        guard
    }

    /// For whoever has just taken the turn.
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

/// Holds a [`Mutex`], and gives it up when it is dropped.
///
/// It stays on its thread, as the standard library's: it is not `Send`. Tasks of one run may give it to each other.
#[must_use = "the mutex is given up at once if the guard is not kept"]
pub struct MutexGuard<'a, T: ?Sized> {
    pub(super) mutex: &'a Mutex<T>,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard only lends `&T`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: invariant 1: this guard holds it.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: invariant 1: this guard holds it, and is borrowed alone.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.turn.give_up();
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
