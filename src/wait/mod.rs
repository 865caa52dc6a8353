//! The waiting layer: every blocking type is made of this module, and of nothing below it.
//!
//! [`wait`] is the one function through which tasks suspend. It checks the task's flags and limits, parks the task, and says whether the
//! wait was cancelled. [`wait_anywhere`] also blocks plain threads. Around it: [`cancel`] (cancellation as a value), [`limits`] (shields,
//! deadlines, scopes), [`queue`] (wait queues with hand-off), [`wake_list`] and [`lock`] (the lock under a blocking type's state), and
//! [`budget`] (the cooperative budget).
//!
//! Wakes come in two kinds. An unpark is a permit for the next public park and for nothing else; a wake of the library is a token for the
//! next wait of any kind. Both are kept if they come before the wait, so no wake is lost, and both may be spurious.

pub(crate) mod budget;
pub(crate) mod cancel;
pub(crate) mod limits;
pub(crate) mod lock;
pub(crate) mod queue;
mod suspend;
pub(crate) mod wake_list;

pub(crate) use self::budget::{consume_budget, consume_budget_of, is_budget_spent, yield_for_budget};
pub(crate) use self::cancel::Cancelled;
pub(crate) use self::suspend::{is_out, not_running, now, refuse, running, wait, wait_anywhere, wake_if_interrupted};
pub(crate) use crate::scheduler::event_loop::Held;
pub(crate) use crate::scheduler::wake::WakeHandle;
pub(crate) use crate::scheduler::{Holder, WaitSpec, Worker, rng, worker};
