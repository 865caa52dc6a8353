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

pub fn is_budget_spent(_: Option<&Worker>) -> bool {
    false
}

pub fn yield_for_budget(_: Option<&Worker>) {}

pub fn is_out(waker: &WakeHandle) -> bool {
    waker.is_gone()
}

pub fn place<'a>(waker: &WakeHandle, worker: Option<&'a Worker>) -> Place<'a> {
    match worker {
        Some(worker) if waker.is_here() => Place::Here(worker, *waker),
        _ => Place::Elsewhere,
    }
}

/// No thread of the models runs a fiber.
pub mod fiber {
    pub fn current() -> Option<()> {
        None
    }
}

pub mod wake_list {
    use super::WakeHandle;

    pub fn wake_all(wakers: Vec<WakeHandle>) {
        each(wakers.into_iter(), |waker| _ = waker.wake());
    }

    pub fn each<T>(items: impl Iterator<Item = T>, wake: impl Fn(T)) {
        items.for_each(wake);
    }
}
