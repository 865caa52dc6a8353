//! Tasks: functions that take turns on one thread, each on a stack of its own.
//!
//! A task runs until it waits, yields or ends; nothing interrupts it. It starts on the worker of the run that spawned it and
//! never leaves that thread, so what it owns need not be `Send`.

pub(crate) mod inspect;
mod combine;
mod callbacks;
mod group;
mod handle;
mod join_macro;
mod limits;
mod local;
mod result;
mod scope;
mod start;
pub(crate) mod wait;

use self::result::{result_ref, take_result};
use self::start::{SpawnOptions, release, start, start_borrowing};
use crate::Builder;
use crate::Generator;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Phase, Worker, worker};
use crate::stack::StackError;
use std::fmt;
use std::sync::Arc;
use std::thread::panicking;

pub use self::callbacks::{CallbackId, Done};
/// The name of [`join_all`] in asyncio.
#[doc(no_inline)]
pub use self::combine::join_all as gather;
pub use self::combine::{
    AsCompleted, Completed, Race, TaskError, TryJoinError, WaitError, Waited, When, as_completed, join_all, race,
    try_join_all, wait,
};
pub use self::group::Joinable;
pub use self::handle::{CancelOnDrop, JoinError, JoinHandle};
pub use self::join_macro::JoinTuple;
pub use self::limits::{Deadline, Elapsed, check, deadline, no_suspend, shield, timeout};
pub use self::local::LocalKey;
#[doc(hidden)]
pub use self::local::new_key;
pub(crate) use self::result::report_unhandled;
pub use self::scope::{Failure, Scope, ScopeError, ScopedJoinHandle, scope};
pub use self::wait::{
    Cancellation, Cancelled, Reason, Unparker, cancelled, is_cancelled, park, park_shielded, park_until,
};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for its turn: its first, or its next.
    Pending,
    /// It runs: whoever asks is that task, or code that it called.
    Running,
    /// It waits for something, named by the reason.
    Waiting(Reason),
    /// It has returned or panicked.
    Done,
    /// It was cancelled before its first turn, or had to be unwound.
    Cancelled,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskState::Pending => f.write_str("pending"),
            TaskState::Running => f.write_str("running"),
            TaskState::Waiting(reason) => write!(f, "waiting: {reason}"),
            TaskState::Done => f.write_str("done"),
            TaskState::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// Who a task is: its number and its name. It can be kept, compared and sent anywhere; it keeps nothing alive.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Task {
    pub(crate) id: u64,
    pub(crate) name: Option<Arc<str>>,
}

impl Task {
    pub(crate) fn of(tcb: &Tcb) -> Task {
        Task { id: tcb.id.get(), name: tcb.name.borrow().clone() }
    }

    /// Its number in its run: main is 1, and the event loop 2.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name that its builder gave; "main" for main.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "'{name}'"),
            None => write!(f, "#{}", self.id),
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id).field("name", &self.name()).finish()
    }
}

/// The task that this code is part of; `None` outside of a run.
///
/// ```
/// cede::run(|| assert_eq!(cede::task::current().unwrap().name(), Some("main")));
/// assert!(cede::task::current().is_none());
/// ```
pub fn current() -> Option<Task> {
    worker().map(|worker| Task::of(worker.current()))
}

/// All tasks of this run that have not ended, main included, with their states, in no particular order.
///
/// ```
/// cede::run(|| {
///     let _handle = cede::spawn(|| ());
///     assert_eq!(cede::task::all().len(), 2);
/// });
/// ```
pub fn all() -> Vec<(Task, TaskState)> {
    let mut all = Vec::new();
    if let Some(worker) = worker() {
        worker.table.for_each(|tcb| {
            if !worker.is_event_loop(tcb) && !matches!(tcb.phase.get(), Phase::Ended | Phase::Cancelled) {
                all.push((Task::of(tcb), state_of(Some(worker), tcb)));
            }
        });
    }
    all
}

pub(crate) fn state_of(worker: Option<&Worker>, tcb: &Tcb) -> TaskState {
    match tcb.phase.get() {
        Phase::Ready if worker.is_some_and(|worker| std::ptr::eq(worker.current(), tcb)) => TaskState::Running,
        Phase::Free | Phase::Fresh | Phase::Ready => TaskState::Pending,
        Phase::Parked => TaskState::Waiting(Reason::new(tcb.wait.get().reason)),
        Phase::Ended => TaskState::Done,
        Phase::Cancelled => TaskState::Cancelled,
    }
}

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

#[cold]
#[track_caller]
fn not_running(what: &str) -> ! {
    panic!("cannot {what} outside of a run: call cede::run(|| ...) and do it in there")
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

    fn spawn_options(self, worker: &Worker) -> Result<SpawnOptions, StackError> {
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
