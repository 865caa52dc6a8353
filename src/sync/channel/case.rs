//! Sending and receiving as cases of a select.
//!
//! A case waits in the wait queue of its channel as a waiter of its select: see `wait::queue`.

use super::core::{Channel, Receiving, Sending};
use super::error::{RecvError, SendError, TryRecvError, TrySendError};
use super::{Receiver, Sender};
use crate::sync::select::Case;
use crate::sync::select::sealed::{Granted, Internal, Operation, Plan, Registration};
use crate::wait::queue::{Line, WaiterId};
use crate::wait::wake_list::wake_all;
use crate::wait::worker;
use std::fmt;

/// A receive operation of a [`Select`](crate::sync::Select). Returned by [`Receiver::case`].
pub struct RecvCase<'a, T> {
    channel: &'a Channel<T>,
    waiter: Option<WaiterId>,
    received: Option<Result<T, RecvError>>,
}

/// A send operation of a [`Select`](crate::sync::Select). Returned by [`Sender::case`] and [`Sender::case_from`].
pub struct SendCase<'a, T> {
    channel: &'a Channel<T>,
    message: Message<'a, T>,
    waiter: Option<WaiterId>,
    sent: Option<Result<(), SendError<T>>>,
}

/// The place of the message until it is sent.
enum Message<'a, T> {
    /// In the case.
    Own(Option<T>),
    /// In the caller's `Option`.
    From(&'a mut Option<T>),
}

impl<T> Message<'_, T> {
    fn slot(&mut self) -> &mut Option<T> {
        match self {
            Message::Own(message) => message,
            Message::From(message) => message,
        }
    }
}

impl<T> Receiver<T> {
    /// Returns a case of a [`Select`](crate::sync::Select) that receives a message. The case is ready if a
    /// [`recv`](Self::recv) would not wait: there is a message, or the channel is disconnected.
    ///
    /// Cancel safety: a cancelled select, and one that chooses another case, takes no message.
    pub fn case(&self) -> RecvCase<'_, T> {
        RecvCase { channel: &self.channel, waiter: None, received: None }
    }
}

impl<T> Sender<T> {
    /// Returns a case of a [`Select`](crate::sync::Select) that sends `message`. The case is ready if a
    /// [`send`](Self::send) would not wait: there is room or a waiting receiver, or the channel is disconnected.
    ///
    /// Cancel safety: a cancelled select, and one that chooses another case, does not send.
    /// [`into_message`](SendCase::into_message) then returns the message.
    pub fn case(&self, message: T) -> SendCase<'_, T> {
        SendCase { channel: &self.channel, message: Message::Own(Some(message)), waiter: None, sent: None }
    }

    /// Like [`case`](Self::case), but leaves the message in `message` if this case is not chosen.
    ///
    /// # Panics
    ///
    /// If `message` is `None`.
    #[track_caller]
    pub fn case_from<'a>(&'a self, message: &'a mut Option<T>) -> SendCase<'a, T> {
        assert!(message.is_some(), "cannot send from an empty Option: there is no message");
        SendCase { channel: &self.channel, message: Message::From(message), waiter: None, sent: None }
    }
}

impl<T> RecvCase<'_, T> {
    /// Returns the received message. Call it once, after the select has chosen this case.
    ///
    /// # Errors
    ///
    /// [`RecvError::Disconnected`] if the channel is empty, and closed or without senders.
    ///
    /// # Panics
    ///
    /// If this case was not chosen, or its result was taken before.
    #[track_caller]
    pub fn take(&mut self) -> Result<T, RecvError> {
        self.received.take().expect("only the chosen case has a result, and `take` returns it once")
    }
}

impl<T> SendCase<'_, T> {
    /// Returns `Ok` if the message was sent. Call it once, after the select has chosen this case.
    ///
    /// # Errors
    ///
    /// [`SendError::Disconnected`] with the message, if the channel is closed or without receivers.
    ///
    /// # Panics
    ///
    /// If this case was not chosen, or its result was taken before.
    #[track_caller]
    pub fn take(&mut self) -> Result<(), SendError<T>> {
        self.sent.take().expect("only the chosen case has a result, and `take` returns it once")
    }

    /// Returns the message if this case was not chosen.
    ///
    /// Returns `None` if it was chosen: then the message was sent, or is in the error that [`take`](Self::take)
    /// returns. Returns `None` also for a case made by [`case_from`](Sender::case_from), which leaves an unsent message
    /// in its `Option`.
    pub fn into_message(self) -> Option<T> {
        match self.message {
            Message::Own(message) => message,
            Message::From(_) => None,
        }
    }
}

impl<T> Case for RecvCase<'_, T> {}

impl<T> Operation for RecvCase<'_, T> {
    fn try_complete(&mut self, internal: Internal) -> bool {
        if let Some(state) = internal.worker.and_then(|worker| self.channel.state.lock_as_owner(worker))
            && !state.may_recv()
            && self.received.is_none()
        {
            return false;
        }
        self.try_recv()
    }

    fn enqueue(&mut self, registration: Registration, plan: &mut Plan, internal: Internal) -> bool {
        plan.external = true;
        let select = (registration.select_state, registration.index);
        if let Some(mut state) = internal.worker.and_then(|worker| self.channel.state.lock_as_owner(worker))
            && !state.may_recv()
        {
            self.waiter = Some(state.receiving.enqueue_select(None, &plan.waker, select));
            return true;
        }
        self.enqueue_shared(registration, plan)
    }

    fn is_ready(&self, registration: Registration, _: Internal) -> bool {
        self.channel.state.lock().can_recv(registration.select_state)
    }

    fn leave(&mut self, use_of_granted: Granted, internal: Internal) {
        let Some(waiter) = self.waiter.take() else { return };
        if let Some(mut state) = internal.worker.and_then(|worker| self.channel.state.lock_as_owner(worker))
            && let Some(_no_message) = state.receiving.remove_queued(waiter)
        {
            return;
        }
        self.leave_granted(waiter, use_of_granted);
    }
}

impl<T> RecvCase<'_, T> {
    #[inline(never)]
    fn try_recv(&mut self) -> bool {
        let worker = worker();
        let attempt = self.channel.state.lock_for(worker).try_recv(worker);
        self.received = match attempt {
            Ok((message, wake)) => {
                wake.wake();
                Some(Ok(message))
            }
            Err(TryRecvError::Disconnected) => Some(Err(RecvError::Disconnected)),
            Err(TryRecvError::Empty) => None,
        };
        self.received.is_some()
    }

    /// Enqueues the case, also if senders wait, or if this run does not own the lock.
    #[inline(never)]
    fn enqueue_shared(&mut self, registration: Registration, plan: &Plan) -> bool {
        let mut state = self.channel.state.lock();
        if state.can_recv(registration.select_state) {
            return false;
        }
        let select = (registration.select_state, registration.index);
        self.waiter = Some(state.receiving.enqueue_select(None, &plan.waker, select));
        true
    }

    /// Leaves the queue, also if the waiter was granted a message, or if this run does not own the lock.
    #[inline(never)]
    fn leave_granted(&mut self, waiter: WaiterId, use_of_granted: Granted) {
        let mut state = self.channel.state.lock();
        let (message, granted) = state.receiving.remove(waiter);
        match message {
            // The select is unwound, and cannot return the message.
            Some(message) if granted && use_of_granted == Granted::PassOn => {
                let wakers = Receiving::regrant(&mut state, Some(message));
                drop(state);
                wake_all(wakers);
            }
            message => self.received = message.map(Ok),
        }
    }
}

impl<T> Case for SendCase<'_, T> {}

impl<T> Operation for SendCase<'_, T> {
    fn try_complete(&mut self, _: Internal) -> bool {
        let message = self.message.slot();
        assert!(message.is_some(), "a send case that was chosen has no message left: make a new case");
        let mut state = self.channel.state.lock();
        if !state.may_send() {
            return false;
        }
        let attempt = state.try_send(message.take().expect("it was looked at above"), worker());
        drop(state);
        self.sent = match attempt {
            Ok(wake) => {
                wake.wake();
                Some(Ok(()))
            }
            Err(TrySendError::Disconnected(message)) => Some(Err(SendError::Disconnected(message))),
            Err(TrySendError::Full(message)) => {
                *self.message.slot() = Some(message);
                None
            }
        };
        self.sent.is_some()
    }

    fn enqueue(&mut self, registration: Registration, plan: &mut Plan, _: Internal) -> bool {
        plan.external = true;
        let mut state = self.channel.state.lock();
        let select = (registration.select_state, registration.index);
        if state.may_send() && state.can_send(registration.select_state) {
            return false;
        }
        let message = self.message.slot().take();
        self.waiter = Some(state.sending.enqueue_select(message, &plan.waker, select));
        true
    }

    fn is_ready(&self, registration: Registration, _: Internal) -> bool {
        self.channel.state.lock().can_send(registration.select_state)
    }

    fn leave(&mut self, _: Granted, _: Internal) {
        let Some(waiter) = self.waiter.take() else { return };
        let mut state = self.channel.state.lock();
        let (message, sent) = Sending::waiters(&mut state).remove(waiter);
        drop(state);
        if sent {
            self.sent = Some(Ok(()));
        } else {
            *self.message.slot() = message;
        }
    }
}

impl<T> fmt::Debug for RecvCase<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvCase").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SendCase<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendCase").finish_non_exhaustive()
    }
}
