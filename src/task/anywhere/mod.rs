//! Tasks that any worker of a run starts: [`Handle`], [`spawn_anywhere`], [`scope_anywhere`], [`join_anywhere`].
//!
//! A closure that has not started can be sent to the thread of a run; a task that has started stays there. So the closure and its result
//! are `Send`, and the [`RemoteHandle`] can be used on every thread.

mod count;
mod each;
mod fork;
mod packet;
mod remote_handle;
mod remote_task;
mod scope;
mod shared_scope;
mod signal;
mod slot;

pub use self::each::{for_each_anywhere, map_anywhere};
pub use self::fork::join_anywhere;
pub(crate) use self::remote_handle::REMOTE_JOIN;
pub use self::remote_handle::{RemoteHandle, ScopedRemoteHandle};
use self::remote_task::{RemoteTask, check_worker};
pub use self::scope::{ScopeAnywhere, scope_anywhere};
use super::spawn::SpawnError;
use crate::coroutine::Builder;
use crate::scheduler::crew::Crew;
use crate::wait::{running, worker};
use std::fmt;
use std::sync::Arc;

/// A handle to a run, through which every thread spawns tasks in it. Made by [`Handle::current`].
///
/// It can be kept after the end of the run; then [`spawn`](Self::spawn) returns the closure. While a handle exists, a run whose tasks all
/// wait is reported as deadlocked only if it is a [closed world](crate::Config::closed_world), or if the process has no other thread.
pub struct Handle {
    crew: Arc<Crew>,
}

/// The error of [`Handle::spawn`]: the run has ended. Holds the closure, which was not called.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot spawn a task: the run has ended")]
pub struct RunEnded<F>(pub F);

impl<F> fmt::Debug for RunEnded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunEnded").finish_non_exhaustive()
    }
}

impl Handle {
    /// Returns a handle to the current run.
    ///
    /// # Panics
    ///
    /// Panics if called outside a run.
    ///
    /// ```
    /// let sum = cede::run(|| {
    ///     let handle = cede::task::Handle::current();
    ///     let (sender, receiver) = cede::sync::channel::bounded(1);
    ///     std::thread::spawn(move || {
    ///         let mut task = handle.spawn(|| (cede::task::current().unwrap().id() > 1, 3)).unwrap();
    ///         sender.send(task.join().unwrap()).unwrap(); // the thread waits for the task
    ///     });
    ///     receiver.recv().unwrap()
    /// });
    /// assert_eq!(sum, (true, 3));
    /// ```
    #[track_caller]
    pub fn current() -> Handle {
        Handle::of(running("make a handle to the run").member().crew())
    }

    fn of(crew: &Arc<Crew>) -> Handle {
        crew.add_handle();
        Handle { crew: Arc::clone(crew) }
    }

    /// Spawns `f` as a task of the run, on any worker. The task starts after the tasks that are ready on that worker, but at the latest when
    /// they have had 1,024 turns. If main has returned by then, it never runs, and [`join`](RemoteHandle::join) returns
    /// [`JoinError::Cancelled`](super::JoinError::Cancelled).
    ///
    /// Never waits. The other methods of the handle that it returns may be called on every thread.
    ///
    /// # Errors
    ///
    /// [`RunEnded`] with `f` if the run has ended.
    pub fn spawn<F, T>(&self, f: F) -> Result<RemoteHandle<T>, RunEnded<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        send(&self.crew, None, None, f)
    }

    /// Like [`spawn`](Self::spawn), with the name and the options of a builder. If its sizes are out of bounds, or if no stack can be
    /// allocated, the join returns [`JoinError::Stack`](super::JoinError::Stack).
    ///
    /// # Errors
    ///
    /// [`RunEnded`] with `f` if the run has ended.
    ///
    /// ```
    /// let name = cede::run(|| {
    ///     let builder = cede::Builder::new().name("parser");
    ///     let name = || cede::task::current().unwrap().name().map(str::to_string);
    ///     cede::task::Handle::current().spawn_with(builder, name).unwrap().join().unwrap()
    /// });
    /// assert_eq!(name.as_deref(), Some("parser"));
    /// ```
    pub fn spawn_with<F, T>(&self, builder: Builder, f: F) -> Result<RemoteHandle<T>, RunEnded<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let worker = builder.worker();
        send(&self.crew, worker, Some(Box::new(builder)), f)
    }

    /// Like [`spawn`](Self::spawn), but on the worker `worker`, which starts the task between two turns. The worker of main is 0.
    ///
    /// # Errors
    ///
    /// [`RunEnded`] with `f` if the run has ended.
    ///
    /// # Panics
    ///
    /// Panics if the run has no worker of this number.
    ///
    /// ```
    /// let workers = cede::Config::new().workers(2).run(|| {
    ///     let handle = cede::task::Handle::current();
    ///     let spawn = |worker| handle.spawn_on(worker, || cede::task::current().unwrap().worker()).unwrap();
    ///     [spawn(0), spawn(1)].map(|mut task| task.join().unwrap())
    /// })?;
    /// assert_eq!(workers, [0, 1]);
    /// # Ok::<(), cede::RunError<[usize; 2]>>(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F, T>(&self, worker: usize, f: F) -> Result<RemoteHandle<T>, RunEnded<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        send(&self.crew, Some(worker), None, f)
    }

    /// Returns the number of workers of the run: see [`Config::workers`](crate::Config::workers).
    pub fn workers(&self) -> usize {
        self.crew.workers()
    }

    pub(crate) fn crew(&self) -> &Crew {
        &self.crew
    }

    /// Returns whether the run has ended. Another thread may see a run that has just ended as open.
    pub fn is_ended(&self) -> bool {
        !self.crew.is_open()
    }
}

/// Sends a task to `worker`, or to any.
#[track_caller]
fn send<F, T>(
    crew: &Arc<Crew>,
    worker: Option<usize>,
    builder: Option<Box<Builder>>,
    f: F,
) -> Result<RemoteHandle<T>, RunEnded<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    check_worker(crew, worker);
    let eager = builder.as_ref().is_some_and(|builder| builder.is_eager());
    let task = RemoteTask::new(builder, None, f);
    let handle = RemoteHandle::new(Arc::clone(&task) as _, crew);
    // SAFETY: the closure and its result are `'static`: they borrow nothing that ends before the task or the handle.
    let accepted = unsafe { task.send(crew, worker, eager) };
    match accepted {
        true => Ok(handle),
        // SAFETY: the task was refused.
        false => Err(RunEnded(unsafe { task.take_back() }.expect("a refused task keeps its closure"))),
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::of(&self.crew)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.crew.remove_handle();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("is_ended", &self.is_ended()).finish_non_exhaustive()
    }
}

/// Spawns `f` as a task of the current run, and returns a handle that every thread may use. `f` starts on any worker of the run
/// ([`Config::workers`](crate::Config::workers)), and then stays there.
///
/// A worker starts it when none of its tasks is ready, and at the latest after 1,024 turns of them. Until then it has no stack. A worker
/// without ready tasks takes closures from other workers.
///
/// # Panics
///
/// Panics if called outside a run.
///
/// ```
/// cede::run(|| {
///     let mut task = cede::task::spawn_anywhere(|| 6 * 7);
///     let outside = std::thread::spawn(move || task.join().unwrap());
///     cede::block_on(async { cede::task::spawn_anywhere(|| 1).await.unwrap() }).unwrap(); // a handle is a future
///     let answer = cede::blocking::unblock(|| outside.join().unwrap());
///     assert_eq!(answer, 42);
/// });
/// ```
#[track_caller]
pub fn spawn_anywhere<F, T>(f: F) -> RemoteHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match send(running("spawn a task").member().crew(), None, None, f) {
        Ok(handle) => handle,
        Err(error) => panic!("{error}"),
    }
}

impl Builder {
    /// Spawns `f` as a task of the current run on any worker, or on that of [`on`](Self::on), like [`spawn_anywhere`], with the
    /// name and the options of this builder. The task does not inherit task-locals. If a size is out of bounds, or if no stack can be allocated
    /// when the task starts, the join returns [`JoinError::Stack`](super::JoinError::Stack).
    ///
    /// # Errors
    ///
    /// [`SpawnError::NotRunning`] if called outside a run; `f` is dropped.
    ///
    /// # Panics
    ///
    /// Panics if the run has no worker of the number that `on` has set.
    #[track_caller]
    pub fn spawn_anywhere<F, T>(self, f: F) -> Result<RemoteHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let worker = self::worker().ok_or(SpawnError::NotRunning)?;
        let on = self.worker();
        send(worker.member().crew(), on, Some(Box::new(self)), f).map_err(|_| SpawnError::NotRunning)
    }
}
