//! Channels: messages from many senders to many receivers, each received once, in the order in which they were sent.
//!
//! Names and behaviour are crossbeam-channel's. [`bounded`] makes senders wait while so many messages are under way,
//! [`rendezvous`] until somebody receives, [`unbounded`] never. A channel is closed for receivers when it is empty and its last
//! [`Sender`] is gone, and for senders when its last [`Receiver`] is, or for both by [`close`](Sender::close).
//!
//! What needs no wait is done also by a task that was cancelled. While the thread panics nothing waits: what cannot be done at
//! once fails as if it were cancelled.
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

/// A channel in which up to `capacity` messages may lie; with 0 the same as [`rendezvous`].
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

/// A channel in which no message lies: a sender waits until a receiver takes its message.
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

/// A channel in which any number of messages may lie: sending never waits.
///
/// ```
/// let (sender, receiver) = cede::sync::channel::unbounded();
/// (0..100).for_each(|n| sender.send(n).unwrap());
/// assert_eq!(receiver.len(), 100);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// The end that messages go in at. Clones share the channel.
pub struct Sender<T> {
    channel: Arc<Channel<T>>,
}

/// The end that messages come out of. Clones share the channel: each message goes to one of them.
pub struct Receiver<T> {
    channel: Arc<Channel<T>>,
}

impl<T> Sender<T> {
    /// Sends, waiting while there is no room; at capacity 0, until somebody receives. Those who wait have their turns in the
    /// order in which they came.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the message: it was not sent, and nobody will receive it.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
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

    /// Sends if that needs no wait.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the message.
    ///
    /// ```
    /// use cede::sync::channel::{TrySendError, rendezvous};
    /// let (sender, _receiver) = rendezvous();
    /// assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)), "nobody waits for it");
    /// ```
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.channel.try_send(message)
    }

    /// Sends, waiting no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`] with the message.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
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

    /// Sends, waiting no longer than until `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`] with the message.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.channel.send(message, Some(deadline))
    }
}

impl<T> Receiver<T> {
    /// Receives, waiting while there is no message. Those who wait receive in the order in which they came.
    ///
    /// # Errors
    ///
    /// [`RecvError`]; messages that were sent before the channel was closed are received first.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
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

    /// Receives if that needs no wait.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
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

    /// Receives, waiting no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
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

    /// Receives, waiting no longer than until `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.channel.recv(Some(deadline))
    }

    /// The messages to come. Waits for each, and ends when there will be no more, or when the task is cancelled
    /// ([`task::check`](crate::task::check) tells which).
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

    /// The messages that are there. Waits for nothing.
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

/// What both ends can tell and do.
macro_rules! both_ends {
    ($($end:ident, $count:ident, $drop:ident;)+) => { $(
        impl<T> $end<T> {
            /// How many messages lie in the channel. Those whose senders wait do not count.
            pub fn len(&self) -> usize {
                self.channel.state.lock().buffer.len()
            }

            /// Whether no message lies in the channel; always so at capacity 0.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there is no room for a message; always so at capacity 0.
            pub fn is_full(&self) -> bool {
                self.len() >= self.channel.capacity
            }

            /// How many messages there is room for; `None` if any number.
            pub fn capacity(&self) -> Option<usize> {
                Some(self.channel.capacity).filter(|capacity| *capacity != usize::MAX)
            }

            /// Closes the channel for everybody. Those who wait to send get their messages back; what was sent can still be
            /// received. False if it was closed already, or one side is gone.
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

            /// Whether both are ends of the same channel.
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
    Sender, senders, drop_sender;
    Receiver, receivers, drop_receiver;
}
