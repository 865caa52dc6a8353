//! Spawning tasks, and yielding.

use super::handle::JoinHandle;
use super::local;
use super::start::{SpawnOptions, start, start_borrowing};
use crate::coroutine::Builder;
use crate::generator::Generator;
use crate::scheduler::{Worker, worker};
use crate::stack::StackError;
use crate::wait::not_running;
use std::thread::panicking;

/// Lets every other task that is ready have a turn first. Waits for nothing, and cannot fail.
///
/// Turns are strictly round robin. While the thread panics it returns at once, since a destructor must not be interleaved
/// with other tasks; outside of a run it yields the thread.
///
/// # Panics
///
/// In a callback of [`JoinHandle::on_done`], and inside [`no_suspend`].
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
    let Some(worker) = worker() else { return std::thread::yield_now() };
    if cfg!(debug_assertions) {
        crate::suspend_check::refuse_to_wait();
    }
    if !panicking() {
        worker.turn();
    }
}

/// Starts `f` as a task of this run, and returns a handle to it. It runs when its turn comes: not before the task that
/// spawns it yields, waits or ends, and after those that are ready now.
///
/// Dropping the handle detaches the task. When main returns, tasks that are left are cancelled and awaited.
///
/// # Panics
///
/// Outside of a run, and if there is no stack to be had: see [`Builder::spawn`].
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
    match start(worker, SpawnOptions { shape: worker.shape, name: None, clear: false, eager: false }, f) {
        Ok(tcb) => JoinHandle::new(&worker.table, tcb),
        Err(error) => crate::coroutine::no_stack(&error),
    }
}

/// Runs a generator as a task: `each` is called with every item, and after each item the other tasks have a turn. The
/// handle's result is what the generator returned.
///
/// # Panics
///
/// As [`spawn`].
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
    /// Starts `f` as a task of this run: see [`spawn`].
    ///
    /// # Errors
    ///
    /// [`SpawnError`] outside of a run, when a size is out of bounds, or when there is no stack to be had; `f` is dropped.
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
        // SAFETY: what is 'static outlives everything.
        let tcb = unsafe { start_borrowing(worker, options, |tcb| local::give(tcb, locals), f) }?;
        Ok(JoinHandle::new(&worker.table, tcb))
    }

    pub(super) fn spawn_options(self, worker: &Worker) -> Result<SpawnOptions, StackError> {
        let (shaped, eager) = (self.is_shaped(), self.is_eager());
        let options = self.options()?;
        let shape = if shaped { options.shape } else { worker.shape };
        Ok(SpawnOptions { shape, name: options.name, clear: options.clear, eager })
    }
}

/// Why a task could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// There is no run that it could be part of.
    #[error("cannot spawn a task outside of a run: call cede::run(|| ...) and do it in there")]
    NotRunning,
    /// There is no stack for it.
    #[error(transparent)]
    Stack(#[from] StackError),
}
