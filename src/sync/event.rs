//! An event: a flag that tasks and threads wait for.
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Line, WaitQueue, wait_in};
use crate::wait::wake_list::wake_all;
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget_of, worker};
use std::fmt;
use std::time::{Duration, Instant};

/// A flag that tasks and threads wait for (a manual-reset event). Setting it wakes all waiters, and no wait blocks
/// while it is set.
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

/// The wait queue of an event.
struct Waiting;

impl Line for Waiting {
    type State = State;
    type Value = ();

    fn waiters(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.waiters
    }

    /// Does nothing: an event never grants a value. It closes its queue instead.
    fn regrant(_: &mut State, (): ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl Event {
    /// Creates an event that is not set.
    ///
    /// ```
    /// static STOP: cede::sync::Event = cede::sync::Event::new();
    /// assert!(!STOP.is_set());
    /// ```
    pub const fn new() -> Event {
        Event { state: BiasedLock::new(State { set: false, waiters: WaitQueue::new() }) }
    }

    /// Sets the flag, and wakes all waiters. Until [`clear`](Self::clear), no wait blocks.
    pub fn set(&self) {
        let mut state = self.state.lock();
        state.set = true;
        let wakers = state.waiters.close();
        drop(state);
        wake_all(wakers);
    }

    /// Resets the flag. Waits that a previous `set` has ended still return `Ok`.
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

    /// Returns whether the flag is set.
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

    /// Waits until the event is set. Returns at once if it is set already.
    ///
    /// Cancel safety: a cancelled `wait` has no effect on the event.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before its wait ends, or would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn wait(&self) -> Result<(), Cancelled> {
        self.wait_until(None).map_err(WaitTimeoutError::without_deadline)
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// Cancel safety: a cancelled wait has no effect on the event.
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if the deadline passes first, and [`WaitTimeoutError::Cancelled`] where
    /// [`wait`](Self::wait) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// Where [`wait`](Self::wait) panics.
    ///
    /// ```
    /// let event = cede::sync::Event::new();
    /// assert_eq!(event.wait_deadline(cede::time::now()), Err(cede::sync::WaitTimeoutError::Timeout));
    /// ```
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), WaitTimeoutError> {
        self.wait_until(Some(deadline))
    }

    /// Like [`wait`](Self::wait), but gives up after `timeout`. A timeout too long to be represented never expires.
    ///
    /// Cancel safety: a cancelled wait has no effect on the event.
    ///
    /// # Errors
    ///
    /// The errors of [`wait_deadline`](Self::wait_deadline).
    ///
    /// # Panics
    ///
    /// Where [`wait`](Self::wait) panics.
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
