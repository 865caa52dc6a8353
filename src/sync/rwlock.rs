//! A fair readers-writer lock: FIFO, without writer starvation.
//!
//! Readers and writers share one wait queue. If a writer waits, a reader that arrives later goes behind it in the
//! queue. So a stream of readers cannot starve writers.
//!
//! # Invariants
//!
//! 1. `active` counts the guards that exist or were granted to a waiter: any number of readers, or one writer.
//! 2. If the wait queue has waiters, the first of them cannot have the lock yet. A later caller queues behind them.

use super::error::{WaitTimeoutError, outcome};
use crate::sys::likely;
use crate::time::now;
use crate::wait::lock::{BiasedLock, Mark};
use crate::wait::queue::{Line, WaitQueue, WaiterId, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, Holder, WaitSpec, WakeHandle, Worker, is_budget_spent, worker, yield_for_budget};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// A fair readers-writer lock, shared by tasks of one or several runs and by plain threads: many readers, or one writer.
///
/// The lock is FIFO: waiters acquire it in arrival order, and consecutive readers of the wait queue acquire it together.
/// Therefore no writer starves. The order is strict between threads, too, where each hand-off to a sleeping thread takes
/// some microseconds: a [`Mutex`](super::Mutex) that several threads lock all the time is faster. While a task waits, the
/// other tasks of its run continue; a plain thread blocks.
///
/// The lock is never poisoned, and not reentrant: a task that reads twice, with a writer queued between the two calls, waits
/// for itself.
///
/// ```
/// use cede::sync::RwLock;
/// let limits = RwLock::new((1, 10));
/// cede::run(|| {
///     let (one, other) = (limits.read()?, limits.read()?);
///     assert_eq!(one.0 + other.1, 11);
///     drop((one, other));
///     limits.write()?.1 = 20;
///     assert_eq!(limits.read()?.1, 20);
///     Ok::<(), cede::task::Cancelled>(())
/// })?;
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
pub struct RwLock<T: ?Sized> {
    state: BiasedLock<State>,
    /// The writer, or the reader that acquired the lock last. Used in deadlock reports.
    holder: Holder,
    value: UnsafeCell<T>,
}

// SAFETY: readers share the value, so `T` must be `Sync`; a writer accesses it alone, from any thread, so `T` must be `Send`
// (invariant 1). Each release happens before the next acquisition, since both lock `state`.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl Access {
    /// The mark of the state's lock that means one guard with this access, while no other guard and no waiter exists.
    const fn mark(self) -> Mark {
        match self {
            Access::Read => Mark::FIRST,
            Access::Write => Mark::SECOND,
        }
    }
}

/// The value of `State::active` while a writer has the lock.
const WRITER: usize = usize::MAX;

struct State {
    /// The number of readers that have the lock, or `WRITER`.
    /// Without the effect of the mark that the lock of the state may have.
    active: usize,
    waiters: WaitQueue<Access>,
    /// The number of the newest guard: the one whose owner `holder` names.
    named: u32,
}

/// The outcome of an attempt to acquire the lock.
enum Attempt {
    /// The caller has the lock, and its guard has this number.
    Taken(u32),
    /// The caller was queued, and must wait.
    Queued(WaiterId),
}

/// The wait queue of a readers-writer lock.
struct Users;

impl Line for Users {
    type State = State;
    type Value = Access;

    fn waiters(state: &mut State) -> &mut WaitQueue<Access> {
        &mut state.waiters
    }

    fn regrant(state: &mut State, access: Access) -> Vec<WakeHandle> {
        let mut wake_list = WakeList::default();
        state.release(access, &mut wake_list);
        wake_list.into_wakers()
    }

    fn left(state: &mut State, _: bool) -> Vec<WakeHandle> {
        let mut wake_list = WakeList::default();
        state.admit(&mut wake_list);
        wake_list.into_wakers()
    }
}

impl State {
    /// Acquires the lock if the active readers or the active writer allow it. Ignores the wait queue.
    #[inline(always)]
    fn enter(&mut self, access: Access) -> bool {
        let can = match access {
            Access::Read => self.active < WRITER - 1,
            Access::Write => self.active == 0,
        };
        if can {
            self.active = if access == Access::Read { self.active + 1 } else { WRITER };
        }
        can
    }

    /// Counts down the guards.
    #[inline(always)]
    fn leave(&mut self, access: Access) {
        self.active = if access == Access::Read { self.active - 1 } else { 0 };
    }

    /// Like `enter`, but does not overtake waiters.
    #[inline(always)]
    fn enter_in_turn(&mut self, access: Access) -> bool {
        (self.waiters.is_empty() || self.waiters.first().is_none()) && self.enter(access)
    }

    /// Grants the lock to the first waiters of the queue: to one writer, or to all readers before the first writer.
    fn admit(&mut self, wake_list: &mut WakeList) {
        while let Some(&mut access) = self.waiters.first() {
            if !self.enter(access) {
                return;
            }
            let waiter = self.waiters.grant_first();
            wake_list.push(self.waiters.waker(waiter));
        }
    }

    fn release(&mut self, access: Access, wake_list: &mut WakeList) {
        self.leave(access);
        if !self.waiters.is_empty() {
            self.admit(wake_list);
        }
    }
}

impl<T> RwLock<T> {
    /// Creates an unlocked lock.
    ///
    /// ```
    /// static LEVEL: cede::sync::RwLock<u32> = cede::sync::RwLock::new(3);
    /// assert_eq!(*LEVEL.read()?, 3);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub const fn new(value: T) -> RwLock<T> {
        let state = State { active: 0, waiters: WaitQueue::new(), named: 0 };
        let unmark = |state: &mut State, mark| state.active = if mark == Mark::FIRST { 1 } else { WRITER };
        RwLock { state: BiasedLock::with_marks(state, unmark), holder: Holder::none(), value: UnsafeCell::new(value) }
    }

    /// Consumes the lock and returns the value. Does not lock: an owned `RwLock` has no guards.
    ///
    /// ```
    /// assert_eq!(cede::sync::RwLock::new(5).into_inner(), 5);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    #[inline]
    fn try_take(&self, access: Access) -> Option<u32> {
        let mut state = self.state.lock();
        state.enter_in_turn(access).then(|| self.sign(worker(), &mut state))
    }

    /// Records the caller, which has just acquired the lock, as the holder. Returns the number of its guard.
    #[inline(always)]
    fn sign(&self, worker: Option<&Worker>, state: &mut State) -> u32 {
        state.named = state.named.wrapping_add(1);
        self.holder.set_task_of(worker);
        state.named
    }

    #[inline(always)]
    #[track_caller]
    fn take(&self, access: Access, deadline: Option<Instant>) -> Result<u32, WaitTimeoutError> {
        let worker = worker();
        if let Some(worker) = worker
            && let Some(state) = self.state.lock_as_owner(worker)
            && likely(state.active == 0 && state.waiters.is_empty())
        {
            // No guard exists, so the number of the newest one is free.
            let number = state.named;
            self.holder.set_task(worker, state.run());
            state.release_marked(access.mark());
            if is_budget_spent(Some(worker)) {
                self.give_way(Some(worker), access, number);
            }
            return Ok(number);
        }
        let waiter = match self.take_or_queue(worker, access) {
            Attempt::Taken(number) => {
                if is_budget_spent(worker) {
                    self.give_way(worker, access, number);
                }
                return Ok(number);
            }
            Attempt::Queued(waiter) => waiter,
        };
        let reason = match access {
            Access::Read => "an RwLock, to read",
            Access::Write => "an RwLock, to write",
        };
        let wait = WaitSpec { reason, external: true, holder: &raw const self.holder, ..WaitSpec::DEFAULT };
        outcome(wait_in::<Users>(&self.state, waiter, wait, deadline))?;
        Ok(self.sign(worker, &mut self.state.lock()))
    }

    /// Acquires the lock, or queues the caller. Not inlined: it returns before the wait.
    #[inline(never)]
    fn take_or_queue(&self, worker: Option<&Worker>, access: Access) -> Attempt {
        let mut state = self.state.lock_for(worker);
        if state.enter_in_turn(access) {
            Attempt::Taken(self.sign(worker, &mut state))
        } else {
            Attempt::Queued(state.waiters.enqueue_in(access, worker))
        }
    }

    /// Yields for the cooperative budget while the lock is held. The temporary guard releases the lock if the task is unwound in
    /// the yield.
    #[cold]
    fn give_way(&self, worker: Option<&Worker>, access: Access, number: u32) {
        match access {
            Access::Read => {
                let given_up_if_unwound = self.read_guard(number);
                yield_for_budget(worker);
                std::mem::forget(given_up_if_unwound);
            }
            Access::Write => {
                let given_up_if_unwound = self.write_guard(number);
                yield_for_budget(worker);
                std::mem::forget(given_up_if_unwound);
            }
        }
    }

    #[inline(always)]
    fn give_up(&self, access: Access, number: u32) {
        // A mark that is still there: no caller has come since. A free lock keeps its record of the holder: it is read only while a
        // task waits, and the next holder overwrites it.
        if self.state.lock_marked(access.mark()).is_none() {
            self.give_up_unmarked(access, number);
        }
    }

    /// Releases the lock if it has no mark: there may be other guards, and waiters.
    #[inline(never)]
    fn give_up_unmarked(&self, access: Access, number: u32) {
        if let Some(mut state) = self.state.lock_in_run()
            && state.waiters.is_empty()
        {
            state.leave(access);
            if state.named == number {
                self.holder.clear();
            }
            return;
        }
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        if state.named == number {
            self.holder.clear();
        }
        state.release(access, &mut wake_list);
    }

    #[inline]
    fn read_guard(&self, number: u32) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard { lock: self, number, _not_send: PhantomData }
    }

    #[inline]
    fn write_guard(&self, number: u32) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard { lock: self, number, _not_send: PhantomData }
    }

    /// Waits until no writer holds the lock and no earlier caller waits, then returns a guard for shared access. Waiters are
    /// served in FIFO order.
    ///
    /// Cancel safety: a call that returns [`Cancelled`] has left the wait queue and holds nothing. If access was granted before
    /// the cancel, the call returns the guard, and the task's next wait returns `Cancelled`.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before or during the wait, if a deadline or scope around this call ends the
    /// wait, or if the call would have to wait while the thread panics, as in a destructor. If the call need not wait, it
    /// returns the guard, even in a cancelled task or while the thread panics.
    ///
    /// # Panics
    ///
    /// Panics if the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// let names = cede::sync::RwLock::new(vec!["a"]);
    /// assert_eq!(names.read()?.len(), 1);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn read(&self) -> Result<RwLockReadGuard<'_, T>, Cancelled> {
        let number = self.take(Access::Read, None).map_err(WaitTimeoutError::without_deadline)?;
        Ok(self.read_guard(number))
    }

    /// Waits until the lock is free and no earlier caller waits, then returns a guard for exclusive access. Waiters are served
    /// in FIFO order: readers that arrive later wait behind this call. Cancel safe like [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Self::read).
    ///
    /// # Panics
    ///
    /// The panics of [`read`](Self::read).
    ///
    /// ```
    /// let names = cede::sync::RwLock::new(vec!["a"]);
    /// names.write()?.push("b");
    /// assert_eq!(names.into_inner(), ["a", "b"]);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, T>, Cancelled> {
        let number = self.take(Access::Write, None).map_err(WaitTimeoutError::without_deadline)?;
        Ok(self.write_guard(number))
    }

    /// Acquires shared access if no writer holds the lock and the wait queue is empty; returns `None` otherwise.
    ///
    /// ```
    /// let names = cede::sync::RwLock::new(());
    /// let reader = names.read()?;
    /// assert!(names.try_read().is_some() && names.try_write().is_none());
    /// # drop(reader);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        Some(self.read_guard(self.try_take(Access::Read)?))
    }

    /// Acquires exclusive access if the lock is free and the wait queue is empty; returns `None` otherwise.
    ///
    /// ```
    /// let names = cede::sync::RwLock::new(());
    /// let writer = names.try_write().unwrap();
    /// assert!(names.try_read().is_none());
    /// # drop(writer);
    /// ```
    #[inline]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        Some(self.write_guard(self.try_take(Access::Write)?))
    }

    /// Like [`read`](Self::read), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if the deadline passes first. [`WaitTimeoutError::Cancelled`] where
    /// [`read`](Self::read) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`read`](Self::read).
    ///
    /// ```
    /// let names = cede::sync::RwLock::new(1);
    /// assert_eq!(*names.read_deadline(cede::time::now())?, 1);
    /// # Ok::<(), cede::sync::WaitTimeoutError>(())
    /// ```
    #[track_caller]
    pub fn read_deadline(&self, deadline: Instant) -> Result<RwLockReadGuard<'_, T>, WaitTimeoutError> {
        Ok(self.read_guard(self.take(Access::Read, Some(deadline))?))
    }

    /// Like [`write`](Self::write), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now). A writer that
    /// gives up no longer delays the readers behind it.
    ///
    /// # Errors
    ///
    /// The errors of [`read_deadline`](Self::read_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`read`](Self::read).
    ///
    /// ```
    /// let names = cede::sync::RwLock::new(1);
    /// let reader = names.read()?;
    /// assert!(names.write_deadline(cede::time::now()).is_err());
    /// # drop(reader);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[track_caller]
    pub fn write_deadline(&self, deadline: Instant) -> Result<RwLockWriteGuard<'_, T>, WaitTimeoutError> {
        Ok(self.write_guard(self.take(Access::Write, Some(deadline))?))
    }

    /// Like [`read_deadline`](Self::read_deadline), with a deadline `timeout` from now. A `timeout` that is too long for an
    /// [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`read_deadline`](Self::read_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`read`](Self::read).
    ///
    /// ```
    /// let names = cede::sync::RwLock::new(1);
    /// assert_eq!(*names.read_timeout(std::time::Duration::MAX)?, 1);
    /// # Ok::<(), cede::sync::WaitTimeoutError>(())
    /// ```
    #[track_caller]
    pub fn read_timeout(&self, timeout: Duration) -> Result<RwLockReadGuard<'_, T>, WaitTimeoutError> {
        Ok(self.read_guard(self.take(Access::Read, now().checked_add(timeout))?))
    }

    /// Like [`write_deadline`](Self::write_deadline), with a deadline `timeout` from now. A `timeout` that is too long for an
    /// [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`read_deadline`](Self::read_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`read`](Self::read).
    ///
    /// ```
    /// let names = cede::sync::RwLock::new(1);
    /// *names.write_timeout(std::time::Duration::MAX)? = 2;
    /// # Ok::<(), cede::sync::WaitTimeoutError>(())
    /// ```
    #[track_caller]
    pub fn write_timeout(&self, timeout: Duration) -> Result<RwLockWriteGuard<'_, T>, WaitTimeoutError> {
        Ok(self.write_guard(self.take(Access::Write, now().checked_add(timeout))?))
    }

    /// Returns a mutable reference to the value. Does not lock: a mutably borrowed `RwLock` has no other users.
    ///
    /// ```
    /// let mut names = cede::sync::RwLock::new(1);
    /// *names.get_mut() = 2;
    /// assert_eq!(names.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(guard) => f.debug_tuple("RwLock").field(&&*guard).finish(),
            None => f.write_str("RwLock(<locked>)"),
        }
    }
}

/// A guard for shared access to the value of an [`RwLock`], released when dropped. The guard is not `Send`: it stays on its
/// thread.
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    number: u32,
    _not_send: PhantomData<*const ()>,
}

/// A guard for exclusive access to the value of an [`RwLock`], released when dropped. The guard is not `Send`: it stays on its
/// thread.
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    number: u32,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: `&RwLockReadGuard` gives out only `&T`, and `T: Sync`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: `&RwLockWriteGuard` gives out only `&T`, and `T: Sync`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Turns exclusive access into shared access, and admits the readers at the head of the wait queue. Atomic: no writer
    /// acquires the lock in between.
    ///
    /// ```
    /// use cede::sync::{RwLock, RwLockWriteGuard};
    /// let names = RwLock::new(1);
    /// let mut writer = names.write()?;
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer);
    /// assert_eq!(*reader + *names.read()?, 4);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub fn downgrade(this: RwLockWriteGuard<'a, T>) -> RwLockReadGuard<'a, T> {
        let (lock, number) = (this.lock, this.number);
        std::mem::forget(this);
        let mut wake_list = WakeList::default();
        let mut state = lock.state.lock();
        state.active = 1;
        state.admit(&mut wake_list);
        drop(state);
        lock.read_guard(number)
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.give_up(Access::Read, self.number);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.give_up(Access::Write, self.number);
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard counts as a reader while it exists, so there is no writer (invariant 1).
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the writer while it exists, so no other guard accesses the value (invariant 1).
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard is mutably borrowed for as long as the returned reference lives.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
