//! A fair counting semaphore: FIFO, also between requests of different sizes (`State::take_in_turn`, `State::give_back`).
//!
//! A release grants permits directly to the first waiters. A request for many permits blocks the later, smaller ones until it
//! is met, so it does not starve.
//!
//! # Invariants
//!
//! 1. `available` permits are free. The other `total - available` are held, or granted to a waiter.
//! 2. The wait queue is empty unless its first waiter requests more permits than are available.
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use crate::sys::likely;
use crate::time::now;
use crate::wait::lock::{BiasedLock, Mark};
use crate::wait::queue::{Line, WaitQueue, WaiterId, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, Holder, WaitSpec, WakeHandle, Worker, is_budget_spent, worker, yield_for_budget};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A fair counting semaphore: limits the number of tasks and threads that use a resource at the same time.
///
/// The semaphore is FIFO: permits go to waiters in arrival order, even if a later request is smaller and could be met at once.
/// While a task waits, the other tasks of its run continue; a plain thread blocks.
///
/// A [`Permit`] is released by being dropped. So it cannot be released twice, and the number of permits is never negative.
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
    /// The holder that acquired permits last, cleared when it releases them. Used in deadlock reports.
    holder: Holder,
    /// The maximum of `State::total`.
    bound: usize,
}

struct State {
    /// Without the effect of the mark that the lock of the state may have.
    available: usize,
    total: usize,
    /// A waiter's value is the number of permits it requests.
    waiters: WaitQueue<usize>,
    /// The number of the newest [`Permit`]. `Semaphore::holder` is the task or thread that holds it.
    named: u32,
}

/// The error of [`add_permits`](Semaphore::add_permits): the bound of the semaphore would be exceeded. No permit was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot add permits: adding {added} to the existing {total} (held ones included) exceeds the bound of {bound}")]
pub struct TooManyPermits {
    /// The number of permits to add.
    pub added: usize,
    /// The number of permits that exist, held permits included.
    pub total: usize,
    /// The maximum number of permits.
    pub bound: usize,
}

/// The mark of the state's lock that means one held permit, while no other permit is held and no caller waits.
const ONE_HELD: Mark = Mark::FIRST;

/// The outcome of an attempt to acquire permits.
enum Attempt {
    /// The caller has the permits, and its [`Permit`] has this number.
    Taken(u32),
    /// The caller was queued, and must wait.
    Queued(WaiterId),
}

/// The wait queue of a semaphore.
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
    /// Takes permits if enough are free and no waiter would be overtaken.
    #[inline(always)]
    fn take_in_turn(&mut self, count: usize) -> bool {
        let can = self.available >= count && (self.waiters.is_empty() || self.waiters.first().is_none());
        if can {
            self.available -= count;
        }
        can
    }

    /// Frees `count` permits and grants them to waiters in FIFO order, until the next request cannot be met.
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
    /// Creates a semaphore with this many permits. More may be added later, up to a total of `usize::MAX`.
    ///
    /// ```
    /// static PERMITS: cede::sync::Semaphore = cede::sync::Semaphore::new(3);
    /// assert_eq!(PERMITS.available_permits(), 3);
    /// ```
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore::with_bound(permits, usize::MAX)
    }

    /// Creates a semaphore with this many permits, and with the same number as its bound:
    /// [`add_permits`](Self::add_permits) fails if the total would exceed it.
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
        let unmark = |state: &mut State, _| state.available -= 1;
        Semaphore { state: BiasedLock::with_marks(state, unmark), holder: Holder::none(), bound }
    }

    /// Records the caller, which has just acquired permits, as the holder. Returns the number of its [`Permit`].
    #[inline(always)]
    fn sign(&self, worker: Option<&Worker>, state: &mut State) -> u32 {
        state.named = state.named.wrapping_add(1);
        self.holder.set_task_of(worker);
        state.named
    }

    #[inline(always)]
    #[track_caller]
    fn take(&self, count: usize, deadline: Option<Instant>) -> Result<u32, WaitTimeoutError> {
        assert!(count <= self.bound, "cannot acquire {count} permits: the bound of the semaphore is {}", self.bound);
        let worker = worker();
        if let Some(worker) = worker
            && let Some(state) = self.state.lock_as_owner(worker)
            && likely(count == 1 && state.available == state.total && state.available > 0 && state.waiters.is_empty())
        {
            // No permit is held, so the number of the newest one is free.
            let number = state.named;
            self.holder.set_task(worker, state.run());
            state.release_marked(ONE_HELD);
            if is_budget_spent(Some(worker)) {
                self.give_way(Some(worker), count, number);
            }
            return Ok(number);
        }
        let waiter = match self.take_or_queue(worker, count) {
            Attempt::Taken(number) => {
                if is_budget_spent(worker) {
                    self.give_way(worker, count, number);
                }
                return Ok(number);
            }
            Attempt::Queued(waiter) => waiter,
        };
        let wait = WaitSpec {
            reason: "a semaphore",
            external: true,
            holder: &raw const self.holder,
            one_of_several: true,
            ..WaitSpec::DEFAULT
        };
        outcome(wait_in::<Takers>(&self.state, waiter, wait, deadline))?;
        Ok(self.sign(worker, &mut self.state.lock()))
    }

    /// Acquires permits, or queues the caller. Not inlined: it returns before the wait.
    #[inline(never)]
    fn take_or_queue(&self, worker: Option<&Worker>, count: usize) -> Attempt {
        let mut state = self.state.lock_for(worker);
        if state.take_in_turn(count) {
            return Attempt::Taken(self.sign(worker, &mut state));
        }
        if state.available == state.total {
            // No permit is held: the record is that of an earlier holder.
            self.holder.clear();
        }
        Attempt::Queued(state.waiters.enqueue_in(count, worker))
    }

    /// Yields for the cooperative budget while the permits are held. The temporary permit releases them if the task is unwound in
    /// the yield.
    #[cold]
    fn give_way(&self, worker: Option<&Worker>, count: usize, number: u32) {
        let given_back_if_unwound = Permit { semaphore: self, count, number };
        yield_for_budget(worker);
        std::mem::forget(given_back_if_unwound);
    }

    fn try_take(&self, count: usize) -> Option<u32> {
        let mut state = self.state.lock();
        state.take_in_turn(count).then(|| self.sign(worker(), &mut state))
    }

    #[inline(always)]
    fn give_back(&self, count: usize, number: u32) {
        // A mark that is still there: no caller has come since. `take_or_queue` clears the record of the holder.
        if count != 1 || self.state.lock_marked(ONE_HELD).is_none() {
            self.give_back_unmarked(count, number);
        }
    }

    /// Releases permits if there is no mark: other permits may be held, and waiters may exist.
    #[inline(never)]
    fn give_back_unmarked(&self, count: usize, number: u32) {
        if let Some(mut state) = self.state.lock_in_run()
            && state.waiters.is_empty()
        {
            state.available += count;
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
        state.give_back(count, &mut wake_list);
    }

    /// Waits until a permit is free and no earlier request waits, then acquires it. Dropping the [`Permit`] releases it.
    /// Waiters are served in FIFO order.
    ///
    /// Cancel safety: a call that returns [`Cancelled`] has left the wait queue and holds nothing. If the permit was granted
    /// before the cancel, the call returns it, and the task's next wait returns `Cancelled`.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before or during the wait, if a deadline or scope around this call ends
    /// the wait, or if the call would have to wait while the thread panics, as in a destructor. A free permit is
    /// acquired without waiting, and without an error, in both cases.
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend), or if it requests more permits
    /// than the bound of the semaphore.
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

    /// Waits until `count` permits are free and no earlier request waits, then acquires them together. The caller holds
    /// none of them while it waits. Smaller requests that arrive later wait behind this one (FIFO). Cancel safe like
    /// [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// The errors of [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// The panics of [`acquire`](Self::acquire).
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

    /// Acquires a permit if one is free and the wait queue is empty; returns `None` otherwise.
    ///
    /// ```
    /// assert!(cede::sync::Semaphore::new(0).try_acquire().is_none());
    /// ```
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// Acquires `count` permits if they are free and the wait queue is empty; returns `None` otherwise.
    pub fn try_acquire_many(&self, count: usize) -> Option<Permit<'_>> {
        Some(Permit { semaphore: self, count, number: self.try_take(count)? })
    }

    /// Like [`acquire_many`](Self::acquire_many), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if the deadline passes first, [`WaitTimeoutError::Cancelled`] where
    /// [`acquire`](Self::acquire) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`acquire`](Self::acquire).
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

    /// Like [`acquire_deadline`](Self::acquire_deadline), with a deadline `timeout` from now. A `timeout` that is too long for an
    /// [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`acquire_deadline`](Self::acquire_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_timeout(&self, count: usize, timeout: Duration) -> Result<Permit<'_>, WaitTimeoutError> {
        Ok(Permit { semaphore: self, count, number: self.take(count, now().checked_add(timeout))? })
    }

    /// Like [`acquire_many`](Self::acquire_many), but returns permits that do not borrow the semaphore, so that they can move,
    /// for example, into a spawned task.
    ///
    /// # Errors
    ///
    /// The errors of [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// The panics of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use cede::sync::Semaphore;
    /// use std::sync::Arc;
    /// let workers = Arc::new(Semaphore::new(2));
    /// cede::run(|| {
    ///     for _ in 0..10 {
    ///         let permit = workers.acquire_owned(1)?; // waits while two tasks hold permits
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

    /// Adds permits, and grants them to waiters in FIFO order.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if the bound of the semaphore would be exceeded. No permit is added then.
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

    /// Removes up to `count` free permits permanently. Returns the number of removed permits.
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

    /// Returns the number of free permits. Other tasks and threads can change it at any time.
    pub fn available_permits(&self) -> usize {
        self.state.lock().available
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available_permits", &self.available_permits()).finish()
    }
}

/// Permits of a [`Semaphore`], released when dropped.
#[must_use = "permits that are not kept are released at once"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
    number: u32,
}

/// Permits of a [`Semaphore`] in an `Arc`, released when dropped.
#[must_use = "permits that are not kept are released at once"]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    count: usize,
    number: u32,
}

macro_rules! permits {
    ($($permit:ident $(<$life:lifetime>)?)+) => { $(
        impl$(<$life>)? $permit$(<$life>)? {
            /// Returns the number of permits.
            pub fn count(&self) -> usize {
                self.count
            }

            /// Removes the permits from the semaphore permanently, instead of releasing them.
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

            /// Splits off `count` permits, to be released separately. Returns `None`, and changes nothing, if there are fewer.
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
