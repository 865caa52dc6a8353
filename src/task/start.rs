//! How a task begins and ends.

use super::handle::text_in;
use super::result::{put_result, suppress_report};
use super::{JoinError, callbacks, wait};
use crate::arch::Context;
use crate::coroutine::raw::{Payload, drop_catching};
use crate::scheduler::tcb::{Tcb, TcbTable};
use crate::scheduler::{Mode, Phase, TaskUnwound, Worker, flags, worker};
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use crate::stack::{Shape, StackError};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
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
    if name.is_some() {
        *tcb.name.borrow_mut() = name;
    }
    tcb.ref_count.set(2);
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
        tcb.phase.set(Phase::Ready);
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
    if tcb.ref_count.get() != 1 {
        return false;
    }
    let Some(scope_link) = tcb.scope_link.take() else { return false };
    let copy = text_in(&**payload).unwrap_or("(not a text, and told of by the scope)").to_owned();
    scope_link.failed(tcb, std::mem::replace(payload, Box::new(copy)));
    tcb.scope_link.set(Some(scope_link));
    true
}

/// The task has its result: tells those who wait for it.
fn finish(worker: &Worker, tcb: &Tcb, phase: Phase, panicked: bool) {
    tcb.phase.set(phase);
    tcb.ended.set(worker.count_end());
    let joiner = tcb.joiner.replace(std::ptr::null());
    if !joiner.is_null() {
        // SAFETY: whoever waits in `join` is parked, so its TCB is in use.
        worker.wake(unsafe { &*joiner });
    }
    if let Some(end_listener) = tcb.end_listener.take() {
        end_listener.ended(worker, tcb.group_index.get(), panicked);
    }
    callbacks::schedule(worker, tcb);
    let last = tcb.ref_count.get() == 1;
    if last {
        // Nobody will ask what it came to. The destructors of that are the task's code still: they may wait, and be woken,
        // told to end and left behind like the rest of it.
        tcb.phase.set(Phase::Ready);
        drop_what_is_left(tcb);
    }
    let stack = tcb.stack.take();
    let scope_link = tcb.scope_link.take();
    let in_scope = tcb.scope_index.get();
    // The TCB may be another's after this, but the stack is ours until `end`.
    if last {
        free(&worker.table, tcb);
    } else {
        tcb.ref_count.set(tcb.ref_count.get() - 1);
    }
    if let Some(scope_link) = scope_link {
        // Only now: what the task borrowed may go from here on, and its result, if nobody wants it, is gone.
        scope_link.ended(worker, in_scope, panicked);
    }
    worker.retire_stack(stack);
}

/// One less has to do with the TCB; the last one drops the result and frees it.
pub(super) fn release(table: &Rc<TcbTable>, tcb: &Tcb) {
    let ref_count = tcb.ref_count.get() - 1;
    tcb.ref_count.set(ref_count);
    if ref_count == 0 {
        drop_what_is_left(tcb);
        free(table, tcb);
    }
}

/// Nobody has to do with the TCB any more, and nothing is left in it.
fn free(table: &Rc<TcbTable>, tcb: &Tcb) {
    drop(tcb.name.take());
    // SAFETY: as said.
    unsafe { table.give_back(tcb) };
}

/// The result, and what few tasks have. Code of anybody's runs here.
fn drop_what_is_left(tcb: &Tcb) {
    if let Some(drop_result) = tcb.drop_result.take() {
        // SAFETY: it was set together with the result, which is still there.
        unsafe { drop_result(tcb) };
    }
    // What a task-local's destructor sets is the ended task's too, not the next one's.
    while let Some(ext) = tcb.ext.take() {
        std::mem::forget(drop_catching(ext));
    }
}
