//! Waiting until somebody who holds the same mutex says that something has changed.
#![forbid(unsafe_code)]

use super::mutex::MutexGuard;
use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, WaitQueue, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget, worker};
use std::fmt;
use std::thread::panicking;
use std::time::{Duration, Instant};

/// A condition that tasks and threads wait for, holding a [`Mutex`](super::Mutex): waiting gives it up, and has it again before it
/// returns, also when it was cancelled.
///
/// Those who wait are woken in the order in which they came. Nobody is woken without a reason.
///
/// ```
/// use cede::sync::{Condvar, Mutex};
/// let (letters, arrived) = (Mutex::new(Vec::new()), Condvar::new());
/// let (letters, arrived) = (&letters, &arrived);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         letters.lock().unwrap().push("hello");
///         arrived.notify_one();
///     });
///     cede::run(|| {
///         let mut letters = arrived.wait_while(letters.lock()?, |letters| letters.is_empty())?;
///         assert_eq!(letters.pop(), Some("hello"));
///         Ok::<(), cede::task::Cancelled>(())
///     })
/// })?;
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
#[derive(Default)]
pub struct Condvar {
    waiters: BiasedLock<WaitQueue<()>>,
}

struct Sleepers;

impl Line for Sleepers {
    type State = WaitQueue<()>;
    type Value = ();

    fn waiters(state: &mut WaitQueue<()>) -> &mut WaitQueue<()> {
        state
    }

    fn regrant(state: &mut WaitQueue<()>, (): ()) -> Vec<WakeHandle> {
        let next = state.grant().map(|waiter| state.waker(waiter));
        next.into_iter().collect()
    }
}

/// Whether a wait ended by its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the deadline came first.
    ///
    /// ```
    /// # use cede::sync::{Condvar, Mutex};
    /// # let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    /// let (guard, result) = condvar.wait_deadline(mutex.lock()?, cede::time::now())?;
    /// assert!(result.timed_out());
    /// # drop(guard);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// A wait for a condition was cancelled. `?` makes it a [`Cancelled`], and gives the mutex up.
#[derive(thiserror::Error)]
#[error("the wait for the condition was cancelled")]
pub struct WaitCancelled<'a, T: ?Sized> {
    guard: Option<MutexGuard<'a, T>>,
}

impl<'a, T: ?Sized> WaitCancelled<'a, T> {
    /// The guard, for cleaning up: whoever was cancelled holds the mutex again. `None` if it could not be had, because the run
    /// is deadlocked.
    ///
    /// ```
    /// use cede::sync::{Condvar, Mutex};
    /// use std::sync::Arc;
    /// cede::run(|| {
    ///     let shared = Arc::new((Mutex::new(1), Condvar::new()));
    ///     let inner = Arc::clone(&shared);
    ///     let mut task = cede::spawn(move || {
    ///         let cancelled = inner.1.wait(inner.0.lock().unwrap()).unwrap_err();
    ///         *cancelled.into_guard().unwrap() = 0;
    ///     });
    ///     cede::yield_now();
    ///     task.cancel();
    ///     task.join().unwrap();
    ///     assert_eq!(*shared.0.lock().unwrap(), 0);
    /// });
    /// ```
    pub fn into_guard(self) -> Option<MutexGuard<'a, T>> {
        self.guard
    }
}

impl<T: ?Sized> From<WaitCancelled<'_, T>> for Cancelled {
    fn from(_: WaitCancelled<'_, T>) -> Cancelled {
        Cancelled
    }
}

impl<T: ?Sized> fmt::Debug for WaitCancelled<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitCancelled").field("locked", &self.guard.is_some()).finish()
    }
}

/// What waiting with a deadline returns.
type Waited<'a, T> = Result<(MutexGuard<'a, T>, WaitTimeoutResult), WaitCancelled<'a, T>>;

impl Condvar {
    /// A condition that nobody waits for.
    ///
    /// ```
    /// static CHANGED: cede::sync::Condvar = cede::sync::Condvar::new();
    /// CHANGED.notify_all();
    /// ```
    pub const fn new() -> Condvar {
        Condvar { waiters: BiasedLock::new(WaitQueue::new()) }
    }

    #[track_caller]
    fn wait_until<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>, deadline: Option<Instant>) -> Waited<'a, T> {
        // Nothing waits then, so nothing is given up.
        if panicking() && worker().is_some() {
            return Err(WaitCancelled { guard: Some(guard) });
        }
        let mutex = guard.mutex;
        let waiter = self.waiters.lock().enqueue(());
        drop(guard);
        let wait = WaitSpec { reason: "a condition", external: true, ..WaitSpec::DEFAULT };
        let ended = wait_in::<Sleepers>(&self.waiters, waiter, wait, deadline);
        let guard = mutex.turn.take_again().then(|| mutex.guard());
        match (ended, guard) {
            (Ended::Granted(()) | Ended::Closed(()), Some(guard)) => Ok((guard, WaitTimeoutResult(false))),
            (Ended::TimedOut(()), Some(guard)) => Ok((guard, WaitTimeoutResult(true))),
            (_, guard) => Err(WaitCancelled { guard }),
        }
    }

    /// Gives the mutex up, waits to be notified, and has the mutex again.
    ///
    /// # Errors
    ///
    /// [`WaitCancelled`], with the guard, if the task is cancelled meanwhile, and at once while the thread panics inside a run.
    ///
    /// # Panics
    ///
    /// In a callback and inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// use cede::sync::{Condvar, Mutex};
    /// use std::sync::Arc;
    /// cede::run(|| {
    ///     let shared = Arc::new((Mutex::new(0), Condvar::new()));
    ///     let inner = Arc::clone(&shared);
    ///     let mut task = cede::spawn(move || {
    ///         let number = inner.1.wait(inner.0.lock()?)?;
    ///         Ok::<u32, cede::task::Cancelled>(*number)
    ///     });
    ///     cede::yield_now();
    ///     *shared.0.lock()? = 7;
    ///     shared.1.notify_one();
    ///     assert_eq!(task.join().unwrap(), Ok(7));
    ///     Ok::<(), cede::task::Cancelled>(())
    /// });
    /// ```
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> Result<MutexGuard<'a, T>, WaitCancelled<'a, T>> {
        self.wait_until(guard, None).map(|(guard, _)| guard)
    }

    /// Waits while `condition` holds, which is looked at with the mutex held.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>, WaitCancelled<'a, T>> {
        self.wait_while_until(guard, None, condition).map(|(guard, _)| guard)
    }

    /// As [`wait`](Self::wait), but not beyond `deadline`, by the clock of [`time::now`](crate::time::now). Having the mutex again
    /// may take longer.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use cede::sync::{Condvar, Mutex};
    /// let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    /// let (guard, result) = condvar.wait_deadline(mutex.lock()?, cede::time::now())?;
    /// assert!(result.timed_out() && mutex.is_locked());
    /// # drop(guard);
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[track_caller]
    pub fn wait_deadline<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>, deadline: Instant) -> Waited<'a, T> {
        self.wait_until(guard, Some(deadline))
    }

    /// As [`wait_deadline`](Self::wait_deadline), `timeout` from now; one that is too long to tell never comes.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> Waited<'a, T> {
        self.wait_until(guard, now().checked_add(timeout))
    }

    /// As [`wait_while`](Self::wait_while), but not beyond `deadline`. It has timed out if `condition` still holds then.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use cede::sync::{Condvar, Mutex};
    /// let (mutex, condvar) = (Mutex::new(3), Condvar::new());
    /// let (_, result) = condvar.wait_deadline_while(mutex.lock()?, cede::time::now(), |n| *n > 3)?;
    /// assert!(!result.timed_out(), "there was nothing to wait for");
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[track_caller]
    pub fn wait_deadline_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        self.wait_while_until(guard, Some(deadline), condition)
    }

    /// As [`wait_deadline_while`](Self::wait_deadline_while), `timeout` from now; one that is too long to tell never comes.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        self.wait_while_until(guard, now().checked_add(timeout), condition)
    }

    #[track_caller]
    fn wait_while_until<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        let (mut waited, mut late) = (false, false);
        while condition(&mut guard) {
            if late {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let (again, result) = self.wait_until(guard, deadline)?;
            (guard, waited, late) = (again, true, result.timed_out());
        }
        if !waited {
            consume_budget();
        }
        Ok((guard, WaitTimeoutResult(false)))
    }

    /// Wakes the one who waits longest. Returns whether there was one.
    ///
    /// ```
    /// assert!(!cede::sync::Condvar::new().notify_one());
    /// ```
    pub fn notify_one(&self) -> bool {
        self.notify(1) == 1
    }

    /// Wakes the `count` who wait longest. Returns how many there were.
    pub fn notify(&self, count: usize) -> usize {
        let mut wake_list = WakeList::default();
        let mut waiters = self.waiters.lock();
        for notified in 0..count {
            match waiters.grant() {
                Some(waiter) => wake_list.push(waiters.waker(waiter)),
                None => return notified,
            }
        }
        count
    }

    /// Wakes everybody who waits. Returns how many there were.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
