//! A cyclic barrier: each party waits until all parties have arrived.
//!
//! Ranks are assigned when the last party arrives, in the order of the wait queue (FIFO). So a waiter that was cancelled
//! leaves no gap in the ranks.
#![forbid(unsafe_code)]

use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, WaitQueue, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget_of, worker};
use std::fmt;
use std::time::{Duration, Instant};

/// A cyclic barrier: a fixed number of parties, tasks or threads, wait for each other. The barrier is reusable: it opens again
/// for each full set of arrivals.
///
/// A waiter that is cancelled, or whose deadline passes, is no longer counted as arrived. If a party will not arrive,
/// [`abort`](Self::abort) releases the waiters with an error.
///
/// ```
/// use cede::sync::Barrier;
/// use std::sync::Arc;
/// let barrier = Arc::new(Barrier::new(3));
/// let ranks = cede::run(|| {
///     let walker = |barrier: Arc<Barrier>| move || barrier.wait().unwrap().rank();
///     let mut tasks: Vec<_> = (0..2).map(|_| cede::spawn(walker(Arc::clone(&barrier)))).collect();
///     let mut ranks = vec![barrier.wait().unwrap().rank()];
///     ranks.extend(tasks.iter_mut().map(|task| task.join().unwrap()));
///     ranks
/// });
/// assert_eq!(ranks, [0, 1, 2]);
/// ```
pub struct Barrier {
    state: BiasedLock<State>,
    parties: usize,
}

struct State {
    broken: bool,
    /// The length of the wait queue. Includes waiters whose wait is over but that `count` has not removed yet.
    waiting: usize,
    /// A waiter is granted its rank, or `None` if the barrier was broken.
    waiters: WaitQueue<Option<usize>>,
}

/// The wait queue of a barrier.
struct Waiting;

impl Line for Waiting {
    type State = State;
    type Value = Option<usize>;

    fn waiters(state: &mut State) -> &mut WaitQueue<Option<usize>> {
        &mut state.waiters
    }

    /// Passes nothing on: all parties have arrived, including the unwound one.
    fn regrant(_: &mut State, _: Option<usize>) -> Vec<WakeHandle> {
        Vec::new()
    }

    fn left(state: &mut State, was_in_line: bool) -> Vec<WakeHandle> {
        // A waiter that was skipped is not in `waiting` any more: `count` updated it.
        state.waiting -= usize::from(was_in_line);
        Vec::new()
    }
}

/// The error of a wait at a [`Barrier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BarrierError {
    /// The barrier was aborted or reset. After [`abort`](Barrier::abort) every wait fails until [`reset`](Barrier::reset).
    #[error("the barrier is broken: it was aborted or reset")]
    Broken,
    /// The deadline passed before all parties had arrived.
    #[error("the deadline passed before all parties arrived at the barrier")]
    Timeout,
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("the wait was cancelled")]
    Cancelled,
}

impl From<Cancelled> for BarrierError {
    fn from(_: Cancelled) -> BarrierError {
        BarrierError::Cancelled
    }
}

/// The result of a wait at a [`Barrier`]: the rank of the waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    rank: usize,
}

impl BarrierWaitResult {
    /// Returns the position of this waiter in arrival order: 0 for the first, `parties - 1` for the last.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns true for exactly one waiter of each set: the first to arrive.
    pub fn is_leader(&self) -> bool {
        self.rank == 0
    }
}

/// The state of a barrier after its waits were ended by `break_waits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Broken,
    Usable,
}

impl Barrier {
    /// Creates a barrier for `parties` tasks or threads.
    ///
    /// # Panics
    ///
    /// If `parties` is 0.
    ///
    /// ```
    /// assert!(cede::sync::Barrier::new(1).wait().unwrap().is_leader());
    /// ```
    ///
    /// ```should_panic
    /// cede::sync::Barrier::new(0); // panics: no call of `wait` could open it
    /// ```
    pub const fn new(parties: usize) -> Barrier {
        assert!(parties > 0, "cannot create a barrier for 0 parties: at least 1 is required");
        Barrier { state: BiasedLock::new(State { broken: false, waiting: 0, waiters: WaitQueue::new() }), parties }
    }

    /// Returns the number of parties that open the barrier.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// Returns the number of waiters. Tasks that were cancelled, whose deadline has passed, or that their run has abandoned are
    /// not counted.
    pub fn waiting(&self) -> usize {
        self.state.lock().count()
    }

    /// Returns whether the barrier was aborted and not reset since.
    pub fn is_broken(&self) -> bool {
        self.state.lock().broken
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> Result<BarrierWaitResult, BarrierError> {
        let worker = worker();
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock_for(worker);
        if state.broken {
            drop(state);
            consume_budget_of(worker);
            return Err(BarrierError::Broken);
        }
        // `count` walks the whole queue, so it runs only if this call seems to be the last arrival.
        if state.waiting + 1 == self.parties && state.count() + 1 == self.parties {
            let mut ranks = 0..self.parties;
            state.open(|| ranks.next(), &mut wake_list);
            drop(state);
            drop(wake_list);
            consume_budget_of(worker);
            return Ok(BarrierWaitResult { rank: ranks.start });
        }
        state.waiting += 1;
        let waiter = state.waiters.enqueue(None);
        drop(state);
        let wait = WaitSpec { reason: "the other parties of a barrier", external: true, ..WaitSpec::DEFAULT };
        match wait_in::<Waiting>(&self.state, waiter, wait, deadline) {
            Ended::Granted(Some(rank)) => Ok(BarrierWaitResult { rank }),
            Ended::Granted(None) | Ended::Closed(_) => Err(BarrierError::Broken),
            Ended::TimedOut(_) => Err(BarrierError::Timeout),
            Ended::Cancelled(_) => Err(Cancelled.into()),
        }
    }

    /// Waits until all parties have arrived. Returns the rank of this call, in arrival order (FIFO). The last party to arrive
    /// does not wait.
    ///
    /// Cancel safety: a call that returns [`BarrierError::Cancelled`] is no longer counted as arrived. If the last party
    /// arrived before the cancel, the call returns the rank, and the task's next wait returns `Cancelled`.
    ///
    /// # Errors
    ///
    /// [`BarrierError::Broken`] if the barrier is broken, before or during the wait. [`BarrierError::Cancelled`] if the task is
    /// cancelled before or during the wait, or if the call would have to wait while the thread panics.
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(None)
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// The errors of [`wait`](Self::wait), and [`BarrierError::Timeout`] if the deadline passes first.
    ///
    /// # Panics
    ///
    /// The panics of [`wait`](Self::wait).
    ///
    /// ```
    /// use cede::sync::{Barrier, BarrierError};
    /// assert_eq!(Barrier::new(2).wait_deadline(cede::time::now()), Err(BarrierError::Timeout));
    /// ```
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<BarrierWaitResult, BarrierError> {
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
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(now().checked_add(timeout))
    }

    /// Breaks the barrier: all current waits, and all later ones until [`reset`](Self::reset), return
    /// [`BarrierError::Broken`].
    ///
    /// ```
    /// use cede::sync::{Barrier, BarrierError};
    /// let barrier = Barrier::new(2);
    /// barrier.abort();
    /// assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    /// ```
    pub fn abort(&self) {
        self.break_waits(After::Broken);
    }

    /// Restores the initial state: all current waits return [`BarrierError::Broken`], and later calls wait again.
    ///
    /// ```
    /// let barrier = cede::sync::Barrier::new(1);
    /// barrier.abort();
    /// barrier.reset();
    /// assert!(barrier.wait().is_ok());
    /// ```
    pub fn reset(&self) {
        self.break_waits(After::Usable);
    }

    fn break_waits(&self, after: After) {
        let broken = after == After::Broken;
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        state.broken = broken;
        state.count(); // `open` requires it
        state.open(|| None, &mut wake_list);
    }
}

impl State {
    /// Removes waiters whose wait is over from the queue. Returns the number of the remaining ones.
    fn count(&mut self) -> usize {
        self.waiting = self.waiters.count();
        self.waiting
    }

    /// Ends all waits. The caller has just called `count`; waiters are not checked again, so that a deadline that passes
    /// in between changes no rank.
    fn open(&mut self, mut rank: impl FnMut() -> Option<usize>, wake_list: &mut WakeList) {
        self.waiting = 0;
        while !self.waiters.is_empty() {
            let waiter = self.waiters.grant_first();
            *self.waiters.value(waiter) = rank();
            wake_list.push(self.waiters.waker(waiter));
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("parties", &self.parties).field("waiting", &self.waiting()).finish()
    }
}
