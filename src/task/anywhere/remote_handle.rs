//! `RemoteHandle`: joins and cancels a task from any thread.
#![forbid(unsafe_code)]

use super::packet::{Packet, Waiter};
use super::remote_task::HasPacket;
use crate::scheduler::Task;
use crate::scheduler::crew::Crew;
use crate::task::JoinError;
use crate::wait::{self, WaitSpec, WakeHandle, wait_anywhere, worker};
use std::fmt;
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
pub struct RemoteHandle<T> {
    task: Arc<dyn HasPacket<T>>,
    /// The crew that runs the task, as a number to compare.
    crew: usize,
}

impl<T> RemoteHandle<T> {
    pub(super) fn new(task: Arc<dyn HasPacket<T>>, crew: &Arc<Crew>) -> RemoteHandle<T> {
        RemoteHandle { task, crew: Arc::as_ptr(crew) as usize }
    }

    fn packet(&self) -> &Packet<T> {
        self.task.packet()
    }

    /// Returns whether the calling code belongs to the run of the task.
    fn is_here(&self) -> bool {
        let member = worker().and_then(|worker| worker.existing_member());
        member.is_some_and(|member| Arc::as_ptr(member.crew()) as usize == self.crew)
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
        wait::consume_budget();
        loop {
            if let Some(outcome) = self.packet().take() {
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
        self.packet().take()
    }

    /// Returns whether the task has ended, or will never run.
    pub fn is_finished(&self) -> bool {
        self.packet().is_finished()
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
        self.packet().cancel()
    }

    /// Returns the number and the name of the task; `None` before it starts.
    pub fn task(&self) -> Option<Task> {
        self.packet().task()
    }
}

impl<T> Future for RemoteHandle<T> {
    type Output = Result<T, JoinError>;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(outcome) = self.packet().take() {
                return Poll::Ready(outcome);
            }
            let waker = cx.waker();
            if self.packet().is_polled_with(waker) || self.packet().begin_wait(Waiter::Poll(waker.clone())) {
                return Poll::Pending;
            }
        }
    }
}

impl<T> Drop for RemoteHandle<T> {
    fn drop(&mut self) {
        self.packet().detach();
    }
}

impl<T> fmt::Debug for RemoteHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle")
            .field("task", &self.task())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
