//! Tasks that other threads spawn: [`Handle`] and [`spawn_anywhere`].
//!
//! A closure that has not started can be sent to the thread of a run; a task that has started stays there. So the closure and its result
//! are `Send`, and the [`RemoteHandle`] can be used on every thread.
#![forbid(unsafe_code)]

mod packet;
mod remote_handle;

use self::packet::{Completion, Packet};
pub use self::remote_handle::RemoteHandle;
use super::join_error::JoinError;
use super::spawn::SpawnError;
use crate::coroutine::Builder;
use crate::scheduler::event_loop::Held;
use crate::scheduler::handles::RunHandle;
use crate::scheduler::remote::Start;
use crate::scheduler::worker;
use crate::wait::running;
use std::fmt;
use std::sync::Arc;

/// A handle to a run, through which every thread spawns tasks in it. Made by [`Handle::current`].
///
/// It can be kept after the end of the run; then [`spawn`](Self::spawn) returns the closure. While a handle exists, a run whose tasks all
/// wait is reported as deadlocked only if it is a [closed world](crate::Config::closed_world), or if the process has no other thread.
#[derive(Clone)]
pub struct Handle {
    run: Arc<RunHandle>,
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
        Handle { run: running("make a handle to the run").run_handle() }
    }

    /// Spawns `f` as a task of the run. The task starts after the tasks that are ready when its worker learns of it, which is between two
    /// turns. If main has returned by then, it never runs, and [`join`](RemoteHandle::join) returns
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
        self.spawn_with(Builder::new(), f)
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
        let packet = Arc::new(Packet::new());
        let handle = RemoteHandle::new(Arc::clone(&packet));
        let mut task = Some(Box::new(Unstarted { f, builder, completion: Completion(packet) }));
        let is_here = worker().is_some_and(|worker| worker.run() == self.run.run());
        if is_here {
            task.take().into_iter().for_each(|task| task.start());
        } else {
            self.run.push_start(|| task.take().expect("called once"));
        }
        match task {
            None => Ok(handle),
            Some(task) => Err(RunEnded(task.f)),
        }
    }

    /// Returns whether the run has ended. Another thread may see a run that has just ended as open.
    pub fn is_ended(&self) -> bool {
        !self.run.is_open()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // After this one, only the worker has a reference: no thread can spawn any more. The worker may be asleep, and waits for that.
        if Arc::strong_count(&self.run) <= 2 {
            self.run.notify();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("is_ended", &self.is_ended()).finish_non_exhaustive()
    }
}

/// Spawns `f` as a task of the current run, and returns a handle that every thread may use. `f` may start on any worker of the run; a run has
/// one worker.
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
    match Handle::current().spawn(f) {
        Ok(handle) => handle,
        Err(error) => panic!("{error}"),
    }
}

/// A task that has not started. Its drop gives the handle [`JoinError::Cancelled`].
struct Unstarted<F, T> {
    f: F,
    builder: Builder,
    completion: Completion<T>,
}

impl<F, T> Start for Unstarted<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    fn start(self: Box<Self>) {
        let Unstarted { f, builder, completion } = *self;
        let packet = Arc::clone(&completion.0);
        let was_cancelled = !packet.begin_start();
        match builder.spawn(move || completion.run(f)) {
            // The closure is dropped on the stack of the task, which has room for any destructor.
            Ok(task) if was_cancelled => {
                task.cancel();
            }
            Ok(task) => {
                let (name, job) = (
                    task.task(),
                    hold(move || {
                        task.cancel();
                    }),
                );
                packet.end_start(name, job);
            }
            Err(SpawnError::Stack(error)) => packet.complete(Err(JoinError::Stack(error))),
            Err(SpawnError::NotRunning) => packet.complete(Err(JoinError::Cancelled)),
        }
    }
}

/// Keeps a job in the worker of the calling code.
fn hold(job: impl FnOnce() + 'static) -> Held {
    running("start a task").hold(Box::new(job))
}
