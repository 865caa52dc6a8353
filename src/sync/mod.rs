//! Synchronization between tasks, runs and plain threads: locks, channels, queues, promises, events and select.
//!
//! All types work between tasks of one run, tasks of different runs, and plain threads. A blocking call suspends its
//! task, and the other tasks of the run go on; outside of a run it blocks the thread.
//!
//! | to | use |
//! |---|---|
//! | pass messages, in order, each to one receiver | [`channel`] |
//! | pass one value to one receiver; to many, by reference | [`oneshot`]; [`Promise`] |
//! | share the latest value with all receivers | [`watch`] |
//! | hand out work, and wait until it is done | [`Queue`], [`PriorityQueue`], [`LifoQueue`] |
//! | change a shared value | [`Mutex`], [`RwLock`], with [`Condvar`] to wait for a change |
//! | limit how many use a resource | [`Semaphore`] |
//! | load a value once | [`OnceCell`] |
//! | wait for a flag; for a wakeup that one waiter consumes | [`Event`]; [`Notify`] |
//! | request the end of some work | [`CancellationToken`] |
//! | wait for each other; for the end of all members | [`Barrier`]; [`WaitGroup`] |
//! | wait for the first of several operations | [`Select`], [`select!`](crate::select) |
//!
//! # Fairness
//!
//! Every type keeps its waiters in a FIFO wait queue. A lock, permit or message goes directly to the first waiter
//! (hand-off), so waiters are served in arrival order, and a later caller never overtakes an earlier one (no barging).
//! No wakeup is lost, and a spurious wakeup never ends a wait.
//!
//! [`Mutex`] keeps this order among the tasks of one worker. Between workers and plain threads, callers may overtake a
//! waiter for half a millisecond, because a hand-off to a sleeping thread takes some microseconds each time. The other
//! types hand off strictly between threads, too.
//!
//! # Cancel safety
//!
//! A cancelled wait takes nothing: no message, permit or lock is lost. If the hand-off came first, the wait returns
//! what it was given, and the next wait of the task reports the cancel. If the cancel came first, the next waiter is
//! served instead. The same holds for deadlines. If the hand-off and the cancel come from different threads, the
//! hand-off counts as first unless the cancelled task has run since.
//!
//! A wait is cancelled if its task or a scope around it is cancelled, if the deadline of a section around it passes
//! ([`timeout`](crate::timeout)), or if its run is deadlocked. A task whose thread panics cannot wait: a call that
//! would have to wait fails as if it were cancelled. A call that need not wait also succeeds in a cancelled task.
//!
//! # Cooperative budget
//!
//! A blocking call that need not wait returns at once. Every 4,096th such call of a run yields once after its work is
//! done, so that a task draining a channel that another thread fills cannot starve timers, cancels and other tasks.
//! Sending to an unbounded channel is not counted. Methods whose names begin with `try` never yield. No call yields in
//! a callback, inside [`no_suspend`](crate::no_suspend), or while its thread panics.

mod barrier;
mod cancellation_token;
pub mod channel;
mod condvar;
mod error;
mod event;
mod mutex;
mod notify;
pub mod once_cell;
pub mod oneshot;
pub mod promise;
pub mod queue;
mod raw_mutex;
mod rwlock;
pub mod select;
mod semaphore;
#[cfg(test)]
mod tests;
mod wait_group;
pub mod watch;

pub use self::barrier::{Barrier, BarrierError, BarrierWaitResult};
pub use self::cancellation_token::{CancellationToken, CancelledCase, DropGuard};
pub use self::condvar::{Condvar, WaitCancelled, WaitTimeoutResult};
pub use self::error::WaitTimeoutError;
pub use self::event::Event;
pub use self::mutex::{Mutex, MutexGuard};
pub use self::notify::{Notify, NotifyCase};
pub use self::once_cell::OnceCell;
pub use self::promise::{Completion, Promise};
pub use self::queue::{Job, LifoQueue, PriorityQueue, Queue};
pub use self::queue::{PopError, PopTimeoutError, PushError, PushTimeoutError, TryPopError, TryPushError};
pub use self::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use self::select::Select;
pub use self::semaphore::{OwnedPermit, Permit, Semaphore, TooManyPermits};
pub use self::wait_group::WaitGroup;
