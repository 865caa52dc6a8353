//! Promises: a value that is set once, and that any number of tasks and threads wait for.
#![forbid(unsafe_code)]

use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, SelectState, WaitQueue, WaiterId, wait_in};
use crate::wait::wake_list::{each, wake_all};
use crate::wait::{Held, WaitSpec, WakeHandle, consume_budget_of, worker};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The setting half: sets the value, once. If it is dropped unset, all waiters return [`PromiseError::Dropped`].
///
/// ```
/// use cede::sync::Promise;
/// cede::run(|| {
///     let promise = Promise::new();
///     let completion = promise.completion();
///     let mut waiting = cede::spawn(move || *completion.wait().unwrap());
///     cede::yield_now();
///     promise.set(42).unwrap();
///     assert_eq!(waiting.join().unwrap(), 42);
/// });
/// ```
#[doc(alias = "oneshot")]
#[doc(alias = "once")]
#[doc(alias = "Future")]
pub struct Promise<T> {
    shared: Arc<Shared<T>>,
}

/// The waiting half of a [`Promise`]. Clones wait for the same value.
pub struct Completion<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    /// The value or the error. Set before the wait queue is closed, so a woken waiter always finds it.
    outcome: OnceLock<Result<T, PromiseError>>,
    state: BiasedLock<State>,
}

struct State {
    /// The wait queue. Closed, and not granted to, when the outcome is set.
    waiting: WaitQueue<()>,
    /// The callbacks to release when the outcome is set.
    callbacks: Vec<Held>,
}

/// The wait queue of a promise.
enum Waiting {}

impl Line for Waiting {
    type State = State;
    type Value = ();

    fn waiters(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.waiting
    }

    /// Does nothing: a promise never grants a value to one waiter.
    fn regrant(_: &mut State, _: ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

/// The error of a promise without a value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromiseError {
    /// [`Promise::fail`] was called with this error.
    #[error("the promise failed: {0}")]
    Failed(#[source] Arc<dyn Error + Send + Sync>),
    /// The [`Promise`] was dropped unset, so it will never have a value.
    #[error("the promise was dropped before it was set")]
    Dropped,
    /// The deadline passed before the promise was set.
    #[error("the promise was not set before the deadline")]
    Timeout,
    /// The task was cancelled before its wait ended, or would have to wait while its thread panics.
    #[error("the wait for the promise was cancelled")]
    Cancelled,
}

/// The error of [`Promise::set`] and [`Promise::fail`]: the promise was already set. Holds the value or error that was
/// not set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the promise was already set: it can be set only once")]
pub struct AlreadySet<T>(pub T);

impl<T> fmt::Debug for AlreadySet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AlreadySet(..)")
    }
}

/// A handle to a callback of a [`Completion`], for [`Completion::remove_done`].
#[derive(Clone, Copy)]
pub struct CompletionCallback(Held);

impl fmt::Debug for CompletionCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionCallback").finish_non_exhaustive()
    }
}

impl<T> Promise<T> {
    /// Creates a promise that is not set.
    pub fn new() -> Promise<T> {
        let state = State { waiting: WaitQueue::new(), callbacks: Vec::new() };
        Promise { shared: Arc::new(Shared { outcome: OnceLock::new(), state: BiasedLock::new(state) }) }
    }

    /// Returns a new waiting half.
    pub fn completion(&self) -> Completion<T> {
        Completion { shared: Arc::clone(&self.shared) }
    }

    /// Sets the value, and wakes all waiters in arrival order.
    ///
    /// # Errors
    ///
    /// [`AlreadySet`] with the value, if the promise was set or has failed before.
    ///
    /// ```
    /// use cede::sync::promise::{AlreadySet, Promise};
    /// let promise = Promise::new();
    /// assert_eq!(promise.set(1), Ok(()));
    /// assert_eq!(promise.set(2), Err(AlreadySet(2)));
    /// assert_eq!(promise.completion().wait().unwrap(), &1);
    /// ```
    pub fn set(&self, value: T) -> Result<(), AlreadySet<T>> {
        let Err(unset) = self.shared.complete(Ok(value)) else { return Ok(()) };
        unset.map_or_else(|_| unreachable!("the outcome that was not set is the value"), |value| Err(AlreadySet(value)))
    }

    /// Sets an error instead of a value, and wakes all waiters in arrival order. Their waits return
    /// [`PromiseError::Failed`].
    ///
    /// # Errors
    ///
    /// [`AlreadySet`] with the error, if the promise was set or has failed before.
    ///
    /// ```
    /// use cede::sync::Promise;
    /// let promise = Promise::<i32>::new();
    /// promise.fail("no answer").unwrap();
    /// assert_eq!(promise.completion().wait().unwrap_err().to_string(), "the promise failed: no answer");
    /// ```
    pub fn fail(
        &self,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Result<(), AlreadySet<Arc<dyn Error + Send + Sync>>> {
        let error: Arc<dyn Error + Send + Sync> = error.into().into();
        self.shared.complete(Err(PromiseError::Failed(Arc::clone(&error)))).map_err(|_| AlreadySet(error))
    }

    /// Returns whether the promise was set or has failed.
    pub fn is_set(&self) -> bool {
        self.shared.outcome.get().is_some()
    }
}

/// Callbacks that are released when the list is dropped.
struct Callbacks(Vec<Held>);

impl Drop for Callbacks {
    fn drop(&mut self) {
        each(self.0.drain(..), Held::release);
    }
}

impl<T> Shared<T> {
    /// Sets the outcome, wakes all waiters and releases the callbacks. Returns `outcome` if one was set before.
    fn complete(&self, outcome: Result<T, PromiseError>) -> Result<(), Result<T, PromiseError>> {
        self.outcome.set(outcome)?;
        let mut state = self.state.lock();
        let wakers = state.waiting.close();
        // Released at the end of the call, even if a waker panics.
        let _callbacks = Callbacks(std::mem::take(&mut state.callbacks));
        drop(state);
        wake_all(wakers);
        Ok(())
    }

    fn outcome(&self) -> Option<Result<&T, PromiseError>> {
        self.outcome.get().map(|outcome| outcome.as_ref().map_err(Clone::clone))
    }

    #[track_caller]
    fn wait(&self, deadline: Option<Instant>) -> Result<&T, PromiseError> {
        let worker = worker();
        // The check and the enqueue are under one hold of the lock, and `complete` closes the queue after it has set
        // the outcome: no wakeup is lost.
        let mut state = self.state.lock_for(worker);
        if self.outcome.get().is_none() {
            let waiter = state.waiting.enqueue(());
            drop(state);
            let wait = WaitSpec { reason: "a promise", external: true, ..WaitSpec::DEFAULT };
            match wait_in::<Waiting>(&self.state, waiter, wait, deadline) {
                Ended::Granted(()) | Ended::Closed(()) => {}
                Ended::TimedOut(()) => return Err(PromiseError::Timeout),
                Ended::Cancelled(()) => return Err(PromiseError::Cancelled),
            }
        } else {
            drop(state);
            consume_budget_of(worker);
        }
        self.outcome().expect("the wait queue is closed after the outcome is set")
    }
}

impl<T> Completion<T> {
    /// Waits until the promise is set, and returns its value. Any number of tasks and threads may wait, each any number
    /// of times.
    ///
    /// Cancel safety: a cancelled `wait` has no effect on the promise.
    ///
    /// # Errors
    ///
    /// [`PromiseError::Failed`] if the promise has failed; [`PromiseError::Dropped`] if it was dropped unset;
    /// [`PromiseError::Cancelled`] if the task is cancelled before its wait ends, or would have to wait while its
    /// thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// use cede::sync::promise::{Promise, PromiseError};
    /// let promise = Promise::<i32>::new();
    /// let completion = promise.completion();
    /// drop(promise);
    /// assert!(matches!(completion.wait(), Err(PromiseError::Dropped)));
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<&T, PromiseError> {
        self.shared.wait(None)
    }

    /// Like [`wait`](Self::wait), but gives up after `timeout`. A timeout too long to be represented never expires.
    ///
    /// Cancel safety: a cancelled wait has no effect on the promise.
    ///
    /// # Errors
    ///
    /// [`PromiseError::Timeout`] after `timeout`, and otherwise the errors of [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// Where [`wait`](Self::wait) panics.
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<&T, PromiseError> {
        self.shared.wait(now().checked_add(timeout))
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// Cancel safety: a cancelled wait has no effect on the promise.
    ///
    /// # Errors
    ///
    /// [`PromiseError::Timeout`] at `deadline`, and otherwise the errors of [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// Where [`wait`](Self::wait) panics.
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<&T, PromiseError> {
        self.shared.wait(Some(deadline))
    }

    /// Enqueues a waiter of a select. Returns `None` if the promise is set: then the case is ready.
    pub(super) fn enqueue(&self, waker: &WakeHandle, select: (&'static SelectState, usize)) -> Option<WaiterId> {
        let mut state = self.shared.state.lock();
        let is_set = self.shared.outcome.get().is_some();
        (!is_set).then(|| state.waiting.enqueue_select((), waker, select))
    }

    /// Removes a waiter of a select.
    pub(super) fn remove(&self, waiter: WaiterId) {
        self.shared.state.lock().waiting.remove(waiter);
    }

    /// Returns the value or the error without waiting: `None` if the promise was not yet set, failed or dropped.
    ///
    /// ```
    /// use cede::sync::Promise;
    /// let promise = Promise::new();
    /// assert!(promise.completion().get().is_none());
    /// promise.set(1).unwrap();
    /// assert_eq!(promise.completion().get().unwrap().unwrap(), &1);
    /// ```
    pub fn get(&self) -> Option<Result<&T, PromiseError>> {
        self.shared.outcome()
    }
}

impl<T: 'static> Completion<T> {
    /// Adds a callback: `f` is called after the promise was set, has failed or was dropped.
    ///
    /// The event loop of the current run calls `f`. `on_done` itself never does, even if the promise is already set.
    /// Callbacks are called in the order in which they were added. A panic in a callback does not affect the rest. If
    /// the run ends first, `f` is dropped without being called.
    ///
    /// `f` may spawn and wake tasks, but must not wait.
    ///
    /// # Panics
    ///
    /// If called outside of a run.
    ///
    /// ```
    /// use cede::sync::Promise;
    /// cede::run(|| {
    ///     let promise = Promise::new();
    ///     promise.completion().on_done(|outcome| println!("{outcome:?}"));
    ///     promise.set("done").unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn on_done(&self, f: impl FnOnce(Result<&T, PromiseError>) + 'static) -> CompletionCallback {
        let Some(worker) = worker() else {
            panic!("cannot add a callback outside of a run: there is no scheduler to call it")
        };
        let shared = Arc::clone(&self.shared);
        let held = worker.hold(Box::new(move || f(shared.outcome().expect("the outcome is set before the release"))));
        let mut state = self.shared.state.lock();
        let is_set = self.shared.outcome.get().is_some();
        if !is_set {
            state.callbacks.push(held);
        }
        drop(state);
        if is_set {
            held.release();
        }
        CompletionCallback(held)
    }

    /// Removes a callback, from any thread. Returns whether the removal prevents the call.
    ///
    /// Returns `false` if the callback was called or will be, because the promise was set before; if it was removed
    /// before; and if its run has ended, which dropped it.
    ///
    /// In the callback's own run the callback is dropped at once. Otherwise the event loop of that run drops it.
    ///
    /// ```
    /// use cede::sync::Promise;
    /// cede::run(|| {
    ///     let promise = Promise::<i32>::new();
    ///     let completion = promise.completion();
    ///     let callback = completion.on_done(|_| unreachable!("removed"));
    ///     assert!(completion.remove_done(callback));
    ///     assert!(!completion.remove_done(callback));
    /// });
    /// ```
    pub fn remove_done(&self, callback: CompletionCallback) -> bool {
        let mut state = self.shared.state.lock();
        let waiter = state.callbacks.iter().position(|held| *held == callback.0);
        if let Some(waiter) = waiter {
            state.callbacks.remove(waiter);
        }
        drop(state);
        match waiter {
            // A later `set` does not find the callback any more.
            Some(_) => callback.0.discard(),
            // Released, but the release may come from another thread, and the callback's worker may not have read it
            // yet.
            None => callback.0.remove(),
        }
    }
}

impl<T> Default for Promise<T> {
    fn default() -> Promise<T> {
        Promise::new()
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        // Without effect if the promise was set.
        let _ = self.shared.complete(Err(PromiseError::Dropped));
    }
}

impl<T> Clone for Completion<T> {
    fn clone(&self) -> Completion<T> {
        Completion { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("set", &self.is_set()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").field("set", &self.shared.outcome.get().is_some()).finish_non_exhaustive()
    }
}
