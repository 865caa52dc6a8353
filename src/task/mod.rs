//! Tasks: functions that take turns on one thread, each on a stack of its own.
//!
//! A task runs until it waits, yields or ends; nothing interrupts it. It starts on the worker of the run that spawned it and
//! never leaves that thread, so what it owns need not be `Send`.

pub(crate) mod inspect;
mod done;
mod handle;
mod local;
pub(crate) mod wait;

use crate::Builder;
use crate::Generator;
use crate::arch::Context;
use crate::coroutine::core::{Payload, discard};
use crate::scheduler::table::{Block, RESULT_WORDS};
use crate::scheduler::{Phase, TaskUnwound, Worker, attention, worker};
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use crate::stack::{Shape, StackError};
use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::panicking;

pub use self::done::{CallbackId, Done};
pub use self::handle::{JoinError, JoinHandle};
pub use self::inspect::{DeadlockReport, Stuck};
pub use self::local::LocalKey;
#[doc(hidden)]
pub use self::local::new_key;
pub use self::wait::{Cancelled, Reason, Unparker, check, is_cancelled, park, park_shielded, park_until};

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
    id: u64,
    name: Option<Arc<str>>,
}

impl Task {
    fn of(block: &Block) -> Task {
        Task { id: block.id.get(), name: block.name.borrow().clone() }
    }

    /// Its number in its run: main is 1, and the hub between tasks 2.
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
        worker.table.for_each(|block| {
            if !worker.is_hub(block) && !matches!(block.phase.get(), Phase::Ended | Phase::Cancelled) {
                all.push((Task::of(block), state_of(Some(worker), block)));
            }
        });
    }
    all
}

fn state_of(worker: Option<&Worker>, block: &Block) -> TaskState {
    match block.phase.get() {
        Phase::Ready if worker.is_some_and(|worker| std::ptr::eq(worker.current(), block)) => TaskState::Running,
        Phase::Free | Phase::Fresh | Phase::Ready => TaskState::Pending,
        Phase::Parked => TaskState::Waiting(Reason::new(block.wait.get().why)),
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
/// In a callback of [`JoinHandle::on_done`]; in debug builds inside [`no_suspend`](crate::no_suspend).
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
        wait::refuse_in_section();
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
#[inline]
#[track_caller]
pub fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let Some(worker) = worker() else { not_running("spawn a task") };
    match start(worker, worker.shape, None, false, f) {
        Ok(block) => JoinHandle::new(&worker.table, block),
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
    pub fn spawn<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> Result<JoinHandle<T>, SpawnError> {
        let worker = worker().ok_or(SpawnError::NotRunning)?;
        let inherits = self.inherits_locals();
        let shaped = self.is_shaped();
        let plan = self.plan()?;
        let shape = if shaped { plan.shape } else { worker.shape };
        let locals = inherits.then(|| local::inherited(worker.current())).flatten();
        let block = start(worker, shape, plan.name, plan.clear, f)?;
        // SAFETY: `start` has just made it, and it has not run.
        local::give(unsafe { &*block }, locals);
        Ok(JoinHandle::new(&worker.table, block))
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

/// Makes a task of `f`: a block, a stack with `f` at its top, and a place at the end of the ready ring.
#[inline]
fn start<F, T>(
    worker: &Worker,
    shape: Shape,
    name: Option<Cow<'static, str>>,
    clear: bool,
    f: F,
) -> Result<*const Block, StackError>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    if const { size_of::<F>() > 1024 || align_of::<F>() > 64 } {
        return start(worker, shape, name, clear, Box::new(f) as Box<dyn FnOnce() -> T>);
    }
    let name: Option<Arc<str>> = name.map(Into::into);
    // SAFETY: the block keeps the name until the task has ended and been left, so until after the stack is given back.
    let tag = name.as_ref().map(|name| unsafe { std::mem::transmute::<&str, &'static str>(name) }).map(Cow::Borrowed);
    let stack = Stack::acquire(shape, Kind::Task, tag, clear)?;
    let top = (stack.top() - size_of::<F>()) & !(align_of::<F>().max(16) - 1);
    let block = worker.new_block();
    if name.is_some() {
        *block.name.borrow_mut() = name;
    }
    block.refs.set(2);
    if worker.mode.get() != crate::scheduler::Mode::Running {
        block.add_attention(attention::CANCEL);
    }
    // SAFETY: `top` and above is inside the stack, which is larger than 1 KiB, and aligned for F; the entry reads it once.
    unsafe {
        (top as *mut F).write(f);
        worker.start(block, stack, top, entry::<F, T>, top);
    }
    Ok(block)
}

/// The first function on a task's stack.
///
/// # Safety
///
/// `f` is the address of an F that nobody else reads, and this is entered by the scheduler.
unsafe extern "C" fn entry<F, T>(f: usize) -> *const Context
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let worker = worker().expect("tasks run inside of a run");
    let block = worker.current();
    // SAFETY: the caller's.
    let f = unsafe { (f as *const F).read() };
    let result = if block.has_attention(attention::CANCEL) {
        discard(f).map_err(failure).and(Err(JoinError::Cancelled))
    } else {
        block.phase.set(Phase::Ready);
        catch_unwind(AssertUnwindSafe(f)).map_err(failure)
    };
    let phase = if matches!(result, Err(JoinError::Cancelled)) { Phase::Cancelled } else { Phase::Ended };
    // SAFETY: the block is ours until `release`, and holds no result yet.
    unsafe { put_result(block, result) };
    finish(worker, block, phase);
    worker.end()
}

#[cold]
fn failure(payload: Payload) -> JoinError {
    if payload.is::<TaskUnwound>() { JoinError::Cancelled } else { JoinError::Panicked(payload) }
}

/// The task has its result: tells those who wait for it.
fn finish(worker: &Worker, block: &Block, phase: Phase) {
    block.phase.set(phase);
    let joiner = block.joiner.replace(std::ptr::null());
    if !joiner.is_null() {
        // SAFETY: whoever waits in `join` is parked, so its block is in use.
        worker.wake(unsafe { &*joiner });
    }
    done::schedule(worker, block);
    let stack = block.stack.take();
    // The block may be another's after this, but the stack is ours until `end`.
    release(&worker.table, block);
    worker.leave_behind(stack);
}

/// One less has to do with the block; the last one drops the result and frees it.
fn release(table: &Rc<crate::scheduler::table::Table>, block: &Block) {
    let refs = block.refs.get() - 1;
    block.refs.set(refs);
    if refs == 0 {
        if let Some(drop_result) = block.drop_result.take() {
            // SAFETY: it was set together with the result, which is still there.
            unsafe { drop_result(block) };
        }
        drop(block.name.take());
        // What a task-local's destructor sets is the ended task's too, not the next one's.
        while let Some(extra) = block.extra.take() {
            std::mem::forget(discard(extra));
        }
        // SAFETY: nobody has to do with it any more.
        unsafe { table.give_back(block) };
    }
}

const fn fits<T>() -> bool {
    size_of::<Result<T, JoinError>>() <= RESULT_WORDS * size_of::<usize>()
        && align_of::<Result<T, JoinError>>() <= align_of::<usize>()
}

/// # Safety
///
/// The block is of a task that returns T and holds no result.
unsafe fn put_result<T: 'static>(block: &Block, result: Result<T, JoinError>) {
    let place = block.result.get();
    // SAFETY: the place is large enough for the result, or for the box, whichever `fits` says.
    unsafe {
        if const { fits::<T>() } {
            place.cast::<Result<T, JoinError>>().write(result);
        } else {
            place.cast::<Box<Result<T, JoinError>>>().write(Box::new(result));
        }
    }
    block.drop_result.set(Some(drop_result::<T>));
}

/// # Safety
///
/// The block is of a task that returns T and holds a result.
unsafe fn result_ref<T>(block: &Block) -> &Result<T, JoinError> {
    let place = block.result.get();
    // SAFETY: as `put_result` left it.
    unsafe {
        if const { fits::<T>() } {
            &*place.cast::<Result<T, JoinError>>()
        } else {
            &*place.cast::<Box<Result<T, JoinError>>>()
        }
    }
}

/// # Safety
///
/// As `result_ref`; the result is gone afterwards.
unsafe fn take_result<T>(block: &Block) -> Result<T, JoinError> {
    let place = block.result.get();
    block.drop_result.set(None);
    // SAFETY: as `put_result` left it, and nobody takes it again.
    unsafe {
        if const { fits::<T>() } {
            place.cast::<Result<T, JoinError>>().read()
        } else {
            *place.cast::<Box<Result<T, JoinError>>>().read()
        }
    }
}

/// Nobody asked for the result: a panic is reported, anything else dropped.
///
/// # Safety
///
/// As `take_result`.
unsafe fn drop_result<T: 'static>(block: &Block) {
    // SAFETY: the caller's.
    let result = unsafe { take_result::<T>(block) };
    match result {
        Err(JoinError::Panicked(payload)) => unhandled(&Task::of(block), payload),
        // A panic of the value's destructor has printed its text.
        result => std::mem::forget(discard(result)),
    }
}

/// A task panicked and nobody is left to join it.
#[cold]
fn unhandled(task: &Task, payload: Payload) {
    let label = task.to_string();
    match worker() {
        Some(worker) => {
            // On the hub's stack, which has room for whatever the hook does.
            let hook = Rc::clone(&worker.unhandled);
            worker.queue(Box::new(move || hook(&label, &*payload)));
        }
        None => report_unhandled(&label, &*payload),
    }
}

/// What is told when no hook was set.
pub(crate) fn report_unhandled(label: &str, payload: &(dyn std::any::Any + Send)) {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("(not a text)");
    let _ = writeln!(std::io::stderr(), "cede: task {label} panicked, and nobody is left to join it: {text}");
}
