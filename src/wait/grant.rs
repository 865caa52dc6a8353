//! Grants: how a wait queue chooses the waiter that is granted something. See `queue`.
#![forbid(unsafe_code)]

use super::place;
use super::queue::{NONE, WaitQueue};
use super::waiter::{FirstWaiter, OwnWaiter, Status, WaiterId, Wake};
use crate::scheduler::wake::Place;
use crate::scheduler::{Worker, worker};

impl<V> WaitQueue<V> {
    /// Grants to the first waiter that can be granted something, like `grant`, if it is a task of the calling run.
    /// Not for queues in which selects wait.
    #[inline(always)]
    pub(crate) fn grant_if_own(&mut self) -> FirstWaiter {
        let worker = worker();
        while self.first != NONE {
            let waiter = self.first;
            let node = &self.nodes[waiter as usize];
            debug_assert!(node.select_state.is_none(), "a select must be claimed, by `grant`");
            match node.waker.as_ref().map_or(Place::Out, |waker| place(waker, worker)) {
                Place::Out => self.skip(waiter),
                Place::Here(..) => {
                    self.unlink(waiter, Status::Granted);
                    return FirstWaiter::Granted(WaiterId(waiter));
                }
                Place::Elsewhere => return FirstWaiter::Elsewhere(WaiterId(waiter)),
            }
        }
        FirstWaiter::None
    }

    /// Returns the first task of the calling run that can be granted something, if it is among the first `limit` waiters.
    /// Not for queues in which selects wait.
    pub(crate) fn first_own(&self, limit: usize) -> OwnWaiter {
        if worker().is_none() {
            // A plain thread, or a fiber outside of a run, waits in one queue at a time.
            return OwnWaiter::None;
        }
        let mut waiter = self.first;
        for _ in 0..limit {
            if waiter == NONE {
                return OwnWaiter::None;
            }
            let node = &self.nodes[waiter as usize];
            if node.waker.is_some_and(|waker| waker.is_here() && !super::is_out(&waker)) {
                return OwnWaiter::Found(WaiterId(waiter));
            }
            waiter = node.next;
        }
        if waiter == NONE { OwnWaiter::None } else { OwnWaiter::Unknown }
    }

    /// Takes the first waiter that can be granted something out of the queue, and claims it if it belongs to a select.
    /// The caller must then store the granted value in `value`, release the lock, and wake `waker`.
    #[inline(always)]
    pub(crate) fn grant(&mut self) -> Option<WaiterId> {
        while self.first != NONE {
            let waiter = self.first;
            if self.skip_if_out(waiter) {
                continue;
            }
            if self.nodes[waiter as usize].select_state.is_none_or(|(select_state, index)| select_state.claim(index)) {
                self.unlink(waiter, Status::Granted);
                return Some(WaiterId(waiter));
            }
            self.unlink(waiter, Status::Skipped);
        }
        None
    }

    /// Like `grant`, but stores the granted value itself, with `put`, and wakes a task of the calling run at once: it does not run before
    /// the caller gives up its turn. Returns the wake handle of another waiter, which the caller must wake. `worker` is that of this
    /// thread.
    #[inline(always)]
    pub(crate) fn grant_and_wake(&mut self, worker: Option<&Worker>, put: impl FnOnce(&mut V)) -> Option<Wake> {
        while self.first != NONE {
            let waiter = self.first;
            let node = &mut self.nodes[waiter as usize];
            let place = node.waker.as_ref().map_or(Place::Out, |waker| place(waker, worker));
            if matches!(place, Place::Out) {
                self.skip(waiter);
                continue;
            }
            if !node.select_state.is_none_or(|(select_state, index)| select_state.claim(index)) {
                self.unlink(waiter, Status::Skipped);
                continue;
            }
            put(node.value.as_mut().expect("a queued waiter has a value"));
            let waker = node.waker;
            self.unlink(waiter, Status::Granted);
            return Some(match place {
                Place::Here(worker, tcb) => {
                    worker.wake(tcb);
                    Wake::Done
                }
                _ => Wake::Of(waker.expect("a queued waiter has a wake handle")),
            });
        }
        None
    }

    /// Grants to the first waiter, like `grant`, if it is a task of the run of `worker`, the caller's, and wakes it at once: it does not
    /// run before the caller gives up its turn. Returns the waiter's value, in which the caller must store the granted one. Returns
    /// `None` if another waiter is the first, or if it must be skipped: see `grant_and_wake`.
    #[inline(always)]
    pub(crate) fn grant_own(&mut self, worker: &Worker) -> Option<&mut V> {
        let waiter = self.first;
        let node = self.nodes.get(waiter as usize)?;
        let Place::Here(_, tcb) = place(node.waker.as_ref()?, Some(worker)) else { return None };
        if !node.select_state.is_none_or(|(select_state, index)| select_state.claim(index)) {
            return None;
        }
        self.unlink(waiter, Status::Granted);
        worker.wake(tcb);
        self.nodes[waiter as usize].value.as_mut()
    }

    /// Takes the waiter that `first` has just returned out of the queue, like `grant`. Does not check again whether it
    /// can be granted something: its run may have ended on another thread since, and the next waiter may want something
    /// else.
    #[inline]
    pub(crate) fn grant_first(&mut self) -> WaiterId {
        let waiter = self.first;
        debug_assert!(
            self.nodes[waiter as usize].select_state.is_none(),
            "a select must be claimed, by `grant`, before it is granted anything"
        );
        self.unlink(waiter, Status::Granted);
        WaiterId(waiter)
    }

    /// Takes a queued waiter out of the queue, like `grant`. Checks nothing, as `grant_first`.
    #[inline]
    pub(crate) fn grant_queued(&mut self, waiter: WaiterId) {
        debug_assert_eq!(self.nodes[waiter.0 as usize].status, Status::Queued);
        self.unlink(waiter.0, Status::Granted);
    }
}
