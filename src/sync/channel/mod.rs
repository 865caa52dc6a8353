//! Multi-producer, multi-consumer channels: each message is received once, in the order in which messages were sent.
//!
//! Most names are those of crossbeam-channel. There are three kinds of channels:
//!
//! * [`bounded`] holds up to `capacity` messages. Senders wait while it is full (backpressure).
//! * [`rendezvous`] holds none. A sender waits until a receiver takes its message.
//! * [`unbounded`] holds any number. Senders never wait.
//!
//! # Disconnection
//!
//! A receive fails with `Disconnected` if the channel is empty and its last [`Sender`] was dropped. A send fails with
//! `Disconnected` if the last [`Receiver`] was dropped. [`close`](Sender::close) has both effects at once.
//!
//! # Fairness
//!
//! Senders and receivers wait in FIFO wait queues. A new message goes directly to the first waiting receiver
//! (hand-off). When a slot becomes free, the message of the first waiting sender takes it. So a later caller never
//! overtakes an earlier one.
//!
//! # Cancel safety
//!
//! A cancelled `recv` takes no message, and a cancelled `send` sends none and returns its message; the same holds for
//! timeouts and deadlines. A call that need not wait also succeeds in a cancelled task.
//!
//! If a task is unwound while it waits in `recv`, a granted message goes to the next receiver, or back to
//! the front of the channel. If a task is unwound while it waits in `send`, its message was either sent or is dropped.
//!
//! # Memory
//!
//! The messages are stored in a ring buffer, which grows on demand and does not shrink: see [`unbounded`].
//!
//! # Examples
//!
//! ```
//! use cede::sync::channel;
//! let (sender, receiver) = channel::bounded(1);
//! let sum: i32 = cede::run(|| {
//!     cede::spawn(move || (1..=4).try_for_each(|n| sender.send(n)));
//!     receiver.iter().sum()
//! });
//! assert_eq!(sum, 10);
//! ```
#![forbid(unsafe_code)]

mod case;
mod core;
mod error;
mod iter;

pub use self::case::{RecvCase, SendCase};
use self::core::Channel;
pub use self::error::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
pub use self::iter::{IntoIter, Iter, TryIter};
use crate::time::now;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Creates a channel that holds up to `capacity` messages. A sender waits while the channel is full (backpressure).
/// Capacity 0 creates a [`rendezvous`] channel.
///
/// ```
/// use cede::sync::channel::{TrySendError, bounded};
/// let (sender, receiver) = bounded(1);
/// sender.send("a").unwrap();
/// assert_eq!(sender.try_send("b"), Err(TrySendError::Full("b")));
/// assert_eq!(receiver.recv(), Ok("a"));
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel::new(capacity));
    (Sender { channel: Arc::clone(&channel) }, Receiver { channel })
}

/// Creates a channel that holds no messages (capacity 0): a sender waits until a receiver takes its message.
///
/// ```
/// let (sender, receiver) = cede::sync::channel::rendezvous();
/// cede::run(|| {
///     cede::spawn(move || sender.send("here"));
///     assert_eq!(receiver.recv(), Ok("here"));
/// });
/// ```
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    bounded(0)
}

/// Creates a channel that holds any number of messages: sending never waits, so there is no backpressure.
///
/// Its memory grows with the messages that are not yet received, and does not shrink: the channel keeps the memory of
/// its high-water mark until the last [`Receiver`] is dropped.
///
/// ```
/// let (sender, receiver) = cede::sync::channel::unbounded();
/// (0..100).for_each(|n| sender.send(n).unwrap());
/// assert_eq!(receiver.len(), 100);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// The sending half of a channel. Clones send to the same channel.
pub struct Sender<T> {
    channel: Arc<Channel<T>>,
}

/// The receiving half of a channel. Clones receive from the same channel, and each message goes to one of them.
pub struct Receiver<T> {
    channel: Arc<Channel<T>>,
}

impl<T> Sender<T> {
    /// Sends a message. Waits while the channel is full; at capacity 0, waits until a receiver takes the message. Senders
    /// are served in arrival order.
    ///
    /// Cancel safety: a cancelled `send` sends nothing, and its error returns the message.
    ///
    /// # Errors
    ///
    /// [`SendError::Disconnected`] if the channel was closed or has no receivers; [`SendError::Cancelled`] if the task
    /// is cancelled before its wait ends, or would have to wait while its thread panics. Both hold the message, which
    /// was not sent.
    ///
    /// # Panics
    ///
    /// Panics if the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// use cede::sync::channel::{SendError, bounded};
    /// let (sender, receiver) = bounded(1);
    /// assert_eq!(sender.send(1), Ok(()));
    /// drop(receiver);
    /// assert_eq!(sender.send(2), Err(SendError::Disconnected(2)));
    /// ```
    #[inline]
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.channel.send(message, None).map_err(SendTimeoutError::without_deadline)
    }

    /// Sends a message if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] if `send` would have to wait; [`TrySendError::Disconnected`] if the channel was closed or
    /// has no receivers. Both hold the message, which was not sent.
    ///
    /// ```
    /// use cede::sync::channel::{TrySendError, rendezvous};
    /// let (sender, _receiver) = rendezvous();
    /// assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)), "no receiver waits");
    /// ```
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.channel.try_send(message)
    }

    /// Like [`send`](Self::send), but gives up after `timeout`. A timeout too long to be represented never expires.
    ///
    /// Cancel safety: without `Ok` nothing was sent, and the error returns the message.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError::Timeout`] after `timeout`, and otherwise the errors of [`send`](Self::send). All hold the
    /// message.
    ///
    /// # Panics
    ///
    /// Where [`send`](Self::send) panics.
    ///
    /// ```
    /// use cede::sync::channel::{SendTimeoutError, rendezvous};
    /// use std::time::Duration;
    /// let (sender, _receiver) = rendezvous();
    /// assert_eq!(sender.send_timeout(1, Duration::from_millis(1)), Err(SendTimeoutError::Timeout(1)));
    /// ```
    #[track_caller]
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.channel.send(message, now().checked_add(timeout))
    }

    /// Like [`send`](Self::send), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// Cancel safety: without `Ok` nothing was sent, and the error returns the message.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError::Timeout`] at `deadline`, and otherwise the errors of [`send`](Self::send). All hold the
    /// message.
    ///
    /// # Panics
    ///
    /// Where [`send`](Self::send) panics.
    #[track_caller]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.channel.send(message, Some(deadline))
    }
}

impl<T> Receiver<T> {
    /// Receives a message, and waits while the channel is empty. Receivers are served in arrival order.
    ///
    /// Cancel safety: a cancelled `recv` takes no message.
    ///
    /// # Errors
    ///
    /// [`RecvError::Disconnected`] if the channel is empty, and was closed or has no senders: messages that were sent
    /// before are received first. [`RecvError::Cancelled`] if the task is cancelled before its wait ends, or would have
    /// to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// Panics if the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// use cede::sync::channel::{RecvError, unbounded};
    /// let (sender, receiver) = unbounded();
    /// sender.send(1).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    /// ```
    #[inline]
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.channel.recv(None).map_err(RecvTimeoutError::without_deadline)
    }

    /// Receives a message if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if `recv` would have to wait; [`TryRecvError::Disconnected`] if the channel is empty,
    /// and was closed or has no senders.
    ///
    /// ```
    /// use cede::sync::channel::{TryRecvError, unbounded};
    /// let (sender, receiver) = unbounded::<i32>();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.channel.try_recv()
    }

    /// Like [`recv`](Self::recv), but gives up after `timeout`. A timeout too long to be represented never expires.
    ///
    /// Cancel safety: without `Ok` no message was taken.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] after `timeout`, and otherwise the errors of [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// Where [`recv`](Self::recv) panics.
    ///
    /// ```
    /// use cede::sync::channel::{RecvTimeoutError, unbounded};
    /// use std::time::Duration;
    /// let (_sender, receiver) = unbounded::<i32>();
    /// assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.channel.recv(now().checked_add(timeout))
    }

    /// Like [`recv`](Self::recv), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// Cancel safety: without `Ok` no message was taken.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] at `deadline`, and otherwise the errors of [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// Where [`recv`](Self::recv) panics.
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.channel.recv(Some(deadline))
    }

    /// Returns a blocking iterator over received messages. Each step is a [`recv`](Self::recv): the iterator waits for
    /// a message, and panics where `recv` panics. The iterator ends when the channel is disconnected or the task is
    /// cancelled; [`task::check`](crate::task::check) tells which.
    ///
    /// Cancel safety: a cancelled step takes no message.
    ///
    /// ```
    /// let (sender, receiver) = cede::sync::channel::unbounded();
    /// (0..3).for_each(|n| sender.send(n).unwrap());
    /// drop(sender);
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Returns a non-blocking iterator over received messages. Each step is a [`try_recv`](Self::try_recv). The
    /// iterator ends when the channel is empty, whether or not it is disconnected.
    ///
    /// ```
    /// let (sender, receiver) = cede::sync::channel::unbounded();
    /// (0..3).for_each(|n| sender.send(n).unwrap());
    /// assert_eq!(receiver.try_iter().count(), 3);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

/// Implements the methods and traits common to both halves.
macro_rules! both_ends {
    ($($end:ident, $count:ident, $drop:ident, $is_closed:ident;)+) => { $(
        impl<T> $end<T> {
            /// Returns the number of messages in the channel, without the messages of waiting senders.
            pub fn len(&self) -> usize {
                self.channel.state.lock().buffer.len()
            }

            /// Returns whether no message is in the channel. At capacity 0 this is `true`, with one exception: if a
            /// waiting receiver was given a message and then unwound, the message can be in the channel again.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Returns whether the channel has no room for a message; at capacity 0 always `true`.
            pub fn is_full(&self) -> bool {
                self.len() >= self.channel.capacity
            }

            /// Returns the capacity in messages; `None` if the channel is unbounded.
            pub fn capacity(&self) -> Option<usize> {
                Some(self.channel.capacity).filter(|capacity| *capacity != usize::MAX)
            }

            /// Closes the channel for all its senders and receivers. Waiting calls return `Disconnected`, and the
            /// error of a waiting send holds its message. Messages in the channel can still be received.
            ///
            /// Returns `false`, and does nothing, if the channel was already closed, or has lost all senders or all
            /// receivers.
            ///
            /// ```
            /// use cede::sync::channel::{RecvError, SendError, unbounded};
            /// let (sender, receiver) = unbounded();
            /// sender.send(1).unwrap();
            /// assert!(receiver.close());
            /// assert_eq!(sender.send(2), Err(SendError::Disconnected(2)));
            /// assert_eq!(receiver.recv(), Ok(1));
            /// assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
            /// ```
            pub fn close(&self) -> bool {
                self.channel.close()
            }

            /// Returns whether the channel was closed, or has lost all halves of the other kind. A receiver can still
            /// receive the messages that are in the channel.
            ///
            /// ```
            /// let (sender, receiver) = cede::sync::channel::bounded::<i32>(1);
            /// assert!(!sender.is_closed());
            /// drop(receiver);
            /// assert!(sender.is_closed());
            /// ```
            pub fn is_closed(&self) -> bool {
                self.channel.state.lock().$is_closed()
            }

            /// Returns whether `self` and `other` belong to the same channel.
            pub fn same_channel(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.channel, &other.channel)
            }
        }

        impl<T> Clone for $end<T> {
            fn clone(&self) -> Self {
                self.channel.state.lock().$count += 1;
                $end { channel: Arc::clone(&self.channel) }
            }
        }

        impl<T> Drop for $end<T> {
            fn drop(&mut self) {
                self.channel.$drop();
            }
        }

        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end)).finish_non_exhaustive()
            }
        }
    )+ };
}

both_ends! {
    Sender, senders, drop_sender, is_closed_to_senders;
    Receiver, receivers, drop_receiver, is_closed_to_receivers;
}
