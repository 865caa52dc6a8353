//! How tasks, workers and plain threads talk to each other.
//!
//! One set of types for all three: where a task waits, others have their turns; where a plain thread waits, it sleeps. What
//! is handed over goes to those who wait in the order in which they came, and whoever is cancelled while it waits loses
//! nothing: either it was handed something first, and returns that, or it leaves the line and the next one gets it.

mod barrier;
pub mod channel;
mod condvar;
mod error;
mod event;
mod mutex;
pub mod promise;
pub mod queue;
mod rwlock;
pub mod select;
mod semaphore;
pub(crate) mod waiters;
mod woken;
#[cfg(test)]
mod tests;

pub use self::barrier::{Barrier, BarrierError, BarrierWaitResult};
pub use self::condvar::{Condvar, WaitCancelled, WaitTimeoutResult};
pub use self::error::WaitTimeoutError;
pub use self::event::Event;
pub use self::mutex::{Mutex, MutexGuard};
pub use self::promise::{Completion, Promise};
pub use self::queue::{Job, LifoQueue, PriorityQueue, Queue};
pub use self::queue::{PopError, PopTimeoutError, PushError, PushTimeoutError, TryPopError, TryPushError};
pub use self::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use self::select::Select;
pub use self::semaphore::{OwnedPermit, Permit, Semaphore, TooManyPermits};
