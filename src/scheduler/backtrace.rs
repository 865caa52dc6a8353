//! Backtraces of suspended tasks.

use super::Worker;
use super::phase::Phase;
use super::tcb::Tcb;
use crate::arch::unwind_from;
use std::backtrace::Backtrace;

/// Where a suspended task stands: a backtrace of its own stack, which ends at its first function. `None` for one that runs
/// or has ended, and where the switch is not hand-written.
pub(crate) fn of(worker: &Worker, tcb: &Tcb) -> Option<Backtrace> {
    unsafe extern "C" fn capture(place: *mut u8) {
        // SAFETY: `place` is the option below.
        unsafe { *place.cast::<Option<Backtrace>>() = Some(Backtrace::force_capture()) };
    }
    let suspended = matches!(tcb.phase(), Phase::Fresh | Phase::Ready | Phase::Parked);
    if !suspended || std::ptr::eq(worker.current(), tcb) {
        return None;
    }
    let mut trace = None;
    // SAFETY: the task is suspended, on this thread, and nothing here switches.
    unsafe { unwind_from(tcb.context(), capture, (&raw mut trace).cast()) };
    trace
}
