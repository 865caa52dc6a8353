//! Those who wait for one thing, in line.
//!
//! A line lies in a type's state, under the type's [`BiasedLock`], and everything that changes who waits or who was
//! handed what happens there:
//!
//! ```text
//!                  enqueue                    grant, by whoever has something
//! (looks, finds   --------> Queued   ----------------------------------------> Granted
//!  nothing)                   |  |  \                                            |
//!                    cancelled|  |   close -----------------> Closed             |
//!                  or too late|  |                                |              |
//!                             v  +-- claimed elsewhere: Skipped   |              |
//!                           remove <------------------------------+--------------+
//! ```
//!
//! So a hand-over is committed in one step, and a waiter that is cancelled in the same moment finds out, under the same
//! lock, which of the two came first. A waiter has left its line before its wait returns. One whose run has abandoned it
//! stays queued for ever, and is passed over.
//!
//! # WaitQueue that were interrupted first
//!
//! A cancel, a force-unwind, the cancel of a scope and a deadline end a wait, but the waiter leaves its line only when it runs
//! again. Until then the granter passes over it, also when it closes the line: `task::wait::is_out` looks at the waiter's
//! control block. A passed-over waiter is out of the line for good (`Passed`; a select is claimed for no line,
//! `SelectState::OVER`), and its wait returns `Cancelled` or `TimedOut`. Therefore a value goes to a waiter that was
//! interrupted only if it was granted before.
//!
//! * **Sound**: the control block is read only if the waiter's run is the granter's own. Then both are on one thread, and the
//!   block lives as long as the worker. For a waiter of another run, or a plain thread, the granter knows only whether the run
//!   goes on: it grants as if there had been no cancel, and what was granted counts. Two threads have no order but the one that
//!   the line's lock gives them, and the cancel takes no lock.
//! * **The same answer on both sides**: the granter asks what the wait itself will ask. A shielded wait heeds no cancel, and a
//!   uncancellable one no limits: `block.wait` holds what the wait heeds from the moment at which its task gives up the turn.
//! * **Final**: a cancel is never taken back, but a deadline can be moved. That a wait was passed over decides it: the deadline
//!   has been seen then (`timeout` returns `Elapsed`), and the wait returns `Cancelled` though the deadline was moved later.
//! * **Nothing is lost**: the granter goes on with the next in line. If none is left, the value stays where a value without
//!   waiters stays. A waiter that was passed over calls `Line::left` when it leaves, as any other.
//! * **Free**: for a task with no flags bit set, one comparison decides, where there was one for the bit LEFT. A parked wait
//!   with a deadline has the bit TIMED, and costs a look at the clock.
#![forbid(unsafe_code)]

use super::lock::BiasedLock;
use super::now;
use super::{is_out, wait_anywhere};
use crate::scheduler::WaitSpec;
use crate::scheduler::wake::WakeHandle;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// No node.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Free,
    /// In line.
    Queued,
    /// Was handed something, and is out of the line.
    Granted,
    /// Told that it waits in vain, and out of the line.
    Closed,
    /// Passed over, and out of the line: it was handed something in another one, is gone, or its wait is over.
    Skipped,
}

/// A waiter's place. Whoever enqueued has it, and leaves it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterId(u32);

struct Node<V> {
    status: Status,
    previous: u32,
    next: u32,
    waker: Option<WakeHandle>,
    /// What it brought, or was handed. Present unless free.
    value: Option<V>,
    /// For one that waits in several lines and takes from one.
    select_state: Option<(&'static SelectState, usize)>,
}

/// A queue of waiters of one kind, each with a value: what it brings, room for what it will be handed, or both.
pub(crate) struct WaitQueue<V> {
    nodes: Vec<Node<V>>,
    /// The first free node; the others follow by `next`.
    free: u32,
    first: u32,
    last: u32,
}

/// What one that waits in several lines has come to: whoever hands it something claims it first, in one step.
///
/// A select state is never freed, because a line may still name it, but used again: a reference count for each of eight
/// lines would cost more than the rest of the select. One that was abandoned in its lines is never given back.
#[derive(Debug, Default)]
pub(crate) struct SelectState(AtomicUsize);

/// The unused choices of a thread.
struct Unused(RefCell<Vec<&'static SelectState>>);

impl Drop for Unused {
    fn drop(&mut self) {
        retired().choices.append(self.0.get_mut());
    }
}

/// The unused choices of threads that have ended, for any thread that has none.
struct Retired {
    choices: Vec<&'static SelectState>,
    /// How many choices there are in all.
    #[cfg(test)]
    allocated: usize,
}

static RETIRED: Mutex<Retired> = Mutex::new(Retired {
    choices: Vec::new(),
    #[cfg(test)]
    allocated: 0,
});

fn retired() -> MutexGuard<'static, Retired> {
    RETIRED.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static UNUSED: Unused = const { Unused(RefCell::new(Vec::new())) };
}

impl SelectState {
    /// For no line: the wait is over, and its task has not run since.
    pub(crate) const OVER: usize = usize::MAX - 1;

    /// One that is nobody's.
    pub(crate) fn take() -> &'static SelectState {
        let unused = UNUSED.try_with(|unused| unused.0.borrow_mut().pop()).ok().flatten();
        let select_state = unused.unwrap_or_else(SelectState::take_retired);
        select_state.0.store(0, Ordering::Relaxed);
        select_state
    }

    #[cold]
    fn take_retired() -> &'static SelectState {
        let mut retired = retired();
        if let Some(select_state) = retired.choices.pop() {
            return select_state;
        }
        #[cfg(test)]
        {
            retired.allocated += 1;
        }
        drop(retired);
        Box::leak(Box::default())
    }

    /// For the next: it stands in no line any more.
    pub(crate) fn give_back(&'static self) {
        if UNUSED.try_with(|unused| unused.0.borrow_mut().push(self)).is_err() {
            // The thread ends, and its list has been retired.
            retired().choices.push(self);
        }
    }

    /// How many choices were allocated, by all threads.
    #[cfg(test)]
    pub(crate) fn allocated() -> usize {
        retired().allocated
    }

    /// Claims it for the line `index`, counted from 1. False if another line was first.
    pub(crate) fn claim(&self, index: usize) -> bool {
        self.claimed() == 0 && self.0.compare_exchange(0, index, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// For which line it was claimed; 0 for none.
    pub(crate) fn claimed(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
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

    /// Whether nobody is in line.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Puts whoever runs this at the end of the line.
    #[inline(always)]
    pub(crate) fn enqueue(&mut self, value: V) -> WaiterId {
        let waiter = if self.free == NONE { self.add() } else { self.free };
        // Field by field: a node that is built elsewhere and copied costs as much as the rest of the hand-over.
        let node = &mut self.nodes[waiter as usize];
        self.free = node.next;
        node.status = Status::Queued;
        node.previous = self.last;
        node.next = NONE;
        WakeHandle::put_current(&mut node.waker);
        node.value = Some(value);
        match self.last {
            NONE => self.first = waiter,
            last => self.nodes[last as usize].next = waiter,
        }
        self.last = waiter;
        WaiterId(waiter)
    }

    /// As `enqueue`, for one that waits in several lines; `index` is the number that `select_state` is claimed with.
    pub(crate) fn enqueue_select(&mut self, value: V, select_state: &'static SelectState, index: usize) -> WaiterId {
        let waiter = self.enqueue(value);
        self.nodes[waiter.0 as usize].select_state = Some((select_state, index));
        waiter
    }

    /// One more node, free and first of the free ones.
    #[cold]
    fn add(&mut self) -> u32 {
        let waiter = u32::try_from(self.nodes.len()).expect("fewer waiters than fit into memory");
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

    /// The first in line, and what it brings; those who are gone are passed over.
    pub(crate) fn first(&mut self) -> Option<&mut V> {
        while self.first != NONE {
            let node = &self.nodes[self.first as usize];
            if node.select_state.is_some_and(|(select_state, _)| select_state.claimed() != 0) {
                self.unlink(self.first, Status::Skipped);
            } else if !self.passes(self.first) {
                return self.nodes[self.first as usize].value.as_mut();
            }
        }
        None
    }

    /// How many are in line; takes those out who are gone.
    pub(crate) fn count(&mut self) -> usize {
        let (mut waiter, mut count) = (self.first, 0);
        while waiter != NONE {
            let next = self.nodes[waiter as usize].next;
            count += usize::from(!self.passes(waiter));
            waiter = next;
        }
        count
    }

    /// Whether somebody is in line who can be handed something and waits not only because of `select_state`: one that
    /// waits in several lines can give itself nothing.
    pub(crate) fn has_other(&mut self, select_state: &'static SelectState) -> bool {
        let mut waiter = self.first;
        while waiter != NONE {
            let node = &self.nodes[waiter as usize];
            let next = node.next;
            let in_vain = match node.select_state {
                Some((other, _)) => std::ptr::eq(other, select_state) || other.claimed() != 0,
                None => false,
            };
            if !in_vain && !self.passes(waiter) {
                return true;
            }
            waiter = next;
        }
        false
    }

    /// Takes the first who can be handed something out of the line. Whoever calls this then puts it into `value`, unlocks, and
    /// wakes `waker`.
    #[inline(always)]
    pub(crate) fn grant(&mut self) -> Option<WaiterId> {
        while self.first != NONE {
            let waiter = self.first;
            if self.passes(waiter) {
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

    /// Whether nothing may be handed to a waiter any more. Then takes it out of the line, for good.
    #[inline(always)]
    fn passes(&mut self, waiter: u32) -> bool {
        let is_out = self.nodes[waiter as usize].waker.is_some_and(|waker| is_out(&waker));
        if is_out {
            self.pass(waiter);
        }
        is_out
    }

    #[cold]
    #[inline(never)]
    fn pass(&mut self, waiter: u32) {
        if let Some((select_state, _)) = self.nodes[waiter as usize].select_state {
            // Nor in its other lines. If it was claimed in one of them, that stands.
            select_state.claim(SelectState::OVER);
        }
        self.unlink(waiter, Status::Skipped);
    }

    /// Takes whom `first` has just returned out of the line, as `grant` does. Does not ask again whether it is gone: a
    /// run may have ended in another thread since, and the next in line may want something else.
    #[inline]
    pub(crate) fn grant_first(&mut self) -> WaiterId {
        let waiter = self.first;
        debug_assert!(
            self.nodes[waiter as usize].select_state.is_none(),
            "one that waits in several lines is to be claimed"
        );
        self.unlink(waiter, Status::Granted);
        WaiterId(waiter)
    }

    /// What a waiter brought, or was handed.
    #[inline]
    pub(crate) fn value(&mut self, waiter: WaiterId) -> &mut V {
        self.nodes[waiter.0 as usize].value.as_mut().expect("it has not left")
    }

    /// Whom to wake for a waiter.
    #[inline]
    pub(crate) fn waker(&self, waiter: WaiterId) -> WakeHandle {
        self.nodes[waiter.0 as usize].waker.expect("it has not left")
    }

    /// Tells everybody that they wait in vain. Whoever calls this unlocks, and wakes them.
    pub(crate) fn close(&mut self) -> Vec<WakeHandle> {
        let mut wakers = Vec::new();
        while self.first != NONE {
            let waiter = self.first;
            if self.passes(waiter) {
                continue;
            }
            wakers.extend(self.nodes[waiter as usize].waker);
            self.unlink(waiter, Status::Closed);
        }
        wakers
    }

    #[inline(always)]
    fn unlink(&mut self, waiter: u32, status: Status) {
        let node = &mut self.nodes[waiter as usize];
        node.status = status;
        let (previous, next) = (node.previous, node.next);
        match previous {
            NONE => self.first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.nodes[next as usize].previous = previous,
        }
    }

    /// Ends a wait: gives the place up, and returns what it has, and whether that was handed.
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
        (node.value.take().expect("it leaves once"), status == Status::Granted)
    }
}

/// Wakes one whom something was handed, after the lock was given up.
#[inline]
pub(crate) fn wake(waker: WakeHandle) {
    // Who is gone by now needs no wake.
    let _ = waker.wake();
}

/// Wakes those whom something was handed, after the lock was given up.
pub(crate) fn wake_all(wakers: Vec<WakeHandle>) {
    wakers.into_iter().for_each(wake);
}

/// A line of waiters in the state of a type.
pub(crate) trait Line {
    /// What lies under the type's lock.
    type State;
    /// What a waiter brings, or is handed.
    type Value;

    fn waiters(state: &mut Self::State) -> &mut WaitQueue<Self::Value>;

    /// Gives what was handed to somebody who is unwound, and cannot return it, to the next, or back. Returns who is to be
    /// woken.
    fn regrant(state: &mut Self::State, value: Self::Value) -> Vec<WakeHandle>;

    /// A waiter has left without having been handed anything, and was in the line until now if `was_in_line`: if not, it was
    /// passed over before. Returns who is to be woken: those whom it kept waiting.
    fn left(state: &mut Self::State, was_in_line: bool) -> Vec<WakeHandle> {
        let _ = (state, was_in_line);
        Vec::new()
    }
}

/// How a wait in a line ended. The waiter has left it.
#[derive(Debug)]
pub(crate) enum Ended<V> {
    /// With something in hand. A cancel that came in the same moment is told by the next wait.
    Granted(V),
    /// The thing that it waited for was closed.
    Closed(V),
    /// The deadline came first.
    TimedOut(V),
    /// The task was cancelled, or the thread panics and cannot wait.
    Cancelled(V),
}

/// Leaves the line if the wait is unwound.
struct Enqueued<'a, L: Line> {
    lock: &'a BiasedLock<L::State>,
    waiter: WaiterId,
}

impl<L: Line> Drop for Enqueued<'_, L> {
    fn drop(&mut self) {
        let mut state = self.lock.lock();
        let waiters = L::waiters(&mut state);
        let was_in_line = waiters.nodes[self.waiter.0 as usize].status == Status::Queued;
        let (value, handed) = waiters.remove(self.waiter);
        let (value, wakers) = if handed {
            (None, L::regrant(&mut state, value))
        } else {
            (Some(value), L::left(&mut state, was_in_line))
        };
        drop(state);
        wake_all(wakers);
        drop(value); // anybody's code
    }
}

/// Waits at `waiter`, in which whoever runs this has just been queued; the lock was given up meanwhile.
///
/// `wait` is `WaitSpec { reason: "a message", external: true, ..WaitSpec::DEFAULT }` or the like.
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
        let mut state = lock.lock();
        let waiters = L::waiters(&mut state);
        let status = waiters.nodes[waiter.0 as usize].status;
        let end: fn(L::Value) -> Ended<L::Value> = match status {
            Status::Granted => Ended::Granted,
            Status::Closed => Ended::Closed,
            _ if outcome.is_err() => Ended::Cancelled,
            _ if deadline.is_some_and(|deadline| deadline <= now()) => Ended::TimedOut,
            // That the wait is over was decided when it was passed over, though its limit has been moved since.
            Status::Skipped => Ended::Cancelled,
            _ => continue,
        };
        std::mem::forget(enqueued);
        let (value, handed) = waiters.remove(waiter);
        if !handed {
            let wakers = L::left(&mut state, status == Status::Queued);
            drop(state);
            wake_all(wakers);
        }
        return end(value);
    }
}
