//! A wait group: waits until all members are done. A member joins by a clone, and is done when it is dropped.
//!
//! A handle does not count as a member while it waits. So several handles may wait for the other members, and a wait that
//! is cancelled makes its handle a member again. When the last member is done, all waits end at the same time, and their
//! handles are members again: a new round begins.
//!
//! # Invariants
//!
//! 1. `members + waiting` is the number of handles. A handle is counted in `waiting` while it waits in this round, however
//!    many threads wait through it.
//! 2. `members` is 0 only if no handle exists, or within one hold of the lock: then the round ends.
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Line, WaitQueue, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget_of, worker};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A group of members that tasks and threads wait for. A clone is a new member, and a member is done when it is dropped.
///
/// As in crossbeam, the handle that waits does not count. Unlike there, it is not consumed: after the wait it is a member
/// again, and the group can be used for another round. [`scope`](crate::scope) and
/// [`join_all`](crate::task::join_all) wait for tasks without a group.
///
/// ```
/// use cede::sync::WaitGroup;
/// let group = WaitGroup::new();
/// cede::run(|| {
///     for _ in 0..3 {
///         let member = group.clone();
///         cede::spawn(move || {
///             cede::yield_now();
///             drop(member);
///         });
///     }
///     group.wait()
/// })?;
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
pub struct WaitGroup {
    shared: Arc<BiasedLock<State>>,
    /// The waits through this handle in the present round, and the number of that round: see `Waits`.
    waits: AtomicU64,
}

struct State {
    members: usize,
    waiting: usize,
    /// The number of the present round.
    round: u32,
    waiters: WaitQueue<()>,
}

/// The wait queue of a group.
struct Waiting;

impl Line for Waiting {
    type State = State;
    type Value = ();

    fn waiters(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.waiters
    }

    /// Does nothing: a group never grants a value. It closes its queue instead.
    fn regrant(_: &mut State, (): ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl State {
    /// Records that a member is done or begins to wait. After the last one the round ends: all waits end, and their handles
    /// are members again.
    fn remove_member(&mut self, wake_list: &mut WakeList) {
        self.members -= 1;
        if self.members == 0 {
            self.members = std::mem::take(&mut self.waiting);
            self.round = self.round.wrapping_add(1);
            wake_list.extend(self.waiters.close());
        }
    }
}

/// The waits through one handle in one round. Read and written under the lock only.
#[derive(Clone, Copy)]
struct Waits {
    round: u32,
    count: u32,
}

impl Waits {
    fn load(from: &AtomicU64) -> Waits {
        let both = from.load(Relaxed);
        Waits { round: (both >> 32) as u32, count: both as u32 }
    }

    fn store(self, to: &AtomicU64) {
        to.store(u64::from(self.round) << 32 | u64::from(self.count), Relaxed);
    }
}

/// A wait through a handle. Dropping it makes the handle a member again, unless the round has ended, which did so.
struct Wait<'a> {
    group: &'a WaitGroup,
    round: u32,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.group.shared.lock();
        if state.round != self.round {
            return;
        }
        let mut waits = Waits::load(&self.group.waits);
        waits.count -= 1;
        waits.store(&self.group.waits);
        if waits.count == 0 {
            state.members += 1;
            state.waiting -= 1;
        }
    }
}

impl WaitGroup {
    /// Creates a group with one member: the returned handle.
    pub fn new() -> WaitGroup {
        let state = State { members: 1, waiting: 0, round: 0, waiters: WaitQueue::new() };
        WaitGroup { shared: Arc::new(BiasedLock::new(state)), waits: AtomicU64::new(0) }
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> Result<(), WaitTimeoutError> {
        let worker = worker();
        let mut wake_list = WakeList::default();
        let mut state = self.shared.lock_for(worker);
        let round = state.round;
        let mut waits = Waits::load(&self.waits);
        if waits.round != round {
            waits = Waits { round, count: 0 };
        }
        if waits.count == 0 {
            // Counted before the removal, which may end the round and then makes the handle a member again.
            state.waiting += 1;
            state.remove_member(&mut wake_list);
        }
        if state.round != round {
            drop(state);
            drop(wake_list);
            consume_budget_of(worker);
            return Ok(());
        }
        waits.count += 1;
        waits.store(&self.waits);
        let waiter = state.waiters.enqueue(());
        drop(state);
        let _wait = Wait { group: self, round };
        let wait = WaitSpec { reason: "the members of a wait group", external: true, ..WaitSpec::DEFAULT };
        outcome(wait_in::<Waiting>(&self.shared, waiter, wait, deadline))
    }

    /// Waits until all other members of the group are done or wait, too. Returns at once if there are none.
    ///
    /// This handle does not count during the wait. Afterwards it is a member again.
    ///
    /// Cancel safety: after a cancelled call, the handle is a member again.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before its wait ends, if a deadline or scope around this call ends the
    /// wait, or if the task would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn wait(&self) -> Result<(), Cancelled> {
        self.wait_until(None).map_err(WaitTimeoutError::without_deadline)
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if the deadline passes first, and [`WaitTimeoutError::Cancelled`] where
    /// [`wait`](Self::wait) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`wait`](Self::wait).
    ///
    /// ```
    /// use cede::sync::{WaitGroup, WaitTimeoutError};
    /// let group = WaitGroup::new();
    /// let member = group.clone();
    /// assert_eq!(group.wait_deadline(cede::time::now()), Err(WaitTimeoutError::Timeout));
    /// drop(member);
    /// assert_eq!(group.wait(), Ok(()));
    /// ```
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), WaitTimeoutError> {
        self.wait_until(Some(deadline))
    }

    /// Like [`wait_deadline`](Self::wait_deadline), with a deadline `timeout` from now. A `timeout` that is too long for an
    /// [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`wait_deadline`](Self::wait_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitTimeoutError> {
        self.wait_until(now().checked_add(timeout))
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl Clone for WaitGroup {
    /// Creates a new member of the group.
    fn clone(&self) -> WaitGroup {
        self.shared.lock().members += 1;
        WaitGroup { shared: Arc::clone(&self.shared), waits: AtomicU64::new(0) }
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        let mut wake_list = WakeList::default();
        // No wait borrows the handle any more, so it is a member.
        self.shared.lock().remove_member(&mut wake_list);
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("WaitGroup").field("members", &state.members).field("waiting", &state.waiting).finish()
    }
}
