//! Backtraces of suspended tasks.

use super::Worker;
use super::phase::Phase;
use super::tcb::Tcb;
use crate::arch::unwind_from;
use std::backtrace::Backtrace;

/// Returns the backtrace of a suspended task's own stack, which ends at the task's first function. Returns `None` for a
/// task that runs, has ended or has no stack yet, and on targets without the hand-written switch.
pub(crate) fn of(worker: &Worker, tcb: &Tcb) -> Option<Backtrace> {
    unsafe extern "C" fn capture(place: *mut u8) {
        // SAFETY: `place` points to `trace` below, which outlives the call.
        unsafe { *place.cast::<Option<Backtrace>>() = Some(Backtrace::force_capture()) };
    }
    let suspended = match tcb.phase() {
        Phase::Ready | Phase::Parked => true,
        Phase::Fresh => tcb.has_stack(),
        Phase::Free | Phase::Ended | Phase::Cancelled => false,
    };
    if !suspended || std::ptr::eq(worker.current(), tcb) {
        return None;
    }
    let mut trace = None;
    // SAFETY: the task is suspended (checked above) and belongs to this thread, so its stack does not change during the
    // call. `capture` does not switch.
    unsafe { unwind_from(tcb.context(), capture, (&raw mut trace).cast()) };
    trace
}
