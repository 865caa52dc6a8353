//! The result of a task: stored in its TCB when the task ends, until `join` takes it or the last reference drops it.
//!
//! # Where a panic that no task joins is reported
//!
//! `join` returns the panic of a task to its caller. A panic that is still in the TCB when the last reference is released is
//! an *unjoined panic*. `unhandled` passes it to the hook of `Config::on_unhandled_panic`; the default hook prints it on
//! stderr (`report_unhandled`). If a task of a scope panics and has no handle, the scope receives the panic
//! (`start::give_to_scope`), and `scope` returns it.

use super::join_error::{JoinError, text_in};
use crate::coroutine::raw::{Payload, drop_catching};
use crate::report::report;
#[cfg(feature = "io")]
use crate::scheduler::TaskUnwound;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_place::RESULT_WORDS;
use crate::scheduler::tcb_table::TcbTable;
use crate::scheduler::{Task, worker};
use crate::stack::StackError;
#[cfg(feature = "io")]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// Returns whether a result fits into the TCB. If not, it is boxed.
const fn fits<T>() -> bool {
    size_of::<Result<T, JoinError>>() <= RESULT_WORDS * size_of::<usize>()
        && align_of::<Result<T, JoinError>>() <= align_of::<usize>()
}

// A result of up to two words is stored without an allocation, so `JoinError` has at most two words.
const _: () = assert!(fits::<[usize; 2]>());

/// Stores the result of a task in its TCB.
///
/// # Safety
///
/// `tcb` belongs to a task that returns a `T`, and contains no result.
pub(super) unsafe fn put_result<T>(tcb: &Tcb, result: Result<T, JoinError>) {
    let place = tcb.result_place();
    // SAFETY: the place is empty (the caller ensures that) and valid for writes as long as the TCB. It has the size and
    // alignment of a box, and those of the result if `fits` is true.
    unsafe {
        if const { fits::<T>() } {
            place.cast::<Result<T, JoinError>>().write(result);
        } else {
            place.cast::<Box<Result<T, JoinError>>>().write(Box::new(result));
        }
    }
    tcb.set_result(drop_result::<T>);
}

/// Returns the result of a task.
///
/// # Safety
///
/// `tcb` belongs to a task that returns a `T`, and contains a result, which no code takes while the reference is alive.
pub(super) unsafe fn result_ref<T>(tcb: &Tcb) -> &Result<T, JoinError> {
    let place = tcb.result_place();
    // SAFETY: the caller ensures that `put_result::<T>` stored a result, and `fits` selects the same form as there.
    unsafe {
        if const { fits::<T>() } {
            &*place.cast::<Result<T, JoinError>>()
        } else {
            &*place.cast::<Box<Result<T, JoinError>>>()
        }
    }
}

/// Takes the result of a task out of its TCB.
///
/// # Safety
///
/// `tcb` belongs to a task that returns a `T`, and contains a result, to which no reference exists.
pub(super) unsafe fn take_result<T>(tcb: &Tcb) -> Result<T, JoinError> {
    let place = tcb.result_place();
    tcb.take_result();
    // SAFETY: the caller ensures that `put_result::<T>` stored a result, and `fits` selects the same form as there.
    // `Tcb::take_result` has marked the place as empty, so the result is read once.
    unsafe {
        if const { fits::<T>() } {
            place.cast::<Result<T, JoinError>>().read()
        } else {
            *place.cast::<Box<Result<T, JoinError>>>().read()
        }
    }
}

/// Drops a result that no code has taken, and reports it if it is a panic.
///
/// # Safety
///
/// The contract of [`take_result`].
unsafe fn drop_result<T>(tcb: &Tcb) {
    // SAFETY: the caller keeps the contract of `take_result`, which is that of this function.
    let result = unsafe { take_result::<T>(tcb) };
    match result {
        Err(JoinError::Panicked(payload)) => unhandled(&Task::of(tcb), payload),
        Err(JoinError::Stack(error)) => unhandled(&Task::of(tcb), error),
        // A panic of the value's destructor has been printed by the panic hook.
        result => std::mem::forget(drop_catching(result)),
    }
}

/// Makes the drop of the result report nothing: the result is a copy of a panic that the scope reports.
///
/// # Safety
///
/// `tcb` belongs to a task that returns a `T`, and contains a result.
#[cold]
pub(super) unsafe fn suppress_report<T>(tcb: &Tcb) {
    unsafe fn drop_without_report<T>(tcb: &Tcb) {
        // SAFETY: `drop_result` of a TCB is called under the contract of `take_result`, and the caller of
        // `suppress_report` ensures that the type is `T`.
        std::mem::forget(drop_catching(unsafe { take_result::<T>(tcb) }));
    }
    tcb.set_result(drop_without_report::<T>);
}

/// Passes the unjoined panic of a task to the hook of `Config::on_unhandled_panic`, or the `StackError` of a task that had no
/// stack.
#[cold]
pub(super) fn unhandled(task: &Task, payload: Payload) {
    let label = task.to_string();
    match worker() {
        Some(worker) => {
            if worker.is_helper() {
                // The hook belongs to the thread that called `run`.
                let crew = worker.member().crew();
                // False only if main's thread has left the run, which it does last.
                let _ = crew.call(0, Box::new(move || call_hook(label, payload)));
                return;
            }
            // As a job of the event loop: its stack has room for any hook.
            let hook = Rc::clone(&worker.unhandled);
            worker.queue_job(Box::new(move || hook(&label, &*payload)));
        }
        None => report_unhandled(&label, &*payload),
    }
}

/// Passes the panic of a task of another worker to the hook, in the event loop of the worker of main.
fn call_hook(label: String, payload: Payload) {
    if let Some(worker) = worker() {
        (worker.unhandled)(&label, &*payload);
    }
}

/// Calls `f`, and passes its panic to the hook of `Config::on_unhandled_panic`, as the unjoined panic of the running task.
///
/// For a task of a scope that must not cancel the scope when it panics. A forced unwind is no panic, and continues.
#[cfg(feature = "io")]
pub(crate) fn report_panic_of(f: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else { return };
    if payload.is::<TaskUnwound>() {
        resume_unwind(payload);
    }
    let worker = worker().expect("a task runs inside a run");
    unhandled(&Task::of(worker.current()), payload);
}

/// Prints an unjoined panic on stderr: the default hook.
pub(crate) fn report_unhandled(label: &str, payload: &(dyn std::any::Any + Send)) {
    if let Some(error) = payload.downcast_ref::<StackError>() {
        return report!("task {label} never ran and was not joined: {error}");
    }
    let text = text_in(payload).unwrap_or("(not a string)");
    report!("task {label} panicked and was not joined: {text}");
}

/// Returns the result of a task, if its TCB contains one.
///
/// # Safety
///
/// `tcb` belongs to a task that returns a `T`, and no code takes the result while the reference is alive.
pub(super) unsafe fn peek<T>(tcb: &Tcb) -> Option<&Result<T, JoinError>> {
    tcb.has_result().then(|| {
        // SAFETY: the TCB contains a result. The caller ensures that its type is `T` and that it stays in place.
        unsafe { result_ref(tcb) }
    })
}

/// Releases one reference to a TCB. The last one drops the result and frees the TCB.
#[inline]
pub(super) fn release(table: &Rc<TcbTable>, tcb: &Tcb) {
    if tcb.remove_reference() {
        drop_what_is_left(tcb);
        free(table, tcb);
    }
}

/// Frees a TCB that has no references, no result and no cold part.
#[inline]
pub(super) fn free(table: &Rc<TcbTable>, tcb: &Tcb) {
    // SAFETY: the TCB is one of `table`. The caller removed the last reference, and `drop_what_is_left` dropped the result
    // and the cold part.
    unsafe { table.give_back(tcb) };
}

/// Drops the result and the cold part of a TCB. Runs user code: their destructors.
#[inline]
pub(super) fn drop_what_is_left(tcb: &Tcb) {
    if let Some(drop_result) = tcb.take_result() {
        // SAFETY: `set_result` set this function together with the result, so it drops a result of its own type. The
        // result is still present, and no reference to it exists.
        unsafe { drop_result(tcb) };
    }
    // A destructor may set task-locals again. They belong to the ended task, so they are dropped before the TCB is reused.
    if tcb.has_parts() {
        while let Some(ext) = tcb.take_ext() {
            std::mem::forget(drop_catching(ext));
        }
    }
}
