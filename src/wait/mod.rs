//! The waiting layer: every blocking type is made of this module, and of nothing below it.

pub(crate) mod lock;
pub(crate) mod queue;
pub(crate) mod wake_list;

pub(crate) use crate::scheduler::event_loop::Held;
pub(crate) use crate::scheduler::wake::{Holder, WakeHandle};
pub(crate) use crate::scheduler::{WaitSpec, Worker, spread, worker};
pub(crate) use crate::task::wait::{
    Cancelled, consume_budget, consume_budget_of, is_budget_spent, is_out, running, wait, wait_anywhere,
    yield_for_budget,
};
pub(crate) use crate::time::now;
