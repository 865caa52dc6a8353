//! So many at a time.
//!
//! # Invariants
//!
//! 1. `available` permits are free and `total - available` are in somebody's hands, or promised to a waiter.
//! 2. Somebody waits only while the first in line wants more than there are. So a large wish is not starved by small ones.
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use crate::time::now;
use crate::wait::lock::{BiasedLock, Guard};
use crate::wait::queue::{Line, WaitQueue, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, Holder, WaitSpec, WakeHandle, Worker, is_budget_spent, worker, yield_for_budget};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A number of permits, which tasks and threads take and give back: at most so many are at something at a time.
///
/// Those who wait get theirs in the order in which they came, also if one who came later wants fewer. A permit is given back
/// by being dropped, so none is given back twice, and there is no negative number of them.
///
/// ```
/// use cede::sync::Semaphore;
/// let connections = Semaphore::bounded(2);
/// cede::run(|| {
///     let (_one, _other) = (connections.acquire()?, connections.acquire()?);
///     assert!(connections.try_acquire().is_none());
///     Ok::<(), cede::task::Cancelled>(())
/// })?;
/// assert_eq!(connections.available_permits(), 2);
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
pub struct Semaphore {
    state: BiasedLock<State>,
    /// Who took permits last, if it has not given them back.
    holder: Holder,
    /// How many permits there may ever be.
    bound: usize,
}

struct State {
    available: usize,
    total: usize,
    /// Each with how many it wants.
    waiters: WaitQueue<usize>,
    /// The number of the permit whose owner `holder` names.
    named: u32,
}

/// More permits were added than there may be: nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot add {added} permits: there are {total} (with those in use), and there may be {bound}")]
pub struct TooManyPermits {
    /// How many were to be added.
    pub added: usize,
    /// How many there are, with those that are in use.
    pub total: usize,
    /// How many there may be.
    pub bound: usize,
}

struct Takers;

impl Line for Takers {
    type State = State;
    type Value = usize;

    fn waiters(state: &mut State) -> &mut WaitQueue<usize> {
        &mut state.waiters
    }

    fn regrant(state: &mut State, count: usize) -> Vec<WakeHandle> {
        let mut wake_list = WakeList::default();
        state.give_back(count, &mut wake_list);
        wake_list.into_wakers()
    }

    fn left(state: &mut State, _: bool) -> Vec<WakeHandle> {
        let mut wake_list = WakeList::default();
        state.give_back(0, &mut wake_list);
        wake_list.into_wakers()
    }
}

impl State {
    fn take_in_turn(&mut self, count: usize) -> bool {
        let can = self.available >= count && (self.waiters.is_empty() || self.waiters.first().is_none());
        if can {
            self.available -= count;
        }
        can
    }

    /// So many are free again: those whose wishes can be met now get theirs, in their order.
    #[inline]
    fn give_back(&mut self, count: usize, wake_list: &mut WakeList) {
        self.available += count;
        while !self.waiters.is_empty() {
            match self.waiters.first() {
                Some(&mut wish) if wish <= self.available => self.available -= wish,
                _ => return,
            }
            let waiter = self.waiters.grant_first();
            wake_list.push(self.waiters.waker(waiter));
        }
    }
}

impl Semaphore {
    /// As many permits may be added as can be counted.
    ///
    /// ```
    /// static PERMITS: cede::sync::Semaphore = cede::sync::Semaphore::new(3);
    /// assert_eq!(PERMITS.available_permits(), 3);
    /// ```
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore::with_bound(permits, usize::MAX)
    }

    /// There are never more than these: adding permits in excess is an error.
    ///
    /// ```
    /// let permits = cede::sync::Semaphore::bounded(1);
    /// let error = permits.add_permits(1).unwrap_err();
    /// assert_eq!((error.total, error.bound), (1, 1));
    /// ```
    pub const fn bounded(permits: usize) -> Semaphore {
        Semaphore::with_bound(permits, permits)
    }

    const fn with_bound(permits: usize, bound: usize) -> Semaphore {
        let state = State { available: permits, total: permits, waiters: WaitQueue::new(), named: 0 };
        Semaphore { state: BiasedLock::new(state), holder: Holder::nobody(), bound }
    }

    /// Whoever runs this has just taken permits, and is named as their holder. Returns the number of its permit.
    #[inline]
    fn sign(&self, worker: Option<&Worker>, mut state: Guard<'_, State>) -> u32 {
        state.named = state.named.wrapping_add(1);
        self.holder.set_task_of(worker);
        state.named
    }

    #[inline]
    #[track_caller]
    fn take(&self, count: usize, deadline: Option<Instant>) -> Result<u32, WaitTimeoutError> {
        assert!(
            count <= self.bound,
            "{count} permits of a semaphore are wanted that has never more than {}",
            self.bound
        );
        let worker = worker();
        let mut state = self.state.lock_for(worker);
        if state.take_in_turn(count) {
            let number = self.sign(worker, state);
            if is_budget_spent(worker) {
                self.give_way(worker, count, number);
            }
            return Ok(number);
        }
        let waiter = state.waiters.enqueue(count);
        drop(state);
        let wait =
            WaitSpec { reason: "a semaphore", external: true, holder: &raw const self.holder, ..WaitSpec::DEFAULT };
        outcome(wait_in::<Takers>(&self.state, waiter, wait, deadline))?;
        Ok(self.sign(worker, self.state.lock()))
    }

    /// Gives up a turn with permits in hand.
    #[cold]
    fn give_way(&self, worker: Option<&Worker>, count: usize, number: u32) {
        let given_back_if_unwound = Permit { semaphore: self, count, number };
        yield_for_budget(worker);
        std::mem::forget(given_back_if_unwound);
    }

    fn try_take(&self, count: usize) -> Option<u32> {
        let mut state = self.state.lock();
        let had = state.take_in_turn(count);
        had.then(|| self.sign(worker(), state))
    }

    #[inline]
    fn give_back(&self, count: usize, number: u32) {
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        if state.named == number {
            self.holder.clear();
        }
        state.give_back(count, &mut wake_list);
    }

    /// Waits for a permit, and has it until it is dropped.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled while it waits, and if it would have to wait while the thread panics, as in a
    /// destructor. What needs no wait is had in both cases.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend), and if there are never so many.
    ///
    /// ```
    /// let permits = cede::sync::Semaphore::new(2);
    /// let permit = permits.acquire()?;
    /// assert_eq!(permits.available_permits(), 1);
    /// # drop(permit);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Result<Permit<'_>, Cancelled> {
        self.acquire_many(1)
    }

    /// Waits for `count` permits, and has them until they are dropped.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// ```
    /// let permits = cede::sync::Semaphore::new(5);
    /// assert_eq!(permits.acquire_many(3)?.count(), 3);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Result<Permit<'_>, Cancelled> {
        let number = self.take(count, None).map_err(WaitTimeoutError::without_deadline)?;
        Ok(Permit { semaphore: self, count, number })
    }

    /// Takes a permit if there is one and nobody waits.
    ///
    /// ```
    /// assert!(cede::sync::Semaphore::new(0).try_acquire().is_none());
    /// ```
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits if there are as many and nobody waits.
    pub fn try_acquire_many(&self, count: usize) -> Option<Permit<'_>> {
        Some(Permit { semaphore: self, count, number: self.try_take(count)? })
    }

    /// As [`acquire_many`](Self::acquire_many), but waits no longer than until `deadline`, by the clock of
    /// [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError`], which tells a deadline from a cancel.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// ```
    /// use cede::sync::{Semaphore, WaitTimeoutError};
    /// let error = Semaphore::new(1).acquire_deadline(2, cede::time::now()).unwrap_err();
    /// assert_eq!(error, WaitTimeoutError::Timeout);
    /// ```
    #[track_caller]
    pub fn acquire_deadline(&self, count: usize, deadline: Instant) -> Result<Permit<'_>, WaitTimeoutError> {
        Ok(Permit { semaphore: self, count, number: self.take(count, Some(deadline))? })
    }

    /// As [`acquire_deadline`](Self::acquire_deadline), `timeout` from now; one that is too long to tell never comes.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`acquire_deadline`](Self::acquire_deadline).
    #[track_caller]
    pub fn acquire_timeout(&self, count: usize, timeout: Duration) -> Result<Permit<'_>, WaitTimeoutError> {
        Ok(Permit { semaphore: self, count, number: self.take(count, now().checked_add(timeout))? })
    }

    /// As [`acquire_many`](Self::acquire_many), for permits that go elsewhere: to a task that is spawned with them.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// ```
    /// use cede::sync::Semaphore;
    /// use std::sync::Arc;
    /// let workers = Arc::new(Semaphore::new(2));
    /// cede::run(|| {
    ///     for _ in 0..10 {
    ///         let permit = workers.acquire_owned(1)?; // waits while two are at work
    ///         cede::spawn(move || {
    ///             cede::yield_now();
    ///             drop(permit);
    ///         });
    ///     }
    ///     Ok::<(), cede::task::Cancelled>(())
    /// })?;
    /// assert_eq!(workers.available_permits(), 2);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[track_caller]
    pub fn acquire_owned(self: &Arc<Self>, count: usize) -> Result<OwnedPermit, Cancelled> {
        let permit = self.acquire_many(count)?;
        let number = permit.number;
        std::mem::forget(permit);
        Ok(OwnedPermit { semaphore: Arc::clone(self), count, number })
    }

    /// Adds permits, and gives them to those who wait.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if there would be more than there may be; then none are added.
    ///
    /// ```
    /// let permits = cede::sync::Semaphore::new(0);
    /// permits.add_permits(2)?;
    /// assert_eq!(permits.available_permits(), 2);
    /// # Ok::<(), cede::sync::TooManyPermits>(())
    /// ```
    pub fn add_permits(&self, count: usize) -> Result<(), TooManyPermits> {
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        let total = state.total.checked_add(count).filter(|total| *total <= self.bound);
        state.total = total.ok_or(TooManyPermits { added: count, total: state.total, bound: self.bound })?;
        state.give_back(count, &mut wake_list);
        Ok(())
    }

    /// Takes up to `count` free permits away for good. Returns how many that were.
    ///
    /// ```
    /// let permits = cede::sync::Semaphore::new(2);
    /// assert_eq!(permits.forget_permits(5), 2);
    /// ```
    pub fn forget_permits(&self, count: usize) -> usize {
        let mut state = self.state.lock();
        let gone = state.available.min(count);
        state.available -= gone;
        state.total -= gone;
        gone
    }

    /// How many permits are free; that may change at any time.
    pub fn available_permits(&self) -> usize {
        self.state.lock().available
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available_permits", &self.available_permits()).finish()
    }
}

/// Permits of a [`Semaphore`], which are given back when this is dropped.
#[must_use = "permits that are not kept are given back at once"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
    number: u32,
}

/// Permits of a [`Semaphore`] in an `Arc`, which are given back when this is dropped.
#[must_use = "permits that are not kept are given back at once"]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    count: usize,
    number: u32,
}

macro_rules! permits {
    ($($permit:ident $(<$life:lifetime>)?)+) => { $(
        impl$(<$life>)? $permit$(<$life>)? {
            /// How many permits these are.
            pub fn count(&self) -> usize {
                self.count
            }

            /// Never gives them back: there are so many fewer from now on.
            ///
            /// ```
            /// let permits = cede::sync::Semaphore::new(2);
            /// permits.acquire()?.forget();
            /// assert_eq!(permits.available_permits(), 1);
            /// # Ok::<(), cede::task::Cancelled>(())
            /// ```
            pub fn forget(mut self) {
                let count = std::mem::take(&mut self.count);
                self.semaphore.state.lock().total -= count;
            }

            /// Takes `count` of them out, to be given back apart; none if there are fewer.
            pub fn split(&mut self, count: usize) -> Option<Self> {
                self.count = self.count.checked_sub(count)?;
                Some($permit { semaphore: self.semaphore.clone(), count, number: self.number })
            }
        }

        impl$(<$life>)? Drop for $permit$(<$life>)? {
            #[inline]
            fn drop(&mut self) {
                self.semaphore.give_back(self.count, self.number);
            }
        }

        impl$(<$life>)? fmt::Debug for $permit$(<$life>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($permit)).field("count", &self.count).finish()
            }
        }
    )+ };
}

permits! { Permit<'a> OwnedPermit }
