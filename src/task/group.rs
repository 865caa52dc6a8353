//! Groups: one task waits for several tasks, and sees them in the order in which they end.

use super::handle::{CancelOnDrop, JoinHandle};
use super::join_error::JoinError;
use super::scope::ScopedJoinHandle;
use super::spawn::yield_now;
use super::timeout::{check, shield};
use crate::scheduler::WaitSpec;
use crate::scheduler::tcb::{EndListener, Tcb};
use crate::wait::{self, Cancelled, running};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::null;
use std::rc::Rc;
use std::time::Instant;

/// A handle that the combinators accept: [`JoinHandle`], [`ScopedJoinHandle`] or [`CancelOnDrop`].
pub trait Joinable: sealed::Handle<Self::Value> {
    /// The type of the task's value.
    type Value;
}

pub(super) mod sealed {
    use super::JoinHandle;

    /// Proof that the caller is this crate: another crate cannot name this type, so it cannot call a method that takes it.
    ///
    /// A private supertrait alone keeps other crates from implementing [`Joinable`](super::Joinable), but its methods can
    /// still be called through a bound.
    #[derive(Debug)]
    pub struct Internal;

    /// Access to the `JoinHandle` in a handle.
    pub trait Handle<T> {
        #[doc(hidden)]
        fn handle(&mut self, _: Internal) -> &mut JoinHandle<T>;
    }
}

impl<T> Joinable for JoinHandle<T> {
    type Value = T;
}

impl<T> sealed::Handle<T> for JoinHandle<T> {
    fn handle(&mut self, _: sealed::Internal) -> &mut JoinHandle<T> {
        self
    }
}

impl<T> Joinable for ScopedJoinHandle<'_, T> {
    type Value = T;
}

impl<T> sealed::Handle<T> for ScopedJoinHandle<'_, T> {
    fn handle(&mut self, _: sealed::Internal) -> &mut JoinHandle<T> {
        self.inner()
    }
}

impl<T> Joinable for CancelOnDrop<T> {
    type Value = T;
}

impl<T> sealed::Handle<T> for CancelOnDrop<T> {
    fn handle(&mut self, _: sealed::Internal) -> &mut JoinHandle<T> {
        self
    }
}

/// Tasks that one task waits for together.
pub(super) struct Group {
    /// The indices of the tasks that have ended and were not returned yet, in the order of their ends.
    ended: RefCell<VecDeque<u32>>,
    /// The task that is parked in `next`, or null.
    waiter: Cell<*const Tcb>,
}

impl EndListener for Group {
    fn ended(&self, index: u32, _panicked: bool) -> *const Tcb {
        self.ended.borrow_mut().push_back(index);
        self.waiter.get()
    }
}

impl Group {
    /// Creates a group that is notified when a task of `handles` ends. Tasks that have already ended come first, in the
    /// order of their ends. A task that its run has abandoned counts as ended.
    ///
    /// A task can be in one group only. No task is in a second group here: a task has one handle, and the combinator
    /// borrows or owns that handle.
    pub(super) fn watch<H: Joinable>(handles: &mut [H]) -> Rc<Group> {
        let group = Rc::new(Group { ended: RefCell::default(), waiter: Cell::new(null()) });
        let mut ended = Vec::new();
        for (place, handle) in (0..).zip(handles) {
            let handle = handle.handle(sealed::Internal);
            let tcb = handle.tcb();
            if handle.is_finished() || handle.own_worker().is_none() {
                if !handle.is_finished() {
                    handle.refuse_hidden();
                }
                ended.push((tcb.end_order(), place));
            } else {
                tcb.join_group(Rc::clone(&group) as Rc<dyn EndListener>, place);
            }
        }
        ended.sort_unstable();
        group.ended.borrow_mut().extend(ended.into_iter().map(|(_, place)| place));
        group
    }

    /// Returns the index of the next task that has ended, if there is one. Never waits.
    pub(super) fn try_next(&self) -> Option<usize> {
        self.ended.borrow_mut().pop_front().map(|place| place as usize)
    }

    /// Waits until the next task has ended, and returns its index; `None` if `deadline` passes first.
    #[track_caller]
    pub(super) fn next(&self, deadline: Option<Instant>) -> Result<Option<usize>, Cancelled> {
        wait::consume_budget();
        loop {
            if let Some(place) = self.try_next() {
                return Ok(Some(place));
            }
            let worker = running("wait for tasks");
            if deadline.is_some_and(|deadline| deadline <= worker.clock.now()) {
                // Yield and check for a cancel here too: a caller that polls with a passed deadline must neither starve
                // other tasks nor miss its cancel.
                yield_now();
                let next = self.try_next();
                if next.is_none() {
                    check()?;
                }
                return Ok(next);
            }
            self.waiter.set(worker.current());
            let _reset = Reset(&self.waiter);
            let reason = WaitSpec { reason: "one of several tasks to end", only_this_run: true, ..WaitSpec::DEFAULT };
            let outcome = wait::wait(worker, reason, deadline);
            if self.ended.borrow().is_empty() {
                outcome?;
            }
        }
    }
}

/// Clears the waiter when dropped, also when the wait unwinds.
struct Reset<'a>(&'a Cell<*const Tcb>);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        self.0.set(null());
    }
}

/// Joins each task that has no result yet. If that is interrupted, cancels the remaining tasks and still waits for them.
#[track_caller]
pub(super) fn settle<H: Joinable>(handles: &mut [H], results: &mut [Option<Result<H::Value, JoinError>>]) {
    let mut cut = false;
    for (handle, result) in handles.iter_mut().zip(&mut *results).filter(|(_, result)| result.is_none()) {
        match handle.handle(sealed::Internal).join() {
            Err(JoinError::Interrupted) => {
                cut = true;
                break;
            }
            settled => *result = Some(settled),
        }
    }
    if cut {
        cancel_and_settle(handles, results);
    }
}

/// Cancels each task that has no result yet, and waits for all of them, even if the waiting task is cancelled.
#[track_caller]
pub(super) fn cancel_and_settle<H: Joinable>(handles: &mut [H], results: &mut [Option<Result<H::Value, JoinError>>]) {
    let mut open: Vec<_> = handles.iter_mut().zip(results).filter(|(_, result)| result.is_none()).collect();
    for (handle, _) in &mut open {
        handle.handle(sealed::Internal).cancel();
    }
    shield(|| {
        for (handle, result) in open {
            // If no wait is possible (the thread is panicking, or the run is deadlocked), the result is `Interrupted`.
            *result = Some(handle.handle(sealed::Internal).join());
        }
    });
}
