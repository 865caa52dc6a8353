//! Groups: one task waits for several tasks, and sees them in the order in which they end.

use super::anywhere::{RemoteHandle, ScopedRemoteHandle};
use super::handle::{CancelOnDrop, JoinHandle};
use super::join_error::JoinError;
use super::scope::ScopedJoinHandle;
use super::spawn::yield_now;
use super::timeout::{check, shield};
use crate::scheduler::tcb::{EndListener, Tcb};
use crate::scheduler::{WaitSpec, worker};
use crate::wait::{self, Cancelled, running};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::null;
use std::rc::Rc;
use std::time::Instant;

/// A handle that the combinators accept: [`JoinHandle`], [`ScopedJoinHandle`], [`CancelOnDrop`], [`RemoteHandle`] or
/// [`ScopedRemoteHandle`].
pub trait Joinable: sealed::Handle<Self::Value> {
    /// The type of the task's value.
    type Value;
}

pub(super) mod sealed {
    use super::{Group, JoinError};
    use std::rc::Rc;

    /// Proof that the caller is this crate: another crate cannot name this type, so it cannot call a method that takes it.
    ///
    /// A private supertrait alone keeps other crates from implementing [`Joinable`](super::Joinable), but its methods can
    /// still be called through a bound.
    #[derive(Debug)]
    pub struct Internal;

    /// A place in a group, which the end of a task is reported to.
    #[derive(Debug)]
    pub struct Member<'a> {
        pub(super) group: &'a Rc<Group>,
        pub(super) place: u32,
    }

    /// The methods of a handle that the combinators call.
    pub trait Handle<T> {
        #[doc(hidden)]
        #[track_caller]
        fn join(&mut self, _: Internal) -> Result<T, JoinError>;

        #[doc(hidden)]
        fn cancel(&mut self, _: Internal);

        /// Returns whether the task has panicked and the panic was not taken yet.
        #[doc(hidden)]
        fn has_panicked(&mut self, _: Internal) -> bool;

        /// Makes the end of the task a message to the group. If it has ended already, returns its place in the order of ends instead.
        #[doc(hidden)]
        fn watch(&mut self, member: Member<'_>) -> Option<u64>;
    }
}

/// Implements `Joinable` for a handle that has a `JoinHandle`.
macro_rules! local {
    ([$($generic:tt)*] $handle:ty, $self:ident => $inner:expr) => {
        impl<$($generic)*> Joinable for $handle {
            type Value = T;
        }

        impl<$($generic)*> sealed::Handle<T> for $handle {
            fn join(&mut $self, _: sealed::Internal) -> Result<T, JoinError> {
                JoinHandle::join($inner)
            }

            fn cancel(&mut $self, _: sealed::Internal) {
                JoinHandle::cancel($inner);
            }

            fn has_panicked(&mut $self, _: sealed::Internal) -> bool {
                JoinHandle::has_panicked($inner)
            }

            fn watch(&mut $self, member: sealed::Member<'_>) -> Option<u64> {
                watch_local($inner, member)
            }
        }
    };
}

local!([T] JoinHandle<T>, self => self);
local!(['scope, T] ScopedJoinHandle<'scope, T>, self => self.inner());
local!([T] CancelOnDrop<T>, self => self);

/// Watches a task of this run. A task that its run has abandoned counts as ended.
fn watch_local<T>(handle: &mut JoinHandle<T>, member: sealed::Member<'_>) -> Option<u64> {
    let tcb = handle.tcb();
    if handle.is_finished() || handle.own_worker().is_none() {
        if !handle.is_finished() {
            handle.refuse_hidden();
        }
        return Some(tcb.end_order());
    }
    tcb.join_group(Rc::clone(member.group) as Rc<dyn EndListener>, member.place);
    None
}

/// Implements `Joinable` for a handle to a task of any worker.
macro_rules! remote {
    ([$($generic:tt)*] $handle:ty) => {
        impl<$($generic)*> Joinable for $handle {
            type Value = T;
        }

        impl<$($generic)*> sealed::Handle<T> for $handle {
            fn join(&mut self, _: sealed::Internal) -> Result<T, JoinError> {
                self.joiner().join()
            }

            fn cancel(&mut self, _: sealed::Internal) {
                self.joiner().cancel();
            }

            fn has_panicked(&mut self, _: sealed::Internal) -> bool {
                self.joiner().has_panicked()
            }

            fn watch(&mut self, member: sealed::Member<'_>) -> Option<u64> {
                let sealed::Member { group, place } = member;
                group.external.set(group.external.get() | !self.joiner().is_here());
                let group = Rc::clone(group);
                let is_watched = self.joiner().watch(move || group.add(place));
                // The order of ends is that of one worker: the task comes after those of this one.
                if is_watched { None } else { Some(u64::MAX) }
            }
        }
    };
}

remote!([T] RemoteHandle<T>);
remote!(['scope, T] ScopedRemoteHandle<'scope, T>);

/// Tasks that one task waits for together.
#[derive(Debug)]
pub(super) struct Group {
    /// The indices of the tasks that have ended and were not returned yet, in the order of their ends.
    ended: RefCell<VecDeque<u32>>,
    /// The task that is parked in `next`, or null.
    waiter: Cell<*const Tcb>,
    /// A task of another run is in the group.
    external: Cell<bool>,
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
        let group = Group::empty();
        let mut ended = Vec::new();
        for (place, handle) in (0..).zip(handles) {
            let order = handle.watch(sealed::Member { group: &group, place });
            ended.extend(order.map(|order| (order, place)));
        }
        ended.sort_unstable();
        group.ended.borrow_mut().extend(ended.into_iter().map(|(_, place)| place));
        group
    }

    /// Creates a group without tasks.
    pub(super) fn empty() -> Rc<Group> {
        Rc::new(Group { ended: RefCell::default(), waiter: Cell::new(null()), external: Cell::new(false) })
    }

    /// Adds a task to the group at `place`, where no task is. If it has ended already, it comes after the tasks that have ended.
    pub(super) fn insert<H: Joinable>(self: &Rc<Self>, handle: &mut H, place: u32) {
        if handle.watch(sealed::Member { group: self, place }).is_some() {
            self.ended.borrow_mut().push_back(place);
        }
    }

    /// Notes the end of a task of any worker, in the event loop of the worker that waits.
    fn add(&self, place: u32) {
        self.ended.borrow_mut().push_back(place);
        // SAFETY: null, or the task that is parked in `next`, which resets the pointer when its wait ends.
        if let (Some(waiter), Some(worker)) = (unsafe { self.waiter.get().as_ref() }, worker()) {
            worker.wake(waiter);
        }
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
            let external = self.external.get();
            let reason = "one of several tasks to end";
            let reason = WaitSpec { reason, only_this_run: !external, external, ..WaitSpec::DEFAULT };
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
        match handle.join(sealed::Internal) {
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
        handle.cancel(sealed::Internal);
    }
    shield(|| {
        for (handle, result) in open {
            // If no wait is possible (the thread is panicking, or the run is deadlocked), the result is `Interrupted`.
            *result = Some(handle.join(sealed::Internal));
        }
    });
}
