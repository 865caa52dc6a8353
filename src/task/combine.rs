//! Waiting for several tasks: all of them, the first, or one after the other.

use super::group::sealed::Internal;
use super::group::{Group, Joinable, cancel_and_settle, settle};
use super::join_error::JoinError;
use crate::wait::{Cancelled, running};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Waits for all tasks and returns their results in the order of the handles. One task's error does not end the wait for the rest.
///
/// `gather` is a second name of this function, for readers who know asyncio.
///
/// If the waiting task is cancelled, or a deadline around this call passes, all tasks are cancelled and still awaited: the
/// results are complete, and the next wait returns [`Cancelled`].
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
    results.into_iter().map(|result| result.expect("settled")).collect()
}

fn nothing_yet<T>(count: usize) -> Vec<Option<T>> {
    (0..count).map(|_| None).collect()
}

/// The result of a task that has ended, or was abandoned.
#[track_caller]
fn take<H: Joinable>(handle: &mut H) -> Result<H::Value, JoinError> {
    handle.handle(Internal).join()
}

/// Why a task of [`try_join_all`] gave no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError<E> {
    /// It returned this error.
    #[error("{0}")]
    Returned(E),
    /// It panicked, or was cancelled.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// What the tasks of [`try_join_all`] came to when one of them failed. Nothing is left out.
pub struct TryJoinError<T, E> {
    /// Those that failed, by their places among the handles, the first failure first. That others were cancelled for it is no
    /// failure, unless they returned an error for it.
    pub failures: Vec<(usize, TaskError<E>)>,
    /// The values of those that did not fail, by their places.
    pub values: Vec<(usize, T)>,
    /// The one who waited was cancelled.
    pub interrupted: Option<Cancelled>,
}

// By hand, so that T need not be Debug.
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

/// Waits for all tasks, and returns their values in the order of the handles. When one returns an error or panics, the others
/// are cancelled and awaited.
///
/// # Errors
///
/// [`TryJoinError`] with every error and every value there was.
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
    // In the order in which they ended, up to the first failure.
    let mut order = Vec::new();
    let mut interrupted = None;
    let mut failed = false;
    while !failed && interrupted.is_none() && order.len() < handles.len() {
        match group.next(None) {
            Ok(place) => {
                let place = place.expect("there is no deadline");
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
            _ => unreachable!("none has failed"),
        };
        return Ok(results.into_iter().map(value).collect());
    }
    order.extend((0..handles.len()).filter(|place| results[*place].is_none()));
    let ended_before = order.len() - results.iter().filter(|result| result.is_none()).count();
    cancel_and_settle(&mut handles, &mut results);
    let mut error = TryJoinError { failures: Vec::new(), values: Vec::new(), interrupted };
    for (at, place) in order.into_iter().enumerate() {
        match results[place].take().expect("settled") {
            Ok(Ok(value)) => error.values.push((place, value)),
            Ok(Err(failure)) => error.failures.push((place, TaskError::Returned(failure))),
            // That is what it was told.
            Err(JoinError::Cancelled) if at >= ended_before => {}
            Err(failure) => error.failures.push((place, TaskError::Task(failure))),
        }
    }
    Err(error)
}

/// How a [`race`] went.
#[derive(Debug)]
pub struct Race<T> {
    /// The place of the winner among the handles.
    pub winner: usize,
    /// What the winner came to.
    pub result: Result<T, JoinError>,
    /// What the others came to, by their places: they were cancelled, but may have had a value all the same.
    pub losers: Vec<(usize, Result<T, JoinError>)>,
}

/// Waits for the first task that ends, in whatever way; cancels the others, awaits them, and returns what all came to.
///
/// If the one who waits is cancelled, all tasks are, and the winner is the first that ends then.
///
/// # Panics
///
/// Without any task: nobody would ever win.
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
    assert!(!handles.is_empty(), "a race of nobody has no winner, and would never end");
    let mut results = nothing_yet(handles.len());
    let group = Group::watch(&mut handles);
    let first = group.next(None).ok().flatten();
    if let Some(place) = first {
        results[place] = Some(take(&mut handles[place]));
    }
    cancel_and_settle(&mut handles, &mut results);
    // Where nothing could wait, nobody has ended, and the first handle stands for all.
    let winner = first.or_else(|| group.try_next()).unwrap_or(0);
    let mut results = results.into_iter().map(|result| result.expect("settled")).enumerate().collect::<Vec<_>>();
    let (winner, result) = results.remove(winner);
    Race { winner, result, losers: results }
}

/// When [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When a task has ended, in whatever way.
    First,
    /// When a task has panicked, or all have ended. A task that was cancelled has not panicked.
    FirstError,
    /// When all have ended.
    All,
}

/// Who has ended and who has not when [`wait`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// The places of those that have ended, the one that ended first first.
    pub done: Vec<usize>,
    /// The places of the others, in order.
    pub pending: Vec<usize>,
}

/// Why [`wait`] told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// There is no task to wait for.
    #[error("there is no task to wait for: give at least one handle")]
    NoTasks,
    /// The one who waits was cancelled. The tasks go on.
    #[error("the task was cancelled")]
    Cancelled,
}

impl From<Cancelled> for WaitError {
    fn from(_: Cancelled) -> WaitError {
        WaitError::Cancelled
    }
}

/// Waits until some or all of the tasks have ended, but not longer than `timeout`, and tells which have. Takes no result, and
/// cancels nobody.
///
/// # Errors
///
/// [`WaitError::NoTasks`] without a handle, [`WaitError::Cancelled`] if the one who waits was cancelled. That the time is up is no
/// error.
///
/// ```
/// use cede::task::{When, wait};
/// use std::time::Duration;
/// cede::run(|| {
///     let mut tasks = [cede::spawn(|| cede::task::park("for ever").is_err()), cede::spawn(|| true)];
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
        // Those that have ended by now are told of, however many were asked for.
        let next = if enough { group.try_next() } else { group.next(deadline)? };
        let Some(place) = next else { break };
        done.push(place);
        is_pending[place] = false;
        enough |= match when {
            When::First => true,
            When::FirstError => handles[place].handle(Internal).has_panicked(),
            When::All => false,
        };
    }
    let pending = (0..handles.len()).filter(|place| is_pending[*place]).collect();
    Ok(Waited { done, pending })
}

/// A task of [`as_completed`] that has ended.
#[derive(Debug)]
pub struct Completed<T> {
    /// Its place among the handles.
    pub place: usize,
    /// What it came to.
    pub result: Result<T, JoinError>,
}

/// The tasks as they end: see [`as_completed`].
pub struct AsCompleted<H> {
    handles: Vec<Option<H>>,
    group: Rc<Group>,
    left: usize,
    interrupted: bool,
}

impl<H> AsCompleted<H> {
    /// The handles of those that have not come yet, with their places.
    pub fn into_pending(self) -> Vec<(usize, H)> {
        self.handles.into_iter().enumerate().filter_map(|(place, handle)| Some((place, handle?))).collect()
    }
}

impl<H> fmt::Debug for AsCompleted<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("pending", &self.left).finish_non_exhaustive()
    }
}

/// Gives the tasks in the order in which they end. Each `next` waits for the one that ends next.
///
/// If the one who waits is cancelled, or a deadline around this comes, the last item is [`JoinError::Interrupted`], with the place
/// of a task that has not ended; the tasks go on. Dropping the iterator detaches those that have not come;
/// [`into_pending`](AsCompleted::into_pending) gives their handles back.
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
                let place = place.expect("there is no deadline");
                self.left -= 1;
                let result = take(self.handles[place].as_mut().expect("each ends once"));
                self.handles[place] = None;
                Some(Completed { place, result })
            }
            Err(Cancelled) => {
                self.interrupted = true;
                let place = self.handles.iter().position(Option::is_some).expect("one is left");
                Some(Completed { place, result: Err(JoinError::Interrupted) })
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.interrupted { (0, Some(0)) } else { (0, Some(self.left)) }
    }
}

impl<H: Joinable> std::iter::FusedIterator for AsCompleted<H> {}
