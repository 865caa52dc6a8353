//! The shared state of a channel: a ring buffer of messages, and the wait queues of senders and receivers.
//!
//! # Invariants
//!
//! 1. A receiver waits only while the buffer is empty and no sender waits.
//! 2. A sender waits only while the buffer is full.
//!
//! A message therefore goes directly to the first waiting receiver (hand-off), and a freed slot is filled at once with
//! the message of the first waiting sender. A later caller can never overtake a waiter.
//!
//! # Memory
//!
//! The ring buffer is a `VecDeque`. It grows on demand and does not shrink. Even an unbounded channel keeps the memory
//! of its high-water mark, and frees it when its last receiver is dropped. The nodes of the wait queues are kept until
//! the channel is freed.

use super::error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use crate::sys::likely;
use crate::wait::lock::{BiasedLock, OwnerGuard};
use crate::wait::queue::{Ended, Line, SelectState, WaitQueue, WaiterId, Wake, wait_in};
use crate::wait::wake_list::wake_all;
use crate::wait::{WaitSpec, WakeHandle, Worker, consume_budget_of, worker};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Instant;

pub(super) struct Channel<T> {
    pub(super) state: BiasedLock<State<T>>,
    /// The greatest number of messages that the channel holds; `usize::MAX` if unbounded.
    pub(super) capacity: usize,
}

pub(super) struct State<T> {
    /// The ring buffer: messages that were sent and not yet received.
    pub(super) buffer: VecDeque<T>,
    /// A copy of `Channel::capacity`.
    capacity: usize,
    /// The wait queue of receivers. Each has room for one message.
    pub(super) receiving: WaitQueue<Option<T>>,
    /// The wait queue of senders. Each has its message.
    pub(super) sending: WaitQueue<Option<T>>,
    /// The number of `Sender`s that exist.
    pub(super) senders: usize,
    /// The number of `Receiver`s that exist.
    pub(super) receivers: usize,
    /// Whether `close` was called. A channel that lost all senders or all receivers is disconnected without it.
    closed: bool,
}

/// The wait queue of receivers.
pub(super) struct Receiving<T>(PhantomData<T>);

impl<T> Line for Receiving<T> {
    type State = State<T>;
    type Value = Option<T>;

    fn waiters(state: &mut State<T>) -> &mut WaitQueue<Option<T>> {
        &mut state.receiving
    }

    fn regrant(state: &mut State<T>, message: Option<T>) -> Vec<WakeHandle> {
        let message = message.expect("a granted receiver has a message");
        match state.receiving.grant() {
            Some(waiter) => {
                *state.receiving.value(waiter) = Some(message);
                vec![state.receiving.waker(waiter)]
            }
            None => {
                // To the front, because it was sent before the messages in the buffer. The buffer may exceed its
                // capacity by this: the send has already succeeded.
                state.buffer.push_front(message);
                Vec::new()
            }
        }
    }
}

/// The wait queue of senders.
pub(super) struct Sending<T>(PhantomData<T>);

impl<T> Line for Sending<T> {
    type State = State<T>;
    type Value = Option<T>;

    fn waiters(state: &mut State<T>) -> &mut WaitQueue<Option<T>> {
        &mut state.sending
    }

    /// Does nothing: the message of a granted sender is in the buffer or with a receiver, so it was sent.
    fn regrant(_: &mut State<T>, _sent: Option<T>) -> Vec<WakeHandle> {
        Vec::new()
    }
}

/// The outcome of an attempt to send.
enum Sent<T> {
    Done,
    Disconnected(T),
    /// The caller was queued, and must wait.
    Queued(WaiterId),
}

/// The outcome of an attempt to receive.
enum Received<T> {
    Done(T),
    Disconnected,
    /// The caller was queued, and must wait.
    Queued(WaiterId),
}

/// Like `Channel::admit`, for any waiter.
#[cold]
#[inline(never)]
fn admit_shared<T>(worker: &Worker, mut state: OwnerGuard<'_, State<T>>) {
    let wake = state.admit(Some(worker));
    drop(state);
    wake.wake();
}

impl<T> State<T> {
    pub(super) fn is_closed_to_senders(&self) -> bool {
        self.closed || self.receivers == 0
    }

    pub(super) fn is_closed_to_receivers(&self) -> bool {
        self.closed || self.senders == 0
    }

    /// Sends without waiting. Returns the wake of the receiver that was granted the message, if any. `worker` is that of this
    /// thread.
    #[inline(always)]
    pub(super) fn try_send(&mut self, message: T, worker: Option<&Worker>) -> Result<Wake, TrySendError<T>> {
        if self.is_closed_to_senders() {
            return Err(TrySendError::Disconnected(message));
        }
        let mut message = Some(message);
        if !self.receiving.is_empty()
            && let Some(wake) = self.receiving.grant_and_wake(worker, |place| *place = message.take())
        {
            return Ok(wake);
        }
        let Some(message) = message else { unreachable!("no receiver was granted the message") };
        if self.buffer.len() >= self.capacity {
            return Err(TrySendError::Full(message));
        }
        self.buffer.push_back(message);
        Ok(Wake::Done)
    }

    /// Receives without waiting. Returns the message, and the wake of the sender whose message was taken or filled the freed
    /// slot, if any. `worker` is that of this thread.
    #[inline(always)]
    pub(super) fn try_recv(&mut self, worker: Option<&Worker>) -> Result<(T, Wake), TryRecvError> {
        if let Some(message) = self.buffer.pop_front() {
            let wake = if self.sending.is_empty() { Wake::Done } else { self.admit(worker) };
            return Ok((message, wake));
        }
        if !self.sending.is_empty() {
            let mut message = None;
            if let Some(wake) = self.sending.grant_and_wake(worker, |place| message = place.take()) {
                return Ok((message.expect("a queued sender has its message"), wake));
            }
        }
        Err(if self.is_closed_to_receivers() { TryRecvError::Disconnected } else { TryRecvError::Empty })
    }

    /// Returns whether `try_recv` may return a message or `Disconnected`. If not, it would return `Empty`.
    #[inline(always)]
    pub(super) fn may_recv(&self) -> bool {
        !self.buffer.is_empty() || !self.sending.is_empty() || self.is_closed_to_receivers()
    }

    /// Returns whether `try_send` may send or return `Disconnected`. If not, it would return `Full`.
    #[inline(always)]
    pub(super) fn may_send(&self) -> bool {
        self.buffer.len() < self.capacity || !self.receiving.is_empty() || self.is_closed_to_senders()
    }

    /// Returns whether `try_recv` would return a message or `Disconnected` to the select `select_state`.
    pub(super) fn can_recv(&mut self, select_state: &'static SelectState) -> bool {
        !self.buffer.is_empty() || self.is_closed_to_receivers() || self.sending.has_other(select_state)
    }

    /// Returns whether `try_send` would send or return `Disconnected` for the select `select_state`.
    pub(super) fn can_send(&mut self, select_state: &'static SelectState) -> bool {
        self.buffer.len() < self.capacity || self.is_closed_to_senders() || self.receiving.has_other(select_state)
    }

    /// Moves the message of the first waiting sender into the buffer, if there is room. Returns the wake of the sender.
    #[inline(always)]
    fn admit(&mut self, worker: Option<&Worker>) -> Wake {
        if self.buffer.len() >= self.capacity {
            return Wake::Done;
        }
        let buffer = &mut self.buffer;
        let put = |place: &mut Option<T>| buffer.push_back(place.take().expect("a queued sender has its message"));
        self.sending.grant_and_wake(worker, put).unwrap_or(Wake::Done)
    }

    /// Closes the channel, and returns the waiters to wake. Returns `None` if it was already closed or disconnected.
    pub(super) fn close(&mut self) -> Option<Vec<WakeHandle>> {
        if self.is_closed_to_receivers() || self.is_closed_to_senders() {
            return None;
        }
        self.closed = true;
        let mut wakers = self.receiving.close();
        wakers.append(&mut self.sending.close());
        Some(wakers)
    }
}

impl<T> Channel<T> {
    pub(super) fn new(capacity: usize) -> Channel<T> {
        // A small channel never reallocates its ring buffer. A larger one allocates on demand.
        let room = if capacity == usize::MAX { 0 } else { capacity.min(64) };
        let state = State {
            buffer: VecDeque::with_capacity(room),
            capacity,
            receiving: WaitQueue::new(),
            sending: WaitQueue::new(),
            senders: 1,
            receivers: 1,
            closed: false,
        };
        Channel { state: BiasedLock::new(state), capacity }
    }

    #[inline]
    pub(super) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let worker = worker();
        let wake = self.state.lock_for(worker).try_send(message, worker)?;
        wake.wake();
        Ok(())
    }

    #[inline]
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let worker = worker();
        let (message, wake) = self.state.lock_for(worker).try_recv(worker)?;
        wake.wake();
        Ok(message)
    }

    #[inline(always)]
    #[track_caller]
    pub(super) fn send(&self, message: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let worker = worker();
        // An unbounded send never waits, so it counts no budget.
        let pays = if self.capacity == usize::MAX { None } else { worker };
        let waiter = 'queued: {
            // The run that owns the lock sends the message or queues the caller in one pass.
            let message = 'other: {
                let Some(own) = worker else { break 'other message };
                let Some(mut state) = self.state.lock_as_owner(own) else { break 'other message };
                if !likely(!state.is_closed_to_senders()) {
                    break 'other message;
                }
                if !state.receiving.is_empty() {
                    let Some(place) = state.receiving.grant_own(own) else { break 'other message };
                    *place = Some(message);
                } else if state.buffer.len() < state.capacity {
                    state.buffer.push_back(message);
                } else {
                    break 'queued state.sending.enqueue_in(Some(message), worker);
                }
                drop(state);
                consume_budget_of(pays);
                return Ok(());
            };
            match self.send_shared(message, worker) {
                Sent::Done => {
                    consume_budget_of(pays);
                    return Ok(());
                }
                Sent::Disconnected(message) => {
                    consume_budget_of(pays);
                    return Err(SendTimeoutError::Disconnected(message));
                }
                Sent::Queued(waiter) => waiter,
            }
        };
        let reason = if self.capacity == 0 { "a receiver" } else { "room in a channel" };
        let own = |message: Option<T>| message.expect("no receiver took the message of a sender without a grant");
        match wait_in::<Sending<T>>(
            &self.state,
            waiter,
            WaitSpec { reason, external: true, ..WaitSpec::DEFAULT },
            deadline,
        ) {
            Ended::Granted(_) => Ok(()),
            Ended::Closed(message) => Err(SendTimeoutError::Disconnected(own(message))),
            Ended::TimedOut(message) => Err(SendTimeoutError::Timeout(own(message))),
            Ended::Cancelled(message) => Err(SendTimeoutError::Cancelled(own(message))),
        }
    }

    /// Sends, or queues the caller, for any waiter and any owner of the lock. Not inlined: it returns before the wait.
    #[inline(never)]
    fn send_shared(&self, message: T, worker: Option<&Worker>) -> Sent<T> {
        let mut state = self.state.lock_for(worker);
        match state.try_send(message, worker) {
            Ok(wake) => {
                drop(state);
                wake.wake();
                Sent::Done
            }
            Err(TrySendError::Disconnected(message)) => Sent::Disconnected(message),
            Err(TrySendError::Full(message)) => Sent::Queued(state.sending.enqueue_in(Some(message), worker)),
        }
    }

    #[inline(always)]
    #[track_caller]
    pub(super) fn recv(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let worker = worker();
        let waiter = 'queued: {
            // The run that owns the lock receives a message or queues the caller in one pass.
            'other: {
                let Some(own) = worker else { break 'other };
                let Some(mut state) = self.state.lock_as_owner(own) else { break 'other };
                let message = match state.buffer.pop_front() {
                    Some(message) => {
                        if state.sending.is_empty() {
                            drop(state)
                        } else {
                            self.admit(own, state)
                        }
                        message
                    }
                    None if !state.sending.is_empty() => {
                        let Some(place) = state.sending.grant_own(own) else { break 'other };
                        let message = place.take().expect("a queued sender has its message");
                        drop(state);
                        message
                    }
                    None if state.is_closed_to_receivers() => break 'other,
                    None => break 'queued state.receiving.enqueue_in(None, worker),
                };
                consume_budget_of(worker);
                return Ok(message);
            }
            match self.recv_shared(worker) {
                Received::Done(message) => {
                    consume_budget_of(worker);
                    return Ok(message);
                }
                Received::Disconnected => {
                    consume_budget_of(worker);
                    return Err(RecvTimeoutError::Disconnected);
                }
                Received::Queued(waiter) => waiter,
            }
        };
        let wait = WaitSpec { reason: "a message", external: true, ..WaitSpec::DEFAULT };
        match wait_in::<Receiving<T>>(&self.state, waiter, wait, deadline) {
            Ended::Granted(message) => Ok(message.expect("a granted receiver has a message")),
            Ended::Closed(_) => Err(RecvTimeoutError::Disconnected),
            Ended::TimedOut(_) => Err(RecvTimeoutError::Timeout),
            Ended::Cancelled(_) => Err(RecvTimeoutError::Cancelled),
        }
    }

    /// Receives, or queues the caller, for any waiter and any owner of the lock. Not inlined: it returns before the wait.
    #[inline(never)]
    fn recv_shared(&self, worker: Option<&Worker>) -> Received<T> {
        let mut state = self.state.lock_for(worker);
        match state.try_recv(worker) {
            Ok((message, wake)) => {
                drop(state);
                wake.wake();
                Received::Done(message)
            }
            Err(TryRecvError::Disconnected) => Received::Disconnected,
            Err(TryRecvError::Empty) => Received::Queued(state.receiving.enqueue_in(None, worker)),
        }
    }

    /// Moves the message of the first waiting sender into the buffer, after a receive, and releases the lock.
    #[inline(always)]
    fn admit(&self, worker: &Worker, mut state: OwnerGuard<'_, State<T>>) {
        let state_now = &mut *state;
        if likely(state_now.buffer.len() < state_now.capacity)
            && let Some(place) = state_now.sending.grant_own(worker)
        {
            state_now.buffer.push_back(place.take().expect("a queued sender has its message"));
        } else {
            admit_shared(worker, state);
        }
    }

    pub(super) fn close(&self) -> bool {
        let wakers = self.state.lock().close();
        wakers.map(wake_all).is_some()
    }

    /// Counts down the senders. The last one disconnects the channel: waiting receivers return.
    pub(super) fn drop_sender(&self) {
        let mut state = self.state.lock();
        state.senders -= 1;
        if state.senders > 0 {
            return;
        }
        let wakers = state.receiving.close();
        drop(state);
        wake_all(wakers);
    }

    /// Counts down the receivers. The last one disconnects the channel: waiting senders return, and the messages in the
    /// buffer are dropped with the buffer's memory.
    pub(super) fn drop_receiver(&self) {
        let mut state = self.state.lock();
        state.receivers -= 1;
        if state.receivers > 0 {
            return;
        }
        let wakers = state.sending.close();
        let messages = std::mem::take(&mut state.buffer);
        drop(state);
        wake_all(wakers);
        drop(messages); // only here, without the lock: destructors are the user's code
    }
}
