//! The waiting layer: all blocking types are built on this module, and use no lower one.
//!
//! All tasks suspend through [`wait`]. It checks the task's flags and limits, parks the task, and
//! returns whether the wait was cancelled. [`wait_anywhere`] also blocks plain threads. [`wait_until_done`] is for an
//! operation on another thread that borrows from the waiting task: nothing ends it early. [`wait_for_kernel`] is for an
//! operation of the kernel that does so, and that can be cancelled. [`wait_for_waker`] is the wait of a future. The other modules are
//! [`cancel`] (cancellation as a value), `io_error` (its I/O errors), [`limits`] (shields, deadlines, scopes), [`queue`] (wait queues with
//! hand-off), [`lock`] (the lock around a blocking type's state), [`wake_list`] (wakers to wake after that lock is
//! released) and [`budget`] (the cooperative budget).
//!
//! There are two kinds of wakes. An unpark is a permit for the next public park only. A wake by the library is a token
//! for the next wait of any kind. A wake that arrives before the wait is kept, so there are no lost wakeups. Wakes of
//! both kinds may be spurious wakeups.

pub(crate) mod budget;
pub(crate) mod cancel;
mod future;
mod grant;
#[cfg(any(feature = "io", feature = "tokio", feature = "futures-io"))]
pub(crate) mod io_error;
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
mod kernel;
pub(crate) mod limits;
pub(crate) mod lock;
pub(crate) mod queue;
mod select_state;
mod suspend;
mod waiter;
pub(crate) mod wake_list;

#[cfg(feature = "io")]
pub(crate) use self::budget::refill_budget;
pub(crate) use self::budget::{consume_budget, consume_budget_of, is_budget_spent, yield_for_budget};
pub(crate) use self::cancel::Cancelled;
pub(crate) use self::future::{Poll, poll_in_fiber, wait_for_waker};
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
pub(crate) use self::kernel::{Ended, is_interrupted, wait_for_kernel};
#[cfg(feature = "io")]
pub(crate) use self::suspend::wait_anywhere_in_poll;
pub(crate) use self::suspend::{
    AbortOnUnwind, can_suspend, is_out, not_running, now, place, refuse, running, sleep_in_fiber, wait, wait_anywhere,
    wait_for_borrowers, wait_until_done, wake_hidden_if_interrupted,
};
#[cfg(any(feature = "io", feature = "tokio", feature = "futures-io"))]
pub(crate) use self::suspend::{Cause, cause};
pub(crate) use crate::scheduler::event_loop::Held;
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
pub(crate) use crate::scheduler::io::forked;
pub(crate) use crate::scheduler::wake::WakeHandle;
pub(crate) use crate::scheduler::{Holder, WaitSpec, Worker, fiber, rng, worker};
