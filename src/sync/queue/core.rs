//! The shared core of all queues: ordered items, three FIFO wait queues (poppers, pushers, joiners), and the count of
//! unfinished jobs.
//!
//! # Invariants
//!
//! 1. A popper waits only while the queue is empty.
//! 2. A pusher waits only while the queue is full. So a freed slot goes at once to the item of the first waiting pusher.
//! 3. `unfinished` counts the items in the queue, the items granted to poppers, and the items in jobs.
//! 4. `Ord` of the items is user code and may panic. It runs before the first change of the state or after the last one, and
//!    never while a local variable owns an item. So a panic loses no item and keeps invariants 1 to 3.

use super::error::{PopTimeoutError, PushTimeoutError, TryPopError, TryPushError};
use super::order::Items;
use crate::sync::error::{WaitTimeoutError, outcome};
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, WaitQueue, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{WaitSpec, WakeHandle, consume_budget, consume_budget_of, worker};
use std::marker::PhantomData;
use std::time::Instant;

pub(super) struct Core<Q, T> {
    state: BiasedLock<State<Q, T>>,
    /// The maximum number of items in the queue; `usize::MAX` for an unbounded queue.
    pub(super) capacity: usize,
}

struct State<Q, T> {
    items: Q,
    capacity: usize,
    closed: bool,
    unfinished: usize,
    /// The poppers, which wait for an item. The value of each is the item granted to it.
    poppers: WaitQueue<Option<T>>,
    /// The pushers, which wait for a free slot. The value of each is the item to push.
    pushers: WaitQueue<Option<T>>,
    /// The joiners, which wait until all jobs are done.
    joiners: WaitQueue<()>,
}

/// The wait queue of poppers.
struct Popping<Q, T>(PhantomData<(Q, T)>);
/// The wait queue of pushers.
struct Pushing<Q, T>(PhantomData<(Q, T)>);
/// The wait queue of joiners.
struct Joining<Q, T>(PhantomData<(Q, T)>);

impl<Q: Items<Item = T>, T> Line for Popping<Q, T> {
    type State = State<Q, T>;
    type Value = Option<T>;

    fn waiters(state: &mut State<Q, T>) -> &mut WaitQueue<Option<T>> {
        &mut state.poppers
    }

    fn regrant(state: &mut State<Q, T>, item: Option<T>) -> Vec<WakeHandle> {
        let mut wake_list = WakeList::default();
        if let Some(item) = state.hand_over(item.expect("a granted popper has an item"), &mut wake_list) {
            // Put back even if the queue is full: the push of this item has succeeded.
            state.items.put_back(item);
        }
        wake_list.into_wakers()
    }
}

impl<Q: Items<Item = T>, T> Line for Pushing<Q, T> {
    type State = State<Q, T>;
    type Value = Option<T>;

    fn waiters(state: &mut State<Q, T>) -> &mut WaitQueue<Option<T>> {
        &mut state.pushers
    }

    /// Passes nothing on: the item of the granted pusher is in the queue.
    fn regrant(_: &mut State<Q, T>, _: Option<T>) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl<Q, T> Line for Joining<Q, T> {
    type State = State<Q, T>;
    type Value = ();

    fn waiters(state: &mut State<Q, T>) -> &mut WaitQueue<()> {
        &mut state.joiners
    }

    fn regrant(_: &mut State<Q, T>, (): ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl<Q: Items<Item = T>, T> State<Q, T> {
    /// Grants the item to the first waiting popper. Returns the item if none waits.
    #[inline]
    fn hand_over(&mut self, item: T, wake_list: &mut WakeList) -> Option<T> {
        let Some(waiter) = self.poppers.grant() else { return Some(item) };
        *self.poppers.value(waiter) = Some(item);
        wake_list.push(self.poppers.waker(waiter));
        None
    }

    #[inline]
    fn try_push(&mut self, item: T, wake_list: &mut WakeList) -> Result<(), TryPushError<T>> {
        if self.closed {
            return Err(TryPushError::Closed(item));
        }
        let Some(item) = self.hand_over(item, wake_list) else {
            self.unfinished += 1;
            return Ok(());
        };
        if self.items.len() >= self.capacity {
            return Err(TryPushError::Full(item));
        }
        self.unfinished += 1;
        self.items.put(item);
        // Runs `Ord` of the items, after the last change (invariant 4).
        self.items.settle();
        Ok(())
    }

    #[inline]
    fn try_pop(&mut self, wake_list: &mut WakeList) -> Result<T, TryPopError> {
        let Some(item) = self.items.take() else {
            return Err(if self.closed { TryPopError::Closed } else { TryPopError::Empty });
        };
        if !self.pushers.is_empty() && self.items.len() < self.capacity {
            self.admit(wake_list);
        }
        Ok(item)
    }

    /// Moves the item of the first waiting pusher into the queue.
    fn admit(&mut self, wake_list: &mut WakeList) {
        let Some(waiter) = self.pushers.grant() else { return };
        let item = self.pushers.value(waiter).take().expect("a waiting pusher has an item");
        wake_list.push(self.pushers.waker(waiter));
        self.unfinished += 1;
        // Not settled: the caller owns the item that it took, and `Ord` must not run then (invariant 4).
        self.items.put(item);
    }
}

impl<Q, T> State<Q, T> {
    /// Records that `count` jobs are done. Wakes the joiners after the last job.
    #[inline]
    fn done(&mut self, count: usize, wake_list: &mut WakeList) {
        self.unfinished -= count;
        if self.unfinished == 0 && !self.joiners.is_empty() {
            wake_list.extend(self.joiners.close());
        }
    }
}

impl<Q, T> Core<Q, T> {
    /// Records that one job is done.
    #[inline]
    pub(super) fn done(&self) {
        let mut wake_list = WakeList::default();
        self.state.lock().done(1, &mut wake_list);
    }

    #[track_caller]
    pub(super) fn join(&self, deadline: Option<Instant>) -> Result<(), WaitTimeoutError> {
        let worker = worker();
        let mut state = self.state.lock_for(worker);
        if state.unfinished == 0 {
            drop(state);
            consume_budget_of(worker);
            return Ok(());
        }
        let waiter = state.joiners.enqueue(());
        drop(state);
        let wait = WaitSpec { reason: "the jobs of a queue to be done", external: true, ..WaitSpec::DEFAULT };
        outcome(wait_in::<Joining<Q, T>>(&self.state, waiter, wait, deadline))
    }

    pub(super) fn unfinished(&self) -> usize {
        self.state.lock().unfinished
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}

impl<Q: Items<Item = T>, T> Core<Q, T> {
    pub(super) fn new(capacity: usize) -> Core<Q, T> {
        let state = State {
            items: Q::default(),
            capacity,
            closed: false,
            unfinished: 0,
            poppers: WaitQueue::new(),
            pushers: WaitQueue::new(),
            joiners: WaitQueue::new(),
        };
        Core { state: BiasedLock::new(state), capacity }
    }

    #[inline]
    pub(super) fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
        let mut wake_list = WakeList::default();
        self.state.lock().try_push(item, &mut wake_list)
    }

    #[inline]
    #[track_caller]
    pub(super) fn push(&self, item: T, deadline: Option<Instant>) -> Result<(), PushTimeoutError<T>> {
        let waiter = {
            let mut wake_list = WakeList::default();
            let mut state = self.state.lock();
            match state.try_push(item, &mut wake_list) {
                Ok(()) => None,
                Err(TryPushError::Closed(item)) => {
                    drop(state);
                    if self.capacity != usize::MAX {
                        consume_budget();
                    }
                    return Err(PushTimeoutError::Closed(item));
                }
                Err(TryPushError::Full(item)) => Some(state.pushers.enqueue(Some(item))),
            }
        };
        let Some(waiter) = waiter else {
            if self.capacity != usize::MAX {
                consume_budget();
            }
            return Ok(());
        };
        let own = |item: Option<T>| item.expect("only a granted pusher has no item");
        let wait = WaitSpec { reason: "room in a queue", external: true, ..WaitSpec::DEFAULT };
        match wait_in::<Pushing<Q, T>>(&self.state, waiter, wait, deadline) {
            Ended::Granted(_) => Ok(()),
            Ended::Closed(item) => Err(PushTimeoutError::Closed(own(item))),
            Ended::TimedOut(item) => Err(PushTimeoutError::Timeout(own(item))),
            Ended::Cancelled(item) => Err(PushTimeoutError::Cancelled(own(item))),
        }
    }

    #[inline]
    pub(super) fn try_pop(&self) -> Result<T, TryPopError> {
        let mut wake_list = WakeList::default();
        self.state.lock().try_pop(&mut wake_list)
    }

    #[inline]
    #[track_caller]
    pub(super) fn pop(&self, deadline: Option<Instant>) -> Result<T, PopTimeoutError> {
        let waiter = {
            let mut wake_list = WakeList::default();
            let mut state = self.state.lock();
            match state.try_pop(&mut wake_list) {
                Ok(item) => return Ok(item),
                Err(TryPopError::Closed) => {
                    drop(state);
                    consume_budget();
                    return Err(PopTimeoutError::Closed);
                }
                Err(TryPopError::Empty) => state.poppers.enqueue(None),
            }
        };
        let wait = WaitSpec { reason: "an item in a queue", external: true, ..WaitSpec::DEFAULT };
        match wait_in::<Popping<Q, T>>(&self.state, waiter, wait, deadline) {
            Ended::Granted(item) => Ok(item.expect("a granted popper has an item")),
            Ended::Closed(_) => Err(PopTimeoutError::Closed),
            Ended::TimedOut(_) => Err(PopTimeoutError::Timeout),
            Ended::Cancelled(_) => Err(PopTimeoutError::Cancelled),
        }
    }

    /// Closes the queue and ends the waits of poppers and pushers. Returns false if the queue was closed already.
    pub(super) fn close(&self) -> bool {
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.closed = true;
        wake_list.extend(state.poppers.close());
        wake_list.extend(state.pushers.close());
        true
    }

    /// Like `close`, but also takes out all items and counts them as done.
    pub(super) fn close_now(&self) -> Vec<T> {
        self.close();
        let mut items = {
            let mut wake_list = WakeList::default();
            let mut state = self.state.lock();
            let items = std::mem::take(&mut state.items);
            state.done(items.len(), &mut wake_list);
            items
        };
        items.take_all()
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().items.len()
    }
}
