//! Combinators that wait for several tasks: `join_all`, `try_join_all`, `race`, `wait` and `as_completed`.

use super::group::sealed::Internal;
use super::group::{Group, Joinable, cancel_and_settle, settle};
use super::join_error::JoinError;
use crate::wait::{Cancelled, running};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Waits for all tasks and returns their results in the order of the handles. An error of one task does not end the wait
/// for the rest.
///
/// `gather` is a second name of this function, for readers who know asyncio.
///
/// Cancel safety: no result is lost. If the waiting task is cancelled, or a deadline around this call passes, all tasks
/// are cancelled and still awaited: the results are complete, and the next wait returns [`Cancelled`]. If no wait is
/// possible (the thread is panicking, or the run is deadlocked), the result of a task that has not ended is
/// [`JoinError::Interrupted`], and the task is detached.
///
/// # Panics
///
/// Panics if the result of a task was already taken, or if the call would have to wait in a callback or inside
/// [`no_suspend`](crate::no_suspend).
///
/// ```
/// cede::run(|| {
///     let tasks = (1..=3).map(|n| cede::spawn(move || if n == 2 { panic!("two") } else { n }));
///     let results = cede::join_all(tasks.collect::<Vec<_>>());
///     assert_eq!(*results[0].as_ref().unwrap(), 1);
///     assert!(results[1].is_err());
///     assert_eq!(*results[2].as_ref().unwrap(), 3);
/// });
/// ```
#[track_caller]
#[doc(alias = "JoinSet")]
#[doc(alias = "join_set")]
#[doc(alias = "wait_group")]
pub fn join_all<H: Joinable>(handles: impl IntoIterator<Item = H>) -> Vec<Result<H::Value, JoinError>> {
    let mut handles: Vec<H> = handles.into_iter().collect();
    let mut results = nothing_yet(handles.len());
    settle(&mut handles, &mut results);
    results.into_iter().map(|result| result.expect("every task is settled")).collect()
}

/// Returns `count` empty places for results.
fn nothing_yet<T>(count: usize) -> Vec<Option<T>> {
    (0..count).map(|_| None).collect()
}

/// Takes the result of a task that has ended or was abandoned.
#[track_caller]
fn take<H: Joinable>(handle: &mut H) -> Result<H::Value, JoinError> {
    handle.join(Internal)
}

/// The error of one task of [`try_join_all`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError<E> {
    /// The task returned this error.
    #[error("{0}")]
    Returned(E),
    /// The task panicked or was cancelled.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// The error of [`try_join_all`]: the failures and the values of all tasks, each with the index of the task's handle.
pub struct TryJoinError<T, E> {
    /// The tasks that failed: the first failure first, the rest in the order of the handles. A task that was cancelled
    /// because of the first failure is not listed, unless it returned an error or panicked.
    pub failures: Vec<(usize, TaskError<E>)>,
    /// The values of the tasks that succeeded.
    pub values: Vec<(usize, T)>,
    /// Set if the wait was interrupted: the waiting task was cancelled, or a deadline or scope around the call ended it.
    pub interrupted: Option<Cancelled>,
}

// Implemented by hand, so that `T` need not implement `Debug`.
impl<T, E: fmt::Debug> fmt::Debug for TryJoinError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryJoinError")
            .field("failures", &self.failures)
            .field("interrupted", &self.interrupted)
            .finish_non_exhaustive()
    }
}

impl<T, E: fmt::Display> fmt::Display for TryJoinError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.failures.as_slice(), &self.interrupted) {
            ([], Some(cancelled)) => write!(f, "the wait for the tasks was interrupted: {cancelled}"),
            ([(place, error)], _) => write!(f, "task {place} failed: {error}"),
            (failures, _) => {
                write!(f, "{} tasks failed:", failures.len())?;
                failures.iter().try_for_each(|(place, error)| write!(f, "\n  task {place}: {error}"))
            }
        }
    }
}

impl<T, E: fmt::Debug + fmt::Display> std::error::Error for TryJoinError<T, E> {}

/// Waits for all tasks and returns their values in the order of the handles. At the first failure, cancels the remaining
/// tasks and waits for them.
///
/// A task fails if it returns `Err`, panics, or is cancelled.
///
/// Cancel safety: no result is lost. If the waiting task is cancelled, or a deadline around this call passes, all tasks
/// are cancelled and still awaited, and the error contains their results.
///
/// # Errors
///
/// [`TryJoinError`] if a task failed or the wait was interrupted. It contains every failure and every value.
///
/// # Panics
///
/// The panics of [`join_all`].
///
/// ```
/// cede::run(|| {
///     let tasks = ["1", "x", "3"].map(|text| cede::spawn(move || text.parse::<u32>()));
///     let error = cede::try_join_all(tasks).unwrap_err();
///     assert_eq!(error.failures.len(), 1);
///     assert_eq!(error.to_string(), "task 1 failed: invalid digit found in string");
/// });
/// ```
#[track_caller]
pub fn try_join_all<H, T, E>(handles: impl IntoIterator<Item = H>) -> Result<Vec<T>, TryJoinError<T, E>>
where
    H: Joinable<Value = Result<T, E>>,
{
    let mut handles: Vec<H> = handles.into_iter().collect();
    let mut results = nothing_yet(handles.len());
    let group = Group::watch(&mut handles);
    // The indices of the tasks that have ended, in the order of their ends, up to the first failure.
    let mut order = Vec::new();
    let mut interrupted = None;
    let mut failed = false;
    while !failed && interrupted.is_none() && order.len() < handles.len() {
        match group.next(None) {
            Ok(place) => {
                let place = place.expect("a wait without a deadline returns a task");
                let result = take(&mut handles[place]);
                failed = !matches!(result, Ok(Ok(_)));
                results[place] = Some(result);
                order.push(place);
            }
            Err(cancelled) => interrupted = Some(cancelled),
        }
    }
    if !failed && interrupted.is_none() {
        let value = |result| match result {
            Some(Ok(Ok(value))) => value,
            _ => unreachable!("no task has failed"),
        };
        return Ok(results.into_iter().map(value).collect());
    }
    // The rest of `order` is cancelled here. Its first `ended_before` tasks ended by themselves.
    order.extend((0..handles.len()).filter(|place| results[*place].is_none()));
    let ended_before = order.len() - results.iter().filter(|result| result.is_none()).count();
    cancel_and_settle(&mut handles, &mut results);
    let mut error = TryJoinError { failures: Vec::new(), values: Vec::new(), interrupted };
    for (at, place) in order.into_iter().enumerate() {
        match results[place].take().expect("every task is settled") {
            Ok(Ok(value)) => error.values.push((place, value)),
            Ok(Err(failure)) => error.failures.push((place, TaskError::Returned(failure))),
            // Cancelled because of the first failure or the interruption: no failure of its own.
            Err(JoinError::Cancelled) if at >= ended_before => {}
            Err(failure) => error.failures.push((place, TaskError::Task(failure))),
        }
    }
    Err(error)
}

/// The outcome of a [`race`].
#[derive(Debug)]
pub struct Race<T> {
    /// The index of the winner's handle.
    pub winner: usize,
    /// The result of the winner.
    pub result: Result<T, JoinError>,
    /// The results of the remaining tasks, each with the index of its handle. These tasks were cancelled, but may have
    /// returned a value nevertheless.
    pub losers: Vec<(usize, Result<T, JoinError>)>,
}

/// Waits until one task has ended, in any way. Then cancels the remaining tasks, waits for them, and returns all results.
///
/// A task that panics first also wins.
///
/// Cancel safety: no result is lost. If the waiting task is cancelled, or a deadline around this call passes, all tasks
/// are cancelled and still awaited. The winner is then the first task to end.
///
/// # Panics
///
/// Panics if there are no handles, and where [`join_all`] panics.
///
/// ```
/// use std::time::Duration;
/// cede::run(|| {
///     let runner = |ms| cede::spawn(move || cede::time::sleep(Duration::from_millis(ms)).map(|()| ms));
///     let race = cede::race([runner(1000), runner(1)]);
///     assert_eq!(race.winner, 1);
///     assert_eq!(race.result.unwrap(), Ok(1));
///     assert!(race.losers[0].1.as_ref().unwrap().is_err()); // it was cancelled, and returned that
/// });
/// ```
#[track_caller]
pub fn race<H: Joinable>(handles: impl IntoIterator<Item = H>) -> Race<H::Value> {
    let mut handles: Vec<H> = handles.into_iter().collect();
    assert!(!handles.is_empty(), "there is no task to race: give at least one handle");
    let mut results = nothing_yet(handles.len());
    let group = Group::watch(&mut handles);
    let first = group.next(None).ok().flatten();
    if let Some(place) = first {
        results[place] = Some(take(&mut handles[place]));
    }
    cancel_and_settle(&mut handles, &mut results);
    // If no wait was possible and no task has ended, all results are interruptions: the first handle is the winner.
    let winner = first.or_else(|| group.try_next()).unwrap_or(0);
    let mut results =
        results.into_iter().map(|result| result.expect("every task is settled")).enumerate().collect::<Vec<_>>();
    let (winner, result) = results.remove(winner);
    Race { winner, result, losers: results }
}

/// The condition under which [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// A task has ended, in any way.
    First,
    /// A task has panicked, or all tasks have ended. A cancelled task does not count as panicked.
    FirstError,
    /// All tasks have ended.
    All,
}

/// The outcome of [`wait`]: the indices of the handles whose tasks have ended, and of the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// The tasks that have ended, in the order of their ends.
    pub done: Vec<usize>,
    /// The tasks that have not ended, in the order of the handles.
    pub pending: Vec<usize>,
}

/// The error of [`wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// No handle was given.
    #[error("there is no task to wait for: give at least one handle")]
    NoTasks,
    /// The waiting task was cancelled, or a deadline or scope around the call ended the wait. The tasks continue.
    #[error("the wait was cancelled")]
    Cancelled,
}

impl From<Cancelled> for WaitError {
    fn from(_: Cancelled) -> WaitError {
        WaitError::Cancelled
    }
}

/// Waits until the condition `when` holds, but at most for `timeout`, and returns which tasks have ended. Takes no results
/// and cancels no tasks. `None` waits without a timeout.
///
/// A timeout that passes is not an error: the tasks that have not ended are in [`Waited::pending`].
///
/// Cancel safety: a cancelled `wait` has no effect on the tasks.
///
/// # Errors
///
/// [`WaitError::NoTasks`] if there are no handles. [`WaitError::Cancelled`] if the waiting task was cancelled, or a
/// deadline or scope around the call ended the wait.
///
/// # Panics
///
/// Panics if the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend), or if called with a
/// timeout outside a run.
///
/// ```
/// use cede::task::{When, wait};
/// use std::time::Duration;
/// cede::run(|| {
///     let mut tasks = [cede::spawn(|| cede::task::park("a message").is_err()), cede::spawn(|| true)];
///     let waited = wait(&mut tasks, When::First, None).unwrap();
///     assert_eq!((waited.done, waited.pending), (vec![1], vec![0]));
///     let waited = wait(&mut tasks, When::All, Some(Duration::from_millis(1))).unwrap();
///     assert_eq!(waited.pending, [0]);
///     tasks[0].cancel();
/// });
/// ```
#[track_caller]
pub fn wait<H: Joinable>(handles: &mut [H], when: When, timeout: Option<Duration>) -> Result<Waited, WaitError> {
    if handles.is_empty() {
        return Err(WaitError::NoTasks);
    }
    let deadline = timeout.and_then(|timeout| running("wait for tasks").clock.now().checked_add(timeout));
    let group = Group::watch(handles);
    let mut done = Vec::new();
    let mut is_pending = vec![true; handles.len()];
    let mut enough = false;
    while done.len() < handles.len() {
        // After the condition holds, list every further task that has ended by now, without waiting.
        let next = if enough { group.try_next() } else { group.next(deadline)? };
        let Some(place) = next else { break };
        done.push(place);
        is_pending[place] = false;
        enough |= match when {
            When::First => true,
            When::FirstError => handles[place].has_panicked(Internal),
            When::All => false,
        };
    }
    let pending = (0..handles.len()).filter(|place| is_pending[*place]).collect();
    Ok(Waited { done, pending })
}

/// An item of [`AsCompleted`]: a task that has ended. If a wait was interrupted, the last item is a task that has not
/// ended, with [`JoinError::Interrupted`].
#[derive(Debug)]
pub struct Completed<T> {
    /// The index of the task's handle.
    pub place: usize,
    /// The result of the task.
    pub result: Result<T, JoinError>,
}

/// An iterator over tasks in the order in which they end; see [`as_completed`].
#[must_use = "the iterator waits only when an item is asked for"]
pub struct AsCompleted<H> {
    handles: Vec<Option<H>>,
    group: Rc<Group>,
    left: usize,
    interrupted: bool,
}

impl<H> AsCompleted<H> {
    /// Returns the handles of the tasks that the iterator has not returned, each with its index.
    pub fn into_pending(self) -> Vec<(usize, H)> {
        self.handles.into_iter().enumerate().filter_map(|(place, handle)| Some((place, handle?))).collect()
    }
}

impl<H> fmt::Debug for AsCompleted<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("pending", &self.left).finish_non_exhaustive()
    }
}

/// Returns an iterator over tasks in the order in which they end. Each `next` waits until the next task has ended.
///
/// Dropping the iterator detaches the tasks that it has not returned. [`into_pending`](AsCompleted::into_pending) returns
/// their handles instead.
///
/// Cancel safety: no result is lost. If the waiting task is cancelled, or a deadline around `next` passes, the last item
/// is [`JoinError::Interrupted`] with the index of a task that has not ended. The tasks continue.
///
/// # Panics
///
/// `next` panics if the result of the task was already taken, or if `next` would have to wait in a callback or inside
/// [`no_suspend`](crate::no_suspend).
///
/// ```
/// use std::time::Duration;
/// cede::run(|| {
///     let tasks = [3, 1, 2].map(|ms| cede::spawn(move || cede::time::sleep(Duration::from_millis(ms * 5))));
///     let order: Vec<_> = cede::as_completed(tasks).map(|task| task.place).collect();
///     assert_eq!(order, [1, 2, 0]);
/// });
/// ```
pub fn as_completed<H: Joinable>(handles: impl IntoIterator<Item = H>) -> AsCompleted<H> {
    let mut handles: Vec<H> = handles.into_iter().collect();
    let group = Group::watch(&mut handles);
    AsCompleted { left: handles.len(), handles: handles.into_iter().map(Some).collect(), group, interrupted: false }
}

impl<H: Joinable> Iterator for AsCompleted<H> {
    type Item = Completed<H::Value>;

    #[track_caller]
    fn next(&mut self) -> Option<Completed<H::Value>> {
        if self.left == 0 || self.interrupted {
            return None;
        }
        match self.group.next(None) {
            Ok(place) => {
                let place = place.expect("a wait without a deadline returns a task");
                self.left -= 1;
                let result = take(self.handles[place].as_mut().expect("each task ends once"));
                self.handles[place] = None;
                Some(Completed { place, result })
            }
            Err(Cancelled) => {
                self.interrupted = true;
                let place = self.handles.iter().position(Option::is_some).expect("a task is pending");
                Some(Completed { place, result: Err(JoinError::Interrupted) })
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.interrupted { (0, Some(0)) } else { (0, Some(self.left)) }
    }
}

impl<H: Joinable> std::iter::FusedIterator for AsCompleted<H> {}
