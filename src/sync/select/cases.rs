//! The cases of a select that are not channel operations: a time, the end of a task, a promise.

use super::Case;
use super::sealed::{Granted, Internal, Operation, Plan, Registration};
use crate::sync::promise::{Completion, PromiseError};
use crate::task::{JoinError, JoinHandle};
use crate::time::now;
use std::fmt;
use std::time::{Duration, Instant};

/// A case that becomes ready at a time. Returned by [`after`] and [`at`].
#[derive(Debug)]
pub struct AfterCase {
    /// `None` if the case never becomes ready.
    deadline: Option<Instant>,
}

/// Returns a case that becomes ready when `duration` has passed. A duration too long to be represented never passes.
///
/// ```
/// use cede::sync::select;
/// use std::time::Duration;
/// let mut soon = select::after(Duration::from_millis(1));
/// let mut never = select::after(Duration::MAX);
/// let mut select = select::Select::new();
/// select.add(&mut never);
/// select.add(&mut soon);
/// assert_eq!(select.wait(), Ok(1));
/// ```
pub fn after(duration: Duration) -> AfterCase {
    AfterCase { deadline: now().checked_add(duration) }
}

/// Returns a case that becomes ready at `deadline`, by the clock of [`time::now`](crate::time::now).
pub fn at(deadline: Instant) -> AfterCase {
    AfterCase { deadline: Some(deadline) }
}

impl AfterCase {
    /// Does nothing. Every case has this method; a time has no result.
    pub fn take(&mut self) {}
}

impl Case for AfterCase {}

impl Operation for AfterCase {
    fn try_complete(&mut self, _: Internal) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now())
    }

    fn enqueue(&mut self, _: Registration, plan: &mut Plan, _: Internal) -> bool {
        plan.deadline = [plan.deadline, self.deadline].into_iter().flatten().min();
        true
    }

    fn is_ready(&self, _: Registration, _: Internal) -> bool {
        false // the select waits with the earliest deadline of its cases
    }

    fn leave(&mut self, _: Granted, _: Internal) {}
}

/// A case that becomes ready when a task ends. Returned by [`join`].
pub struct JoinCase<'a, T> {
    handle: &'a mut JoinHandle<T>,
    listens: bool,
    result: Option<Result<T, JoinError>>,
}

/// Returns a case that becomes ready when the task has ended.
///
/// Cancel safety: a cancelled select, and one that chooses another case, leaves the result in `handle`.
///
/// ```
/// use cede::sync::select;
/// cede::run(|| {
///     let mut handle = cede::spawn(|| 42);
///     let mut case = select::join(&mut handle);
///     let mut select = select::Select::new();
///     select.add(&mut case);
///     select.wait().unwrap();
///     assert_eq!(case.take().unwrap(), 42);
/// });
/// ```
pub fn join<T>(handle: &mut JoinHandle<T>) -> JoinCase<'_, T> {
    JoinCase { handle, listens: false, result: None }
}

impl<T> JoinCase<'_, T> {
    /// Returns the result of the task. Call it once, after the select has chosen this case.
    ///
    /// # Errors
    ///
    /// The errors of [`JoinHandle::try_join`].
    ///
    /// # Panics
    ///
    /// If this case was not chosen, or its result was taken before.
    #[track_caller]
    pub fn take(&mut self) -> Result<T, JoinError> {
        self.result.take().expect("only the chosen case has a result, and `take` returns it once")
    }
}

impl<T> Case for JoinCase<'_, T> {}

impl<T> Operation for JoinCase<'_, T> {
    fn try_complete(&mut self, _: Internal) -> bool {
        self.result = self.handle.join_now();
        self.result.is_some()
    }

    fn enqueue(&mut self, _: Registration, _: &mut Plan, _: Internal) -> bool {
        self.listens = self.handle.listen();
        self.listens
    }

    fn is_ready(&self, _: Registration, _: Internal) -> bool {
        self.handle.is_finished()
    }

    fn leave(&mut self, _: Granted, _: Internal) {
        if std::mem::take(&mut self.listens) {
            self.handle.stop_listening();
        }
    }
}

/// A case that becomes ready when a promise is completed. Returned by [`wait`].
pub struct WaitCase<'a, T> {
    completion: &'a Completion<T>,
    waiter: Option<crate::wait::queue::WaiterId>,
}

/// Returns a case that becomes ready when the promise was set, has failed or was dropped.
///
/// ```
/// use cede::sync::{Promise, select};
/// let promise = Promise::new();
/// let completion = promise.completion();
/// promise.set(1).unwrap();
/// let mut case = select::wait(&completion);
/// let mut select = select::Select::new();
/// select.add(&mut case);
/// select.wait().unwrap();
/// assert_eq!(case.take().unwrap(), &1);
/// ```
pub fn wait<T>(completion: &Completion<T>) -> WaitCase<'_, T> {
    WaitCase { completion, waiter: None }
}

impl<'a, T> WaitCase<'a, T> {
    /// Returns the value of the promise. Call it after the select has chosen this case.
    ///
    /// # Errors
    ///
    /// [`PromiseError::Failed`] and [`PromiseError::Dropped`].
    ///
    /// # Panics
    ///
    /// If the promise is not completed: this case was not chosen.
    #[track_caller]
    pub fn take(&mut self) -> Result<&'a T, PromiseError> {
        self.completion.get().expect("only the chosen case has a result")
    }
}

impl<T> Case for WaitCase<'_, T> {}

impl<T> Operation for WaitCase<'_, T> {
    fn try_complete(&mut self, _: Internal) -> bool {
        self.completion.get().is_some()
    }

    fn enqueue(&mut self, registration: Registration, plan: &mut Plan, _: Internal) -> bool {
        plan.external = true;
        self.waiter = self.completion.enqueue(&plan.waker, (registration.select_state, registration.index));
        self.waiter.is_some()
    }

    fn is_ready(&self, _: Registration, _: Internal) -> bool {
        self.completion.get().is_some()
    }

    fn leave(&mut self, _: Granted, _: Internal) {
        if let Some(waiter) = self.waiter.take() {
            self.completion.remove(waiter);
        }
    }
}

impl<T> fmt::Debug for JoinCase<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinCase").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for WaitCase<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitCase").finish_non_exhaustive()
    }
}
