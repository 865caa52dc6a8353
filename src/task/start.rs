//! How a task begins and ends.

use super::callbacks;
use super::join_error::{JoinError, text_in};
use super::result::{drop_what_is_left, free, put_result, suppress_report};
use crate::arch::Context;
use crate::coroutine::raw::{Payload, drop_catching};
use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Mode, Phase, TaskUnwound, Worker, flags, worker};
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use crate::stack::{Shape, StackError};
use crate::wait;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;

/// How a task is to be.
pub(super) struct SpawnOptions {
    pub(super) shape: Shape,
    pub(super) name: Option<Cow<'static, str>>,
    /// Clears the stack afterwards.
    pub(super) clear: bool,
    /// Its first turn is now.
    pub(super) eager: bool,
}

/// Makes a task of `f`.
#[inline]
#[track_caller]
pub(super) fn start<F, T>(worker: &Worker, options: SpawnOptions, f: F) -> Result<*const Tcb, StackError>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    // SAFETY: nothing that is 'static ends before the task.
    unsafe { start_borrowing(worker, options, |_| {}, f) }
}

/// Makes a task of `f`: a TCB, which is first shown to `prepare`, a stack with `f` at its top, and a place at the end of the
/// run queue.
///
/// # Safety
///
/// What `f` and its result borrow outlives the task and the handle to it.
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
    if const { size_of::<F>() > 1024 || align_of::<F>() > 64 } {
        // SAFETY: the caller's.
        return unsafe { start_borrowing(worker, options, prepare, Box::new(f) as Box<dyn FnOnce() -> T + '_>) };
    }
    let SpawnOptions { shape, name, clear, eager } = options;
    let at_once = eager && !worker.is_in_job() && !panicking();
    if at_once {
        wait::refuse(worker);
    }
    let name: Option<Arc<str>> = name.map(Into::into);
    // SAFETY: the TCB keeps the name until the last code that may be anybody's has run on the stack; after that nobody asks
    // for the label.
    let tag = name.as_ref().map(|name| unsafe { std::mem::transmute::<&str, &'static str>(name) }).map(Cow::Borrowed);
    let stack = Stack::acquire(shape, Kind::Task, tag, clear)?;
    let top = (stack.top() - size_of::<F>()) & !(align_of::<F>().max(16) - 1);
    let tcb = worker.new_tcb();
    if let Some(name) = name {
        tcb.set_name(name);
    }
    if worker.mode.get() != Mode::Running {
        tcb.add_flags(flags::CANCELLED);
    }
    prepare(tcb);
    // SAFETY: `top` and above is inside the stack, which is larger than 1 KiB, and aligned for F; the entry reads it once.
    unsafe {
        (top as *mut F).write(f);
        worker.start(tcb, stack, top, entry::<F, T>, top);
    }
    if at_once {
        worker.enter_last();
    }
    Ok(tcb)
}

/// The first function on a task's stack.
///
/// # Safety
///
/// `f` is the address of an F that nobody else reads, and this is entered by the scheduler.
unsafe extern "C" fn entry<F, T>(f: usize) -> *const Context
where
    F: FnOnce() -> T,
{
    let worker = worker().expect("tasks run inside of a run");
    let tcb = worker.current();
    // SAFETY: the caller's.
    let f = unsafe { (f as *const F).read() };
    let outcome = if tcb.has_flags(flags::CANCELLED) {
        drop_catching(f).map_err(failure).and(Err(JoinError::Cancelled))
    } else {
        tcb.begin();
        catch_unwind(AssertUnwindSafe(f)).map_err(failure)
    };
    // SAFETY: the TCB is ours until `finish`, and holds no result yet.
    let (phase, panicked) = unsafe {
        match outcome {
            Err(error) => put_error::<T>(tcb, error),
            Ok(_) => {
                // Whole: unoptimised code would copy a value once more, and it may be large.
                put_result(tcb, outcome);
                (Phase::Ended, false)
            }
        }
    };
    finish(worker, tcb, phase, panicked);
    worker.end()
}

#[cold]
fn failure(payload: Payload) -> JoinError {
    if payload.is::<TaskUnwound>() { JoinError::Cancelled } else { JoinError::Panicked(payload) }
}

/// Puts an error where the value would be. Apart from `entry`, so that there a value goes from registers straight into
/// the TCB (through memory it waits for itself: 4 ns). Returns how the task stands, and whether it panicked.
///
/// # Safety
///
/// As `put_result`.
#[cold]
unsafe fn put_error<T>(tcb: &Tcb, mut error: JoinError) -> (Phase, bool) {
    let given = give_to_scope(tcb, &mut error);
    let panicked = matches!(error, JoinError::Panicked(_));
    // SAFETY: the caller's.
    unsafe {
        put_result::<T>(tcb, Err(error));
        if given {
            suppress_report::<T>(tcb);
        }
    }
    (if panicked { Phase::Ended } else { Phase::Cancelled }, panicked)
}

/// The panic of a scope's child that nobody holds a handle to is the scope's. What callbacks see is a copy of its text. Returns
/// whether it was.
fn give_to_scope(tcb: &Tcb, error: &mut JoinError) -> bool {
    let JoinError::Panicked(payload) = error else { return false };
    if !tcb.has_one_reference() {
        return false;
    }
    let Some(scope) = tcb.scope() else { return false };
    let copy = text_in(&**payload).unwrap_or("(not a text, and told of by the scope)").to_owned();
    scope.failed(tcb, std::mem::replace(payload, Box::new(copy)));
    true
}

/// The task has its result: tells those who wait for it.
fn finish(worker: &Worker, tcb: &Tcb, phase: Phase, panicked: bool) {
    tcb.finish(phase, worker.count_end());
    let wake = |waiter: *const Tcb| {
        // SAFETY: null, or a task that waits for this one. It is parked until this wake, so its TCB is in use.
        if let Some(waiter) = unsafe { waiter.as_ref() } {
            worker.wake(waiter);
        }
    };
    wake(tcb.take_joiner());
    if let Some((group, index)) = tcb.take_group() {
        wake(group.ended(index, panicked));
    }
    callbacks::schedule(worker, tcb);
    let is_last = tcb.has_one_reference();
    if is_last {
        // No handle and no callback will read the result. Its destructor is the task's own code.
        tcb.resume_for_destructors();
        drop_what_is_left(tcb);
    }
    let stack = tcb.take_stack();
    let scope = tcb.take_scope();
    // From here on the TCB may belong to another task. The stack is still this task's until `end`.
    if is_last {
        free(&worker.table, tcb);
    } else {
        tcb.remove_reference();
    }
    if let Some((scope, index)) = scope {
        // Last: what the task borrowed may be freed from here on.
        wake(scope.ended(index, panicked));
    }
    worker.retire_stack(stack);
}
