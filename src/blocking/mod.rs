//! Blocking calls on a thread pool, so that they do not block the tasks of a run.
//!
//! All tasks of a run share one thread. A call that blocks this thread (a read of a file, a name lookup, a C library, a
//! long computation) blocks every other task, timer and deadline of the run. [`unblock`] runs such a call on a thread of
//! a pool: the calling task waits, and the other tasks go on. The call may borrow from its caller, because the caller
//! waits in place until the call has ended.
//!
//! ```
//! let text = String::from("borrowed");
//! let length = cede::run(|| cede::blocking::unblock(|| text.len()));
//! assert_eq!(length, 8);
//! ```
//!
//! Nothing ends the wait of `unblock` before the call has ended: no cancel, deadline, scope or forced unwind. A call that
//! may never return belongs in [`unblock_detached`], whose wait can be cancelled.
//!
//! # The thread pool
//!
//! The process has one pool, which all runs and threads share. A call runs on the thread that became idle last, or on a
//! new thread if none is idle. When [`max_threads`] threads exist, calls wait in a FIFO queue. A thread that has been
//! idle for 10 seconds ends. The threads are named `cede-blocking`, and have the default stack size of [`std::thread`].
//!
//! The end of the process does not wait for the pool. The end of a run waits for the `unblock` calls of its tasks, and
//! not for detached calls.
//!
//! # Deadlocks, stalls and paused clocks
//!
//! While a task waits for a call, its run is neither deadlocked nor stalled, whatever the other tasks wait for. A call
//! that never ends is therefore not reported, also in a [closed world](crate::Config::closed_world). [`dump`](crate::dump())
//! shows the wait, with the place of the call in the backtrace.
//!
//! A [paused clock](crate::Config::paused_clock) does not advance while a task waits for a call: by that clock the call
//! takes no time, and no deadline passes during it.
//!
//! # Fork
//!
//! In a child process that `fork` made, the pool begins again without threads. A call that had begun before the fork, or waited in the
//! queue, ends in the parent only: a task of the child that waits for it waits permanently.

mod call;
mod detached;
#[cfg(feature = "io")]
mod lane;
mod pool;
mod unblock;

pub use self::detached::{Detached, unblock_detached};
#[cfg(feature = "io")]
pub(crate) use self::lane::Lane;
pub(crate) use self::pool::has_work;
pub use self::pool::{max_threads, set_max_threads};
#[doc(hidden)]
pub use self::pool::{set_keep_alive, threads};
pub use self::unblock::unblock;
