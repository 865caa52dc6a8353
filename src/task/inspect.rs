//! Reaching every task of a run: to look at it, to tell it something, to give it up.

use super::{Task, wait};
use crate::arch::unwind_from;
use crate::report::report;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Phase, Worker, flags};
use crate::stack::arena::Kind;
use crate::stack::overflow::abort_naming;
use std::backtrace::Backtrace;

/// Where a suspended task stands: a backtrace of its own stack, which ends at its first function. `None` for one that runs
/// or has ended, and where the switch is not hand-written.
pub(crate) fn backtrace(worker: &Worker, tcb: &Tcb) -> Option<Backtrace> {
    unsafe extern "C" fn capture(place: *mut u8) {
        // SAFETY: `place` is the option below.
        unsafe { *place.cast::<Option<Backtrace>>() = Some(Backtrace::force_capture()) };
    }
    let suspended = matches!(tcb.phase.get(), Phase::Fresh | Phase::Ready | Phase::Parked);
    if !suspended || std::ptr::eq(worker.current(), tcb) {
        return None;
    }
    let mut trace = None;
    // SAFETY: the task is suspended, on this thread, and nothing here switches.
    unsafe { unwind_from(tcb.context(), capture, (&raw mut trace).cast()) };
    trace
}

/// Sets bits of every task that is neither main nor the event loop, and ends the waits that this ends. Returns how many
/// there are.
pub(crate) fn tell_all(worker: &Worker, bits: u8) {
    let mut all: Vec<*const Tcb> = Vec::new();
    worker.table.for_each(|tcb| {
        let ended = matches!(tcb.phase.get(), Phase::Ended | Phase::Cancelled);
        if !ended && !worker.is_main(tcb) && !worker.is_event_loop(tcb) {
            all.push(tcb);
        }
    });
    for tcb in all {
        // SAFETY: a TCB of the table, which stands.
        let tcb = unsafe { &*tcb };
        // A task is unwound once.
        let again = tcb.has_flags(flags::UNWOUND);
        tcb.add_flags(if again { bits & !flags::UNWIND_REQUESTED } else { bits });
        wait::wake_if_interrupted(worker, tcb);
    }
}

/// Stops the process if a task of a scope is there that was told to unwind and has not ended: it borrows. `all`: also if it has
/// not come to that, since it waits for others.
pub(crate) fn stop_for_scopes(worker: &Worker, all: bool) {
    worker.table.for_each(|tcb| {
        let scope_link = tcb.scope_link.take();
        let borrows = scope_link.is_some();
        tcb.scope_link.set(scope_link);
        let ended = matches!(tcb.phase.get(), Phase::Ended | Phase::Cancelled);
        if borrows && !ended && (all || tcb.has_flags(flags::UNWOUND) || cfg!(panic = "abort")) {
            let why =
                "would not end when it was cancelled and unwound; it borrows from its scope and cannot be left behind";
            abort_naming(Kind::Task, tcb.name.borrow().as_deref(), why);
        }
    });
}

/// Gives up everybody who is left: their stacks are never used again. Names them on stderr.
pub(crate) fn abandon(worker: &Worker) {
    // First those who are to blame, and not those who wait for them.
    stop_for_scopes(worker, false);
    stop_for_scopes(worker, true);
    worker.table.for_each(|tcb| {
        let ended = matches!(tcb.phase.get(), Phase::Ended | Phase::Cancelled);
        if ended || worker.is_main(tcb) || worker.is_event_loop(tcb) {
            return;
        }
        if let Some(scope_link) = tcb.scope_link.take() {
            tcb.scope_link.set(Some(scope_link));
            let why =
                "would not end when it was cancelled and unwound; it borrows from its scope and cannot be left behind";
            abort_naming(Kind::Task, tcb.name.borrow().as_deref(), why);
        }
        report!(
            "task {} would not end: it was cancelled and {}, and is still there; it is left behind",
            Task::of(tcb),
            if cfg!(panic = "unwind") { "unwound" } else { "cannot be unwound where panics abort" }
        );
        tcb.add_flags(flags::ABANDONED);
        // Its frames may be borrowed from for ever, so the stack is not the pool's any more.
        std::mem::forget(tcb.stack.take());
    });
}
