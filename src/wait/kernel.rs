//! The wait for an operation of the kernel that borrows from the waiting task's frame.
#![forbid(unsafe_code)]

use super::limits;
use super::suspend::AbortOnUnwind;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::{WaitSpec, Worker};
use std::time::Instant;

/// The event that ended the wait of [`wait_for_kernel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The operation has completed.
    Done,
    /// A cancel, a limit or a forced unwind came first. The operation has completed since, perhaps with a value.
    Cancelled,
    /// `deadline` came first. The operation has completed since, perhaps with a value.
    TimedOut,
    /// The process is a child of fork(2), in which the kernel uses no memory of the frame.
    Forked,
}

/// Returns whether a wait that begins now would be interrupted: then no operation must begin.
#[inline]
pub(crate) fn is_interrupted(worker: &Worker) -> bool {
    let tcb = worker.current();
    tcb.flags() != 0 && (tcb.flags_interrupt(WaitSpec::DEFAULT) || limits::is_interrupted(worker, tcb))
}

/// Suspends the running task until `done` returns true. The operation that makes it true must then wake the task.
///
/// A cancel, a limit around the wait, a forced unwind or `deadline` calls `cancel` once. The wait goes on even then: it
/// ends when the operation has completed, and never unwinds, since the kernel uses the task's frame until then (conditions
/// 1 and 2 of `reactor::uring`). The caller unwinds if that was requested.
///
/// The caller must have checked [`can_suspend`](super::can_suspend) and [`is_interrupted`].
pub(crate) fn wait_for_kernel(
    worker: &Worker,
    spec: WaitSpec,
    deadline: Option<Instant>,
    done: impl Fn() -> bool,
    cancel: impl FnOnce(),
) -> Ended {
    let guard = AbortOnUnwind(worker);
    let ended = wait_or_cancel(worker, WaitSpec { in_kernel: true, ..spec }, deadline, done, cancel);
    std::mem::forget(guard);
    ended
}

fn wait_or_cancel(
    worker: &Worker,
    spec: WaitSpec,
    deadline: Option<Instant>,
    done: impl Fn() -> bool,
    cancel: impl FnOnce(),
) -> Ended {
    let tcb = worker.current();
    let reason = loop {
        let reason = if tcb.flags() == 0 {
            worker.park(tcb, spec, deadline).then_some(Ended::TimedOut)
        } else {
            park_in_limits(worker, tcb, spec, deadline, &done)
        };
        // Data that came first counts.
        if done() {
            return Ended::Done;
        }
        if worker.is_forked() {
            return Ended::Forked;
        }
        if let Some(reason) = reason {
            break reason;
        }
    };
    cancel();
    let spec = WaitSpec {
        reason: "the kernel to end a cancelled operation",
        in_progress: true,
        uncancellable: true,
        in_kernel: true,
        fd: spec.fd,
        ..WaitSpec::DEFAULT
    };
    // The kernel answers for a socket at once, and for a disk when the disk is done.
    worker.begin_lent();
    while !done() && !worker.is_forked() {
        worker.park(tcb, spec, None);
    }
    worker.end_lent();
    if done() { reason } else { Ended::Forked }
}

/// Parks a task that has a flag set: it was cancelled, or has limits open. Returns the event that ends the wait, if one does.
#[cold]
fn park_in_limits(
    worker: &Worker,
    tcb: &Tcb,
    spec: WaitSpec,
    deadline: Option<Instant>,
    done: &impl Fn() -> bool,
) -> Option<Ended> {
    let view = limits::view(tcb);
    let limit = view.deadline();
    let is_own = limit.is_none_or(|limit| deadline.is_some_and(|deadline| deadline <= limit));
    let spec = WaitSpec { uncancellable: view.shielded, limited: true, limit_first: !is_own, ..spec };
    if tcb.flags_interrupt(spec) || limits::is_interrupted(worker, tcb) {
        return Some(Ended::Cancelled);
    }
    let timed_out = worker.park(tcb, spec, if is_own { deadline } else { limit });
    if done() {
        return None;
    }
    let view = limits::view(tcb);
    if tcb.flags_interrupt(spec) || view.scope_cancelled {
        return Some(Ended::Cancelled);
    }
    if timed_out && is_own {
        return Some(Ended::TimedOut);
    }
    if timed_out && view.is_over(worker) {
        view.saw_deadline();
        return Some(Ended::Cancelled);
    }
    None
}
