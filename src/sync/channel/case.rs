//! Sending and receiving as cases of a select.

use super::core::{Channel, Receiving, Sending};
use super::error::{RecvError, SendError, TryRecvError, TrySendError};
use super::{Receiver, Sender};
use crate::sync::select::Case;
use crate::sync::select::sealed::{Internal, Operation, Turn};
use crate::wait::queue::{Line, WaiterId, wake, wake_all};
use std::fmt;

/// To receive: see [`Receiver::case`].
pub struct RecvCase<'a, T> {
    channel: &'a Channel<T>,
    waiter: Option<WaiterId>,
    received: Option<Result<T, RecvError>>,
}

/// To send: see [`Sender::case`].
pub struct SendCase<'a, T> {
    channel: &'a Channel<T>,
    message: Message<'a, T>,
    waiter: Option<WaiterId>,
    sent: Option<Result<(), SendError<T>>>,
}

/// Where the message is until it is sent.
enum Message<'a, T> {
    Own(Option<T>),
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
    /// Receiving as a case of a [`Select`](crate::sync::Select).
    pub fn case(&self) -> RecvCase<'_, T> {
        RecvCase { channel: &self.channel, waiter: None, received: None }
    }
}

impl<T> Sender<T> {
    /// Sending as a case of a [`Select`](crate::sync::Select). If another case is chosen,
    /// [`into_message`](SendCase::into_message) gives the message back.
    pub fn case(&self, message: T) -> SendCase<'_, T> {
        SendCase { channel: &self.channel, message: Message::Own(Some(message)), waiter: None, sent: None }
    }

    /// As [`case`](Self::case), with a message that is taken out of `message` only if this case is chosen.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn case_from<'a>(&'a self, message: &'a mut Option<T>) -> SendCase<'a, T> {
        assert!(message.is_some(), "cannot send from an empty Option: there is no message");
        SendCase { channel: &self.channel, message: Message::From(message), waiter: None, sent: None }
    }
}

impl<T> RecvCase<'_, T> {
    /// What was received, after this case was chosen; once.
    ///
    /// # Panics
    ///
    /// If it was not chosen, or this was called before.
    #[track_caller]
    pub fn take(&mut self) -> Result<T, RecvError> {
        self.received.take().expect("only the chosen case has a result, and it has it once")
    }
}

impl<T> SendCase<'_, T> {
    /// Whether it was sent, after this case was chosen; once.
    ///
    /// # Errors
    ///
    /// [`SendError::Disconnected`] with the message.
    ///
    /// # Panics
    ///
    /// If it was not chosen, or this was called before.
    #[track_caller]
    pub fn take(&mut self) -> Result<(), SendError<T>> {
        self.sent.take().expect("only the chosen case has a result, and it has it once")
    }

    /// The message, if it was not sent and is not to be taken from elsewhere.
    pub fn into_message(self) -> Option<T> {
        match self.message {
            Message::Own(message) => message,
            Message::From(_) => None,
        }
    }
}

impl<T> Case for RecvCase<'_, T> {}

impl<T> Operation for RecvCase<'_, T> {
    fn try_complete(&mut self, _: Internal) -> bool {
        let attempt = self.channel.state.lock().try_recv();
        self.received = match attempt {
            Ok((message, waker)) => {
                if let Some(waker) = waker {
                    wake(waker);
                }
                Some(Ok(message))
            }
            Err(TryRecvError::Disconnected) => Some(Err(RecvError::Disconnected)),
            Err(TryRecvError::Empty) => None,
        };
        self.received.is_some()
    }

    fn enqueue(&mut self, turn: Turn, _: Internal) -> bool {
        let mut state = self.channel.state.lock();
        if state.can_recv(turn.select_state) {
            return false;
        }
        self.waiter = Some(state.receiving.enqueue_select(None, turn.select_state, turn.index));
        true
    }

    fn is_ready(&self, turn: Turn, _: Internal) -> bool {
        self.channel.state.lock().can_recv(turn.select_state)
    }

    fn leave(&mut self, keep: bool, _: Internal) {
        let Some(waiter) = self.waiter.take() else { return };
        let mut state = self.channel.state.lock();
        let (message, handed) = state.receiving.remove(waiter);
        match message {
            Some(message) if handed && !keep => {
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
        let message = self.message.slot().take().expect("it was not sent");
        let attempt = self.channel.state.lock().try_send(message);
        self.sent = match attempt {
            Ok(waker) => {
                if let Some(waker) = waker {
                    wake(waker);
                }
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

    fn enqueue(&mut self, turn: Turn, _: Internal) -> bool {
        let mut state = self.channel.state.lock();
        if state.can_send(turn.select_state) {
            return false;
        }
        let message = self.message.slot().take();
        self.waiter = Some(state.sending.enqueue_select(message, turn.select_state, turn.index));
        true
    }

    fn is_ready(&self, turn: Turn, _: Internal) -> bool {
        self.channel.state.lock().can_send(turn.select_state)
    }

    fn leave(&mut self, _keep: bool, _: Internal) {
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
