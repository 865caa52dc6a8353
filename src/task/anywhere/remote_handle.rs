//! `RemoteHandle` and `ScopedRemoteHandle`: join and cancel a task from any thread.

use super::packet::Packet;
use super::remote_task::HasPacket;
use super::slot::{HeldJob, Waiter};
use crate::scheduler::Task;
use crate::scheduler::crew::Crew;
use crate::task::JoinError;
use crate::wait::{self, WaitSpec, WakeHandle, running, wait_anywhere, worker};
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The reason of the wait for a task of another worker, in reports.
pub(crate) const REMOTE_JOIN: &str = "a task to end";

/// A handle to a task that returns a `T`, which may be used on every thread: waits for the task, and cancels it. Returned by
/// [`Handle::spawn`](super::Handle::spawn) and [`spawn_anywhere`](super::spawn_anywhere).
///
/// It is also a future of the result. Dropping the handle detaches the task: the task continues to run. If a detached task panics, the hook of
/// [`Config::on_unhandled_panic`](crate::Config::on_unhandled_panic) receives the panic.
pub struct RemoteHandle<T>(Joiner<'static, T>);

/// A handle to a task of a [`scope_anywhere`](super::scope_anywhere) that returns a `T`: waits for the task, and cancels it. Every thread
/// inside the scope may use it.
///
/// It is also a future of the result. If the handle is dropped, the task continues to run, and the scope still waits for it. If the task has
/// panicked and was not joined, the panic is a failure of the scope.
pub struct ScopedRemoteHandle<'scope, T> {
    joiner: Joiner<'scope, T>,
    _scope: PhantomData<&'scope mut &'scope ()>,
}

/// The common part of both handles.
pub(in crate::task) struct Joiner<'a, T> {
    task: Arc<dyn HasPacket<T> + 'a>,
    /// The crew that runs the task, as a number to compare.
    crew: usize,
}

impl<'a, T> Joiner<'a, T> {
    fn new(task: Arc<dyn HasPacket<T> + 'a>, crew: &Arc<Crew>) -> Joiner<'a, T> {
        Joiner { task, crew: Arc::as_ptr(crew) as usize }
    }

    fn packet(&self) -> &Packet<T> {
        self.task.packet()
    }

    /// Takes the outcome. Returns `None` if there is none yet.
    #[track_caller]
    fn take(&mut self) -> Option<Result<T, JoinError>> {
        // SAFETY: `self` is the handle, and borrowed exclusively.
        unsafe { self.packet().take() }
    }

    /// Returns whether the calling code belongs to the run of the task.
    pub(in crate::task) fn is_here(&self) -> bool {
        let member = worker().and_then(|worker| worker.existing_member());
        member.is_some_and(|member| Arc::as_ptr(member.crew()) as usize == self.crew)
    }

    #[track_caller]
    pub(in crate::task) fn join(&mut self) -> Result<T, JoinError> {
        wait::consume_budget();
        loop {
            if let Some(outcome) = self.take() {
                return outcome;
            }
            let mut waiter = None;
            WakeHandle::put_current(&mut waiter);
            let Some(waiter) = waiter else { continue };
            if !self.packet().begin_wait(Waiter::Wait(waiter)) {
                continue;
            }
            let is_here = self.is_here();
            let spec = WaitSpec {
                reason: REMOTE_JOIN,
                only_this_run: is_here,
                external: !is_here,
                holder: self.packet().holder(),
                ..WaitSpec::DEFAULT
            };
            let outcome = wait_anywhere(spec, None);
            self.packet().end_wait();
            if outcome.is_err() && !self.packet().is_finished() {
                return Err(JoinError::Interrupted);
            }
        }
    }

    pub(in crate::task) fn cancel(&self) -> bool {
        self.packet().cancel()
    }

    /// Returns whether the task has panicked and the panic was not taken yet.
    pub(in crate::task) fn has_panicked(&mut self) -> bool {
        // SAFETY: `self` is the handle, and borrowed exclusively.
        matches!(unsafe { self.packet().peek() }, Some(Err(JoinError::Panicked(_))))
    }

    /// Makes the event loop of this worker call `f` when the task has ended, in place of another wait of the handle. Returns false if it has
    /// ended already.
    #[track_caller]
    pub(in crate::task) fn watch(&mut self, f: impl FnOnce() + 'static) -> bool {
        let job = running("wait for tasks").hold(Box::new(f));
        self.packet().begin_wait(Waiter::Job(HeldJob(job)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        loop {
            if let Some(outcome) = self.take() {
                return Poll::Ready(outcome);
            }
            let waker = cx.waker();
            if self.packet().is_polled_with(waker) || self.packet().begin_wait(Waiter::Poll(waker.clone())) {
                return Poll::Pending;
            }
        }
    }

    fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("task", &self.packet().task())
            .field("is_finished", &self.packet().is_finished())
            .finish_non_exhaustive()
    }
}

impl<T> Drop for Joiner<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `self` is the handle, which is dropped.
        unsafe { self.packet().detach() };
    }
}

impl<T> RemoteHandle<T> {
    pub(super) fn new(task: Arc<dyn HasPacket<T>>, crew: &Arc<Crew>) -> RemoteHandle<T> {
        RemoteHandle(Joiner::new(task, crew))
    }

    /// Waits until the task has ended, and returns its value. Suspends the calling task or fiber; blocks a plain thread.
    ///
    /// Cancel safety: an interrupted `join` does not take the result. The task continues, and `join` can be called again.
    ///
    /// # Errors
    ///
    /// * [`JoinError::Panicked`] if the task panicked, with the payload.
    /// * [`JoinError::Cancelled`] if the task never ran, because it was cancelled or its run has ended, or if it was unwound.
    /// * [`JoinError::Stack`] if the task had no stack.
    /// * [`JoinError::Interrupted`] if the wait was cancelled, or ended by a deadline or scope around it.
    ///
    /// # Panics
    ///
    /// Panics if the result was already taken, or if the call would have to wait in a callback or inside
    /// [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn join(&mut self) -> Result<T, JoinError> {
        self.0.join()
    }

    /// Returns the result if the task has ended, and `None` otherwise. Never waits.
    ///
    /// # Errors
    ///
    /// The errors of [`join`](Self::join), without `Interrupted`.
    ///
    /// # Panics
    ///
    /// Panics if the result was already taken.
    #[track_caller]
    pub fn try_join(&mut self) -> Option<Result<T, JoinError>> {
        self.0.take()
    }

    /// Returns whether the task has ended, or will never run.
    pub fn is_finished(&self) -> bool {
        self.0.packet().is_finished()
    }

    /// Cancels the task, as [`JoinHandle::cancel`](super::super::JoinHandle::cancel) does. The worker learns of it between two turns. Returns
    /// false if the task has ended, or was cancelled before its start.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut task = cede::task::spawn_anywhere(|| cede::task::park("a message").is_err());
    ///     std::thread::spawn(move || {
    ///         assert!(task.cancel());
    ///         let _ = task.join(); // Ok(true), or Cancelled if the task had not started
    ///     });
    /// });
    /// ```
    #[doc(alias = "abort")]
    pub fn cancel(&self) -> bool {
        self.0.packet().cancel()
    }

    /// Returns the number and the name of the task; `None` before it starts.
    pub fn task(&self) -> Option<Task> {
        self.0.packet().task()
    }
}

impl<T> RemoteHandle<T> {
    pub(in crate::task) fn joiner(&mut self) -> &mut Joiner<'static, T> {
        &mut self.0
    }
}

impl<T> Future for RemoteHandle<T> {
    type Output = Result<T, JoinError>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl<T> fmt::Debug for RemoteHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt("RemoteHandle", f)
    }
}

impl<'scope, T> ScopedRemoteHandle<'scope, T> {
    pub(super) fn new(task: Arc<dyn HasPacket<T> + 'scope>, crew: &Arc<Crew>) -> ScopedRemoteHandle<'scope, T> {
        ScopedRemoteHandle { joiner: Joiner::new(task, crew), _scope: PhantomData }
    }

    /// Waits until the task has ended, and returns its value. Suspends the calling task or fiber; blocks a plain thread.
    ///
    /// A panic that this call returns is not a failure of the scope any more. Nevertheless, it has cancelled the remaining tasks of the scope.
    ///
    /// Cancel safety: an interrupted `join` does not take the result. The task continues, and `join` can be called again.
    ///
    /// # Errors
    ///
    /// The errors of [`RemoteHandle::join`].
    ///
    /// # Panics
    ///
    /// The panics of [`RemoteHandle::join`].
    #[track_caller]
    pub fn join(&mut self) -> Result<T, JoinError> {
        self.joiner.join()
    }

    /// Returns the result if the task has ended, and `None` otherwise. Never waits.
    ///
    /// # Errors
    ///
    /// The errors of [`join`](Self::join), without `Interrupted`.
    ///
    /// # Panics
    ///
    /// Panics if the result was already taken.
    #[track_caller]
    pub fn try_join(&mut self) -> Option<Result<T, JoinError>> {
        self.joiner.take()
    }

    /// Returns whether the task has ended, or will never run.
    pub fn is_finished(&self) -> bool {
        self.joiner.packet().is_finished()
    }

    /// Cancels the task: see [`RemoteHandle::cancel`].
    #[doc(alias = "abort")]
    pub fn cancel(&self) -> bool {
        self.joiner.packet().cancel()
    }

    /// Returns the number and the name of the task; `None` before it starts.
    pub fn task(&self) -> Option<Task> {
        self.joiner.packet().task()
    }
}

impl<'scope, T> ScopedRemoteHandle<'scope, T> {
    pub(in crate::task) fn joiner(&mut self) -> &mut Joiner<'scope, T> {
        &mut self.joiner
    }
}

impl<T> Future for ScopedRemoteHandle<'_, T> {
    type Output = Result<T, JoinError>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.joiner.poll(cx)
    }
}

impl<T> fmt::Debug for ScopedRemoteHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.joiner.fmt("ScopedRemoteHandle", f)
    }
}
