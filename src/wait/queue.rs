//! The wait queue of all blocking types: FIFO, with direct hand-off, no lost wakeups, and cancel safety.
//!
//! A blocking type keeps its state, with one or more wait queues in it, under a [`BiasedLock`]. A caller that must wait
//! enqueues itself and releases the lock. A caller that later has something to give (a lock, a permit, a message)
//! grants it to the first waiter: it takes the waiter out of the queue, stores the value in the waiter's node, releases
//! the lock, and wakes the waiter. Every change of a waiter's status happens under that lock:
//!
//! ```text
//!   enqueue --> Queued ---- grant: a value is stored in the node -----------> Granted
//!                | | |                                                           |
//!                | | +----- close: nothing will be granted any more --> Closed   |
//!                | |                                                      |      |
//!                | +------- granted in another queue (select),            |      |
//!                |          or interrupted first --> Skipped            |      |
//!    cancelled,  |                                      |               |      |
//!    timed out   v                                      v               v      v
//!              remove <---------------------------------+---------------+------+
//! ```
//!
//! # Guarantees
//!
//! * **Hand-off**: a granted value belongs to its waiter from the grant on, not only when the waiter runs. No later
//!   caller can take it in between (no barging), and the waiter never has to compete for it. One type may wake a waiter
//!   of another thread without a grant instead: see `Line::retry` and `sync/raw_mutex.rs`.
//! * **FIFO**: `grant` takes the first waiter that can still take a value. The types complete a call without waiting
//!   only if no queued waiter has a claim to the same value, so a later caller never overtakes an earlier one.
//! * **No lost wakeup**: a caller checks the state and enqueues itself under one hold of the lock. A granter therefore
//!   either runs before the check, which then finds the value, or after the enqueue, and then finds the waiter. A wake
//!   between the release of the lock and the suspension is not lost either: it makes the next wait return at once.
//! * **Spurious wakeups** end no wait: `wait_in` waits again while its node is still queued and `retry` takes nothing.
//! * **Cancel safety**: a wait ends either granted or not granted, and the lock decides which. If the grant came first,
//!   the wait returns the value, and the next wait reports the cancel. If the cancel or the deadline came first, the
//!   wait takes nothing, and returns the value that it brought (a message to send).
//! * **Unwinding**: a task that is unwound in its wait cannot return a granted value. Its guard, `Enqueued`, passes the
//!   value on to the next waiter or back to the type.
//! * A waiter leaves its queue before its wait returns. The only exception is a waiter that its run abandoned: it stays
//!   queued permanently, and granters skip it.
//!
//! Wake handles are used, and values dropped, only after the lock is released. A woken thread therefore does not find
//! the lock held by its waker, and no user code runs under the lock. `grant_own` and `grant_and_wake` wake a task of the
//! granter's own run under the lock: that only puts it into the run queue.
//!
//! # Waiters interrupted before the grant
//!
//! A cancel, a forced unwind, the cancel of a scope and a deadline end a wait, but the waiter leaves its queue only
//! when its task runs again. Until then `grant` and `close` skip the waiter: `wait::suspend::is_out` reads the waiter's
//! TCB. A skipped waiter is out of its queue permanently (`Skipped`; a select is also claimed for no queue,
//! `SelectState::OVER`), and its wait returns `Cancelled` or `TimedOut`. Within one run, a wait that was interrupted
//! therefore returns a value only if the grant came first.
//!
//! * **Sound**: a TCB is read only if the waiter belongs to the granter's own run. Both are then on one thread, and the
//!   TCB lives as long as the worker. Of a waiter of another run, or of a plain thread, the granter knows only whether
//!   the run or thread still exists. It grants as if there had been no cancel, and the grant is valid: only the queue's
//!   lock orders the two threads, and a cancel does not take that lock.
//! * **Consistent**: the granter evaluates the same condition as the wait itself. A shielded wait ignores cancels, and
//!   an uncancellable wait ignores limits. `Tcb::wait` holds what the wait reacts to, from the moment its task gives up
//!   the turn.
//! * **Final**: a cancel cannot be undone, but a deadline can be moved. A skipped waiter stays skipped: its deadline
//!   has taken effect (`timeout` returns `Elapsed`), and the wait returns `Cancelled` even if the deadline was moved
//!   later.
//! * **Lossless**: the granter continues with the next waiter. If none is left, the value stays in the type, as if
//!   there had been no waiter. A skipped waiter calls `left` when its wait returns, like any waiter without a grant.
//! * **Free**: if no flag of the waiter's task is set, one comparison decides. The flag `ABANDONED` alone would need
//!   the same comparison. A parked wait with a deadline has the flag `HAS_DEADLINE`, and costs a read of the clock.
//!
//! # Select
//!
//! A select enqueues itself in several queues with one shared [`SelectState`]. A granter must claim that state before
//! it grants, by one compare-and-swap, so at most one queue grants to the select. A granter that fails to claim it
//! skips the waiter. `Relaxed` suffices for the claim, because the granted value is published by the lock of its queue:
//! the granter stores the value under that lock, and the select takes the lock to remove its waiter.
#![forbid(unsafe_code)]

use super::lock::BiasedLock;
use super::now;
pub(crate) use super::select_state::SelectState;
pub(crate) use super::waiter::{FirstWaiter, OwnWaiter, WaiterId, Wake};
use super::waiter::{Node, Status};
use super::wake_list::wake_all;
use super::{is_out, wait_anywhere};
use crate::scheduler::wake::WakeHandle;
use crate::scheduler::{WaitSpec, Worker, worker};
use crate::sys::likely;
use std::time::Instant;

/// The index of no node.
pub(super) const NONE: u32 = u32::MAX;

/// A FIFO queue of waiters. Each waiter has a value: the one it brings (a message to send), or room for the one it will
/// be granted.
///
/// A doubly linked list through an array of nodes. Removed nodes are reused through a free list; the array does not
/// shrink.
pub(crate) struct WaitQueue<V> {
    pub(super) nodes: Vec<Node<V>>,
    /// The head of the free list, which is linked by `next`.
    free: u32,
    pub(super) first: u32,
    last: u32,
}

impl<V> Default for WaitQueue<V> {
    fn default() -> WaitQueue<V> {
        WaitQueue::new()
    }
}

impl<V> WaitQueue<V> {
    pub(crate) const fn new() -> WaitQueue<V> {
        WaitQueue { nodes: Vec::new(), free: NONE, first: NONE, last: NONE }
    }

    /// Returns whether no waiter is queued. Waiters that a grant would skip count as queued.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Appends the current task, or the current thread outside of a run.
    #[inline(always)]
    pub(crate) fn enqueue(&mut self, value: V) -> WaiterId {
        self.enqueue_in(value, worker())
    }

    /// Like `enqueue`, for a caller that has looked up this thread's worker already.
    #[inline(always)]
    pub(crate) fn enqueue_in(&mut self, value: V, worker: Option<&Worker>) -> WaiterId {
        self.enqueue_with(value, |place| WakeHandle::put_current_of(worker, place))
    }

    /// Appends a waiter whose wake handle `put_waker` stores.
    #[inline(always)]
    fn enqueue_with(&mut self, value: V, put_waker: impl FnOnce(&mut Option<WakeHandle>)) -> WaiterId {
        let waiter = if self.free == NONE { self.add() } else { self.free };
        // The slice is read once, and not again after each store.
        let nodes = self.nodes.as_mut_slice();
        let last = self.last;
        match last {
            NONE => self.first = waiter,
            last => nodes[last as usize].next = waiter,
        }
        self.last = waiter;
        // Field by field: building a node elsewhere and copying it costs as much as the rest of the hand-off.
        let node = &mut nodes[waiter as usize];
        self.free = node.next;
        node.status = Status::Queued;
        node.previous = last;
        node.next = NONE;
        put_waker(&mut node.waker);
        node.value = Some(value);
        WaiterId(waiter)
    }

    /// Appends a waiter of a select, which `waker` wakes. A granter claims `select_state` with `index`.
    #[inline(always)]
    pub(crate) fn enqueue_select(
        &mut self,
        value: V,
        waker: &WakeHandle,
        (select_state, index): (&'static SelectState, usize),
    ) -> WaiterId {
        // The handle was built long enough before, for all queues of the select.
        let waiter = self.enqueue_with(value, |place| *place = Some(*waker));
        self.nodes[waiter.0 as usize].select_state = Some((select_state, index));
        waiter
    }

    /// Appends a node to the array, as the head of the free list.
    #[cold]
    fn add(&mut self) -> u32 {
        let waiter = u32::try_from(self.nodes.len()).expect("2^32 waiters do not fit into memory");
        self.nodes.push(Node {
            status: Status::Free,
            previous: NONE,
            next: NONE,
            waker: None,
            value: None,
            select_state: None,
        });
        waiter
    }

    /// Returns the value of the first waiter that can be granted something, and skips the waiters before it. Claims
    /// nothing: see `grant_first`.
    pub(crate) fn first(&mut self) -> Option<&mut V> {
        while self.first != NONE {
            let node = &self.nodes[self.first as usize];
            if node.select_state.is_some_and(|(select_state, _)| select_state.claimed() != 0) {
                self.unlink(self.first, Status::Skipped);
            } else if !self.skip_if_out(self.first) {
                return self.nodes[self.first as usize].value.as_mut();
            }
        }
        None
    }

    /// Returns the number of waiters that can be granted something, and skips the rest. Ignores select states: a
    /// barrier, which no select waits for, is the only caller.
    pub(crate) fn count(&mut self) -> usize {
        let (mut waiter, mut count) = (self.first, 0);
        while waiter != NONE {
            let next = self.nodes[waiter as usize].next;
            count += usize::from(!self.skip_if_out(waiter));
            waiter = next;
        }
        count
    }

    /// Returns whether a waiter outside of the select `select_state` can be granted something. A select cannot grant to
    /// itself: it can send and receive on the same channel, but needs a partner for either.
    pub(crate) fn has_other(&mut self, select_state: &'static SelectState) -> bool {
        let mut waiter = self.first;
        while waiter != NONE {
            let node = &self.nodes[waiter as usize];
            let next = node.next;
            let is_excluded = match node.select_state {
                Some((other, _)) => std::ptr::eq(other, select_state) || other.claimed() != 0,
                None => false,
            };
            if !is_excluded && !self.skip_if_out(waiter) {
                return true;
            }
            waiter = next;
        }
        false
    }

    /// Skips the waiter permanently if nothing may be granted to it any more. Returns whether it did.
    #[inline(always)]
    pub(super) fn skip_if_out(&mut self, waiter: u32) -> bool {
        let is_out = self.nodes[waiter as usize].waker.is_some_and(|waker| is_out(&waker));
        if is_out {
            self.skip(waiter);
        }
        is_out
    }

    /// Takes a waiter to which nothing may be granted out of the queue.
    #[cold]
    #[inline(never)]
    pub(super) fn skip(&mut self, waiter: u32) {
        if let Some((select_state, _)) = self.nodes[waiter as usize].select_state {
            // The select's other queues must skip it too. If one of them has granted to it already, that claim remains.
            select_state.claim(SelectState::OVER);
        }
        self.unlink(waiter, Status::Skipped);
    }

    /// Returns the value that the waiter brought or was granted.
    #[inline]
    pub(crate) fn value(&mut self, waiter: WaiterId) -> &mut V {
        self.nodes[waiter.0 as usize].value.as_mut().expect("the waiter was not removed")
    }

    /// Returns the wake handle of a waiter.
    #[inline]
    pub(crate) fn waker(&self, waiter: WaiterId) -> WakeHandle {
        self.nodes[waiter.0 as usize].waker.expect("the waiter was not removed")
    }

    /// Ends all waits of this queue without a grant. The caller must release the lock and wake the returned wake
    /// handles.
    pub(crate) fn close(&mut self) -> Vec<WakeHandle> {
        let mut wakers = Vec::new();
        while self.first != NONE {
            let waiter = self.first;
            if self.skip_if_out(waiter) {
                continue;
            }
            wakers.extend(self.nodes[waiter as usize].waker);
            self.unlink(waiter, Status::Closed);
        }
        wakers
    }

    /// Takes a queued waiter out of the list, and sets its new status.
    #[inline(always)]
    pub(super) fn unlink(&mut self, waiter: u32, status: Status) {
        let nodes = self.nodes.as_mut_slice();
        let node = &mut nodes[waiter as usize];
        node.status = status;
        let (previous, next) = (node.previous, node.next);
        match previous {
            NONE => self.first = next,
            previous => nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => nodes[next as usize].previous = previous,
        }
    }

    /// Removes a waiter if it is still queued, and returns its value.
    #[inline(always)]
    pub(crate) fn remove_queued(&mut self, waiter: WaiterId) -> Option<V> {
        (self.nodes[waiter.0 as usize].status == Status::Queued).then(|| self.remove(waiter).0)
    }

    /// Removes a waiter if it was granted a value, and returns the value. Not for the waiter of a select.
    #[inline(always)]
    fn remove_granted(&mut self, waiter: WaiterId) -> Option<V> {
        let node = &mut self.nodes[waiter.0 as usize];
        if !likely(node.status == Status::Granted) {
            return None;
        }
        node.status = Status::Free;
        node.next = self.free;
        self.free = waiter.0;
        node.value.take()
    }

    /// Removes a waiter whose wait has ended. Returns its value, and whether that value was granted.
    #[inline(always)]
    pub(crate) fn remove(&mut self, waiter: WaiterId) -> (V, bool) {
        let at = waiter.0 as usize;
        let status = self.nodes[at].status;
        if status == Status::Queued {
            self.unlink(waiter.0, Status::Free);
        }
        let node = &mut self.nodes[at];
        node.status = Status::Free;
        node.select_state = None;
        node.next = self.free;
        self.free = waiter.0;
        (node.value.take().expect("a waiter is removed once"), status == Status::Granted)
    }
}

/// The protocol of a wait queue: which queue of a type it is, and how the type reacts if a wait ends without using its
/// grant.
pub(crate) trait Line {
    /// The state that the type's lock protects.
    type State;
    /// The value that a waiter brings or is granted.
    type Value;

    /// Returns the queue.
    fn waiters(state: &mut Self::State) -> &mut WaitQueue<Self::Value>;

    /// Takes back the value that was granted to a waiter which is now unwound and cannot return it: grants the value to
    /// the next waiter, or puts it back into the state. Returns the waiters to wake.
    fn regrant(state: &mut Self::State, value: Self::Value) -> Vec<WakeHandle>;

    /// Reacts to a waiter that left without a grant. `was_queued` is `false` if it was skipped or closed before.
    /// Returns the waiters to wake: all waiters that waited only because this one was before them.
    fn left(state: &mut Self::State, was_queued: bool) -> Vec<WakeHandle> {
        let _ = (state, was_queued);
        Vec::new()
    }

    /// Lets a queued waiter that was woken without a grant take what the type has, with
    /// [`grant_queued`](WaitQueue::grant_queued). Returns false if it must wait again.
    #[inline(always)]
    fn retry(state: &mut Self::State, waiter: WaiterId) -> bool {
        let _ = (state, waiter);
        false
    }
}

/// The outcome of a wait in a wait queue. The waiter was removed from the queue.
#[derive(Debug)]
pub(crate) enum Ended<V> {
    /// The waiter was granted this value. A cancel that came after the grant is reported by the next wait.
    Granted(V),
    /// The queue was closed. Holds the value that the waiter brought, as do the outcomes below.
    Closed(V),
    /// The deadline passed first.
    TimedOut(V),
    /// The task was cancelled, or cannot wait because its thread panics.
    Cancelled(V),
}

/// The guard of an enqueued waiter: removes it if the wait is unwound, and passes a granted value on.
struct Enqueued<'a, L: Line> {
    lock: &'a BiasedLock<L::State>,
    waiter: WaiterId,
}

impl<L: Line> Drop for Enqueued<'_, L> {
    fn drop(&mut self) {
        let mut state = self.lock.lock();
        let waiters = L::waiters(&mut state);
        let was_queued = waiters.nodes[self.waiter.0 as usize].status == Status::Queued;
        let (value, granted) = waiters.remove(self.waiter);
        let (value, wakers) = if granted {
            (None, L::regrant(&mut state, value))
        } else {
            (Some(value), L::left(&mut state, was_queued))
        };
        drop(state);
        wake_all(wakers);
        drop(value); // only here, without the lock: the destructor is the user's code
    }
}

/// Waits until `waiter` is granted a value, its queue is closed, the deadline passes or the task is cancelled, and
/// removes it from the queue. The caller must have enqueued `waiter` for the current task or thread, and have released
/// the lock.
///
/// `wait` describes the wait, for example `WaitSpec { reason: "a message", external: true, ..WaitSpec::DEFAULT }`.
#[inline(always)]
#[track_caller]
pub(crate) fn wait_in<L: Line>(
    lock: &BiasedLock<L::State>,
    waiter: WaiterId,
    wait: WaitSpec,
    deadline: Option<Instant>,
) -> Ended<L::Value> {
    let enqueued = Enqueued::<L> { lock, waiter };
    loop {
        let outcome = wait_anywhere(wait, deadline);
        // Most waits end by a grant, in the run that owns the lock.
        let granted = lock.lock_in_run().and_then(|mut state| L::waiters(&mut state).remove_granted(waiter));
        if let Some(value) = granted {
            std::mem::forget(enqueued);
            return Ended::Granted(value);
        }
        if let Some((ended, wakers)) = end::<L>(&enqueued, outcome.is_err(), deadline) {
            // `end` has removed the waiter. A waker may panic.
            std::mem::forget(enqueued);
            wake_all(wakers);
            return ended;
        }
    }
}

/// Removes the waiter if its wait has ended, and returns the outcome. Not inlined: it returns before the next wait.
#[inline(never)]
fn end<L: Line>(
    &Enqueued { lock, waiter }: &Enqueued<'_, L>,
    is_cancelled: bool,
    deadline: Option<Instant>,
) -> Option<(Ended<L::Value>, Vec<WakeHandle>)> {
    // The status decides, not the outcome: a grant or a close that came first wins over a cancel or a deadline.
    let mut state = lock.lock();
    let status = L::waiters(&mut state).nodes[waiter.0 as usize].status;
    let end: fn(L::Value) -> Ended<L::Value> = match status {
        Status::Granted => Ended::Granted,
        Status::Closed => Ended::Closed,
        _ if is_cancelled => Ended::Cancelled,
        Status::Queued if L::retry(&mut state, waiter) => Ended::Granted,
        _ if deadline.is_some_and(|deadline| deadline <= now()) => Ended::TimedOut,
        // A granter skipped this waiter because the deadline of a section had passed. Moving that deadline
        // afterwards does not undo the skip.
        Status::Skipped => Ended::Cancelled,
        // A spurious wakeup.
        _ => return None,
    };
    let (value, granted) = L::waiters(&mut state).remove(waiter);
    let wakers = if granted { Vec::new() } else { L::left(&mut state, status == Status::Queued) };
    drop(state);
    Some((end(value), wakers))
}
