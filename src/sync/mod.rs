//! How tasks, workers and plain threads talk to each other.
//!
//! One set of types for all three: where a task waits, others have their turns; where a plain thread waits, it sleeps. What
//! is handed over goes to those who wait in the order in which they came, and a task that is cancelled while it waits loses
//! nothing: either it was handed something first, and returns that, or the cancel came first, and the next waiter gets it. The
//! same holds for deadlines. (A cancel and a hand-over on different threads have no order until the cancelled task runs.)
//!
//! A call that may wait and does not goes on at once. After 4,096 such calls one gives up its turn when it has done its work, so
//! that a task which takes what a thread keeps supplying does not starve timers, cancels and other tasks. The calls whose names
//! begin with `try` never do, nor does any in a callback, in [`no_suspend`](crate::no_suspend), and while the thread panics.

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
