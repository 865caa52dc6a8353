//! Queues of jobs: put in by some, taken out and done by others.
//!
//! Python's three: [`Queue`] (first in, first out), [`PriorityQueue`] (the smallest first, and the first in among equals), and
//! [`LifoQueue`] (last in, first out). Where a channel is about the message and ends with its senders, a queue is about the
//! work: [`join`](Queue::join) waits until all of it is done. `pop` returns a [`Job`], and dropping that says that it is
//! done, so nobody can say it once too often, or forget it.
//!
//! What needs no wait is done also by a task that was cancelled. While the thread panics nothing waits: what cannot be done at
//! once fails as if it were cancelled.
//!
//! ```
//! use cede::sync::Queue;
//! use std::sync::Arc;
//! let queue = Arc::new(Queue::bounded(2));
//! cede::run(|| {
//!     for worker in 0..3 {
//!         let queue = Arc::clone(&queue);
//!         cede::spawn(move || {
//!             while let Ok(job) = queue.pop() {
//!                 println!("worker {worker} does {}", *job);
//!             }
//!         });
//!     }
//!     for n in 0..10 {
//!         queue.push(n).unwrap();
//!     }
//!     queue.join()?; // all ten are done
//!     queue.close();
//!     Ok::<(), cede::task::Cancelled>(())
//! })?;
//! # Ok::<(), cede::task::Cancelled>(())
//! ```
#![forbid(unsafe_code)]

mod core;
mod error;
mod order;

use self::core::Core;
pub use self::error::{PopError, PopTimeoutError, PushError, PushTimeoutError, TryPopError, TryPushError};
use self::order::{Fifo, Lifo, Smallest};
use crate::sync::error::WaitTimeoutError;
use crate::time::now;
use crate::wait::{Cancelled, consume_budget};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// The first in is the first out. See [the module](self).
pub struct Queue<T> {
    core: Core<Fifo<T>, T>,
}

/// The smallest is the first out, and among equals the first in. For the largest first put [`Reverse`](std::cmp::Reverse)
/// around the items. See [the module](self).
///
/// Comparing the items must not wait, and must not use this queue: it happens under the queue's own lock. In a task that
/// panics.
///
/// If comparing panics, the panic comes out of the `push` or the `pop` that compared, and no item is lost: the pushed one is
/// in the queue, and nothing was taken out. As long as it panics every time, [`close_now`](Self::close_now) is what gets the
/// items out, in no particular order.
///
/// ```
/// let queue = cede::sync::PriorityQueue::unbounded();
/// for (priority, what) in [(2, "wash"), (1, "eat"), (1, "drink")] {
///     queue.push((priority, what)).unwrap();
/// }
/// let order: Vec<_> = std::iter::from_fn(|| Some(queue.try_pop().ok()?.into_inner().1)).collect();
/// assert_eq!(order, ["drink", "eat", "wash"]);
/// ```
pub struct PriorityQueue<T: Ord> {
    core: Core<Smallest<T>, T>,
}

/// The last in is the first out. See [the module](self).
///
/// ```
/// let stack = cede::sync::LifoQueue::unbounded();
/// (1..=3).for_each(|n| stack.push(n).unwrap());
/// assert_eq!(stack.pop().unwrap().into_inner(), 3);
/// ```
pub struct LifoQueue<T> {
    core: Core<Lifo<T>, T>,
}

/// What was taken out of a queue. It is done when this is dropped, also by a panic; then `join` may return.
///
/// One that is forgotten is never done.
///
/// ```
/// let queue = cede::sync::Queue::unbounded();
/// queue.push("work").unwrap();
/// let job = queue.pop().unwrap();
/// assert_eq!((*job, queue.unfinished()), ("work", 1));
/// drop(job);
/// assert_eq!(queue.unfinished(), 0);
/// ```
#[must_use = "a job that is not kept is done at once"]
pub struct Job<'a, T> {
    /// Dropped first.
    item: T,
    done: Done<'a, T>,
}

/// Says that a job is done when it is dropped.
enum Done<'a, T> {
    Fifo(&'a Core<Fifo<T>, T>),
    Lifo(&'a Core<Lifo<T>, T>),
    Smallest(&'a Core<Smallest<T>, T>),
}

impl<T> Drop for Done<'_, T> {
    #[inline]
    fn drop(&mut self) {
        match self {
            Done::Fifo(core) => core.done(),
            Done::Lifo(core) => core.done(),
            Done::Smallest(core) => core.done(),
        }
    }
}

impl<T> Job<'_, T> {
    /// Takes the item out. The job is done.
    pub fn into_inner(self) -> T {
        let Job { item, done } = self;
        drop(done);
        item
    }
}

impl<T> Deref for Job<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> DerefMut for Job<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: fmt::Debug> fmt::Debug for Job<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&**self).finish()
    }
}

/// What the three have in common; `$example` makes one of numbers.
macro_rules! queues {
    ($($queue:ident<T $(: $bound:ident)?> $order:ident;)+) => { $(
        impl<T $(: $bound)?> $queue<T> {
            /// A queue in which up to `capacity` items may lie: pushing waits for room.
            ///
            /// # Panics
            ///
            /// If `capacity` is 0: to hand over without room in between there is
            /// [`rendezvous`](crate::sync::channel::rendezvous).
            ///
            /// ```
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::bounded(1);")]
            /// queue.push(1).unwrap();
            /// assert!(queue.try_push(2).is_err());
            /// ```
            pub fn bounded(capacity: usize) -> $queue<T> {
                assert!(capacity > 0, "a queue needs room for an item: for none there is channel::rendezvous");
                $queue { core: Core::new(capacity) }
            }

            /// A queue in which any number of items may lie: pushing never waits.
            pub fn unbounded() -> $queue<T> {
                $queue { core: Core::new(usize::MAX) }
            }

            /// Puts an item in, waiting while there is no room. Those who wait have their turns in the order in which they came.
            ///
            /// # Errors
            ///
            /// [`PushError`], with the item: it is not in the queue.
            ///
            /// # Panics
            ///
            /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
            ///
            /// ```
            /// use cede::sync::PushError;
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::bounded(1);")]
            /// assert_eq!(queue.push(1), Ok(()));
            /// queue.close();
            /// assert_eq!(queue.push(2), Err(PushError::Closed(2)));
            /// ```
            #[inline]
            #[track_caller]
            pub fn push(&self, item: T) -> Result<(), PushError<T>> {
                self.core.push(item, None).map_err(PushTimeoutError::without_deadline)
            }

            /// Puts an item in if there is room.
            ///
            /// # Errors
            ///
            /// [`TryPushError`], with the item.
            #[inline]
            pub fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
                self.core.try_push(item)
            }

            /// As [`push`](Self::push), but waits no longer than until `deadline`, by the clock of
            /// [`time::now`](crate::time::now).
            ///
            /// # Errors
            ///
            /// [`PushTimeoutError`], with the item.
            ///
            /// # Panics
            ///
            /// As [`push`](Self::push).
            ///
            /// ```
            /// use cede::sync::PushTimeoutError;
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::bounded(1);")]
            /// queue.push(1).unwrap();
            /// assert_eq!(queue.push_deadline(2, cede::time::now()), Err(PushTimeoutError::Timeout(2)));
            /// ```
            #[track_caller]
            pub fn push_deadline(&self, item: T, deadline: Instant) -> Result<(), PushTimeoutError<T>> {
                self.core.push(item, Some(deadline))
            }

            /// As [`push_deadline`](Self::push_deadline), `timeout` from now; one that is too long to tell never comes.
            ///
            /// # Errors
            ///
            /// # Panics
            ///
            /// As [`push_deadline`](Self::push_deadline).
            #[track_caller]
            pub fn push_timeout(&self, item: T, timeout: Duration) -> Result<(), PushTimeoutError<T>> {
                self.core.push(item, now().checked_add(timeout))
            }

            /// Takes an item out, waiting while there is none. Those who wait get theirs in the order in which they came.
            ///
            /// # Errors
            ///
            /// [`PopError`]: nothing was taken.
            ///
            /// # Panics
            ///
            /// As [`push`](Self::push).
            ///
            /// ```
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::bounded(1);")]
            /// queue.push(1).unwrap();
            /// assert_eq!(*queue.pop()?, 1);
            /// # Ok::<(), cede::sync::PopError>(())
            /// ```
            #[inline]
            #[track_caller]
            pub fn pop(&self) -> Result<Job<'_, T>, PopError> {
                match self.core.pop(None) {
                    Ok(item) => Ok(self.popped(item)),
                    Err(error) => Err(error.without_deadline()),
                }
            }

            /// Takes an item out if there is one.
            ///
            /// # Errors
            ///
            /// [`TryPopError`]: nothing was taken.
            #[inline]
            pub fn try_pop(&self) -> Result<Job<'_, T>, TryPopError> {
                self.core.try_pop().map(|item| self.job(item))
            }

            /// As [`pop`](Self::pop), but waits no longer than until `deadline`, by the clock of [`time::now`](crate::time::now).
            ///
            /// # Errors
            ///
            /// [`PopTimeoutError`]: nothing was taken.
            ///
            /// # Panics
            ///
            /// As [`push`](Self::push).
            ///
            /// ```
            /// use cede::sync::PopTimeoutError;
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::<u32>::unbounded();")]
            /// assert_eq!(queue.pop_deadline(cede::time::now()).unwrap_err(), PopTimeoutError::Timeout);
            /// ```
            #[track_caller]
            pub fn pop_deadline(&self, deadline: Instant) -> Result<Job<'_, T>, PopTimeoutError> {
                self.core.pop(Some(deadline)).map(|item| self.popped(item))
            }

            /// As [`pop_deadline`](Self::pop_deadline), `timeout` from now; one that is too long to tell never comes.
            ///
            /// # Errors
            ///
            /// # Panics
            ///
            /// As [`pop_deadline`](Self::pop_deadline).
            #[track_caller]
            pub fn pop_timeout(&self, timeout: Duration) -> Result<Job<'_, T>, PopTimeoutError> {
                self.core.pop(now().checked_add(timeout)).map(|item| self.popped(item))
            }

            #[inline]
            fn job(&self, item: T) -> Job<'_, T> {
                Job { item, done: Done::$order(&self.core) }
            }

            /// For a pop that waits, or may: see `consume_budget`. Whoever is unwound there has a job, which is done then.
            #[inline]
            fn popped(&self, item: T) -> Job<'_, T> {
                let job = self.job(item);
                consume_budget();
                job
            }

            /// Waits until every item that was ever pushed is done: taken out, and its [`Job`] dropped.
            ///
            /// # Errors
            ///
            /// [`Cancelled`] if the task is cancelled while it waits, and if it would have to wait while the thread panics.
            ///
            /// # Panics
            ///
            /// As [`push`](Self::push).
            #[track_caller]
            pub fn join(&self) -> Result<(), Cancelled> {
                self.core.join(None).map_err(WaitTimeoutError::without_deadline)
            }

            /// As [`join`](Self::join), but waits no longer than until `deadline`, by the clock of
            /// [`time::now`](crate::time::now).
            ///
            /// # Errors
            ///
            /// [`WaitTimeoutError`], which tells a deadline from a cancel.
            ///
            /// # Panics
            ///
            /// As [`push`](Self::push).
            ///
            /// ```
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::unbounded();")]
            /// queue.push(1).unwrap();
            /// assert!(queue.join_deadline(cede::time::now()).is_err());
            /// ```
            #[track_caller]
            pub fn join_deadline(&self, deadline: Instant) -> Result<(), WaitTimeoutError> {
                self.core.join(Some(deadline))
            }

            /// As [`join_deadline`](Self::join_deadline), `timeout` from now; one that is too long to tell never comes.
            ///
            /// # Errors
            ///
            /// # Panics
            ///
            /// As [`join_deadline`](Self::join_deadline).
            #[track_caller]
            pub fn join_timeout(&self, timeout: Duration) -> Result<(), WaitTimeoutError> {
                self.core.join(now().checked_add(timeout))
            }

            /// Nothing goes in any more; what is in it can still be taken out. Whoever waits to push has the item back.
            /// Returns false if it was closed already.
            ///
            /// ```
            /// use cede::sync::PopError;
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::unbounded();")]
            /// queue.push(1).unwrap();
            /// assert!(queue.close());
            /// assert_eq!(*queue.pop()?, 1);
            /// assert_eq!(queue.pop().unwrap_err(), PopError::Closed);
            /// # Ok::<(), PopError>(())
            /// ```
            pub fn close(&self) -> bool {
                self.core.close()
            }

            /// As [`close`](Self::close), and takes out what is in it, in its order. [`join`](Self::join) does not wait for that.
            ///
            /// ```
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::unbounded();")]
            /// queue.push(1).unwrap();
            /// assert_eq!(queue.close_now(), [1]);
            /// assert_eq!(queue.unfinished(), 0);
            /// ```
            pub fn close_now(&self) -> Vec<T> {
                self.core.close_now()
            }

            /// Whether it was closed.
            pub fn is_closed(&self) -> bool {
                self.core.is_closed()
            }

            /// How many items are in it; that may change at any time.
            pub fn len(&self) -> usize {
                self.core.len()
            }

            /// Whether nothing is in it.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there is no room.
            pub fn is_full(&self) -> bool {
                self.len() >= self.core.capacity
            }

            /// How many items may lie in it; `None` for any number.
            pub fn capacity(&self) -> Option<usize> {
                Some(self.core.capacity).filter(|capacity| *capacity != usize::MAX)
            }

            /// How many items are not done: in the queue, or in a [`Job`].
            pub fn unfinished(&self) -> usize {
                self.core.unfinished()
            }
        }

        impl<T $(: $bound)?> fmt::Debug for $queue<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut all = f.debug_struct(stringify!($queue));
                all.field("len", &self.len()).field("capacity", &self.capacity());
                all.field("unfinished", &self.unfinished()).finish()
            }
        }
    )+ };
}

queues! {
    Queue<T> Fifo;
    PriorityQueue<T: Ord> Smallest;
    LifoQueue<T> Lifo;
}
