//! The wait of a future: until the waker that the future was polled with is used.
#![forbid(unsafe_code)]

use super::{Cancelled, limits, refuse, wait};
use crate::scheduler::wake::block_thread;
pub(crate) use crate::scheduler::waker::Poll;
use crate::scheduler::{WaitSpec, Worker, worker};
use std::thread::panicking;

/// Waits until the waker of `poll`, which returned `Pending`, is used. Outside of a run blocks the thread if `may_block`, and
/// returns `Cancelled` otherwise. May end by a spurious wakeup. Ends at once if the calling code no longer belongs to the task
/// that polled: then that task's waker is of no use here.
#[inline]
#[track_caller]
pub(crate) fn wait_for_waker(poll: &Poll, may_block: bool) -> Result<(), Cancelled> {
    // Looked up anew, because the poll may have suspended a generator that was resumed elsewhere.
    let worker = worker();
    if !may_block && worker.is_none() {
        return Err(Cancelled);
    }
    if !poll.is_by(worker) {
        return Ok(());
    }
    match worker {
        Some(worker) if poll.was_woken() => yield_in_wait(worker),
        Some(worker) => wait(worker, WaitSpec { reason: "a future", external: true, ..WaitSpec::DEFAULT }, None),
        None => {
            if !poll.was_woken() {
                block_thread(None);
            }
            Ok(())
        }
    }
}

/// Waits for an event that has already come: gives up the turn, so that a task whose futures wake themselves does not starve
/// other tasks.
#[cold]
#[track_caller]
fn yield_in_wait(worker: &Worker) -> Result<(), Cancelled> {
    if panicking() {
        return Err(Cancelled);
    }
    refuse(worker);
    worker.turn();
    worker.unwind_if_requested();
    if limits::is_interrupted(worker, worker.current()) { Err(Cancelled) } else { Ok(()) }
}
