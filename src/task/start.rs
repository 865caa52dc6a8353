//! The start and the end of a task: `start_borrowing` creates it, `entry` runs its closure, `finish` wakes its waiters.

use super::callbacks;
use super::join_error::{JoinError, text_in};
use super::result::{drop_what_is_left, free, put_result, suppress_report};
use super::trace;
use crate::arch::Context;
use crate::coroutine::raw::{Payload, drop_catching};
use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_place::fits;
use crate::scheduler::{Mode, Phase, TaskUnwound, Worker, flags, worker};
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use crate::stack::{Shape, StackError};
use crate::wait;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;

/// The options of a new task.
pub(super) struct SpawnOptions {
    pub(super) shape: Shape,
    pub(super) name: Option<Cow<'static, str>>,
    /// Clear the stack after the task has ended.
    pub(super) clear: bool,
    /// Give the task its first turn before the spawn returns.
    pub(super) eager: bool,
    pub(super) stack: StackTime,
}

/// The time at which a task takes its stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StackTime {
    /// The spawn, which fails without a stack.
    Spawn,
    /// The first turn, unless a stack is at hand when the task is spawned. Without a stack, the task ends with
    /// [`JoinError::Stack`].
    FirstTurn,
}

impl SpawnOptions {
    /// The options of tasks without a builder.
    #[inline(always)]
    pub(super) fn of_run(worker: &Worker, stack: StackTime) -> SpawnOptions {
        SpawnOptions { shape: worker.shape, name: None, clear: false, eager: false, stack }
    }
}

/// Creates a task that runs `f`.
#[inline]
#[track_caller]
pub(super) fn start<F, T>(worker: &Worker, options: SpawnOptions, f: F) -> Result<*const Tcb, StackError>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    // SAFETY: `f` and its result are `'static`: they borrow nothing that ends before the task or the handle.
    unsafe { start_borrowing(worker, options, |_| {}, f) }
}

/// Creates a task that runs `f`: allocates a TCB and, unless that is for the first turn, a stack, moves `f` into the TCB, and puts
/// the task at the end of the run queue. Calls `prepare` with the TCB before the task is in the run queue.
///
/// # Safety
///
/// What `f` and its result borrow outlives the task and its handle.
#[inline]
#[track_caller]
pub(super) unsafe fn start_borrowing<F, T>(
    worker: &Worker,
    options: SpawnOptions,
    prepare: impl FnOnce(&Tcb),
    f: F,
) -> Result<*const Tcb, StackError>
where
    F: FnOnce() -> T,
{
    if const { !fits::<F>() } {
        // A closure that does not fit into a TCB is boxed. A large one then does not use up the stack, either.
        // SAFETY: the caller keeps the contract of this function, and the box borrows the same as `f`.
        return unsafe { start_borrowing(worker, options, prepare, Box::new(f) as Box<dyn FnOnce() -> T + '_>) };
    }
    let SpawnOptions { shape, name, clear, eager, stack: time } = options;
    let at_once = eager && !worker.is_in_job() && !panicking();
    if at_once {
        wait::refuse(worker);
    }
    let name: Option<Arc<str>> = name.map(Into::into);
    // SAFETY: the TCB keeps the name allocated until the last user code has run on the stack. After that no code reads the
    // label of the stack.
    let tag = name.as_ref().map(|name| unsafe { std::mem::transmute::<&str, &'static str>(name) }).map(Cow::Borrowed);
    let is_usual = tag.is_none() && !clear && shape == worker.shape;
    let stack = match if is_usual { worker.stack_at_hand() } else { None } {
        Some(stack) => Some(stack),
        None if is_usual && time == StackTime::FirstTurn => {
            worker.prepare_first_stack()?;
            None
        }
        None => Some(Stack::acquire(shape, Kind::Task, tag, clear)?),
    };
    let tcb = worker.new_tcb();
    if let Some(name) = name {
        tcb.set_name(name);
    }
    if worker.mode.get() != Mode::Running {
        // The run is shutting down and has cancelled its tasks already, so this one is cancelled here.
        tcb.add_flags(flags::CANCELLED);
    }
    prepare(tcb);
    // SAFETY: `fits` was checked above, and `tcb` is new. `entry` takes the closure once and ends by `Worker::end`. `first_turn`
    // passes `entry` on to `Worker::take_stack`.
    unsafe {
        tcb.put_closure(f);
        match stack {
            Some(stack) => worker.start(tcb, stack, entry::<F, T>),
            None => worker.start_without_stack(tcb, first_turn::<F, T>),
        }
    }
    trace::spawned(tcb);
    if at_once {
        worker.enter_last();
    }
    Ok(tcb)
}

/// The first turn of a task that has no stack yet: takes a stack, on which `entry` is called next.
///
/// # Safety
///
/// The conditions of [`entry`].
unsafe extern "C" fn first_turn<F, T>(tcb: usize) -> *const Context
where
    F: FnOnce() -> T,
{
    let worker = worker().expect("a task runs inside a run");
    // SAFETY: the caller passes the address of the running task's TCB, which is in the table of the worker. `entry` takes the closure
    // only on a stack, and `give_up` only without one.
    unsafe { worker.take_stack(&*(tcb as *const Tcb), entry::<F, T>, give_up::<F, T>) }
}

/// Ends a task that gets no stack: drops its closure, and stores the error as its result. The event loop calls this as a job, in which
/// a destructor must not wait.
///
/// # Safety
///
/// The TCB is that of a task with a closure `F` that returns a `T`. The task has not started and does not start later.
unsafe fn give_up<F, T>(worker: &Worker, tcb: &Tcb, error: StackError)
where
    F: FnOnce() -> T,
{
    // SAFETY: the caller ensures that the TCB has a closure `F`, which no other code takes.
    let f = unsafe { tcb.take_closure::<F>() };
    let error = match drop_catching(f) {
        Err(payload) => failure(payload),
        Ok(()) if tcb.has_flags(flags::CANCELLED) => JoinError::Cancelled,
        Ok(()) => JoinError::Stack(Box::new(error)),
    };
    trace::ended(tcb, Some(&error));
    // SAFETY: the caller ensures that the task returns a `T`. It has no result yet, since it has not started.
    let (phase, failed) = unsafe { put_error::<T>(tcb, error) };
    finish(worker, tcb, phase, failed);
    worker.count_out();
}

/// The first function on a task's stack: runs the closure, stores its result, and returns the context to switch to.
///
/// # Safety
///
/// `tcb` is the address of the TCB of a task with a closure `F` that returns a `T`. Only the scheduler enters this function, as
/// the task's first turn.
unsafe extern "C" fn entry<F, T>(tcb: usize) -> *const Context
where
    F: FnOnce() -> T,
{
    let worker = worker().expect("a task runs inside a run");
    // SAFETY: the caller passes the address of the running task's TCB, which is in the table of the worker.
    let tcb = unsafe { &*(tcb as *const Tcb) };
    // SAFETY: the caller ensures that the TCB has a closure `F`. This is the first turn, so it was not taken.
    let f = unsafe { tcb.take_closure::<F>() };
    let outcome = if tcb.has_flags(flags::CANCELLED) {
        drop_catching(f).map_err(failure).and(Err(JoinError::Cancelled))
    } else {
        tcb.begin();
        catch_unwind(AssertUnwindSafe(f)).map_err(failure)
    };
    trace::ended(tcb, outcome.as_ref().err());
    // SAFETY: the TCB belongs to this task until `finish`. The task returns a `T`, and no result is stored yet.
    let (phase, failed) = unsafe {
        match outcome {
            Err(error) => put_error::<T>(tcb, error),
            Ok(_) => {
                // `outcome` is moved as a whole: unoptimised code would copy the value once more, and it may be large.
                put_result(tcb, outcome);
                (Phase::Ended, false)
            }
        }
    };
    finish(worker, tcb, phase, failed);
    worker.end()
}

#[cold]
fn failure(payload: Payload) -> JoinError {
    if payload.is::<TaskUnwound>() { JoinError::Cancelled } else { JoinError::Panicked(payload) }
}

/// Stores an error as the result of a task. Returns the final phase of the task and whether it failed: it panicked, or it had no
/// stack.
///
/// Separate from `entry`, so that `entry` moves a value from registers directly into the TCB. A detour through memory would
/// cost 4 ns.
///
/// # Safety
///
/// The contract of [`put_result`].
#[cold]
unsafe fn put_error<T>(tcb: &Tcb, mut error: JoinError) -> (Phase, bool) {
    let has_panicked = matches!(error, JoinError::Panicked(_));
    let has_failed = error.is_failure();
    let given = give_to_scope(tcb, &mut error);
    // SAFETY: the caller keeps the contract of `put_result`, and after it the TCB contains a result.
    unsafe {
        put_result::<T>(tcb, Err(error));
        if given {
            suppress_report::<T>(tcb);
        }
    }
    (if has_panicked { Phase::Ended } else { Phase::Cancelled }, has_failed)
}

/// Gives the failure of a scope's task to the scope if the task has no handle, and leaves a substitute for callbacks: of a panic, a copy
/// of its text. Returns whether the scope has the failure.
fn give_to_scope(tcb: &Tcb, error: &mut JoinError) -> bool {
    if !error.is_failure() || !tcb.has_one_reference() {
        return false;
    }
    let Some(scope) = tcb.scope() else { return false };
    match std::mem::replace(error, JoinError::Cancelled) {
        JoinError::Panicked(payload) => {
            let copy = text_in(&*payload).unwrap_or("(not a string; the scope returns it)").to_owned();
            *error = JoinError::Panicked(Box::new(copy));
            scope.failed(tcb, payload);
        }
        JoinError::Stack(stack) => scope.failed(tcb, stack),
        _ => {}
    }
    true
}

/// Ends the current task, whose result is stored: wakes its waiters, queues its callbacks, and drops the result if no
/// reference is left.
#[inline]
fn finish(worker: &Worker, tcb: &Tcb, phase: Phase, failed: bool) {
    tcb.finish(phase, worker.count_end());
    wake(worker, tcb.take_joiner());
    if tcb.has_parts() || tcb.has_one_reference() {
        return finish_with_parts(worker, tcb, failed);
    }
    // Most tasks: the handle has the result, and no other code waits for the end.
    worker.retire_stack(tcb.take_stack());
    tcb.remove_reference();
}

/// The rest of [`finish`] for a task with a name, callbacks, a group, a scope or other parts that few tasks have, and for a
/// task without a handle.
#[inline(never)]
fn finish_with_parts(worker: &Worker, tcb: &Tcb, failed: bool) {
    if let Some((group, index)) = tcb.take_group() {
        wake(worker, group.ended(index, failed));
    }
    callbacks::schedule(worker, tcb);
    let is_last = tcb.has_one_reference();
    if is_last {
        // No handle and no callback will read the result. Its destructor is user code, which runs as part of the task.
        tcb.resume_for_destructors();
        drop_what_is_left(tcb);
    }
    let stack = tcb.take_stack();
    let scope = tcb.take_scope();
    // From here on the TCB may belong to another task. The stack is still in use until `Worker::end` switches away.
    if is_last {
        free(&worker.table, tcb);
    } else {
        tcb.remove_reference();
    }
    if let Some((scope, index)) = scope {
        // The last step: when the scope has no tasks left, what this task borrowed may be freed.
        wake(worker, scope.ended(index, failed));
    }
    worker.retire_stack(stack);
}

/// Wakes a task that waits for the end of the current one; null for none.
#[inline(always)]
fn wake(worker: &Worker, waiter: *const Tcb) {
    // SAFETY: null, or a task that waits for the current one. It waits until this wake, so its TCB is allocated.
    if let Some(waiter) = unsafe { waiter.as_ref() } {
        worker.wake(waiter);
    }
}
