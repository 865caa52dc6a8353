//! What a task came to, from its end until somebody asks.

use super::join_error::{JoinError, text_in};
use crate::coroutine::raw::{Payload, drop_catching};
use crate::report::report;
use crate::scheduler::tcb::{RESULT_WORDS, Tcb};
use crate::scheduler::tcb_table::TcbTable;
use crate::scheduler::{Task, worker};
use std::rc::Rc;

const fn fits<T>() -> bool {
    size_of::<Result<T, JoinError>>() <= RESULT_WORDS * size_of::<usize>()
        && align_of::<Result<T, JoinError>>() <= align_of::<usize>()
}

/// # Safety
///
/// The TCB is of a task that returns T and holds no result.
pub(super) unsafe fn put_result<T>(tcb: &Tcb, result: Result<T, JoinError>) {
    let place = tcb.result_place();
    // SAFETY: the place is large enough for the result, or for the box, whichever `fits` says.
    unsafe {
        if const { fits::<T>() } {
            place.cast::<Result<T, JoinError>>().write(result);
        } else {
            place.cast::<Box<Result<T, JoinError>>>().write(Box::new(result));
        }
    }
    tcb.set_result(drop_result::<T>);
}

/// # Safety
///
/// The TCB is of a task that returns T and holds a result.
pub(super) unsafe fn result_ref<T>(tcb: &Tcb) -> &Result<T, JoinError> {
    let place = tcb.result_place();
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
pub(super) unsafe fn take_result<T>(tcb: &Tcb) -> Result<T, JoinError> {
    let place = tcb.result_place();
    tcb.take_result();
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
unsafe fn drop_result<T>(tcb: &Tcb) {
    // SAFETY: the caller's.
    let result = unsafe { take_result::<T>(tcb) };
    match result {
        Err(JoinError::Panicked(payload)) => unhandled(&Task::of(tcb), payload),
        // A panic of the value's destructor has printed its text.
        result => std::mem::forget(drop_catching(result)),
    }
}

/// The panic that the TCB holds a copy of is told of elsewhere.
///
/// # Safety
///
/// As `put_result`, after it.
#[cold]
pub(super) unsafe fn suppress_report<T>(tcb: &Tcb) {
    unsafe fn drop_without_report<T>(tcb: &Tcb) {
        // SAFETY: as in `drop_result`.
        std::mem::forget(drop_catching(unsafe { take_result::<T>(tcb) }));
    }
    tcb.set_result(drop_without_report::<T>);
}

/// A task panicked and nobody is left to join it.
#[cold]
pub(super) fn unhandled(task: &Task, payload: Payload) {
    let label = task.to_string();
    match worker() {
        Some(worker) => {
            // On the event loop's stack, which has room for whatever the hook does.
            let hook = Rc::clone(&worker.unhandled);
            worker.queue_job(Box::new(move || hook(&label, &*payload)));
        }
        None => report_unhandled(&label, &*payload),
    }
}

/// What is told when no hook was set.
pub(crate) fn report_unhandled(label: &str, payload: &(dyn std::any::Any + Send)) {
    let text = text_in(payload).unwrap_or("(not a text)");
    report!("task {label} panicked, and nobody is left to join it: {text}");
}

/// The result of a task, as its callbacks see it.
///
/// # Safety
///
/// The TCB is of a task that returns T.
pub(super) unsafe fn peek<T>(tcb: &Tcb) -> Option<&Result<T, JoinError>> {
    tcb.has_result().then(|| {
        // SAFETY: the TCB holds a result, and the caller ensures that its type is T.
        unsafe { result_ref(tcb) }
    })
}

/// One less has to do with the TCB; the last one drops the result and frees it.
#[inline]
pub(super) fn release(table: &Rc<TcbTable>, tcb: &Tcb) {
    if tcb.remove_reference() {
        drop_what_is_left(tcb);
        free(table, tcb);
    }
}

/// Nobody has to do with the TCB any more, and nothing is left in it.
#[inline]
pub(super) fn free(table: &Rc<TcbTable>, tcb: &Tcb) {
    // SAFETY: the caller removed the last reference, and the TCB holds no result and no cold part.
    unsafe { table.give_back(tcb) };
}

/// The result, and what few tasks have. Code of anybody's runs here.
#[inline]
pub(super) fn drop_what_is_left(tcb: &Tcb) {
    if let Some(drop_result) = tcb.take_result() {
        // SAFETY: it was set together with the result, which is still there.
        unsafe { drop_result(tcb) };
    }
    // What a task-local's destructor sets is the ended task's too, not the next one's.
    while let Some(ext) = tcb.take_ext() {
        std::mem::forget(drop_catching(ext));
    }
}
