//! `JoinSet`: tasks that are spawned into a set, and joined in the order in which they end.
#![forbid(unsafe_code)]

use super::anywhere::{RemoteHandle, spawn_anywhere};
use super::group::{Group, Joinable, cancel_and_settle, sealed};
use super::handle::JoinHandle;
use super::join_error::JoinError;
use super::spawn::spawn;
use crate::wait::Cancelled;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

/// A set of tasks that all return a `T`: tasks are added at any time, and joined in the order in which they end.
///
/// Dropping the set cancels the tasks in it. [`detach_all`](Self::detach_all) lets them continue instead.
///
/// | | returns | on an error of a task | if the caller is cancelled |
/// |---|---|---|---|
/// | [`join_next`](Self::join_next) | the next result | the error; the other tasks continue | `Interrupted`; the tasks stay in the set |
/// | [`shutdown`](Self::shutdown) | nothing | ignored | waits until all tasks have ended |
///
/// ```
/// use cede::task::JoinSet;
/// use cede::time::sleep;
/// use std::time::Duration;
///
/// cede::run(|| {
///     let mut set = JoinSet::new();
///     for ms in [9, 3, 6] {
///         set.spawn(move || sleep(Duration::from_millis(ms)).map(|()| ms));
///     }
///     let mut order = Vec::new();
///     while let Some(result) = set.join_next() {
///         order.push(result.unwrap().unwrap());
///     }
///     assert_eq!(order, [3, 6, 9]);
/// });
/// ```
#[must_use = "dropping the set cancels its tasks"]
pub struct JoinSet<T> {
    /// The tasks by their places in the group.
    handles: Vec<Option<Member<T>>>,
    /// The places without a task.
    unused: Vec<u32>,
    group: Rc<Group>,
}

/// A task of the set.
enum Member<T> {
    Local(JoinHandle<T>),
    Remote(RemoteHandle<T>),
}

impl<T> Joinable for Member<T> {
    type Value = T;
}

impl<T> sealed::Handle<T> for Member<T> {
    fn join(&mut self, internal: sealed::Internal) -> Result<T, JoinError> {
        match self {
            Member::Local(task) => sealed::Handle::join(task, internal),
            Member::Remote(task) => sealed::Handle::join(task, internal),
        }
    }

    fn cancel(&mut self, internal: sealed::Internal) {
        match self {
            Member::Local(task) => sealed::Handle::cancel(task, internal),
            Member::Remote(task) => sealed::Handle::cancel(task, internal),
        }
    }

    fn has_panicked(&mut self, internal: sealed::Internal) -> bool {
        match self {
            Member::Local(task) => sealed::Handle::has_panicked(task, internal),
            Member::Remote(task) => sealed::Handle::has_panicked(task, internal),
        }
    }

    fn watch(&mut self, member: sealed::Member<'_>) -> Option<u64> {
        match self {
            Member::Local(task) => task.watch(member),
            Member::Remote(task) => task.watch(member),
        }
    }
}

impl<T: 'static> JoinSet<T> {
    /// Spawns a task into the set, as [`spawn`] does.
    ///
    /// # Panics
    ///
    /// The panics of [`spawn`].
    #[track_caller]
    pub fn spawn(&mut self, f: impl FnOnce() -> T + 'static) {
        self.insert(spawn(f));
    }

    /// Spawns a task into the set, on any worker, as [`spawn_anywhere`] does.
    ///
    /// # Panics
    ///
    /// The panics of [`spawn_anywhere`].
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut set = cede::task::JoinSet::new();
    ///     (1..=3).for_each(|n| set.spawn_anywhere(move || n * n));
    ///     let mut squares: Vec<i32> = std::iter::from_fn(|| set.join_next()).map(Result::unwrap).collect();
    ///     squares.sort();
    ///     assert_eq!(squares, [1, 4, 9]);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_anywhere(&mut self, f: impl FnOnce() -> T + Send + 'static)
    where
        T: Send,
    {
        self.add(Member::Remote(spawn_anywhere(f)));
    }
}

impl<T> JoinSet<T> {
    /// Creates an empty set.
    pub fn new() -> JoinSet<T> {
        JoinSet { handles: Vec::new(), unused: Vec::new(), group: Group::empty() }
    }

    /// Adds a task that was spawned before, for example by a [`Builder`](crate::Builder).
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut set = cede::task::JoinSet::new();
    ///     set.insert(cede::Builder::new().name("parser").spawn(|| 5).unwrap());
    ///     assert_eq!(set.join_next().unwrap().unwrap(), 5);
    ///     assert!(set.join_next().is_none());
    /// });
    /// ```
    pub fn insert(&mut self, task: JoinHandle<T>) {
        self.add(Member::Local(task));
    }

    fn add(&mut self, mut task: Member<T>) {
        let place = self.unused.pop().unwrap_or_else(|| {
            self.handles.push(None);
            u32::try_from(self.handles.len() - 1).expect("fewer than 2^32 tasks fit into memory")
        });
        self.group.insert(&mut task, place);
        self.handles[place as usize] = Some(task);
    }

    /// Returns the number of tasks in the set: the running ones, and the ended ones that were not joined.
    pub fn len(&self) -> usize {
        self.handles.len() - self.unused.len()
    }

    /// Returns whether the set has no tasks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until a task of the set has ended, removes it, and returns its result; `None` if the set is empty.
    ///
    /// Cancel safety: no result is lost. If the wait is interrupted, all tasks stay in the set.
    ///
    /// # Errors
    ///
    /// Those of [`JoinHandle::join`]. [`JoinError::Interrupted`] means that the caller was cancelled, or that a deadline or scope around the
    /// call ended the wait; a loop over `join_next` must end then.
    ///
    /// # Panics
    ///
    /// The panics of [`JoinHandle::join`].
    #[track_caller]
    pub fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        if self.is_empty() {
            return None;
        }
        match self.group.next(None) {
            Ok(place) => Some(self.take(place.expect("a wait without a deadline returns a task"))),
            Err(Cancelled) => Some(Err(JoinError::Interrupted)),
        }
    }

    /// Like [`join_next`](Self::join_next), but waits until `deadline` at most, by the clock of [`now`](crate::time::now). Returns `None`
    /// then, too: [`is_empty`](Self::is_empty) tells the two apart.
    ///
    /// # Errors
    ///
    /// As [`join_next`](Self::join_next).
    ///
    /// # Panics
    ///
    /// As [`join_next`](Self::join_next).
    #[track_caller]
    pub fn join_next_until(&mut self, deadline: Instant) -> Option<Result<T, JoinError>> {
        if self.is_empty() {
            return None;
        }
        match self.group.next(Some(deadline)) {
            Ok(place) => place.map(|place| self.take(place)),
            Err(Cancelled) => Some(Err(JoinError::Interrupted)),
        }
    }

    /// Removes a task that has ended, and returns its result; `None` if no task has. Never waits.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`], [`JoinError::Cancelled`] and [`JoinError::Stack`].
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut set = cede::task::JoinSet::new();
    ///     set.spawn(|| 1);
    ///     assert!(set.try_join_next().is_none());
    ///     cede::yield_now();
    ///     assert_eq!(set.try_join_next().unwrap().unwrap(), 1);
    /// });
    /// ```
    #[track_caller]
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.group.try_next().map(|place| self.take(place))
    }

    /// Takes the result of a task that has ended.
    #[track_caller]
    fn take(&mut self, place: usize) -> Result<T, JoinError> {
        let mut task = self.handles[place].take().expect("each task ends once");
        self.unused.push(place as u32);
        sealed::Handle::join(&mut task, sealed::Internal)
    }

    /// Cancels all tasks of the set, as [`JoinHandle::cancel`] does. They stay in the set until they are joined.
    ///
    /// ```
    /// use std::time::Duration;
    /// cede::run(|| {
    ///     let mut set = cede::task::JoinSet::new();
    ///     set.spawn(|| cede::time::sleep(Duration::MAX).is_err());
    ///     cede::yield_now();
    ///     set.cancel_all();
    ///     assert_eq!(set.join_next().unwrap().unwrap(), true);
    /// });
    /// ```
    #[doc(alias = "abort_all")]
    pub fn cancel_all(&mut self) {
        for task in self.handles.iter_mut().flatten() {
            sealed::Handle::cancel(task, sealed::Internal);
        }
    }

    /// Cancels all tasks and waits until they have ended, also if the caller is cancelled. Their results are dropped; the set is empty
    /// afterwards.
    ///
    /// # Panics
    ///
    /// The panics of [`JoinHandle::join`].
    ///
    /// ```
    /// use std::time::Duration;
    /// cede::run(|| {
    ///     let mut set = cede::task::JoinSet::new();
    ///     (0..3).for_each(|_| set.spawn(|| drop(cede::time::sleep(Duration::MAX))));
    ///     set.shutdown();
    ///     assert!(set.is_empty());
    /// });
    /// ```
    #[track_caller]
    pub fn shutdown(&mut self) {
        let mut tasks: Vec<_> = self.clear();
        let mut results: Vec<_> = tasks.iter().map(|_| None).collect();
        cancel_and_settle(&mut tasks, &mut results);
    }

    /// Removes all tasks from the set, and lets them continue.
    pub fn detach_all(&mut self) {
        drop(self.clear());
    }

    /// Takes all tasks out. They still tell the group of their ends, so the set gets another one.
    fn clear(&mut self) -> Vec<Member<T>> {
        self.group = Group::empty();
        self.unused.clear();
        std::mem::take(&mut self.handles).into_iter().flatten().collect()
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.cancel_all();
    }
}

impl<T> Extend<JoinHandle<T>> for JoinSet<T> {
    fn extend<I: IntoIterator<Item = JoinHandle<T>>>(&mut self, tasks: I) {
        tasks.into_iter().for_each(|task| self.insert(task));
    }
}

impl<T> FromIterator<JoinHandle<T>> for JoinSet<T> {
    fn from_iter<I: IntoIterator<Item = JoinHandle<T>>>(tasks: I) -> JoinSet<T> {
        let mut set = JoinSet::new();
        set.extend(tasks);
        set
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish_non_exhaustive()
    }
}
