//! Waiting for several tasks at once: which of them has ended, in the order in which they did.

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

/// A handle that the combinators take: [`JoinHandle`], [`ScopedJoinHandle`] and [`CancelOnDrop`].
pub trait Joinable: sealed::Handle<Self::Value> {
    /// What the task returns.
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

    /// Lends out the handle itself.
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

/// Several tasks that are waited for together.
pub(super) struct Group {
    /// The places of those that have ended and were not asked for yet, the one that ended first first.
    ended: RefCell<VecDeque<u32>>,
    /// Who waits for them, parked.
    waiter: Cell<*const Tcb>,
}

impl EndListener for Group {
    fn ended(&self, index: u32, _panicked: bool) -> *const Tcb {
        self.ended.borrow_mut().push_back(index);
        self.waiter.get()
    }
}

impl Group {
    /// Watches all of them; those that have ended already come first, in the order in which they did, and before them those
    /// that were abandoned by a run that is over. They are not watched by anybody else: the handles are borrowed mutably,
    /// and each task has one.
    pub(super) fn watch<H: Joinable>(handles: &mut [H]) -> Rc<Group> {
        let group = Rc::new(Group { ended: RefCell::default(), waiter: Cell::new(null()) });
        let mut ended = Vec::new();
        for (place, handle) in (0..).zip(handles) {
            let handle = handle.handle(sealed::Internal);
            let tcb = handle.tcb();
            if handle.is_finished() || handle.own_worker().is_none() {
                ended.push((tcb.end_order(), place));
            } else {
                tcb.join_group(Rc::clone(&group) as Rc<dyn EndListener>, place);
            }
        }
        ended.sort_unstable();
        group.ended.borrow_mut().extend(ended.into_iter().map(|(_, place)| place));
        group
    }

    /// The place of the one that has ended next, if one has.
    pub(super) fn try_next(&self) -> Option<usize> {
        self.ended.borrow_mut().pop_front().map(|place| place as usize)
    }

    /// Waits for the one that ends next, or until `deadline`: then `None`.
    #[track_caller]
    pub(super) fn next(&self, deadline: Option<Instant>) -> Result<Option<usize>, Cancelled> {
        wait::consume_budget();
        loop {
            if let Some(place) = self.try_next() {
                return Ok(Some(place));
            }
            let worker = running("wait for tasks");
            if deadline.is_some_and(|deadline| deadline <= worker.clock.now()) {
                // Whoever asks again and again, without time to wait, starves nobody and hears its cancel.
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

/// Nobody waits any more, also if the wait unwinds.
struct Reset<'a>(&'a Cell<*const Tcb>);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        self.0.set(null());
    }
}

/// Joins all that have no result yet; if the one who waits is cancelled meanwhile, cancels them and awaits them nevertheless.
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

/// Cancels all that have no result yet, and awaits them, whatever becomes of the one who waits.
#[track_caller]
pub(super) fn cancel_and_settle<H: Joinable>(handles: &mut [H], results: &mut [Option<Result<H::Value, JoinError>>]) {
    let mut open: Vec<_> = handles.iter_mut().zip(results).filter(|(_, result)| result.is_none()).collect();
    for (handle, _) in &mut open {
        handle.handle(sealed::Internal).cancel();
    }
    shield(|| {
        for (handle, result) in open {
            // Where nothing can wait (the thread panics, the run is deadlocked) this is an interruption, and stays one.
            *result = Some(handle.handle(sealed::Internal).join());
        }
    });
}
