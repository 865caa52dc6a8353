//! A cell that is initialized once, by an initializer that may wait (single flight).
//!
//! Of several callers, one runs its initializer, the *loader*. The other callers wait in a FIFO queue. If the loader
//! fails, panics or is unwound, it grants the role of the loader to the first waiter, which then runs its own
//! initializer. If it succeeds, it closes the queues, and all waiters return the value.
//!
//! # Invariants
//!
//! 1. `State::loading` is set while a caller is the loader, and while the role is granted to a waiter that has not run
//!    yet.
//! 2. The value is stored under the lock, and only by the loader, or while `loading` is not set.
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, WaitQueue, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, Holder, WaitSpec, WakeHandle, consume_budget, worker};
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A cell that is initialized once. Tasks and threads share its value by reference.
///
/// The initializer may wait, for example for an answer from a server. If several callers need the value at the same
/// time, one of them runs its initializer, and the other callers wait for the result (single flight). An initializer that
/// fails, panics or is cancelled affects its own caller only: the next waiter runs its own initializer then.
///
/// ```
/// use cede::sync::OnceCell;
/// use std::{sync::Arc, time::Duration};
/// let cell = Arc::new(OnceCell::new());
/// cede::run(|| {
///     let load = |number| {
///         let cell = Arc::clone(&cell);
///         cede::spawn(move || {
///             *cell.get_or_init(|| {
///                 cede::time::sleep(Duration::from_millis(1)).unwrap();
///                 number
///             }).unwrap()
///         })
///     };
///     let (mut first, mut second) = (load(1), load(2));
///     assert_eq!((first.join().unwrap(), second.join().unwrap()), (1, 1));
/// });
/// assert_eq!(cell.get(), Some(&1));
/// ```
#[doc(alias = "OnceLock")]
#[doc(alias = "single_flight")]
pub struct OnceCell<T> {
    value: OnceLock<T>,
    state: BiasedLock<State>,
    /// The loader, for deadlock reports and to refuse an initializer that needs its own result.
    loader: Holder,
}

struct State {
    loading: bool,
    /// The callers that wait for the loader, or for its role.
    loaders: WaitQueue<()>,
    /// The callers that wait for the value only.
    waiters: WaitQueue<()>,
}

/// The wait queue of callers with an initializer.
struct Loaders;

impl Line for Loaders {
    type State = State;
    type Value = ();

    fn waiters(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.loaders
    }

    fn regrant(state: &mut State, (): ()) -> Vec<WakeHandle> {
        state.next_loader().into_iter().collect()
    }
}

/// The wait queue of callers without an initializer.
struct Waiting;

impl Line for Waiting {
    type State = State;
    type Value = ();

    fn waiters(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.waiters
    }

    /// Does nothing: these waiters are never granted anything. Their queue is closed instead.
    fn regrant(_: &mut State, (): ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl State {
    /// Grants the role of the loader to the first waiter, and returns its wake handle.
    fn next_loader(&mut self) -> Option<WakeHandle> {
        let next = self.loaders.grant();
        self.loading = next.is_some();
        next.map(|waiter| self.loaders.waker(waiter))
    }

    /// Ends all waits: the value is stored.
    fn finish(&mut self, wake_list: &mut WakeList) {
        self.loading = false;
        wake_list.extend(self.loaders.close());
        wake_list.extend(self.waiters.close());
    }
}

/// The error of [`OnceCell::get_or_try_init`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InitError<E> {
    /// The initializer of this caller failed.
    #[error("the initializer of the cell failed: {0}")]
    Failed(#[source] E),
    /// The task was cancelled while it waited for the initializer of another caller, or would have to wait while its
    /// thread panics.
    #[error("the wait for the initializer of another caller was cancelled")]
    Cancelled,
}

impl<E> From<Cancelled> for InitError<E> {
    fn from(_: Cancelled) -> InitError<E> {
        InitError::Cancelled
    }
}

/// The error of [`OnceCell::set`]. Holds the value, which was not stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SetError<T> {
    /// The cell has a value already.
    #[error("cannot set the cell: it has a value already")]
    AlreadySet(T),
    /// An initializer of another caller is running.
    #[error("cannot set the cell: its initializer is running")]
    Loading(T),
}

impl<T> SetError<T> {
    /// Returns the value that was not stored.
    pub fn into_inner(self) -> T {
        match self {
            SetError::AlreadySet(value) | SetError::Loading(value) => value,
        }
    }
}

impl<T> fmt::Debug for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadySet(_) => "AlreadySet(..)",
            SetError::Loading(_) => "Loading(..)",
        })
    }
}

/// The role of the loader. Dropping it without a value grants the role to the next waiter.
struct Loading<'a, T> {
    cell: &'a OnceCell<T>,
    /// The role belongs to the task or thread that has it.
    _not_send: PhantomData<*const ()>,
}

impl<'a, T> Loading<'a, T> {
    /// Takes the role. The caller holds it already, by `State::loading`.
    fn new(cell: &'a OnceCell<T>) -> Loading<'a, T> {
        Loading { cell, _not_send: PhantomData }
    }

    /// Stores the value, and ends all waits.
    fn finish(self, value: T) -> &'a T {
        let cell = self.cell;
        std::mem::forget(self);
        let mut wake_list = WakeList::default();
        let mut state = cell.state.lock();
        cell.loader.clear();
        let is_stored = cell.value.set(value).is_ok();
        debug_assert!(is_stored, "invariant 2: only the loader stores a value");
        state.finish(&mut wake_list);
        drop(state);
        drop(wake_list);
        cell.value.get().expect("the value was stored above")
    }
}

impl<T> Drop for Loading<'_, T> {
    fn drop(&mut self) {
        let mut wake_list = WakeList::default();
        let mut state = self.cell.state.lock();
        self.cell.loader.clear();
        if let Some(waker) = state.next_loader() {
            wake_list.push(waker);
        }
    }
}

impl<T> OnceCell<T> {
    /// Creates a cell without a value.
    ///
    /// ```
    /// static CONFIG: cede::sync::OnceCell<String> = cede::sync::OnceCell::new();
    /// assert_eq!(CONFIG.get_or_init(|| "default".to_string())?, "default");
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub const fn new() -> OnceCell<T> {
        let state = State { loading: false, loaders: WaitQueue::new(), waiters: WaitQueue::new() };
        OnceCell { value: OnceLock::new(), state: BiasedLock::new(state), loader: Holder::none() }
    }

    /// Returns the value, or `None` if there is none yet.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Returns the value for a change, or `None` if there is none.
    ///
    /// ```
    /// let mut cell = cede::sync::OnceCell::from(1);
    /// *cell.get_mut().unwrap() += 1;
    /// assert_eq!(cell.into_inner(), Some(2));
    /// ```
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Returns whether the cell has a value.
    #[doc(alias = "initialized")]
    pub fn is_set(&self) -> bool {
        self.value.get().is_some()
    }

    /// Sets the value, and wakes all callers of [`wait`](Self::wait). Does not wait for a running initializer.
    ///
    /// # Errors
    ///
    /// [`SetError::AlreadySet`] if the cell has a value, and [`SetError::Loading`] if an initializer is running. Both hold
    /// the value, which was not stored.
    ///
    /// ```
    /// use cede::sync::once_cell::{OnceCell, SetError};
    /// let cell = OnceCell::new();
    /// assert_eq!(cell.set(1), Ok(()));
    /// assert_eq!(cell.set(2), Err(SetError::AlreadySet(2)));
    /// ```
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        if state.loading {
            return Err(SetError::Loading(value));
        }
        self.value.set(value).map_err(SetError::AlreadySet)?;
        state.finish(&mut wake_list);
        Ok(())
    }

    /// Returns the value. If there is none, calls `f` and stores its value, or waits for the initializer of another caller
    /// that is already running. `f` may wait.
    ///
    /// If `f` panics, the panic is propagated, and the next waiter runs its own initializer.
    ///
    /// Cancel safety: a call that is cancelled in its wait does not call `f`. A cancel of the caller whose initializer runs
    /// is reported by the waits inside `f`, and ends no wait of another caller.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled while it waits for the initializer of another caller, if a deadline or scope
    /// around this call ends that wait, or if the task would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If `f` itself calls `get_or_init` of the same cell, in a task of the same run. If the call would have to wait in a
    /// callback or inside [`no_suspend`](crate::no_suspend). Propagates a panic of `f`.
    #[inline]
    #[track_caller]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> Result<&T, Cancelled> {
        self.get_or_try_init(|| Ok::<T, Infallible>(f())).map_err(|error| match error {
            InitError::Cancelled => Cancelled,
            InitError::Failed(never) => match never {},
        })
    }

    /// Like [`get_or_init`](Self::get_or_init), for an initializer that may fail. The error goes to this caller only: the
    /// next waiter runs its own initializer then, and a later call may succeed.
    ///
    /// # Errors
    ///
    /// [`InitError::Failed`] with the error of `f`, and [`InitError::Cancelled`] where
    /// [`get_or_init`](Self::get_or_init) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`get_or_init`](Self::get_or_init).
    ///
    /// ```
    /// use cede::sync::once_cell::{InitError, OnceCell};
    /// let cell = OnceCell::new();
    /// assert_eq!(cell.get_or_try_init(|| Err("no answer")), Err(InitError::Failed("no answer")));
    /// assert_eq!(cell.get_or_try_init(|| Ok::<i32, &str>(5)), Ok(&5));
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_try_init<E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<&T, InitError<E>> {
        if self.value.get().is_none()
            && let Some(loading) = self.start()?
        {
            let value = f().map_err(InitError::Failed)?;
            return Ok(loading.finish(value));
        }
        consume_budget();
        Ok(self.value.get().expect("a call that is not the loader returns when the value is stored"))
    }

    /// Takes the role of the loader, or waits for it. Returns `None` if there is a value.
    #[track_caller]
    fn start(&self) -> Result<Option<Loading<'_, T>>, Cancelled> {
        let worker = worker();
        let mut state = self.state.lock_for(worker);
        if self.value.get().is_some() {
            return Ok(None);
        }
        if state.loading {
            let is_own = worker.is_some_and(|worker| self.loader.task() == Some((worker.run(), worker.current().id())));
            assert!(!is_own, "cannot initialize a OnceCell inside of its own initializer");
            let waiter = state.loaders.enqueue(());
            drop(state);
            let wait = WaitSpec {
                reason: "the initializer of a cell",
                external: true,
                holder: &raw const self.loader,
                ..WaitSpec::DEFAULT
            };
            match wait_in::<Loaders>(&self.state, waiter, wait, None) {
                Ended::Granted(()) => state = self.state.lock_for(worker),
                Ended::Closed(()) => return Ok(None),
                Ended::TimedOut(()) | Ended::Cancelled(()) => return Err(Cancelled),
            }
        }
        state.loading = true;
        self.loader.set_task_of(worker);
        drop(state);
        Ok(Some(Loading::new(self)))
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> Result<&T, WaitTimeoutError> {
        let mut state = self.state.lock();
        if self.value.get().is_none() {
            let waiter = state.waiters.enqueue(());
            drop(state);
            let wait = WaitSpec { reason: "the value of a cell", external: true, ..WaitSpec::DEFAULT };
            outcome(wait_in::<Waiting>(&self.state, waiter, wait, deadline))?;
        } else {
            drop(state);
            consume_budget();
        }
        Ok(self.value.get().expect("the queue is closed after the value is stored"))
    }

    /// Waits until the cell has a value, without initializing it.
    ///
    /// Cancel safety: a cancelled call has no effect on the cell.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before its wait ends, if a deadline or scope around this call ends the
    /// wait, or if the task would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// use cede::sync::OnceCell;
    /// let cell = OnceCell::new();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| cell.set("ready"));
    ///     assert_eq!(cell.wait(), Ok(&"ready"));
    /// });
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<&T, Cancelled> {
        self.wait_until(None).map_err(WaitTimeoutError::without_deadline)
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if the deadline passes first, and [`WaitTimeoutError::Cancelled`] where
    /// [`wait`](Self::wait) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<&T, WaitTimeoutError> {
        self.wait_until(Some(deadline))
    }

    /// Like [`wait_deadline`](Self::wait_deadline), with a deadline `timeout` from now. A `timeout` that is too long for an
    /// [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`wait_deadline`](Self::wait_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<&T, WaitTimeoutError> {
        self.wait_until(now().checked_add(timeout))
    }

    /// Returns the value, and consumes the cell. `None` if it has no value.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out of the cell, which can then be initialized again. `None` if it has no value.
    ///
    /// ```
    /// let mut cell = cede::sync::OnceCell::from(1);
    /// assert_eq!(cell.take(), Some(1));
    /// assert_eq!(cell.set(2), Ok(()));
    /// ```
    pub fn take(&mut self) -> Option<T> {
        self.value.take()
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> OnceCell<T> {
        OnceCell { value: OnceLock::from(value), ..OnceCell::new() }
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceCell").field(&self.get()).finish()
    }
}
