//! The waiters of a wait queue, and what a search among them finds.
#![forbid(unsafe_code)]

use super::select_state::SelectState;
use crate::scheduler::wake::WakeHandle;

/// The status of a node. Only a `Queued` waiter is linked into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Not in use.
    Free,
    /// In the queue.
    Queued,
    /// Out of the queue, with a granted value in its node.
    Granted,
    /// Out of the queue: the queue was closed, so nothing will be granted.
    Closed,
    /// Out of the queue without a grant: a select that another queue granted to, a waiter that no longer exists, or a
    /// wait that was interrupted.
    Skipped,
}

/// A waiter's place in its queue. The caller that enqueued the waiter owns it, and removes it exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterId(pub(super) u32);

/// The result of a search for a waiter of the calling run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnWaiter {
    Found(WaiterId),
    None,
    /// There are too many other waiters before it, if it exists.
    Unknown,
}

/// The first waiter of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstWaiter {
    /// A task of the calling run, which was taken out of the queue.
    Granted(WaiterId),
    /// A waiter of another run or thread, which is still queued.
    Elsewhere(WaiterId),
    None,
}

/// The wake of a waiter that was granted something.
#[derive(Clone, Copy)]
#[must_use = "the waiter sleeps otherwise"]
pub(crate) enum Wake {
    /// The waiter has been woken.
    Done,
    /// The caller must wake the waiter, after it has released the lock.
    Of(WakeHandle),
}

impl Wake {
    #[inline(always)]
    pub(crate) fn wake(self) {
        if let Wake::Of(waker) = self {
            // A waiter that no longer exists needs no wake.
            let _ = waker.wake();
        }
    }
}

/// A waiter in a queue, or a free node.
pub(super) struct Node<V> {
    pub(super) status: Status,
    pub(super) previous: u32,
    pub(super) next: u32,
    pub(super) waker: Option<WakeHandle>,
    /// The value that the waiter brought or was granted. `None` only if the node is free.
    pub(super) value: Option<V>,
    /// The select that the waiter belongs to, and the number to claim it with.
    pub(super) select_state: Option<(&'static SelectState, usize)>,
}
