//! Events for tracing: the spawn, the end and the cancel of tasks. Without the feature `tracing` these functions do nothing.
#![forbid(unsafe_code)]

use super::JoinError;
use crate::scheduler::tcb::Tcb;

/// Tells that a task was spawned, in the context of its spawner.
#[inline(always)]
pub(super) fn spawned(tcb: &Tcb) {
    #[cfg(feature = "tracing")]
    tracing::trace!(target: "cede::task", task = tcb.id(), name = tcb.name().as_deref(), "spawned");
    let _ = tcb;
}

/// Tells how a task ended: in its own context, or in that of the event loop if it has never run. The code of a subscriber may panic.
#[inline(always)]
pub(super) fn ended(tcb: &Tcb, error: Option<&JoinError>) {
    #[cfg(feature = "tracing")]
    {
        let tell = || {
            let (task, name) = (tcb.id(), tcb.name());
            let name = name.as_deref();
            match error {
                None => tracing::trace!(target: "cede::task", task, name, "ended"),
                Some(error @ (JoinError::Panicked(_) | JoinError::Stack(_))) => {
                    tracing::warn!(target: "cede::task", task, name, %error, "failed");
                }
                Some(_) => tracing::trace!(target: "cede::task", task, name, "cancelled"),
            }
        };
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell));
    }
    let _ = (tcb, error);
}

/// Tells that the cancel of a task was requested, in the context of the caller.
#[inline(always)]
pub(super) fn cancel_requested(task: u64) {
    #[cfg(feature = "tracing")]
    tracing::trace!(target: "cede::task", task, "cancel requested");
    let _ = task;
}
