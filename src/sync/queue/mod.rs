//! Work queues with completion tracking, shared by tasks and plain threads: FIFO, priority and LIFO order.
//!
//! The three queues of Python's `queue` module: [`Queue`] (FIFO: first in, first out), [`PriorityQueue`] (the smallest item
//! first, equal items in FIFO order) and [`LifoQueue`] (last in, first out). A channel passes messages and closes with its
//! senders. A queue tracks work: [`join`](Queue::join) waits until all of it is done. `pop` returns a [`Job`], and dropping the
//! job marks it as done. So, unlike Python's `task_done`, the mark cannot be set twice, and is omitted
//! only if the job is leaked.
//!
//! A bounded queue exerts backpressure: `push` waits while it is full. Waiting pushers and waiting poppers are served in
//! FIFO order, and a later caller never overtakes an earlier one.
//!
//! An operation that need not wait also succeeds in a task that was cancelled. While the thread panics, an operation that would
//! have to wait returns its `Cancelled` error instead.
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
//!     queue.join()?; // all ten jobs are done
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

/// A work queue in FIFO order: first in, first out. See [the module](self).
pub struct Queue<T> {
    core: Core<Fifo<T>, T>,
}

/// A work queue in priority order: the smallest item first, equal items in FIFO order. For the largest item first, wrap the
/// items in [`Reverse`](std::cmp::Reverse). See [the module](self).
///
/// Items are compared while the queue is locked. So a comparison must neither wait nor use this queue. In a task, a
/// comparison that does either of these panics.
///
/// A panic of a comparison propagates from the `push` or `pop` that compared. No item is lost: the pushed item is in the queue,
/// and no item was taken out. If comparing panics every time, [`close_now`](Self::close_now) still returns the items, in no
/// particular order.
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

/// A work queue in LIFO order: last in, first out. See [the module](self).
///
/// ```
/// let stack = cede::sync::LifoQueue::unbounded();
/// (1..=3).for_each(|n| stack.push(n).unwrap());
/// assert_eq!(stack.pop().unwrap().into_inner(), 3);
/// ```
pub struct LifoQueue<T> {
    core: Core<Lifo<T>, T>,
}

/// An item taken out of a queue. Dropping the job, also by a panic, marks it as done, which `join` waits for.
///
/// A job that is leaked, as by [`mem::forget`](std::mem::forget), is never done.
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
    /// Dropped before `done`: fields are dropped in order of declaration.
    item: T,
    done: Done<'a, T>,
}

/// Marks a job as done when dropped.
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
    /// Marks the job as done and returns the item.
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

/// Defines the methods of all three queues.
macro_rules! queues {
    ($($queue:ident<T $(: $bound:ident)?> $order:ident;)+) => { $(
        impl<T $(: $bound)?> $queue<T> {
            /// Creates a queue for up to `capacity` items. Pushing to a full queue waits (backpressure).
            ///
            /// # Panics
            ///
            /// If `capacity` is 0. For a hand-off without a buffer use [`rendezvous`](crate::sync::channel::rendezvous).
            ///
            /// ```
            #[doc = concat!("let queue = cede::sync::", stringify!($queue), "::bounded(1);")]
            /// queue.push(1).unwrap();
            /// assert!(queue.try_push(2).is_err());
            /// ```
            pub fn bounded(capacity: usize) -> $queue<T> {
                assert!(capacity > 0, "cannot create a queue of capacity 0: for a hand-off use channel::rendezvous");
                $queue { core: Core::new(capacity) }
            }

            /// Creates a queue for any number of items. Pushing never waits.
            pub fn unbounded() -> $queue<T> {
                $queue { core: Core::new(usize::MAX) }
            }

            /// Puts an item into the queue, or gives it directly to the first waiting popper. Waits while the queue is full.
            /// Waiting pushers are served in FIFO order.
            ///
            /// Cancel safety: a cancelled call returns its item, and the queue is unchanged. If a slot was granted before the
            /// cancel, the call returns `Ok`, and the task's next wait returns `Cancelled`.
            ///
            /// # Errors
            ///
            /// [`PushError`], with the item, if the queue is closed before or during the wait, or if the wait is cancelled.
            ///
            /// # Panics
            ///
            /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
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

            /// Puts an item into the queue if the queue is not full. Never waits.
            ///
            /// # Errors
            ///
            /// [`TryPushError`], with the item, if the queue is full or closed.
            #[inline]
            pub fn try_push(&self, item: T) -> Result<(), TryPushError<T>> {
                self.core.try_push(item)
            }

            /// Like [`push`](Self::push), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
            ///
            /// # Errors
            ///
            /// [`PushTimeoutError`], with the item: `Timeout` if the deadline passes first, and the errors of
            /// [`push`](Self::push).
            ///
            /// # Panics
            ///
            /// The panics of [`push`](Self::push).
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

            /// Like [`push_deadline`](Self::push_deadline), but gives up after the duration `timeout`. A `timeout` that
            /// is too long for an [`Instant`] never elapses.
            ///
            /// # Errors
            ///
            /// The errors of [`push_deadline`](Self::push_deadline).
            ///
            /// # Panics
            ///
            /// The panics of [`push`](Self::push).
            #[track_caller]
            pub fn push_timeout(&self, item: T, timeout: Duration) -> Result<(), PushTimeoutError<T>> {
                self.core.push(item, now().checked_add(timeout))
            }

            /// Takes the next item out of the queue. Waits while the queue is empty and open. Waiting poppers are served in
            /// FIFO order.
            ///
            /// Cancel safety: a cancelled call takes no item. If an item was granted before the cancel, the call returns the
            /// item, and the task's next wait returns `Cancelled`.
            ///
            /// # Errors
            ///
            /// [`PopError`] if the queue is closed and empty, or if the wait is cancelled. No item was taken.
            ///
            /// # Panics
            ///
            /// The panics of [`push`](Self::push).
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

            /// Takes the next item out of the queue if there is one. Never waits.
            ///
            /// # Errors
            ///
            /// [`TryPopError`] if the queue is empty.
            #[inline]
            pub fn try_pop(&self) -> Result<Job<'_, T>, TryPopError> {
                self.core.try_pop().map(|item| self.job(item))
            }

            /// Like [`pop`](Self::pop), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
            ///
            /// # Errors
            ///
            /// [`PopTimeoutError`]: `Timeout` if the deadline passes first, and the errors of [`pop`](Self::pop). No item
            /// was taken.
            ///
            /// # Panics
            ///
            /// The panics of [`push`](Self::push).
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

            /// Like [`pop_deadline`](Self::pop_deadline), but gives up after the duration `timeout`. A `timeout` that
            /// is too long for an [`Instant`] never elapses.
            ///
            /// # Errors
            ///
            /// The errors of [`pop_deadline`](Self::pop_deadline).
            ///
            /// # Panics
            ///
            /// The panics of [`push`](Self::push).
            #[track_caller]
            pub fn pop_timeout(&self, timeout: Duration) -> Result<Job<'_, T>, PopTimeoutError> {
                self.core.pop(now().checked_add(timeout)).map(|item| self.popped(item))
            }

            #[inline]
            fn job(&self, item: T) -> Job<'_, T> {
                Job { item, done: Done::$order(&self.core) }
            }

            /// Creates the job of a pop that may wait, and counts the call against the cooperative budget. If the task is
            /// unwound in the yield, the job is dropped and thereby done.
            #[inline]
            fn popped(&self, item: T) -> Job<'_, T> {
                let job = self.job(item);
                consume_budget();
                job
            }

            /// Waits until all pushed items are done: taken out, and their [`Job`]s dropped. When the last job is done, all
            /// joiners are woken together.
            ///
            /// Cancel safety: a cancelled call changes nothing and can be repeated.
            ///
            /// # Errors
            ///
            /// [`Cancelled`] if the task is cancelled before or during the wait, if a deadline or scope around the call
            /// ends the wait, or if the call would have to wait while the thread panics.
            ///
            /// # Panics
            ///
            /// The panics of [`push`](Self::push).
            #[track_caller]
            pub fn join(&self) -> Result<(), Cancelled> {
                self.core.join(None).map_err(WaitTimeoutError::without_deadline)
            }

            /// Like [`join`](Self::join), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
            ///
            /// # Errors
            ///
            /// [`WaitTimeoutError::Timeout`] if the deadline passes first, [`WaitTimeoutError::Cancelled`] where
            /// [`join`](Self::join) returns [`Cancelled`].
            ///
            /// # Panics
            ///
            /// The panics of [`push`](Self::push).
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

            /// Like [`join_deadline`](Self::join_deadline), but gives up after the duration `timeout`. A `timeout` that
            /// is too long for an [`Instant`] never elapses.
            ///
            /// # Errors
            ///
            /// The errors of [`join_deadline`](Self::join_deadline).
            ///
            /// # Panics
            ///
            /// The panics of [`push`](Self::push).
            #[track_caller]
            pub fn join_timeout(&self, timeout: Duration) -> Result<(), WaitTimeoutError> {
                self.core.join(now().checked_add(timeout))
            }

            /// Closes the queue: later pushes fail, and waiting pushers get their items back. Items in the queue can still
            /// be popped. Returns false if the queue was closed already.
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

            /// Like [`close`](Self::close), but also takes out and returns all items, in the order of the queue.
            /// [`join`](Self::join) does not wait for these items.
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

            /// Returns whether the queue was closed.
            pub fn is_closed(&self) -> bool {
                self.core.is_closed()
            }

            /// Returns the number of items in the queue. Other tasks and threads can change it at any time.
            pub fn len(&self) -> usize {
                self.core.len()
            }

            /// Returns whether the queue has no items.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Returns whether the queue is at its capacity.
            pub fn is_full(&self) -> bool {
                self.len() >= self.core.capacity
            }

            /// Returns the maximum number of items in the queue; `None` if it is unbounded.
            pub fn capacity(&self) -> Option<usize> {
                Some(self.core.capacity).filter(|capacity| *capacity != usize::MAX)
            }

            /// Returns the number of items that are not done: in the queue, or in a [`Job`].
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
