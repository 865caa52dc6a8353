//! Something that has happened, or not yet.
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Line, WaitQueue, wait_in, wake_all};
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget_of, worker};
use std::fmt;
use std::time::{Duration, Instant};

/// A flag that tasks and threads wait for. Setting it wakes everybody, and nobody waits while it is set.
///
/// ```
/// use cede::sync::Event;
/// use std::sync::Arc;
/// let ready = Arc::new(Event::new());
/// let setter = Arc::clone(&ready);
/// cede::run(|| {
///     cede::spawn(move || setter.set());
///     ready.wait()
/// })?;
/// assert!(ready.is_set());
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
#[derive(Default)]
pub struct Event {
    state: BiasedLock<State>,
}

#[derive(Default)]
struct State {
    set: bool,
    waiters: WaitQueue<()>,
}

struct Waiting;

impl Line for Waiting {
    type State = State;
    type Value = ();

    fn waiters(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.waiters
    }

    /// Nobody else is owed anything.
    fn regrant(_: &mut State, (): ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl Event {
    /// An event that has not happened.
    ///
    /// ```
    /// static STOP: cede::sync::Event = cede::sync::Event::new();
    /// assert!(!STOP.is_set());
    /// ```
    pub const fn new() -> Event {
        Event { state: BiasedLock::new(State { set: false, waiters: WaitQueue::new() }) }
    }

    /// It has happened: wakes everybody who waits, and nobody waits from now on.
    pub fn set(&self) {
        let mut state = self.state.lock();
        state.set = true;
        let wakers = state.waiters.close();
        drop(state);
        wake_all(wakers);
    }

    /// From now on it has not happened. Those who waited when it was set are woken all the same.
    ///
    /// ```
    /// let event = cede::sync::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        self.state.lock().set = false;
    }

    /// Whether it has happened.
    pub fn is_set(&self) -> bool {
        self.state.lock().set
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> Result<(), WaitTimeoutError> {
        let worker = worker();
        let mut state = self.state.lock_for(worker);
        if state.set {
            drop(state);
            consume_budget_of(worker);
            return Ok(());
        }
        let waiter = state.waiters.enqueue(());
        drop(state);
        outcome(wait_in::<Waiting>(
            &self.state,
            waiter,
            WaitSpec { reason: "an event", external: true, ..WaitSpec::DEFAULT },
            deadline,
        ))
    }

    /// Waits until it has happened.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled while it waits, and if it would have to wait while the thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn wait(&self) -> Result<(), Cancelled> {
        self.wait_until(None).map_err(WaitTimeoutError::without_deadline)
    }

    /// Waits until it has happened, but not beyond `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError`], which tells a deadline from a cancel.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// let event = cede::sync::Event::new();
    /// assert_eq!(event.wait_deadline(cede::time::now()), Err(cede::sync::WaitTimeoutError::Timeout));
    /// ```
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), WaitTimeoutError> {
        self.wait_until(Some(deadline))
    }

    /// As [`wait_deadline`](Self::wait_deadline), `timeout` from now; one that is too long to tell never comes.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait_deadline`](Self::wait_deadline).
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitTimeoutError> {
        self.wait_until(now().checked_add(timeout))
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish()
    }
}
