// What stands in for the rest of the waiting layer.

pub use crate::scheduler::event_loop::Held;
pub use crate::scheduler::wake::{Holder, WaitSpec, WakeHandle};
pub use crate::scheduler::{Worker, worker};
pub use crate::time::now;
use crate::scheduler::wake::{Place, block, is_cancelled};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

pub fn wait_anywhere(_: WaitSpec, _: Option<std::time::Instant>) -> Result<(), ()> {
    if is_cancelled() {
        return Err(());
    }
    block();
    if is_cancelled() { Err(()) } else { Ok(()) }
}

pub fn consume_budget() {}

pub fn consume_budget_of(_: Option<&Worker>) {}

pub fn is_out(waker: &WakeHandle) -> bool {
    waker.is_gone()
}

pub fn place(waker: &WakeHandle) -> Place {
    if waker.is_here() { Place::Here } else { Place::Elsewhere }
}

/// No thread of the models runs a fiber.
pub mod fiber {
    pub fn current() -> Option<()> {
        None
    }
}

pub mod wake_list {
    use super::WakeHandle;

    pub fn wake_each(wakers: impl Iterator<Item = WakeHandle>) {
        for waker in wakers {
            let _ = waker.wake();
        }
    }
}
