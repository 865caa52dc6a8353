//! What both ends of a channel share: the messages that nobody has taken, and two lines of waiters.
//!
//! # Invariants
//!
//! 1. Somebody waits to receive only while there is no message and nobody waits to send.
//! 2. Somebody waits to send only while there is no room.
//!
//! So a message goes straight to whoever waits for it, and room that becomes free goes at once to the message of the first
//! who waits to send: nobody who comes later can be faster.

use super::error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, SelectState, WaitQueue, wait_in, wake, wake_all};
use crate::wait::{WaitSpec, WakeHandle, consume_budget};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Instant;

pub(super) struct Channel<T> {
    pub(super) state: BiasedLock<State<T>>,
    /// How many messages may lie in it; `usize::MAX` for as many as there is memory for.
    pub(super) capacity: usize,
}

pub(super) struct State<T> {
    /// Sent, and received by nobody yet.
    pub(super) buffer: VecDeque<T>,
    /// As the channel's.
    capacity: usize,
    /// Those who wait to receive, with room for a message.
    pub(super) receiving: WaitQueue<Option<T>>,
    /// Those who wait to send, with their messages.
    pub(super) sending: WaitQueue<Option<T>>,
    pub(super) senders: usize,
    pub(super) receivers: usize,
    /// Closed by hand.
    closed: bool,
}

/// The line of those who wait to receive.
pub(super) struct Receiving<T>(PhantomData<T>);

impl<T> Line for Receiving<T> {
    type State = State<T>;
    type Value = Option<T>;

    fn waiters(state: &mut State<T>) -> &mut WaitQueue<Option<T>> {
        &mut state.receiving
    }

    fn regrant(state: &mut State<T>, message: Option<T>) -> Vec<WakeHandle> {
        let message = message.expect("it was handed one");
        match state.receiving.grant() {
            Some(waiter) => {
                *state.receiving.value(waiter) = Some(message);
                vec![state.receiving.waker(waiter)]
            }
            None => {
                // Though there may be no room: it was sent.
                state.buffer.push_front(message);
                Vec::new()
            }
        }
    }
}

/// The line of those who wait to send.
pub(super) struct Sending<T>(PhantomData<T>);

impl<T> Line for Sending<T> {
    type State = State<T>;
    type Value = Option<T>;

    fn waiters(state: &mut State<T>) -> &mut WaitQueue<Option<T>> {
        &mut state.sending
    }

    fn regrant(_: &mut State<T>, _sent: Option<T>) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl<T> State<T> {
    fn is_closed_to_senders(&self) -> bool {
        self.closed || self.receivers == 0
    }

    fn is_closed_to_receivers(&self) -> bool {
        self.closed || self.senders == 0
    }

    /// Sends without waiting. Whoever was handed the message is to be woken.
    #[inline(always)]
    pub(super) fn try_send(&mut self, message: T) -> Result<Option<WakeHandle>, TrySendError<T>> {
        if self.is_closed_to_senders() {
            return Err(TrySendError::Disconnected(message));
        }
        if let Some(waiter) = self.receiving.grant() {
            *self.receiving.value(waiter) = Some(message);
            return Ok(Some(self.receiving.waker(waiter)));
        }
        if self.buffer.len() >= self.capacity {
            return Err(TrySendError::Full(message));
        }
        self.buffer.push_back(message);
        Ok(None)
    }

    /// Receives without waiting. Whose message took the room that has become free is to be woken.
    #[inline(always)]
    pub(super) fn try_recv(&mut self) -> Result<(T, Option<WakeHandle>), TryRecvError> {
        if let Some(message) = self.buffer.pop_front() {
            let waker = if self.sending.is_empty() { None } else { self.admit() };
            return Ok((message, waker));
        }
        if let Some(waiter) = self.sending.grant() {
            let message = self.sending.value(waiter).take().expect("it waits to send it");
            return Ok((message, Some(self.sending.waker(waiter))));
        }
        Err(if self.is_closed_to_receivers() { TryRecvError::Disconnected } else { TryRecvError::Empty })
    }

    /// Whether somebody who waits with `select_state` could receive, or would be told that nothing will ever come.
    pub(super) fn can_recv(&mut self, select_state: &'static SelectState) -> bool {
        !self.buffer.is_empty() || self.is_closed_to_receivers() || self.sending.has_other(select_state)
    }

    /// Whether somebody who waits with `select_state` could send, or would be told that nobody will ever receive.
    pub(super) fn can_send(&mut self, select_state: &'static SelectState) -> bool {
        self.buffer.len() < self.capacity || self.is_closed_to_senders() || self.receiving.has_other(select_state)
    }

    /// Takes in the message of the first who waits to send, if there is room.
    fn admit(&mut self) -> Option<WakeHandle> {
        if self.buffer.len() >= self.capacity {
            return None;
        }
        let waiter = self.sending.grant()?;
        let message = self.sending.value(waiter).take().expect("it waits to send it");
        self.buffer.push_back(message);
        Some(self.sending.waker(waiter))
    }

    /// Closes it by hand. Who is to be woken; none if it was closed already.
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
        // So much that a small channel never grows; memory for the largest is not taken before it is needed.
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
        let waker = self.state.lock().try_send(message)?;
        if let Some(waker) = waker {
            wake(waker);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let (message, waker) = self.state.lock().try_recv()?;
        if let Some(waker) = waker {
            wake(waker);
        }
        Ok(message)
    }

    #[inline]
    #[track_caller]
    pub(super) fn send(&self, message: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let mut state = self.state.lock();
        let message = match state.try_send(message) {
            Ok(waker) => {
                drop(state);
                if let Some(waker) = waker {
                    wake(waker);
                }
                if self.capacity != usize::MAX {
                    consume_budget();
                }
                return Ok(());
            }
            Err(TrySendError::Disconnected(message)) => {
                drop(state);
                if self.capacity != usize::MAX {
                    consume_budget();
                }
                return Err(SendTimeoutError::Disconnected(message));
            }
            Err(TrySendError::Full(message)) => message,
        };
        let waiter = state.sending.enqueue(Some(message));
        drop(state);
        let reason = if self.capacity == 0 { "a receiver" } else { "room in a channel" };
        let own = |message: Option<T>| message.expect("nobody took it");
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

    #[inline]
    #[track_caller]
    pub(super) fn recv(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let mut state = self.state.lock();
        match state.try_recv() {
            Ok((message, waker)) => {
                drop(state);
                if let Some(waker) = waker {
                    wake(waker);
                }
                consume_budget();
                return Ok(message);
            }
            Err(TryRecvError::Disconnected) => {
                drop(state);
                consume_budget();
                return Err(RecvTimeoutError::Disconnected);
            }
            Err(TryRecvError::Empty) => {}
        }
        let waiter = state.receiving.enqueue(None);
        drop(state);
        let wait = WaitSpec { reason: "a message", external: true, ..WaitSpec::DEFAULT };
        match wait_in::<Receiving<T>>(&self.state, waiter, wait, deadline) {
            Ended::Granted(message) => Ok(message.expect("it was handed one")),
            Ended::Closed(_) => Err(RecvTimeoutError::Disconnected),
            Ended::TimedOut(_) => Err(RecvTimeoutError::Timeout),
            Ended::Cancelled(_) => Err(RecvTimeoutError::Cancelled),
        }
    }

    pub(super) fn close(&self) -> bool {
        let wakers = self.state.lock().close();
        wakers.map(wake_all).is_some()
    }

    /// One sender less.
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

    /// One receiver less. With the last one the messages go that nobody has taken.
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
        drop(messages); // anybody's code
    }
}
