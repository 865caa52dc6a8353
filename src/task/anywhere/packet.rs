//! The packet of a task that any thread may join: the way of its outcome, and of its cancel.

use super::shared_scope::SharedScope;
use super::slot::{Cancel, Slot, Waiter};
use crate::scheduler::{Holder, Task};
use crate::task::JoinError;
use crate::task::result::unhandled;
use crate::wait::WakeHandle;
use std::sync::Arc;
use std::task::Waker;

/// Shared by the task and its handle.
pub(super) struct Packet<T> {
    slot: Slot<(Task, WakeHandle), Result<T, JoinError>>,
    /// The task, for reports about the tasks that join it.
    holder: Holder,
    /// The scope of the task, which takes its panic if no handle does.
    scope: Option<Arc<SharedScope>>,
}

impl<T> Packet<T> {
    pub(super) fn new(scope: Option<Arc<SharedScope>>) -> Packet<T> {
        Packet { slot: Slot::new(), holder: Holder::none(), scope }
    }

    pub(super) fn scope(&self) -> Option<&Arc<SharedScope>> {
        self.scope.as_ref()
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Takes the outcome. Returns `None` if there is none yet.
    ///
    /// # Safety
    ///
    /// The caller has the handle, exclusively.
    ///
    /// # Panics
    ///
    /// Panics if the outcome was taken before.
    #[track_caller]
    pub(super) unsafe fn take(&self) -> Option<Result<T, JoinError>> {
        // SAFETY: the caller has the handle.
        unsafe { self.slot.take() }
    }

    /// Returns the outcome, if it is there and was not taken.
    ///
    /// # Safety
    ///
    /// The caller has the handle, and takes no outcome while the reference is alive.
    pub(super) unsafe fn peek(&self) -> Option<&Result<T, JoinError>> {
        // SAFETY: the caller has the handle.
        unsafe { self.slot.peek() }
    }

    /// Sets the waiter, unless there is an outcome, or was one. Returns whether to wait.
    pub(super) fn begin_wait(&self, waiter: Waiter) -> bool {
        self.slot.begin_wait(waiter)
    }

    /// Returns whether a poll with this waker would set the same waiter again.
    pub(super) fn is_polled_with(&self, waker: &Waker) -> bool {
        self.slot.is_polled_with(waker)
    }

    pub(super) fn end_wait(&self) {
        self.slot.end_wait();
    }

    pub(super) fn is_finished(&self) -> bool {
        self.slot.is_done()
    }

    pub(super) fn task(&self) -> Option<Task> {
        self.slot.started().map(|(task, _)| task.clone())
    }

    /// Cancels the task. Returns true if it had not ended, and was not cancelled before its start.
    pub(super) fn cancel(&self) -> bool {
        match self.slot.cancel() {
            Cancel::Started((_, task)) => task.cancel(),
            Cancel::BeforeStart => {}
            Cancel::NoEffect => return false,
        }
        true
    }

    /// Notes that the handle is dropped. A panic that it has not taken goes to the scope, or to the hook for unhandled panics.
    ///
    /// # Safety
    ///
    /// The caller drops the handle.
    pub(super) unsafe fn detach(&self) {
        // SAFETY: the caller has the handle, and does not use it any more.
        self.report_panic(unsafe { self.slot.detach() });
    }

    /// Notes that the task exists. Returns whether it was cancelled before.
    ///
    /// # Safety
    ///
    /// The caller starts the task. Called once.
    pub(super) unsafe fn start(&self, task: Task, waker: WakeHandle) -> bool {
        self.holder.set(waker);
        // SAFETY: the caller starts the task.
        unsafe { self.slot.start((task, waker)) }
    }

    /// Returns whether the task exists, or has ended.
    pub(super) fn has_started(&self) -> bool {
        self.slot.started().is_some()
    }

    /// Sets the outcome, and wakes the waiter.
    ///
    /// # Safety
    ///
    /// The caller is the task, or gives it up. Called once.
    pub(super) unsafe fn complete(&self, outcome: Result<T, JoinError>) {
        // SAFETY: the caller is the task, or gives it up.
        let (left, waiter) = unsafe { self.slot.complete(outcome) };
        self.report_panic(left);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Passes a panic that no handle can take any more to the scope, or to the hook for unhandled panics.
    fn report_panic(&self, outcome: Option<Result<T, JoinError>>) {
        if let (Some(task), Some(Err(JoinError::Panicked(payload)))) = (self.slot.started(), outcome) {
            match &self.scope {
                Some(scope) => scope.add_failure(task.0.clone(), payload),
                None => unhandled(&task.0, payload),
            }
        }
    }
}
