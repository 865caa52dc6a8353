//! Scopes: tasks that may borrow, because whoever opened the scope waits for them in its own frame.
//!
//! # Why this is sound
//!
//! 1. [`scope`] does not return, and does not unwind, while one of its tasks is there: the body runs under `catch_unwind`, and
//!    the wait after it is ended by nothing else. It does not even unwind when the whole run is told to.
//! 2. The frame that is borrowed from cannot be freed behind its back: a body does not suspend while a scope is open in it
//!    (`section`), so only a task is ever suspended in that frame, and a stack that is forgotten is never used again.
//! 3. A task that will not end cannot be abandoned at the end of a run, as others are: the process stops
//!    (`inspect::abandon`).
//! 4. A task counts itself out after the last use of what it borrows: its closure and its result are gone by then, or the
//!    result lies in the TCB and belongs to the handle, which does not outlive `'scope`.
//! 5. `'scope` is invariant, and `Scope` and its handles are neither `Send` nor `Sync`.

use super::handle::JoinHandle;
use super::join_error::JoinError;
use super::result;
use super::spawn::SpawnError;
use super::start::{SpawnOptions, start_borrowing};
use crate::Builder;
use crate::coroutine::chain::Kind as SectionKind;
use crate::coroutine::raw::Payload;
use crate::scheduler::tcb::{EndListener, ScopeLink, Tcb};
use crate::scheduler::tcb_ext::LimitKind;
use crate::scheduler::{Task, WaitSpec, Worker, flags, worker};
use crate::stack::arena::Kind;
use crate::stack::overflow::abort_naming;
use crate::wait::limits::{self, OpenLimit};
use crate::wait::{self, running};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null;
use std::rc::Rc;
use std::thread::panicking;

/// A task that failed, and how.
#[derive(Debug)]
pub struct Failure {
    /// Who.
    pub task: Task,
    /// How: a panic with its payload.
    pub error: JoinError,
}

/// Why a [`scope`] gave no plain value.
#[non_exhaustive]
pub enum ScopeError<T> {
    /// Tasks of the scope panicked, and nobody joined them. All of them are there, in the order in which they ended.
    Failed {
        /// What the body returned.
        value: T,
        /// Who panicked.
        failures: Vec<Failure>,
    },
    /// The thread is panicking, where nothing can wait for the scope's tasks. The body was not called.
    Panicking,
}

// By hand, so that T need not be Debug.
impl<T> fmt::Debug for ScopeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScopeError::Failed { failures, .. } => {
                f.debug_struct("Failed").field("failures", failures).finish_non_exhaustive()
            }
            ScopeError::Panicking => f.write_str("Panicking"),
        }
    }
}

impl<T> fmt::Display for ScopeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScopeError::Failed { failures, .. } => {
                let text = |failure: &Failure| format!("{}: {}", failure.task, failure.error);
                let all: Vec<_> = failures.iter().map(text).collect();
                write!(f, "{} of the scope's tasks failed: {}", all.len(), all.join("; "))
            }
            ScopeError::Panicking => f.write_str("cannot open a scope while the thread panics: nothing may wait there"),
        }
    }
}

impl<T> std::error::Error for ScopeError<T> {}

/// The tasks of a scope.
struct ScopeState {
    /// Those that have not ended. Each knows its place.
    children: RefCell<Vec<*const Tcb>>,
    /// Who waits for them to end, parked.
    waiter: Cell<*const Tcb>,
    /// Nobody else is to begin, and everybody was told to end. The body's waits look at it.
    cancelled: Rc<Cell<bool>>,
    /// The panics of those that nobody holds a handle to.
    failures: RefCell<Vec<Failure>>,
    /// Closed when the body has returned.
    body: RefCell<Option<OpenLimit>>,
}

impl ScopeState {
    fn is_empty(&self) -> bool {
        self.children.borrow().is_empty()
    }

    fn cancel(&self, worker: Option<&Worker>) {
        if self.cancelled.replace(true) {
            return;
        }
        let Some(worker) = worker else { return };
        for &child in self.children.borrow().iter() {
            // SAFETY: it has not ended, so its TCB is its own.
            let child = unsafe { &*child };
            child.add_flags(flags::CANCELLED);
            wait::wake_if_interrupted(worker, child);
        }
        if let Some(open) = &*self.body.borrow() {
            open.recheck_wait(worker);
        }
    }

    /// Waits until all have ended. A cancel or a deadline is passed on to them, and then nothing cuts this short.
    fn wait(&self) {
        while !self.is_empty() {
            let Some(worker) = worker().filter(|worker| !panicking() && !worker.is_in_job()) else {
                abort_naming(Kind::Task, None, "cannot wait for its scope's tasks here, and they borrow from it");
            };
            let tcb = worker.current();
            if !self.cancelled.get() && limits::is_interrupted(worker, tcb) {
                self.cancel(Some(worker));
                continue;
            }
            let told = self.cancelled.get();
            let view = limits::view(tcb);
            let wait = WaitSpec {
                reason: "the tasks of its scope",
                only_this_run: true,
                uncancellable: told || view.shielded,
                ..WaitSpec::DEFAULT
            };
            self.waiter.set(tcb);
            worker.park(wait, view.deadline().filter(|_| !told));
            self.waiter.set(null());
        }
    }
}

impl EndListener for ScopeState {
    fn ended(&self, index: u32, panicked: bool) -> *const Tcb {
        let mut children = self.children.borrow_mut();
        children.swap_remove(index as usize);
        if let Some(&moved) = children.get(index as usize) {
            // SAFETY: it has not ended, so its TCB is its own.
            let moved = unsafe { &*moved };
            moved.move_in_scope(index);
        }
        let waiter = if children.is_empty() { self.waiter.get() } else { null() };
        drop(children);
        if panicked {
            self.cancel(worker());
        }
        waiter
    }
}

impl ScopeLink for ScopeState {
    fn failed(&self, tcb: &Tcb, payload: Payload) {
        let failure = Failure { task: Task::of(tcb), error: JoinError::Panicked(payload) };
        self.failures.borrow_mut().push(failure);
    }
}

/// A scope that is open: see [`scope`]. Its tasks may hold it, and spawn others.
pub struct Scope<'scope, 'env: 'scope> {
    state: Rc<ScopeState>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// Calls `f` with a scope, in which tasks can be spawned that borrow from around it, and returns when `f` and all of them have
/// ended. It is [`std::thread::scope`] with tasks.
///
/// If a task of the scope panics, the others are cancelled, and the waits of `f` itself return
/// [`Cancelled`](crate::task::Cancelled); [`Scope::cancel`] does the same. If `f` panics, the tasks are cancelled and awaited,
/// and then the panic goes on. If the one that waits here is cancelled, or a deadline around it comes, its tasks are cancelled,
/// and it waits for them nevertheless. A task that never ends keeps this from returning; if that is so even at the end of the
/// run, when it was cancelled and unwound, the process stops and names it, since it borrows.
///
/// # Errors
///
/// [`ScopeError::Failed`] if tasks panicked that nobody joined: with all panics, and with what `f` returned.
/// [`ScopeError::Panicking`] without calling `f` in a destructor that runs because of a panic.
///
/// # Panics
///
/// Outside of a run, in a callback, inside [`no_suspend`](crate::no_suspend), and with the panic of `f`.
///
/// ```
/// let mut numbers = [1, 2, 3, 4];
/// let sum = cede::run(|| {
///     cede::scope(|s| {
///         let (left, right) = numbers.split_at_mut(2);
///         s.spawn(|| left.iter_mut().for_each(|n| *n *= 10));
///         let mut sum = s.spawn(|| right.iter().sum::<i32>());
///         sum.join().unwrap()
///     })
/// })?;
/// assert_eq!((sum, numbers), (7, [10, 20, 3, 4]));
/// # Ok::<(), cede::task::ScopeError<i32>>(())
/// ```
#[doc(alias = "nursery")]
#[doc(alias = "TaskGroup")]
#[doc(alias = "task_group")]
#[track_caller]
pub fn scope<'env, T>(f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> Result<T, ScopeError<T>> {
    let worker = running("open a scope");
    if panicking() {
        return Err(ScopeError::Panicking);
    }
    wait::refuse(worker);
    // Here and not at the end, which has to wait for the tasks and must not be unwound.
    wait::consume_budget();
    let cancelled: Rc<Cell<bool>> = Rc::default();
    let open = OpenLimit::new(worker, SectionKind::Scope, LimitKind::Scope(Rc::clone(&cancelled)));
    let state = Rc::new(ScopeState {
        children: RefCell::default(),
        waiter: Cell::new(null()),
        cancelled,
        failures: RefCell::default(),
        body: RefCell::new(Some(open)),
    });
    let scope = Scope { state, _scope: PhantomData, _env: PhantomData };
    let state = &scope.state;
    let outcome = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    if outcome.is_err() {
        state.cancel(self::worker());
    }
    state.wait();
    drop(state.body.take());
    let failures = state.failures.take();
    match outcome {
        Ok(value) if failures.is_empty() => Ok(value),
        Ok(value) => Err(ScopeError::Failed { value, failures }),
        Err(payload) => {
            for Failure { task, error } in failures {
                error.into_panic().into_iter().for_each(|payload| result::unhandled(&task, payload));
            }
            resume_unwind(payload)
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts `f` as a task of this run and of this scope: see [`cede::spawn`](crate::spawn). In a scope that is cancelled it
    /// never runs.
    ///
    /// Dropping the handle detaches the task from it, but not from the scope.
    ///
    /// # Panics
    ///
    /// As [`cede::spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<T: 'scope>(&'scope self, f: impl FnOnce() -> T + 'scope) -> ScopedJoinHandle<'scope, T> {
        let worker = running("spawn a task");
        let options = SpawnOptions { shape: worker.shape, name: None, clear: false, eager: false };
        match self.start(worker, options, |_| {}, f) {
            Ok(handle) => handle,
            Err(SpawnError::Stack(error)) => crate::coroutine::no_stack(&error),
            Err(error) => panic!("{error}"),
        }
    }

    /// Tells all tasks of the scope to end, those to come included, and ends the waits of the scope's body: they return
    /// [`Cancelled`](crate::task::Cancelled) until the body has returned.
    pub fn cancel(&self) {
        self.state.cancel(worker());
    }

    /// Whether the scope was cancelled, by [`cancel`](Self::cancel) or because a task of it panicked.
    pub fn is_cancelled(&self) -> bool {
        self.state.cancelled.get()
    }

    #[track_caller]
    fn start<T: 'scope>(
        &'scope self,
        worker: &Worker,
        options: SpawnOptions,
        prepare: impl FnOnce(&Tcb),
        f: impl FnOnce() -> T + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, T>, SpawnError> {
        let adopt = |tcb: &Tcb| {
            let mut children = self.state.children.borrow_mut();
            let index = u32::try_from(children.len()).expect("there are not that many tasks");
            children.push(tcb);
            tcb.join_scope(Rc::clone(&self.state) as Rc<dyn ScopeLink>, index);
            if self.state.cancelled.get() {
                tcb.add_flags(flags::CANCELLED);
            }
            drop(children);
            prepare(tcb);
        };
        // SAFETY: what `f` and its result borrow outlives 'scope. The task ends before `scope` returns (see the head of this
        // file), and the handle does not outlive 'scope.
        let tcb = unsafe { start_borrowing(worker, options, adopt, f) }?;
        Ok(ScopedJoinHandle {
            handle: JoinHandle::new(&worker.table, tcb),
            state: Rc::clone(&self.state),
            _scope: PhantomData,
        })
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("tasks", &self.state.children.borrow().len())
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

impl Builder {
    /// Starts `f` as a task of a scope: see [`Scope::spawn`].
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn); `f` is dropped.
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// cede::run(|| {
    ///     cede::scope(|s| {
    ///         let mut reader = cede::Builder::new().name("reader").spawn_scoped(s, || text.len())?;
    ///         assert_eq!(reader.task().name(), Some("reader"));
    ///         assert_eq!(reader.join().unwrap(), 8);
    ///         Ok::<(), cede::task::SpawnError>(())
    ///     })
    /// }).unwrap()?;
    /// # Ok::<(), cede::task::SpawnError>(())
    /// ```
    #[track_caller]
    pub fn spawn_scoped<'scope, T: 'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: impl FnOnce() -> T + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, T>, SpawnError> {
        let worker = worker().ok_or(SpawnError::NotRunning)?;
        let locals = self.inherits_locals().then(|| super::local::inherited(worker.current())).flatten();
        let options = self.spawn_options(worker)?;
        scope.start(worker, options, |tcb| super::local::give(tcb, locals), f)
    }
}

/// A handle to a task of a scope. It can be used as a [`JoinHandle`] wherever that is only looked at.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    state: Rc<ScopeState>,
    _scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    pub(super) fn inner(&mut self) -> &mut JoinHandle<T> {
        &mut self.handle
    }

    /// Waits until the task has ended, and returns its value: see [`JoinHandle::join`].
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`JoinHandle::join`]. A panic that was returned here is no failure of the scope any more, though its other tasks have
    /// been cancelled.
    #[track_caller]
    pub fn join(&mut self) -> Result<T, JoinError> {
        self.handle.join()
    }

    /// The result, if the task has ended; waits for nothing: see [`JoinHandle::try_join`].
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`JoinHandle::try_join`].
    #[track_caller]
    pub fn try_join(&mut self) -> Option<Result<T, JoinError>> {
        self.handle.try_join()
    }
}

impl<T> std::ops::Deref for ScopedJoinHandle<'_, T> {
    type Target = JoinHandle<T>;

    fn deref(&self) -> &JoinHandle<T> {
        &self.handle
    }
}

impl<T> Drop for ScopedJoinHandle<'_, T> {
    fn drop(&mut self) {
        if let Some(error) = self.handle.take_panic() {
            let failure = Failure { task: self.handle.task(), error };
            self.state.failures.borrow_mut().push(failure);
        }
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.handle, f)
    }
}
