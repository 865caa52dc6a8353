//! A notification without a value: a wakeup that is stored as one permit while no waiter is there.
//!
//! `notify_one` grants to the first waiter, and a waiter that is unwound passes the notification on. `notify_waiters`
//! grants to all waiters, and a waiter that is unwound passes nothing on. It does not close the queue: a select that is
//! woken by a close tries again, and would find nothing. A number counts the calls of `notify_waiters`. A caller that reads
//! the number before it checks its own condition cannot miss such a call in between: see [`Notify::notified_while`].
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use super::select::Case;
use super::select::sealed::{Granted, Internal, Operation, Plan, Registration};
use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Line, WaitQueue, WaiterId, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::wake_list::wake_all;
use crate::wait::{
    Cancelled, WaitSpec, WakeHandle, Worker, consume_budget, consume_budget_of, is_budget_spent, worker,
    yield_for_budget,
};
use std::fmt;
use std::time::{Duration, Instant};

/// A notification between tasks and threads, without a value. The semantics are those of tokio's `Notify`.
///
/// [`notify_one`](Self::notify_one) wakes one waiter. If there is none, it stores a permit, and the next
/// [`notified`](Self::notified) returns at once. At most one permit is stored. [`notify_waiters`](Self::notify_waiters)
/// wakes all present waiters, and stores nothing. Waiters are notified in FIFO order.
///
/// Choose an [`Event`](super::Event) for a state that stays, a [`Semaphore`](super::Semaphore) to count permits, and a
/// [`Condvar`](super::Condvar) for a change of a value behind a mutex.
///
/// ```
/// use cede::sync::Notify;
/// use std::sync::Arc;
/// let notify = Arc::new(Notify::new());
/// let waiting = Arc::clone(&notify);
/// cede::run(|| {
///     let mut task = cede::spawn(move || waiting.notified());
///     notify.notify_one();
///     assert_eq!(task.join().unwrap(), Ok(()));
/// });
/// ```
#[derive(Default)]
#[doc(alias = "AutoResetEvent")]
pub struct Notify {
    state: BiasedLock<State>,
}

#[derive(Default)]
struct State {
    /// A notification that no waiter has consumed yet. The wait queue is empty then, except for waiters that a grant
    /// skips.
    permit: bool,
    /// The number of calls of `notify_waiters`.
    broadcasts: u64,
    /// The value of a waiter is the kind of its notification, when it has one.
    waiters: WaitQueue<Kind>,
}

/// The kind of a notification.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By `notify_one`: exactly one waiter consumes it.
    One,
    /// By `notify_waiters`.
    All,
}

/// The wait queue of a notification.
struct Waiting;

impl Line for Waiting {
    type State = State;
    type Value = Kind;

    fn waiters(state: &mut State) -> &mut WaitQueue<Kind> {
        &mut state.waiters
    }

    fn regrant(state: &mut State, kind: Kind) -> Vec<WakeHandle> {
        match kind {
            Kind::One => state.notify_one().into_iter().collect(),
            Kind::All => Vec::new(),
        }
    }
}

impl State {
    /// Grants to the first waiter, and returns its wake handle. Stores a permit if none waits.
    fn notify_one(&mut self) -> Option<WakeHandle> {
        match self.waiters.grant() {
            Some(waiter) => Some(self.waiters.waker(waiter)),
            None => {
                self.permit = true;
                None
            }
        }
    }
}

/// Notifies again when dropped: a notification whose task is unwound before it has returned.
struct PassOn<'a>(&'a Notify);

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Notify {
    /// Creates a notification without a permit.
    ///
    /// ```
    /// static CHANGED: cede::sync::Notify = cede::sync::Notify::new();
    /// CHANGED.notify_one();
    /// assert_eq!(CHANGED.notified(), Ok(()));
    /// ```
    pub const fn new() -> Notify {
        Notify { state: BiasedLock::new(State { permit: false, broadcasts: 0, waiters: WaitQueue::new() }) }
    }

    /// Wakes the waiter that has waited longest. If none waits, stores a permit for the next call of
    /// [`notified`](Self::notified). A permit that is stored already is not counted again.
    ///
    /// ```
    /// use cede::sync::{Notify, WaitTimeoutError};
    /// let notify = Notify::new();
    /// notify.notify_one();
    /// notify.notify_one();
    /// assert_eq!(notify.notified(), Ok(()));
    /// assert_eq!(notify.notified_deadline(cede::time::now()), Err(WaitTimeoutError::Timeout));
    /// ```
    pub fn notify_one(&self) {
        let mut wake_list = WakeList::default();
        if let Some(waker) = self.state.lock().notify_one() {
            wake_list.push(waker);
        }
    }

    /// Wakes all present waiters. Stores no permit: a later call of [`notified`](Self::notified) waits.
    ///
    /// ```
    /// use cede::sync::{Notify, WaitTimeoutError};
    /// let notify = Notify::new();
    /// notify.notify_waiters();
    /// assert_eq!(notify.notified_deadline(cede::time::now()), Err(WaitTimeoutError::Timeout));
    /// ```
    pub fn notify_waiters(&self) {
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        state.broadcasts += 1;
        while let Some(waiter) = state.waiters.grant() {
            *state.waiters.value(waiter) = Kind::All;
            wake_list.push(state.waiters.waker(waiter));
        }
    }

    /// Waits for a notification. `seen` is the number of broadcasts that the caller has seen: if there were more, the
    /// call does not wait.
    #[track_caller]
    fn wait_until(&self, seen: Option<u64>, deadline: Option<Instant>) -> Result<(), WaitTimeoutError> {
        let worker = worker();
        let mut state = self.state.lock_for(worker);
        if seen.is_some_and(|seen| seen != state.broadcasts) {
            drop(state);
            consume_budget_of(worker);
            return Ok(());
        }
        if std::mem::take(&mut state.permit) {
            drop(state);
            if is_budget_spent(worker) {
                self.give_way(worker);
            }
            return Ok(());
        }
        let waiter = state.waiters.enqueue(Kind::One);
        drop(state);
        let wait = WaitSpec { reason: "a notification", external: true, ..WaitSpec::DEFAULT };
        outcome(wait_in::<Waiting>(&self.state, waiter, wait, deadline)).map(drop)
    }

    /// Yields for the cooperative budget with a consumed permit.
    #[cold]
    fn give_way(&self, worker: Option<&Worker>) {
        let notification = PassOn(self);
        yield_for_budget(worker);
        std::mem::forget(notification);
    }

    /// Waits for a notification, and consumes it. Returns at once if a permit is stored.
    ///
    /// Cancel safety: a cancelled call consumes no notification. If the notification came before the cancel, the call
    /// returns `Ok`, and the task's next wait returns [`Cancelled`].
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before its wait ends, if a deadline or scope around this call ends the
    /// wait, or if the task would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn notified(&self) -> Result<(), Cancelled> {
        self.wait_until(None, None).map_err(WaitTimeoutError::without_deadline)
    }

    /// Like [`notified`](Self::notified), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if the deadline passes first, and [`WaitTimeoutError::Cancelled`] where
    /// [`notified`](Self::notified) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`notified`](Self::notified).
    #[track_caller]
    pub fn notified_deadline(&self, deadline: Instant) -> Result<(), WaitTimeoutError> {
        self.wait_until(None, Some(deadline))
    }

    /// Like [`notified_deadline`](Self::notified_deadline), with a deadline `timeout` from now. A `timeout` that is too
    /// long for an [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`notified_deadline`](Self::notified_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`notified`](Self::notified).
    #[track_caller]
    pub fn notified_timeout(&self, timeout: Duration) -> Result<(), WaitTimeoutError> {
        self.wait_until(None, now().checked_add(timeout))
    }

    /// Waits until `condition` returns false. Checks it first, and after each notification. A call of
    /// [`notify_waiters`](Self::notify_waiters) between the check and the wait is not lost: the condition is then
    /// checked again.
    ///
    /// In tokio, code gets the same by creating the `Notified` future before it checks its condition.
    ///
    /// Cancel safety: a cancelled call consumes at most the notifications after which `condition` returned true.
    ///
    /// # Errors
    ///
    /// The errors of [`notified`](Self::notified). None if `condition` returns false at the first check.
    ///
    /// # Panics
    ///
    /// The panics of [`notified`](Self::notified). Propagates a panic of `condition`.
    ///
    /// ```
    /// use cede::sync::Notify;
    /// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    /// let (count, changed) = (AtomicU32::new(0), Notify::new());
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         for _ in 0..3 {
    ///             count.fetch_add(1, SeqCst);
    ///             changed.notify_waiters();
    ///         }
    ///     });
    ///     cede::run(|| changed.notified_while(|| count.load(SeqCst) < 3))
    /// })?;
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    #[track_caller]
    pub fn notified_while(&self, condition: impl FnMut() -> bool) -> Result<(), Cancelled> {
        self.wait_while_until(None, condition).map_err(WaitTimeoutError::without_deadline)
    }

    /// Like [`notified_while`](Self::notified_while), but gives up at `deadline`, by the clock of
    /// [`time::now`](crate::time::now). The condition is checked once more after the deadline.
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if `condition` still returns true after the deadline, and
    /// [`WaitTimeoutError::Cancelled`] where [`notified`](Self::notified) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`notified_while`](Self::notified_while).
    #[track_caller]
    pub fn notified_deadline_while(
        &self,
        deadline: Instant,
        condition: impl FnMut() -> bool,
    ) -> Result<(), WaitTimeoutError> {
        self.wait_while_until(Some(deadline), condition)
    }

    /// Like [`notified_deadline_while`](Self::notified_deadline_while), with a deadline `timeout` from now. A `timeout`
    /// that is too long for an [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`notified_deadline_while`](Self::notified_deadline_while).
    ///
    /// # Panics
    ///
    /// The panics of [`notified_while`](Self::notified_while).
    #[track_caller]
    pub fn notified_timeout_while(
        &self,
        timeout: Duration,
        condition: impl FnMut() -> bool,
    ) -> Result<(), WaitTimeoutError> {
        self.wait_while_until(now().checked_add(timeout), condition)
    }

    #[track_caller]
    fn wait_while_until(
        &self,
        deadline: Option<Instant>,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(), WaitTimeoutError> {
        let (mut has_waited, mut is_late) = (false, false);
        loop {
            // Read before the check: a broadcast after it ends the wait.
            let seen = self.state.lock().broadcasts;
            if !condition() {
                break;
            }
            if is_late {
                return Err(WaitTimeoutError::Timeout);
            }
            match self.wait_until(Some(seen), deadline) {
                Err(WaitTimeoutError::Timeout) => is_late = true,
                outcome => outcome?,
            }
            has_waited = true;
        }
        if !has_waited {
            consume_budget();
        }
        Ok(())
    }
}

/// The wait for a notification as a case of a [`Select`](super::Select). Returned by [`Notify::case`].
pub struct NotifyCase<'a> {
    notify: &'a Notify,
    waiter: Option<WaiterId>,
}

impl Notify {
    /// Returns a case of a [`Select`](super::Select) that waits for a notification, and consumes it if it is chosen. In
    /// [`select!`](crate::select), `notified(notify)` is the same.
    ///
    /// Cancel safety: a cancelled select, and one that chooses another case, consumes no notification.
    ///
    /// ```
    /// let notify = cede::sync::Notify::new();
    /// notify.notify_one();
    /// assert_eq!(cede::select! { notified(notify) => "notified", default => "not" }, Ok("notified"));
    /// assert_eq!(cede::select! { notified(notify) => "notified", default => "not" }, Ok("not"));
    /// ```
    pub fn case(&self) -> NotifyCase<'_> {
        NotifyCase { notify: self, waiter: None }
    }
}

impl NotifyCase<'_> {
    /// Does nothing. Every case has this method; a notification has no result.
    pub fn take(&mut self) {}
}

impl Case for NotifyCase<'_> {}

impl Operation for NotifyCase<'_> {
    fn try_complete(&mut self, _: Internal) -> bool {
        std::mem::take(&mut self.notify.state.lock().permit)
    }

    fn enqueue(&mut self, registration: Registration, plan: &mut Plan, _: Internal) -> bool {
        plan.external = true;
        let mut state = self.notify.state.lock();
        if state.permit {
            return false;
        }
        let select = (registration.select_state, registration.index);
        self.waiter = Some(state.waiters.enqueue_select(Kind::One, &plan.waker, select));
        true
    }

    fn is_ready(&self, _: Registration, _: Internal) -> bool {
        self.notify.state.lock().permit
    }

    fn leave(&mut self, granted: Granted, _: Internal) {
        let Some(waiter) = self.waiter.take() else { return };
        let mut state = self.notify.state.lock();
        let (kind, is_granted) = state.waiters.remove(waiter);
        if is_granted && granted == Granted::PassOn {
            // The select is unwound, and cannot return.
            let wakers = Waiting::regrant(&mut state, kind);
            drop(state);
            wake_all(wakers);
        }
    }
}

impl fmt::Debug for NotifyCase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifyCase").finish_non_exhaustive()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").field("permit", &self.state.lock().permit).finish_non_exhaustive()
    }
}
