//! Promises: a value that one side will set, once, and any number of others wait for.
#![forbid(unsafe_code)]

use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, SelectState, WaitQueue, WaiterId, wait_in, wake_all};
use crate::wait::{Held, WaitSpec, WakeHandle, consume_budget_of, worker};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The side that sets the value. Dropping it unset tells everybody who waits that they wait in vain.
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

/// The side that waits for the value of a [`Promise`]. Clones wait for the same one.
pub struct Completion<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    /// Set before those who wait are told.
    outcome: OnceLock<Result<T, PromiseError>>,
    state: BiasedLock<State>,
}

struct State {
    waiting: WaitQueue<()>,
    callbacks: Vec<Held>,
}

/// The line of those who wait.
enum Waiting {}

impl Line for Waiting {
    type State = State;
    type Value = ();

    fn waiters(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.waiting
    }

    fn regrant(_: &mut State, _: ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

/// Why a promise gave no value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromiseError {
    /// It failed, with this error.
    #[error("the promise failed: {0}")]
    Failed(#[source] Arc<dyn Error + Send + Sync>),
    /// It was dropped unset: nobody will ever set it.
    #[error("the promise was dropped before it was set")]
    Dropped,
    /// It was not set in time.
    #[error("the promise was not set before the deadline")]
    Timeout,
    /// The task that waits was cancelled, or could not wait because the thread panics.
    #[error("cannot wait for the promise: the task was cancelled")]
    Cancelled,
}

/// A promise was set before. Gives back what could not be set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the promise was set before: it can be set once")]
pub struct AlreadySet<T>(pub T);

impl<T> fmt::Debug for AlreadySet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AlreadySet(..)")
    }
}

/// Names a callback of a [`Completion`], so that it can be removed.
#[derive(Clone, Copy)]
pub struct CompletionCallback(Held);

impl fmt::Debug for CompletionCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionCallback").finish_non_exhaustive()
    }
}

impl<T> Promise<T> {
    /// A promise that nobody has set.
    pub fn new() -> Promise<T> {
        let state = State { waiting: WaitQueue::new(), callbacks: Vec::new() };
        Promise { shared: Arc::new(Shared { outcome: OnceLock::new(), state: BiasedLock::new(state) }) }
    }

    /// A side that waits for it.
    pub fn completion(&self) -> Completion<T> {
        Completion { shared: Arc::clone(&self.shared) }
    }

    /// Sets the value, and wakes everybody who waits for it, in the order in which they came.
    ///
    /// # Errors
    ///
    /// [`AlreadySet`] with the value, if the promise was set or failed before.
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
        unset.map_or_else(|_| unreachable!("a value was given"), |value| Err(AlreadySet(value)))
    }

    /// Sets an error instead of a value.
    ///
    /// # Errors
    ///
    /// [`AlreadySet`] with the error, if the promise was set or failed before.
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

    /// Whether it was set or has failed.
    pub fn is_set(&self) -> bool {
        self.shared.outcome.get().is_some()
    }
}

impl<T> Shared<T> {
    fn complete(&self, outcome: Result<T, PromiseError>) -> Result<(), Result<T, PromiseError>> {
        self.outcome.set(outcome)?;
        let mut state = self.state.lock();
        let wakers = state.waiting.close();
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        wake_all(wakers);
        callbacks.into_iter().for_each(Held::release);
        Ok(())
    }

    fn outcome(&self) -> Option<Result<&T, PromiseError>> {
        self.outcome.get().map(|outcome| outcome.as_ref().map_err(Clone::clone))
    }

    #[track_caller]
    fn wait(&self, deadline: Option<Instant>) -> Result<&T, PromiseError> {
        let worker = worker();
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
        self.outcome().expect("those who wait are told when it is set")
    }
}

impl<T> Completion<T> {
    /// Waits until the promise is set, and returns its value. Any number may wait, and any number of times.
    ///
    /// # Errors
    ///
    /// [`PromiseError::Failed`], [`PromiseError::Dropped`], [`PromiseError::Cancelled`].
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

    /// As [`wait`](Self::wait), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`PromiseError::Timeout`].
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<&T, PromiseError> {
        self.shared.wait(now().checked_add(timeout))
    }

    /// As [`wait`](Self::wait), but no longer than until `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// Also [`PromiseError::Timeout`].
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<&T, PromiseError> {
        self.shared.wait(Some(deadline))
    }

    /// Stands in line for a select; none if there is no need to wait.
    pub(super) fn enqueue(&self, select_state: &'static SelectState, index: usize) -> Option<WaiterId> {
        let mut state = self.shared.state.lock();
        let is_set = self.shared.outcome.get().is_some();
        (!is_set).then(|| state.waiting.enqueue_select((), select_state, index))
    }

    /// Gives that place up.
    pub(super) fn remove(&self, waiter: WaiterId) {
        self.shared.state.lock().waiting.remove(waiter);
    }

    /// What it came to, if it has; waits for nothing.
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
    /// Calls `f` once the promise is set, has failed or was dropped: never at once, but in a turn of the scheduler's own, of
    /// the run that this is called in, in the order in which callbacks were added, also if it was set before. A callback that
    /// panics keeps no other from running. If the run ends first `f` is dropped.
    ///
    /// `f` may spawn tasks and wake them; it may not wait.
    ///
    /// # Panics
    ///
    /// Outside of a run.
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
        let held = worker.hold(Box::new(move || f(shared.outcome().expect("it is called when it is set"))));
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

    /// Removes a callback, from any thread. Returns whether that kept it from being called. False means that it has been
    /// called or will be, because the promise was set before; that it was removed before; or that its run has ended, and it
    /// with it.
    ///
    /// What the callback owns is dropped at once if this is called in the callback's own run, and otherwise by that run's
    /// scheduler.
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
            // Whoever sets the promise does not find it any more.
            Some(_) => callback.0.discard(),
            // Released, but perhaps by a thread whose remote wake the callback's own worker has not read yet.
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
        // If it was set, that stays.
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
