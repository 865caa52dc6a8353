//! Scopes (nurseries, task groups): structured concurrency. The tasks of a scope may borrow from the caller of [`scope`],
//! because [`scope`] waits for them before it returns.
//!
//! # Why this is sound
//!
//! 1. [`scope`] neither returns nor unwinds while a task of the scope exists. Its closure runs under `catch_unwind`.
//!    Afterwards `scope` waits until all tasks have ended. No cancel, no deadline and no forced unwind at the end of the
//!    run ends this wait.
//! 2. No other code frees the borrowed frame while the scope is open. If the frame is in a body, the body cannot
//!    suspend (`suspend_check`), so its owner cannot drop it. If the frame is in a task, the run may abandon the task, but
//!    the stack of an abandoned task is never reused.
//! 3. Unlike other tasks, a task of a scope is never abandoned at the end of a run (see below).
//! 4. A task leaves the scope only after it has dropped its closure. It has also dropped its result, unless a handle owns
//!    the result. That handle does not outlive `'scope`. So a task that has left the scope uses no borrowed value.
//! 5. `'scope` is invariant, and `Scope` and its handles are neither `Send` nor `Sync`.
//!
//! # Why a scoped task can abort the process
//!
//! At the end of a run, a task that does not end when it is cancelled and unwound is abandoned. A task of a scope borrows
//! from a frame that other code owns, and `scope` must not leave that frame before the task has ended (point 1). If the
//! task never ends, `scope` can neither return nor unwind. So the run aborts the process with a message that names the
//! task: `runtime::shutdown::abort_for_borrowers`.

use super::handle::JoinHandle;
use super::join_error::JoinError;
use super::result;
use super::spawn::SpawnError;
use super::start::{SpawnOptions, StackTime, start_borrowing};
use crate::Builder;
use crate::coroutine::chain::Kind as SectionKind;
use crate::coroutine::raw::Payload;
use crate::scheduler::tcb::{EndListener, ScopeLink, Tcb};
use crate::scheduler::tcb_ext::LimitKind;
use crate::scheduler::{Task, WaitSpec, Worker, flags, worker};
use crate::stack::StackError;
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

/// The failure of one task of a scope, in [`ScopeError::Failed`].
#[derive(Debug)]
pub struct Failure {
    /// The task that failed.
    pub task: Task,
    /// The panic with its payload, [`JoinError::Panicked`], or the missing stack of a task that never ran, [`JoinError::Stack`].
    pub error: JoinError,
}

/// The error of [`scope`].
#[non_exhaustive]
pub enum ScopeError<T> {
    /// Tasks of the scope panicked, or had no stack, and were not joined.
    Failed {
        /// The value that the scope's closure returned.
        value: T,
        /// The panics, in the order in which they reached the scope. The panic of a task reaches the scope when the task
        /// has ended and its handle was dropped.
        failures: Vec<Failure>,
    },
    /// The thread is panicking, so nothing can wait for tasks. The closure was not called.
    Panicking,
}

// Implemented by hand, so that `T` need not implement `Debug`.
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

/// The state of a scope: its tasks, their panics, and the task that waits for them.
struct ScopeState {
    /// The tasks that have not ended. Each TCB stores the index of its task.
    children: RefCell<Vec<*const Tcb>>,
    /// The task that is parked in `wait`, or null.
    waiter: Cell<*const Tcb>,
    /// The scope was cancelled: its tasks were cancelled, and a later task never runs. The limit `body` shares this flag.
    cancelled: Rc<Cell<bool>>,
    /// The panics of tasks that have no handle.
    failures: RefCell<Vec<Failure>>,
    /// The limit that ends the waits of the scope's closure when the scope is cancelled. Closed when all tasks have ended.
    body: RefCell<Option<OpenLimit>>,
}

impl ScopeState {
    fn is_empty(&self) -> bool {
        self.children.borrow().is_empty()
    }

    /// Cancels the tasks and ends the waits of the scope's closure. Has an effect once.
    fn cancel(&self, worker: Option<&Worker>) {
        if self.cancelled.replace(true) {
            return;
        }
        let Some(worker) = worker else { return };
        for &child in self.children.borrow().iter() {
            // SAFETY: `child` has not ended. `start::finish` frees a TCB and removes the task from `children` without
            // running other code in between, so the TCB is allocated.
            let child = unsafe { &*child };
            worker.cancel(child);
        }
        if let Some(open) = &*self.body.borrow() {
            open.recheck_wait(worker);
        }
    }

    /// Waits until all tasks have ended. Passes a cancel or a deadline on to the tasks. After that, only the ends of the
    /// tasks end the wait.
    fn wait(&self) {
        while !self.is_empty() {
            let Some(worker) = worker().filter(|worker| !panicking() && !worker.is_in_job()) else {
                // A task still borrows from this frame, so `scope` can neither wait, return nor unwind.
                abort_naming(Kind::Task, None, "cannot wait for its scope's tasks here, and they borrow from it");
            };
            let tcb = worker.current();
            if !self.cancelled.get() && limits::is_interrupted(worker, tcb) {
                // From the next pass on, the wait is uncancellable.
                self.cancel(Some(worker));
                continue;
            }
            let is_cancelled = self.cancelled.get();
            let view = limits::view(tcb);
            let wait = WaitSpec {
                reason: "the tasks of its scope",
                only_this_run: true,
                uncancellable: is_cancelled || view.shielded,
                ..WaitSpec::DEFAULT
            };
            self.waiter.set(tcb);
            // Parks directly and not by `wait::wait`, because the forced unwind must not leave this frame.
            worker.park(tcb, wait, view.deadline().filter(|_| !is_cancelled));
            self.waiter.set(null());
        }
    }
}

impl EndListener for ScopeState {
    fn ended(&self, index: u32, panicked: bool) -> *const Tcb {
        let mut children = self.children.borrow_mut();
        children.swap_remove(index as usize);
        if let Some(&moved) = children.get(index as usize) {
            // SAFETY: as in `cancel`: `moved` has not ended, so its TCB is allocated.
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
        let error = match payload.downcast::<StackError>() {
            Ok(error) => JoinError::Stack(error),
            Err(payload) => JoinError::Panicked(payload),
        };
        let failure = Failure { task: Task::of(tcb), error };
        self.failures.borrow_mut().push(failure);
    }
}

/// A scope, which spawns tasks that may borrow; see [`scope`]. The tasks may also borrow the scope and spawn more tasks.
pub struct Scope<'scope, 'env: 'scope> {
    state: Rc<ScopeState>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// Calls `f` with a scope, in which it can spawn tasks that borrow local variables. Returns the value of `f` after `f` and
/// all tasks of the scope have ended.
///
/// Scopes provide structured concurrency, like a nursery or a task group. The counterpart for threads is
/// [`std::thread::scope`].
///
/// * If a task of the scope panics, the remaining tasks are cancelled, and the waits of `f` return
///   [`Cancelled`](crate::task::Cancelled). [`Scope::cancel`] has the same effect. A join of the panicked task takes the panic from the
///   error of the scope, and does not prevent the cancel. In a [`JoinSet`](crate::task::JoinSet), a panic ends no other task.
/// * If `f` panics, the tasks are cancelled and awaited, and then the panic is propagated. In this case the hook of
///   [`Config::on_unhandled_panic`](crate::Config::on_unhandled_panic) receives the panics of the tasks.
/// * If the calling task is cancelled, or a deadline around the scope passes, the waits of `f` return `Cancelled`. When `f`
///   has returned, the remaining tasks are cancelled and still awaited.
///
/// Cancel safety: if the calling task is cancelled, `scope` still waits for its tasks and returns the value of `f`. The next
/// wait of the calling task returns `Cancelled`.
///
/// A task that does not end keeps `scope` from returning. If it does not end when the run cancels and unwinds it, the
/// process is aborted and the message names the task: a task that borrows cannot be abandoned.
///
/// # Errors
///
/// [`ScopeError::Failed`] if tasks panicked and were not joined. It holds these panics and the value of `f`. A task for which no stack
/// could be allocated counts as panicked.
/// [`ScopeError::Panicking`] if the thread is panicking, that is, if a destructor that runs because of a panic calls
/// `scope`. `f` is not called then.
///
/// # Panics
///
/// Panics if called outside a run, in a callback, or inside [`no_suspend`](crate::no_suspend). Propagates a panic of `f`.
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
    // The budget is spent here and not at the end: the turn that it gives up may unwind, which the end must not.
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
    // The tasks may borrow from this frame, so it is left only after this wait, whatever `outcome` is.
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
    /// Spawns `f` as a task of this run and of this scope, like [`cede::spawn`](crate::spawn). In a cancelled scope the
    /// task never runs.
    ///
    /// If the handle is dropped, the task continues to run, and the scope still waits for it.
    ///
    /// # Panics
    ///
    /// The panics of [`cede::spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<T: 'scope>(&'scope self, f: impl FnOnce() -> T + 'scope) -> ScopedJoinHandle<'scope, T> {
        let worker = running("spawn a task");
        let options = SpawnOptions::of_run(worker, StackTime::FirstTurn);
        match self.start(worker, options, |_| {}, f) {
            Ok(handle) => handle,
            Err(SpawnError::Stack(error)) => crate::coroutine::no_stack(&error),
            Err(error) => panic!("{error}"),
        }
    }

    /// Cancels all tasks of the scope, tasks spawned later included. The waits of the scope's closure return
    /// [`Cancelled`](crate::task::Cancelled) until it returns.
    pub fn cancel(&self) {
        self.state.cancel(worker());
    }

    /// Returns whether the scope was cancelled: by [`cancel`](Self::cancel), by a panic in the scope, or by a cancel or
    /// deadline that [`scope`] passed on to the tasks after the closure had returned.
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
            let index = u32::try_from(children.len()).expect("a scope has fewer than 2^32 tasks");
            children.push(tcb);
            tcb.join_scope(Rc::clone(&self.state) as Rc<dyn ScopeLink>, index);
            if self.state.cancelled.get() {
                tcb.add_flags(flags::CANCELLED);
            }
            drop(children);
            prepare(tcb);
        };
        // SAFETY: what `f` and its result borrow outlives `'scope`. The task ends before `scope` returns (points 1 to 4 in
        // the head of this file), and the handle does not outlive `'scope`.
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
    /// Spawns `f` as a task of a scope, like [`Scope::spawn`], with the name and the options of this builder.
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn); `f` is dropped.
    ///
    /// # Panics
    ///
    /// The panics of [`spawn`](Self::spawn).
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

/// A handle to a task of a scope. Dereferences to [`JoinHandle`], by shared reference only.
///
/// If the handle is dropped, the task continues to run, and the scope still waits for it. If the task has panicked and was
/// not joined, the panic is a failure of the scope.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    state: Rc<ScopeState>,
    _scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    pub(super) fn inner(&mut self) -> &mut JoinHandle<T> {
        &mut self.handle
    }

    /// Waits until the task has ended, and returns its value; see [`JoinHandle::join`].
    ///
    /// A panic that this call returns is not a failure of the scope any more. Nevertheless, it has cancelled the remaining
    /// tasks of the scope.
    ///
    /// # Errors
    ///
    /// The errors of [`JoinHandle::join`].
    ///
    /// # Panics
    ///
    /// The panics of [`JoinHandle::join`].
    #[track_caller]
    pub fn join(&mut self) -> Result<T, JoinError> {
        self.handle.join()
    }

    /// Returns the result if the task has ended, and `None` otherwise; see [`JoinHandle::try_join`]. Never waits.
    ///
    /// # Errors
    ///
    /// The errors of [`JoinHandle::try_join`].
    ///
    /// # Panics
    ///
    /// The panics of [`JoinHandle::try_join`].
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
        if let Some(error) = self.handle.take_failure() {
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
