//! Backtraces of suspended tasks.

use super::Worker;
use super::phase::Phase;
use super::tcb::Tcb;
use crate::arch::unwind_from;
use std::backtrace::Backtrace;

/// Returns the backtrace of a suspended task's own stack, which ends at the task's first function. Returns `None` for a
/// task that runs or has ended, and on targets without the hand-written switch.
pub(crate) fn of(worker: &Worker, tcb: &Tcb) -> Option<Backtrace> {
    unsafe extern "C" fn capture(place: *mut u8) {
        // SAFETY: `place` points to `trace` below, which outlives the call.
        unsafe { *place.cast::<Option<Backtrace>>() = Some(Backtrace::force_capture()) };
    }
    let suspended = matches!(tcb.phase(), Phase::Fresh | Phase::Ready | Phase::Parked);
    if !suspended || std::ptr::eq(worker.current(), tcb) {
        return None;
    }
    let mut trace = None;
    // SAFETY: the task is suspended (checked above) and belongs to this thread, so its stack does not change during the
    // call. `capture` does not switch.
    unsafe { unwind_from(tcb.context(), capture, (&raw mut trace).cast()) };
    trace
}
