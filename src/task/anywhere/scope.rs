//! Scopes whose tasks run on all workers: [`scope_anywhere`].
//!
//! # Why this is sound
//!
//! 1. [`scope_anywhere`] neither returns nor unwinds while a task of the scope, started or not, exists. Its closure runs under
//!    `catch_unwind`. Afterwards it parks in a loop until an atomic count is zero. No cancel, no deadline, no deadlock and no forced unwind
//!    ends this loop.
//! 2. A task counts out in its last step: a started task when its closure and everything else that it owns was dropped
//!    (`LocalScope::ended`), and one that is given up after the same (`RemoteTask::give_up`). By then the result is dropped, too,
//!    unless a handle owns it. That handle does not outlive `'scope`. The count is released and acquired, so what the task did is visible
//!    to the parent.
//! 3. Closures and results are `Send`. What a closure borrows is `Sync` or borrowed by one task, by the same bounds as in
//!    [`std::thread::scope`]. `'scope` is invariant.
//! 4. Each closure is started or given up, once (`Job`). A closure that the run does not accept any more is given up at once.
//! 5. A started task of a scope is never abandoned at the end of a run: the process is aborted instead, by the worker of that task
//!    (`runtime::shutdown::abort_for_borrowers`).
//! 6. Until then no other code frees the frame of the parent. If the frame is in a body, the body cannot suspend (`suspend_check`), so its owner
//!    cannot drop it. If the frame is in a task, the run may abandon the task, but the stack of an abandoned task is never reused.
//! 7. A worker leaves its thread only when the tasks of all workers have ended or were abandoned. So a thread-local of the parent's thread that
//!    a task borrows exists as long as the task.
//! 8. Where the parent could not wait (outside of a run, in a callback, inside `no_suspend`, while the thread panics), the call is refused
//!    before there is a task.

use super::remote_handle::ScopedRemoteHandle;
use super::remote_task::{RemoteTask, check_worker};
use super::shared_scope::{LocalScope, SharedScope};
use crate::coroutine::Builder;
use crate::scheduler::{WaitSpec, Worker, worker};
use crate::stack::arena::Kind;
use crate::stack::overflow::abort_naming;
use crate::task::JoinError;
use crate::task::result::unhandled;
use crate::task::scope::{Failure, ScopeError};
use crate::wait::{self, can_suspend, limits, running, wait_for_borrowers};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::panicking;

/// The reason of the wait for the tasks of a scope, in reports.
const REASON: &str = "the tasks of its scope";

/// A scope, which spawns tasks that may borrow, on any worker; see [`scope_anywhere`]. The tasks may also borrow the scope and spawn more
/// tasks, and so may other threads that run inside the scope.
pub struct ScopeAnywhere<'scope, 'env: 'scope> {
    shared: Arc<SharedScope>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// Calls `f` with a scope, in which it can spawn tasks on all workers of the run that borrow local variables. Returns the value of `f` after
/// `f` and all tasks of the scope have ended.
///
/// Like [`scope`](crate::scope()), with tasks that any worker starts ([`Config::workers`](crate::Config::workers)): so their closures and
/// results must be `Send`. Unlike in rayon's `scope`, the worker of the waiting caller runs other tasks, each on its own stack, and the tasks may
/// wait for each other, for sockets, and for time. In a run of one worker, the tasks run on that worker.
///
/// * If a task of the scope panics, the remaining tasks are cancelled, and the waits of `f` return [`Cancelled`](crate::task::Cancelled).
///   [`ScopeAnywhere::cancel`] has the same effect. Tasks on other workers are cancelled in their next wait. A task that has not started
///   never runs. A join of the panicked task takes the panic from the error of the scope, and does not prevent the cancel.
/// * If `f` panics, the tasks are cancelled and awaited, and then the panic is propagated. In this case the hook of
///   [`Config::on_unhandled_panic`](crate::Config::on_unhandled_panic) receives the panics of the tasks.
/// * If the calling task is cancelled, or a deadline around the scope passes, the waits of `f` return `Cancelled`. When `f` has returned, the
///   remaining tasks are cancelled and still awaited.
///
/// Cancel safety: if the calling task is cancelled, `scope_anywhere` still waits for its tasks and returns the value of `f`. The next wait of the
/// calling task returns `Cancelled`.
///
/// A task that does not end keeps `scope_anywhere` from returning. If it does not end when the run cancels and unwinds it, the process is
/// aborted and the message names the task: a task that borrows cannot be abandoned.
///
/// # Errors
///
/// [`ScopeError::Failed`] if tasks panicked and were not joined. It holds these panics and the value of `f`. [`ScopeError::Panicking`] if the
/// thread is panicking, that is, if a destructor that runs because of a panic calls `scope_anywhere`. `f` is not called then.
///
/// # Panics
///
/// Panics if called outside a run, in a callback, or inside [`no_suspend`](crate::no_suspend). Propagates a panic of `f`.
///
/// ```
/// use cede::task::scope_anywhere;
/// let mut numbers = [1, 2, 3, 4];
/// let sum = cede::Config::new().workers(2).run(|| {
///     scope_anywhere(|s| {
///         let (left, right) = numbers.split_at_mut(2);
///         s.spawn(|| left.iter_mut().for_each(|n| *n *= 10));
///         let mut sum = s.spawn(|| right.iter().sum::<i32>());
///         sum.join().unwrap()
///     })
/// })??;
/// assert_eq!((sum, numbers), (7, [10, 20, 3, 4]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A task of the scope may spawn more tasks:
///
/// ```
/// use cede::task::scope_anywhere;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// let count = AtomicU32::new(0);
/// cede::run(|| {
///     scope_anywhere(|s| {
///         s.spawn(|| {
///             for _ in 0..10 {
///                 s.spawn(|| count.fetch_add(1, Relaxed));
///             }
///         });
///     })
/// })?;
/// assert_eq!(count.into_inner(), 10);
/// # Ok::<(), cede::task::ScopeError<()>>(())
/// ```
#[doc(alias = "nursery")]
#[doc(alias = "TaskGroup")]
#[doc(alias = "parallel")]
#[doc(alias = "rayon")]
#[track_caller]
pub fn scope_anywhere<'env, T>(
    f: impl for<'scope> FnOnce(&'scope ScopeAnywhere<'scope, 'env>) -> T,
) -> Result<T, ScopeError<T>> {
    let worker = running("open a scope");
    if panicking() {
        return Err(ScopeError::Panicking);
    }
    wait::refuse(worker);
    // The budget is spent here and not at the end: the turn that it gives up may unwind, which the end must not.
    wait::consume_budget();
    let shared = SharedScope::new(worker);
    let local = LocalScope::open(worker, &shared);
    let scope = ScopeAnywhere { shared: Arc::clone(&shared), _scope: PhantomData, _env: PhantomData };
    let outcome = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    if outcome.is_err() {
        shared.cancel();
    }
    // The tasks may borrow from this frame, so it is left only after this wait, whatever `outcome` is.
    wait_for_all(&shared);
    local.close(worker);
    let failures = shared.take_failures();
    match outcome {
        Ok(value) if failures.is_empty() => Ok(value),
        Ok(value) => Err(ScopeError::Failed { value, failures }),
        Err(payload) => {
            for Failure { task, error } in failures {
                error.into_panic().into_iter().for_each(|payload| unhandled(&task, payload));
            }
            resume_unwind(payload)
        }
    }
}

/// Waits until all tasks have ended. Passes a cancel or a deadline on to the tasks. After that, only the ends of the tasks end the wait.
fn wait_for_all(shared: &Arc<SharedScope>) {
    shared.count.leave();
    while !shared.count.is_done() {
        let worker = waiting_worker();
        let tcb = worker.current();
        if !shared.is_cancelled() && limits::is_interrupted(worker, tcb) {
            shared.cancel();
        }
        if shared.is_cancelled() {
            return wait_for_borrowers(worker, REASON, || shared.count.is_done());
        }
        let view = limits::view(tcb);
        let wait = WaitSpec { reason: REASON, only_this_run: true, uncancellable: view.shielded, ..WaitSpec::DEFAULT };
        // Parks directly and not by `wait::wait`, because the forced unwind must not leave this frame.
        worker.lenders.set(worker.lenders.get() + 1);
        worker.park(tcb, wait, view.deadline());
        worker.lenders.set(worker.lenders.get() - 1);
    }
}

/// Returns the worker of the caller, which must be able to wait.
fn waiting_worker<'a>() -> &'a Worker {
    worker().filter(|worker| can_suspend(worker)).unwrap_or_else(|| {
        // A task still borrows from the frame of the scope, so it can neither wait, return nor unwind.
        abort_naming(Kind::Task, None, "cannot wait for its scope's tasks here, and they borrow from it")
    })
}

impl<'scope> ScopeAnywhere<'scope, '_> {
    /// Spawns `f` as a task of this scope, on any worker, like [`spawn_anywhere`](super::spawn_anywhere). In a cancelled scope the task
    /// never runs.
    ///
    /// Never waits. May be called on every thread inside the scope, also outside of the run. If the handle is dropped, the task continues to
    /// run, and the scope still waits for it.
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedRemoteHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.send(None, f)
    }

    /// Like [`spawn`](Self::spawn), with the name and the options of a builder. If its sizes are out of bounds, or if no stack can be
    /// allocated, the join returns [`JoinError::Stack`].
    ///
    /// # Panics
    ///
    /// Panics if the run has no worker of the number that [`Builder::on`] has set, or if the builder is
    /// [eager](Builder::eager) and the call is inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// let length = cede::run(|| {
    ///     cede::task::scope_anywhere(|s| {
    ///         let reader = cede::Builder::new().name("reader");
    ///         s.spawn_with(reader, || (text.len(), cede::task::current().unwrap().name().map(str::to_string))).join().unwrap()
    ///     })
    /// })?;
    /// assert_eq!(length, (8, Some("reader".to_string())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_with<F, T>(&'scope self, builder: Builder, f: F) -> ScopedRemoteHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.send(Some(Box::new(builder)), f)
    }

    #[track_caller]
    fn send<F, T>(&'scope self, builder: Option<Box<Builder>>, f: F) -> ScopedRemoteHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let crew = &self.shared.crew;
        let (on, eager) = builder.as_ref().map_or((None, false), |builder| (builder.worker(), builder.is_eager()));
        check_worker(crew, on);
        if eager && let Some(own) = worker().filter(|own| own.is_member_of(crew)) {
            // Before the task counts, because its first turn would be refused.
            wait::refuse(own);
        }
        self.shared.count.enter();
        let task = RemoteTask::new(builder, Some(Arc::clone(&self.shared)), f);
        let handle = ScopedRemoteHandle::new(Arc::clone(&task) as _, crew);
        // SAFETY: what `f` and its result borrow outlives `'scope`. The task ends before `scope_anywhere` returns (points 1 to 5 in the
        // head of this file), and the handle does not outlive `'scope`.
        if !unsafe { task.send(crew, on, eager) } {
            // SAFETY: the task was refused.
            unsafe { task.give_up(JoinError::Cancelled) };
        }
        handle
    }

    /// Cancels all tasks of the scope, tasks spawned later included. The waits of the scope's closure return
    /// [`Cancelled`](crate::task::Cancelled) until it returns. Never waits, and may be called on every thread inside the scope.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// Returns whether the scope was cancelled: by [`cancel`](Self::cancel), by a panic in the scope, or by a cancel or deadline that
    /// [`scope_anywhere`] passed on to the tasks after the closure had returned.
    pub fn is_cancelled(&self) -> bool {
        self.shared.is_cancelled()
    }
}

impl fmt::Debug for ScopeAnywhere<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeAnywhere")
            .field("unfinished", &self.shared.count.left())
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
