//! A place where everybody waits for everybody.
//!
//! Ranks are given when all have come, in the order of the line. So one that is cancelled while it waits leaves no gap.
#![forbid(unsafe_code)]

use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, WaitQueue, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget_of, worker};
use std::fmt;
use std::time::{Duration, Instant};

/// Lets tasks and threads go on together, when so many of them have come. It can be used again and again.
///
/// One that is cancelled while it waits, or waits too long, goes away as if it had not come. To let nobody wait for one that
/// will not come, [`abort`](Self::abort) it.
///
/// ```
/// use cede::sync::Barrier;
/// use std::sync::Arc;
/// let barrier = Arc::new(Barrier::new(3));
/// let ranks = cede::run(|| {
///     let walker = |barrier: Arc<Barrier>| move || barrier.wait().unwrap().rank();
///     let mut others: Vec<_> = (0..2).map(|_| cede::spawn(walker(Arc::clone(&barrier)))).collect();
///     let mut ranks = vec![barrier.wait().unwrap().rank()];
///     ranks.extend(others.iter_mut().map(|other| other.join().unwrap()));
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
    /// How many are in line, those included that are gone and have not been passed over yet: see `count`.
    waiting: usize,
    /// Each is handed its rank, or none if the barrier was broken.
    waiters: WaitQueue<Option<usize>>,
}

struct Waiting;

impl Line for Waiting {
    type State = State;
    type Value = Option<usize>;

    fn waiters(state: &mut State) -> &mut WaitQueue<Option<usize>> {
        &mut state.waiters
    }

    /// All have come, also this one.
    fn regrant(_: &mut State, _: Option<usize>) -> Vec<WakeHandle> {
        Vec::new()
    }

    fn left(state: &mut State, was_in_line: bool) -> Vec<WakeHandle> {
        // What was passed over was taken out of the count then.
        state.waiting -= usize::from(was_in_line);
        Vec::new()
    }
}

/// Why a barrier was not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BarrierError {
    /// The barrier was aborted or reset. After [`abort`](Barrier::abort) it lets nobody wait until it is reset.
    #[error("the barrier is broken: it was aborted or reset")]
    Broken,
    /// The deadline came before all had come.
    #[error("the deadline came before everybody was at the barrier")]
    Timeout,
    /// The task was cancelled while it waited, or could not wait because the thread panics.
    #[error("the task was cancelled")]
    Cancelled,
}

impl From<Cancelled> for BarrierError {
    fn from(_: Cancelled) -> BarrierError {
        BarrierError::Cancelled
    }
}

/// What somebody who has passed a [`Barrier`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    rank: usize,
}

impl BarrierWaitResult {
    /// A number that nobody else has this time, from 0 on, in the order of coming.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// True for exactly one, the first who came.
    pub fn is_leader(&self) -> bool {
        self.rank == 0
    }
}

impl Barrier {
    /// A barrier for so many.
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
    /// cede::sync::Barrier::new(0); // panics: nobody could ever come last
    /// ```
    pub const fn new(parties: usize) -> Barrier {
        assert!(parties > 0, "a barrier is for one or more: with 0 nobody could ever come last");
        Barrier { state: BiasedLock::new(State { broken: false, waiting: 0, waiters: WaitQueue::new() }), parties }
    }

    /// How many it is for.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait at it now. A task that was cancelled, whose deadline is over, or that its run has left behind does not
    /// count.
    pub fn waiting(&self) -> usize {
        self.state.lock().count()
    }

    /// Whether it was aborted, and not reset since.
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
        // Counting them takes time, and is needed only if the last has come, as it seems.
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
        let wait = WaitSpec { reason: "the others at a barrier", external: true, ..WaitSpec::DEFAULT };
        match wait_in::<Waiting>(&self.state, waiter, wait, deadline) {
            Ended::Granted(Some(rank)) => Ok(BarrierWaitResult { rank }),
            Ended::Granted(None) | Ended::Closed(_) => Err(BarrierError::Broken),
            Ended::TimedOut(_) => Err(BarrierError::Timeout),
            Ended::Cancelled(_) => Err(Cancelled.into()),
        }
    }

    /// Waits until everybody has come, and tells the rank.
    ///
    /// # Errors
    ///
    /// [`BarrierError::Broken`] if it is or gets broken, [`BarrierError::Cancelled`] if the task is cancelled while it waits, and
    /// if it would have to wait while the thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(None)
    }

    /// As [`wait`](Self::wait), but not beyond `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`BarrierError::Timeout`].
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use cede::sync::{Barrier, BarrierError};
    /// assert_eq!(Barrier::new(2).wait_deadline(cede::time::now()), Err(BarrierError::Timeout));
    /// ```
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(Some(deadline))
    }

    /// As [`wait_deadline`](Self::wait_deadline), `timeout` from now; one that is too long to tell never comes.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait_deadline`](Self::wait_deadline).
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(now().checked_add(timeout))
    }

    /// Breaks it: whoever waits, or comes before it is [`reset`](Self::reset), gets [`BarrierError::Broken`].
    ///
    /// ```
    /// use cede::sync::{Barrier, BarrierError};
    /// let barrier = Barrier::new(2);
    /// barrier.abort();
    /// assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    /// ```
    pub fn abort(&self) {
        self.break_waits(true);
    }

    /// Makes it as new: whoever waits gets [`BarrierError::Broken`], whoever comes then waits.
    ///
    /// ```
    /// let barrier = cede::sync::Barrier::new(1);
    /// barrier.abort();
    /// barrier.reset();
    /// assert!(barrier.wait().is_ok());
    /// ```
    pub fn reset(&self) {
        self.break_waits(false);
    }

    fn break_waits(&self, broken: bool) {
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        state.broken = broken;
        state.count();
        state.open(|| None, &mut wake_list);
    }
}

impl State {
    /// How many are in line. Those to whom nothing can be handed any more are passed over.
    fn count(&mut self) -> usize {
        self.waiting = self.waiters.count();
        self.waiting
    }

    /// Ends the waits of all that were counted just before: a deadline that passes in between changes no rank.
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
