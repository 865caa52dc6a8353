//! The wait of a future: until the waker that the future was polled with is used. In a fiber, outside of a run, the future is polled with
//! the waker of the executor that polls the fiber.
#![forbid(unsafe_code)]

use super::{Cancelled, limits, refuse, wait};
use crate::scheduler::fiber::{self, FiberHandle};
use crate::scheduler::wake::block_thread;
pub(crate) use crate::scheduler::waker::Poll;
use crate::scheduler::{WaitSpec, Worker, worker};
use std::pin::Pin;
use std::task;
use std::thread::panicking;

/// Waits until the waker of `poll`, which returned `Pending`, is used. Outside of a run blocks the thread if `may_block`, and
/// returns `Cancelled` otherwise. May end by a spurious wakeup. Ends at once if the calling code no longer belongs to the task
/// that polled: then that task's waker is of no use here.
#[inline]
#[track_caller]
pub(crate) fn wait_for_waker(poll: &Poll, may_block: bool) -> Result<(), Cancelled> {
    // Looked up anew, because the poll may have suspended a generator that was resumed elsewhere.
    let worker = worker();
    if !may_block && worker.is_none() && fiber::current().is_none() {
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

/// Polls the future in a fiber, outside of a run. If it is pending, suspends the fiber until that is polled again. Returns `Pending` if
/// the caller must poll again, wherever it runs then.
///
/// Each poll has a waker of its own frame, and not the reference that the executor has lent: a generator that is suspended during the poll
/// may keep its `Context` for longer than the executor's poll.
#[inline(always)]
#[track_caller]
pub(crate) fn poll_in_fiber<F: Future>(
    fiber: &FiberHandle,
    mut future: Pin<&mut F>,
) -> Result<task::Poll<F::Output>, Cancelled> {
    let number = fiber.number();
    let mut fiber = fiber;
    loop {
        if fiber.is_cancelled() {
            return poll_cancelled(number, future);
        }
        let waker = fiber.take_waker();
        let ready = future.as_mut().poll(&mut task::Context::from_waker(&waker));
        // Looked up anew, because the poll may have suspended a generator that was resumed elsewhere.
        let Some(same) = in_fiber(number) else {
            drop(waker);
            return if ready.is_pending() && panicking() { Err(Cancelled) } else { Ok(ready) };
        };
        // Nothing is owned over the suspension, in which the fiber may be forgotten.
        let was_suspended = same.keep_waker(waker);
        if ready.is_ready() {
            return Ok(ready);
        }
        if panicking() {
            return Err(Cancelled);
        }
        // A wake of the future may have ended a suspension by other code: the future is polled again.
        if !was_suspended {
            same.suspend();
        }
        // Only a poll of the same fiber resumes this code, and outside of a run, as before.
        fiber = same;
    }
}

/// Polls the future in a fiber that was dropped. One that is ready at once still counts.
#[cold]
#[inline(never)]
fn poll_cancelled<F: Future>(number: u64, future: Pin<&mut F>) -> Result<task::Poll<F::Output>, Cancelled> {
    let ready = future.poll(&mut task::Context::from_waker(task::Waker::noop()));
    if ready.is_pending() {
        if let Some(fiber) = in_fiber(number) {
            fiber.refuse();
        }
        return Err(Cancelled);
    }
    Ok(ready)
}

/// Returns the fiber that the calling code belongs to, outside of a run, if it has this number.
#[inline]
fn in_fiber<'a>(number: u64) -> Option<&'a FiberHandle> {
    fiber::current().filter(|fiber| fiber.number() == number && fiber::is_outside_of_runs())
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
