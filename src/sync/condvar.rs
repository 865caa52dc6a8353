//! A condition variable without spurious wakeups: FIFO notification, used with the fair mutex.
//!
//! A wait ends only by a notification, its deadline or a cancel: `wait_in` absorbs all other (spurious) wakeups. A task that
//! was notified and is unwound before it returns passes the notification on to the next waiter.
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

/// A condition variable: tasks and plain threads wait for a notification that the value of a [`Mutex`](super::Mutex) has
/// changed.
///
/// A wait releases the mutex, and reacquires it before returning, even when cancelled (with one exception:
/// [`WaitCancelled::into_guard`]). Waiters are notified in FIFO order. There are no spurious wakeups. However, another
/// task may lock the mutex between the notification and the return of the wait, and change the value again:
/// [`wait_while`](Self::wait_while) rechecks the condition.
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

/// The wait queue of a condition variable.
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

/// The result of a wait with a deadline: whether the deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns whether the wait ended because its deadline passed.
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

/// The error of a cancelled wait for a condition: holds the guard of the reacquired mutex. The operator `?` converts it to
/// [`Cancelled`] and releases the mutex.
#[derive(thiserror::Error)]
#[error("the wait for the condition was cancelled")]
pub struct WaitCancelled<'a, T: ?Sized> {
    guard: Option<MutexGuard<'a, T>>,
}

impl<'a, T: ?Sized> WaitCancelled<'a, T> {
    /// Returns the guard of the reacquired mutex, for clean-up. `None` if a deadlock of the run or the end of the grace
    /// period ended the wait for the mutex itself.
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

/// The result of a wait that has a deadline.
type Waited<'a, T> = Result<(MutexGuard<'a, T>, WaitTimeoutResult), WaitCancelled<'a, T>>;

impl Condvar {
    /// Creates a condition variable without waiters.
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
        // No task may suspend while its thread panics, so the mutex stays locked.
        if panicking() && worker().is_some() {
            return Err(WaitCancelled { guard: Some(guard) });
        }
        let mutex = guard.mutex;
        let waiter = self.waiters.lock().enqueue(());
        drop(guard);
        let wait = WaitSpec { reason: "a condition", external: true, ..WaitSpec::DEFAULT };
        let ended = wait_in::<Sleepers>(&self.waiters, waiter, wait, deadline);
        let guard = mutex.raw.take_again().then(|| mutex.guard());
        match (ended, guard) {
            (Ended::Granted(()) | Ended::Closed(()), Some(guard)) => Ok((guard, WaitTimeoutResult(false))),
            (Ended::TimedOut(()), Some(guard)) => Ok((guard, WaitTimeoutResult(true))),
            (_, guard) => Err(WaitCancelled { guard }),
        }
    }

    /// Releases the mutex, waits for a notification, and reacquires the mutex. A notification that is sent after the mutex was
    /// released is not lost. Waiters are notified in FIFO order.
    ///
    /// Cancel safety: a cancelled call consumes no notification. If the notification came before the cancel, the call returns
    /// the guard, and the task's next wait returns `Cancelled`. A cancel does not end the wait for the mutex.
    ///
    /// # Errors
    ///
    /// [`WaitCancelled`], with the guard, if the task is cancelled before or during the wait for the notification, or
    /// if a deadline or scope around this call ends the wait. While the thread of a run panics, the call returns this
    /// error at once, without releasing the mutex.
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

    /// Waits until `condition` returns false. Checks it first, and after each notification, with the mutex held.
    ///
    /// Fairness and cancel safety are those of [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The errors of [`wait`](Self::wait). None if `condition` returns false at the first check.
    ///
    /// # Panics
    ///
    /// The panics of [`wait`](Self::wait), if the call has to wait.
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>, WaitCancelled<'a, T>> {
        self.wait_while_until(guard, None, condition).map(|(guard, _)| guard)
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now). Reacquiring the
    /// mutex may take longer.
    ///
    /// # Errors
    ///
    /// The errors of [`wait`](Self::wait). A deadline that passes is no error: see [`WaitTimeoutResult`].
    ///
    /// # Panics
    ///
    /// The panics of [`wait`](Self::wait).
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

    /// Like [`wait_deadline`](Self::wait_deadline), with a deadline `timeout` from now. A `timeout` that is too long for an
    /// [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// The panics of [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> Waited<'a, T> {
        self.wait_until(guard, now().checked_add(timeout))
    }

    /// Like [`wait_while`](Self::wait_while), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now). The
    /// result is timed out only if `condition` still returns true after the deadline.
    ///
    /// # Errors
    ///
    /// The errors of [`wait_while`](Self::wait_while).
    ///
    /// # Panics
    ///
    /// The panics of [`wait_while`](Self::wait_while).
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

    /// Like [`wait_deadline_while`](Self::wait_deadline_while), with a deadline `timeout` from now. A `timeout` that is too long
    /// for an [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`wait_while`](Self::wait_while).
    ///
    /// # Panics
    ///
    /// The panics of [`wait_while`](Self::wait_while).
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

    /// Wakes the waiter that has waited longest. Returns whether there was one.
    ///
    /// ```
    /// assert!(!cede::sync::Condvar::new().notify_one());
    /// ```
    pub fn notify_one(&self) -> bool {
        self.notify(1) == 1
    }

    /// Wakes the `count` waiters that have waited longest, or all if there are fewer. Returns the number of woken waiters.
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

    /// Wakes all waiters. Returns their number.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
