//! Spawning tasks (`spawn`, `spawn_each`, `Builder::spawn`), and yielding (`yield_now`).

use super::handle::JoinHandle;
use super::local;
use super::start::{SpawnOptions, StackTime, start, start_borrowing};
use crate::coroutine::Builder;
use crate::generator::Generator;
use crate::scheduler::{Worker, worker};
use crate::stack::StackError;
use crate::wait::not_running;
use std::thread::panicking;

/// Yields: moves the current task to the end of the run queue, so that every other ready task has a turn first.
///
/// Ready tasks take turns in FIFO order (round robin), unless [`Config::seed`](crate::Config::seed) shuffles them. A
/// cancelled task yields like any other task. If the thread is panicking, the call returns at once, because a destructor
/// must not be interleaved with other tasks. Outside a run, the call lets the executor of the calling
/// [fiber](crate::fiber()) go on, or yields the thread.
///
/// # Panics
///
/// Panics if called in a callback or inside [`no_suspend`](crate::no_suspend).
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// let log = Rc::new(RefCell::new(String::new()));
/// cede::run(|| {
///     for name in ["a", "b"] {
///         let log = Rc::clone(&log);
///         cede::spawn(move || for _ in 0..3 {
///             log.borrow_mut().push_str(name);
///             cede::yield_now();
///         });
///     }
///     for _ in 0..4 {
///         cede::yield_now();
///     }
/// });
/// assert_eq!(*log.borrow(), "ababab");
/// ```
#[inline(always)]
#[track_caller]
pub fn yield_now() {
    let Some(worker) = worker() else { return yield_outside() };
    if cfg!(debug_assertions) {
        crate::suspend_check::refuse_to_wait();
    }
    if !panicking() {
        worker.turn();
    }
}

/// Gives way outside of a run: to the executor that polls the calling fiber, or to another thread.
#[cold]
#[track_caller]
fn yield_outside() {
    match crate::wait::fiber::current() {
        Some(fiber) => fiber.yield_now(),
        None => std::thread::yield_now(),
    }
}

/// Spawns `f` as a task of the current run, and returns its handle.
///
/// The task goes to the end of the run queue. It starts after the current task yields, waits or ends, and after the
/// tasks that are ready now, unless [`Config::seed`](crate::Config::seed) shuffles them.
///
/// Dropping the handle detaches the task: the task continues to run. When main returns, the remaining tasks are cancelled
/// and have the grace period to end. A task that is spawned after main has returned never runs.
///
/// The task takes an unused stack of the thread if there is one, and otherwise a stack with its first turn. If no stack can be
/// allocated then, the task never runs: `f` is dropped in the event loop, where its destructors must not wait, and the join
/// returns [`JoinError::Stack`](crate::task::JoinError::Stack). [`Builder::spawn`] takes the stack at once.
///
/// # Panics
///
/// Panics if called outside a run, or if no stack can be allocated for the first turns of such tasks, which all of them share.
/// [`Builder::spawn`] returns these as errors.
///
/// ```
/// let sum = cede::run(|| {
///     let mut a = cede::spawn(|| 1 + 1);
///     let mut b = cede::spawn(|| 2 + 2);
///     a.join().unwrap() + b.join().unwrap()
/// });
/// assert_eq!(sum, 6);
/// ```
#[doc(alias = "go")]
#[doc(alias = "spawn_local")]
#[inline]
#[track_caller]
pub fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let Some(worker) = worker() else { not_running("spawn a task") };
    match start(worker, SpawnOptions::of_run(worker, StackTime::FirstTurn), f) {
        Ok(tcb) => JoinHandle::new(&worker.table, tcb),
        Err(error) => crate::coroutine::no_stack(&error),
    }
}

/// Spawns a task that runs a generator: calls `each` with every item, and yields after each call. The value of the task is
/// the return value of the generator.
///
/// # Panics
///
/// The panics of [`spawn`]. The task panics if the generator had already finished.
///
/// ```
/// use cede::{Generator, Yielder};
/// let result = cede::run(|| {
///     let countdown = Generator::new(|y: &Yielder<u32>| {
///         (1..=3).rev().for_each(|n| y.yield_(n));
///         "lift-off"
///     });
///     cede::spawn_each(countdown, |n| println!("{n}")).join()
/// });
/// assert_eq!(result.unwrap(), "lift-off");
/// ```
#[track_caller]
pub fn spawn_each<Y: 'static, R: 'static>(
    mut generator: Generator<Y, (), R>,
    mut each: impl FnMut(Y) + 'static,
) -> JoinHandle<R> {
    spawn(move || {
        for item in generator.by_ref() {
            each(item);
            yield_now();
        }
        let label = generator.name().map_or_else(String::new, |name| format!(" '{name}'"));
        generator.into_return().unwrap_or_else(|| panic!("generator{label} had finished before it was run as a task"))
    })
}

impl Builder {
    /// Spawns `f` as a task of the current run, like [`spawn`], with the name and the options of this builder. The task has its
    /// stack from the spawn on.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] if called outside a run, if a size is out of bounds, or if no stack can be allocated; `f` is dropped.
    ///
    /// # Panics
    ///
    /// Panics if the task is [eager](Self::eager) and the call is inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut parser = cede::Builder::new().name("parser").stack_size(256 * 1024).spawn(|| 42)?;
    ///     assert_eq!(parser.task().name(), Some("parser"));
    ///     assert_eq!(parser.join().unwrap(), 42);
    ///     Ok::<(), cede::task::SpawnError>(())
    /// })?;
    /// # Ok::<(), cede::task::SpawnError>(())
    /// ```
    #[track_caller]
    pub fn spawn<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> Result<JoinHandle<T>, SpawnError> {
        let worker = worker().ok_or(SpawnError::NotRunning)?;
        let locals = self.inherits_locals().then(|| local::inherited(worker.current())).flatten();
        let options = self.spawn_options(worker)?;
        // SAFETY: `f` and its result are `'static`: they borrow nothing that ends before the task or the handle.
        let tcb = unsafe { start_borrowing(worker, options, |tcb| local::give(tcb, locals), f) }?;
        Ok(JoinHandle::new(&worker.table, tcb))
    }

    pub(super) fn spawn_options(self, worker: &Worker) -> Result<SpawnOptions, StackError> {
        let (shaped, eager) = (self.is_shaped(), self.is_eager());
        let options = self.options()?;
        let shape = if shaped { options.shape } else { worker.shape };
        Ok(SpawnOptions { shape, name: options.name, clear: options.clear, eager, stack: StackTime::Spawn })
    }
}

/// The error of spawning a task.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The call was made outside a run.
    #[error("cannot spawn a task outside of a run: call cede::run(|| ...) and do it in there")]
    NotRunning,
    /// A size is out of bounds, or no stack could be allocated.
    #[error(transparent)]
    Stack(#[from] StackError),
}
