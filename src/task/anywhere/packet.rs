//! The packet of a task that any thread may join: the way of its outcome, and of its cancel.
#![forbid(unsafe_code)]

use super::shared_scope::SharedScope;
use crate::scheduler::{Holder, Task};
use crate::task::JoinError;
use crate::task::result::unhandled;
use crate::wait::WakeHandle;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The progress of the task.
enum Stage {
    /// Not started.
    Created,
    /// Cancelled before the start.
    Cancelled,
    /// The worker is about to start it.
    Starting,
    Started(WakeHandle),
    /// Ended, or will never start.
    Ended,
}

/// The waiter for the outcome.
pub(super) enum Waiter {
    Wait(WakeHandle),
    Poll(Waker),
}

struct State<T> {
    stage: Stage,
    outcome: Option<Result<T, JoinError>>,
    is_taken: bool,
    /// The handle was dropped.
    is_detached: bool,
    waiter: Option<Waiter>,
    task: Option<Task>,
}

/// Shared by the task and its handle.
pub(super) struct Packet<T> {
    state: Mutex<State<T>>,
    /// The task, for reports about the tasks that join it.
    holder: Holder,
    /// The scope of the task, which takes its panic if no handle does.
    scope: Option<Arc<SharedScope>>,
}

impl<T> Packet<T> {
    pub(super) fn new(scope: Option<Arc<SharedScope>>) -> Packet<T> {
        let state = State {
            stage: Stage::Created,
            outcome: None,
            is_taken: false,
            is_detached: false,
            waiter: None,
            task: None,
        };
        Packet { state: Mutex::new(state), holder: Holder::none(), scope }
    }

    pub(super) fn scope(&self) -> Option<&Arc<SharedScope>> {
        self.scope.as_ref()
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the outcome. Returns `None` if there is none yet.
    ///
    /// # Panics
    ///
    /// Panics if the outcome was taken before.
    #[track_caller]
    pub(super) fn take(&self) -> Option<Result<T, JoinError>> {
        let mut state = self.state();
        let is_again = state.is_taken;
        let outcome = state.outcome.take();
        state.is_taken |= outcome.is_some();
        drop(state);
        assert!(!is_again, "the result of the task was already taken: join, try_join and await return it once");
        outcome
    }

    /// Sets the waiter, unless there is an outcome, or none will come any more because it was taken. Returns whether to wait.
    pub(super) fn begin_wait(&self, waiter: Waiter) -> bool {
        let mut state = self.state();
        let may_wait = state.outcome.is_none() && !state.is_taken;
        // The former waiter may own a waker, which is foreign code.
        let former = if may_wait { state.waiter.replace(waiter) } else { Some(waiter) };
        drop(state);
        drop(former);
        may_wait
    }

    /// Returns whether a poll with this waker would set the same waiter again.
    pub(super) fn is_polled_with(&self, waker: &Waker) -> bool {
        matches!(&self.state().waiter, Some(Waiter::Poll(former)) if former.will_wake(waker))
    }

    pub(super) fn end_wait(&self) {
        let former = self.state().waiter.take();
        drop(former);
    }

    pub(super) fn is_finished(&self) -> bool {
        let state = self.state();
        state.is_taken || state.outcome.is_some()
    }

    pub(super) fn task(&self) -> Option<Task> {
        self.state().task.clone()
    }

    /// Cancels the task. Returns true if it had not ended, and was not cancelled before its start.
    pub(super) fn cancel(&self) -> bool {
        let mut state = self.state();
        match state.stage {
            Stage::Created | Stage::Starting => state.stage = Stage::Cancelled,
            Stage::Started(task) => {
                drop(state);
                // Outside of the lock: the wake may use a waker, which is foreign code.
                task.cancel();
            }
            Stage::Cancelled | Stage::Ended => return false,
        }
        true
    }

    /// Notes that the handle is dropped. A panic that it has not taken goes to the scope, or to the hook for unhandled panics.
    pub(super) fn detach(&self) {
        let mut state = self.state();
        state.is_detached = true;
        let (outcome, task) = (state.outcome.take(), state.task.clone());
        drop(state);
        self.report_panic(task, outcome);
    }

    /// Notes that the worker starts the task now. Returns false if it was cancelled before.
    pub(super) fn begin_start(&self) -> bool {
        let mut state = self.state();
        let may_start = matches!(state.stage, Stage::Created);
        if may_start {
            state.stage = Stage::Starting;
        }
        may_start
    }

    /// Notes that the task exists. Returns whether it was cancelled since [`begin_start`](Self::begin_start).
    pub(super) fn end_start(&self, task: Task, waker: WakeHandle) -> bool {
        self.holder.set(waker);
        let mut state = self.state();
        state.task = Some(task);
        matches!(std::mem::replace(&mut state.stage, Stage::Started(waker)), Stage::Cancelled)
    }

    /// Returns whether the task exists and has not ended.
    pub(super) fn has_started(&self) -> bool {
        matches!(self.state().stage, Stage::Started(_))
    }

    /// Sets the outcome, unless there is one, and wakes the waiter.
    pub(super) fn complete(&self, outcome: Result<T, JoinError>) {
        let mut state = self.state();
        if matches!(state.stage, Stage::Ended) {
            return drop((state, outcome));
        }
        state.stage = Stage::Ended;
        let detached = if state.is_detached {
            Some(outcome)
        } else {
            state.outcome = Some(outcome);
            None
        };
        let (waiter, task) = (state.waiter.take(), state.task.clone());
        drop(state);
        self.report_panic(task, detached);
        match waiter {
            Some(Waiter::Wait(waiter)) => drop(waiter.wake()),
            Some(Waiter::Poll(waker)) => waker.wake(),
            None => {}
        }
    }

    /// Passes a panic that no handle can take any more to the scope, or to the hook for unhandled panics.
    fn report_panic(&self, task: Option<Task>, outcome: Option<Result<T, JoinError>>) {
        if let (Some(task), Some(Err(JoinError::Panicked(payload)))) = (task, outcome) {
            match &self.scope {
                Some(scope) => scope.add_failure(task, payload),
                None => unhandled(&task, payload),
            }
        }
    }
}
