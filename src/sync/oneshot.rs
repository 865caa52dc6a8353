//! A channel for one value, which moves from its sender to its receiver.
//!
//! The names are those of tokio's `oneshot`. A thin layer over [`sync::channel`](mod@super::channel), of capacity 1, whose waits,
//! hand-off and cancel safety apply. A [`Promise`](super::Promise) differs in three ways: any number of waiters share its
//! value by reference, it can fail with an error, and it calls callbacks.
//!
//! ```
//! use cede::sync::oneshot;
//! let (sender, receiver) = oneshot::channel();
//! cede::run(|| {
//!     cede::spawn(move || sender.send("answer".to_string()));
//!     assert_eq!(receiver.recv().unwrap(), "answer");
//! });
//! ```
#![forbid(unsafe_code)]

use super::channel::{self, RecvError, RecvTimeoutError, TryRecvError};
use std::fmt;
use std::time::{Duration, Instant};

/// Creates a channel for one value.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::bounded(1);
    (Sender { channel: sender }, Receiver { channel: receiver })
}

/// The sending half of a oneshot channel. If it is dropped without a send, the receiver returns
/// [`RecvError::Disconnected`].
pub struct Sender<T> {
    channel: channel::Sender<T>,
}

/// The receiving half of a oneshot channel.
pub struct Receiver<T> {
    channel: channel::Receiver<T>,
}

impl<T> Sender<T> {
    /// Sends the value. Never waits.
    ///
    /// # Errors
    ///
    /// The value, if the receiver was dropped or closed.
    ///
    /// ```
    /// let (sender, receiver) = cede::sync::oneshot::channel();
    /// drop(receiver);
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn send(self, value: T) -> Result<(), T> {
        // The channel has room for the only value.
        self.channel.try_send(value).map_err(channel::TrySendError::into_inner)
    }

    /// Returns whether the receiver was dropped or closed: a send would fail.
    pub fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

impl<T> Receiver<T> {
    /// Waits for the value, and returns it.
    ///
    /// Cancel safety: a cancelled call takes no value, and can be repeated.
    ///
    /// # Errors
    ///
    /// [`RecvError::Disconnected`] if the sender was dropped without a send, or if the value was received before.
    /// [`RecvError::Cancelled`] if the task is cancelled before its wait ends, or would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// use cede::sync::{channel::RecvError, oneshot};
    /// let (sender, receiver) = oneshot::channel::<i32>();
    /// drop(sender);
    /// assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    /// ```
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.channel.recv()
    }

    /// Like [`recv`](Self::recv), but gives up after `timeout`. A timeout too long to be represented never expires.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] after `timeout`, and otherwise the errors of [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// The panics of [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.channel.recv_timeout(timeout)
    }

    /// Like [`recv`](Self::recv), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] at `deadline`, and otherwise the errors of [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// The panics of [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.channel.recv_deadline(deadline)
    }

    /// Returns the value, if it was sent. Never waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if the value was not sent yet, and [`TryRecvError::Disconnected`] where
    /// [`recv`](Self::recv) returns [`RecvError::Disconnected`].
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.channel.try_recv()
    }

    /// Refuses a later send, which then fails and returns its value. A value that was sent before can still be received.
    ///
    /// ```
    /// let (sender, receiver) = cede::sync::oneshot::channel();
    /// receiver.close();
    /// assert!(sender.is_closed());
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn close(&self) {
        self.channel.close();
    }

    /// Returns whether no value can be sent any more: the sender has sent or was dropped, or the receiver was closed.
    pub fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

impl<T> AsRef<channel::Receiver<T>> for Receiver<T> {
    /// Returns the receiver as that of a channel, for example for a case of a [`Select`](super::Select).
    ///
    /// ```
    /// let (sender, receiver) = cede::sync::oneshot::channel();
    /// sender.send(1).unwrap();
    /// assert_eq!(cede::select! { recv(receiver.as_ref()) -> value => value.unwrap() }, Ok(1));
    /// ```
    fn as_ref(&self) -> &channel::Receiver<T> {
        &self.channel
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
