//! Waiting for whichever of several things comes first.
//!
//! ```text
//! attempt all, in random order --- one can be done ---> chosen
//!        |  none
//!        v
//! enqueue in every line, in the same order --- one can be done by now --> leave all, attempt again
//!        |
//!        v
//! wait: whoever hands something over claims this select for that line, in one step; lines in which it stands are passed
//! over from then on
//!        |
//!        v
//! leave all ---> the claimed one is chosen; if none, attempt again, or cancelled
//! ```
#![forbid(unsafe_code)]

mod cases;
#[macro_use]
mod macros;
#[doc(hidden)]
pub mod mistakes;
#[cfg(test)]
mod tests;

pub use self::cases::{AfterCase, JoinCase, WaitCase, after, at, join, wait};
use self::sealed::{Internal, Turn};
use crate::time::now;
use crate::wait::queue::SelectState;
use crate::wait::{Cancelled, WaitSpec, consume_budget, rng, wait_anywhere, worker};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One thing that a [`Select`] may wait for: to [receive](super::channel::Receiver::case), to
/// [send](super::channel::Sender::case), the end of a task ([`join`]), a promise ([`wait`]), or a time ([`after`], [`at`]).
///
/// After the select has chosen it, the case's own `take` gives the result. The trait is sealed: only this crate implements it
/// and calls its steps.
pub trait Case: sealed::Operation {}

/// The steps of a select, for this crate alone.
pub(crate) mod sealed {
    use crate::wait::queue::SelectState;
    use std::time::Instant;

    /// Proof that the caller is this crate: another crate cannot name this type, so it cannot call a method that takes it.
    ///
    /// A private supertrait alone keeps other crates from implementing [`Case`](super::Case), but its methods could still
    /// be called through a bound.
    #[derive(Clone, Copy, Debug)]
    pub struct Internal;

    /// A case's place in a select that waits.
    #[derive(Clone, Copy, Debug)]
    pub struct Turn {
        pub(crate) select_state: &'static SelectState,
        /// Counted from 1.
        pub(crate) index: usize,
    }

    /// What a case can do.
    pub trait Operation {
        /// Does it, if that needs no wait.
        fn try_complete(&mut self, _: Internal) -> bool;

        /// Stands in line, unless there is no need to wait.
        fn enqueue(&mut self, turn: Turn, _: Internal) -> bool;

        /// While in line: whether an attempt would succeed.
        fn is_ready(&self, turn: Turn, _: Internal) -> bool;

        /// Leaves the line, if it stands in one. What was handed over is kept as the result, or passed on.
        fn leave(&mut self, keep: bool, _: Internal);

        /// When an attempt will succeed at the latest.
        fn deadline(&self, _: Internal) -> Option<Instant> {
            None
        }

        /// Whether only time and tasks of this run can make it happen.
        fn is_closed(&self, _: Internal) -> bool {
            false
        }
    }
}

/// How long a select waits.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum WaitMode {
    /// Not at all.
    None,
    /// Until then; for ever if there is no such time.
    Until(Option<Instant>),
}

impl WaitMode {
    /// As long as this, from now on.
    pub fn of(duration: Duration) -> WaitMode {
        WaitMode::Until(now().checked_add(duration))
    }
}

/// Waits for whichever of several things comes first, for numbers of things that are known only at run time; else
/// [`select!`](crate::select) is shorter.
///
/// Of several that are ready one is chosen at random, and so it is of several that wait for the same channel. The choices are the
/// same in every run, and depend on [`Config::seed`](crate::Config::seed). What is not chosen has not happened: no message is
/// lost or sent.
///
/// ```
/// use cede::sync::{Select, channel};
/// let channels: Vec<_> = (0..3).map(|_| channel::bounded(1)).collect();
/// channels[1].0.send("one").unwrap();
/// let mut cases: Vec<_> = channels.iter().map(|(_, receiver)| receiver.case()).collect();
/// let mut select = Select::new();
/// cases.iter_mut().for_each(|case| select.add(case));
/// let chosen = select.wait()?;
/// assert_eq!((chosen, cases[chosen].take()), (1, Ok("one")));
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
#[derive(Default)]
pub struct Select<'a> {
    cases: Vec<&'a mut dyn Case>,
}

impl<'a> Select<'a> {
    /// One without cases.
    pub fn new() -> Select<'a> {
        Select::default()
    }

    /// Adds a case; they are counted from 0.
    pub fn add(&mut self, case: &'a mut dyn Case) {
        self.cases.push(case);
    }

    /// Waits until one of the cases could be done and was, and returns its number.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled meanwhile, or cannot wait because the thread panics; nothing was done.
    ///
    /// # Panics
    ///
    /// Without a case; in a callback or inside [`no_suspend`](crate::no_suspend), if it would have to wait.
    #[track_caller]
    pub fn wait(mut self) -> Result<usize, Cancelled> {
        assert!(!self.cases.is_empty(), "a select without cases would wait for ever");
        Ok(among(&mut self.cases, WaitMode::Until(None))?.expect("it has no deadline"))
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`: then `None`, and nothing was done.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<Option<usize>, Cancelled> {
        among(&mut self.cases, WaitMode::of(timeout))
    }

    /// As [`wait`](Self::wait), but no longer than until `deadline`, by the clock of [`time::now`](crate::time::now): then
    /// `None`, and nothing was done.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_deadline(mut self, deadline: Instant) -> Result<Option<usize>, Cancelled> {
        among(&mut self.cases, WaitMode::Until(Some(deadline)))
    }

    /// Does one of the cases if that needs no wait, and returns its number.
    pub fn attempt(mut self) -> Option<usize> {
        Order::of(self.cases.len()).try_complete(&mut self.cases)
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("cases", &self.cases.len()).finish()
    }
}

/// Does one of the cases, waiting for it no longer than told; `None` if that was too short.
#[doc(hidden)]
#[track_caller]
pub fn among(cases: &mut [&mut dyn Case], mode: WaitMode) -> Result<Option<usize>, Cancelled> {
    let mut order = Order::of(cases.len());
    loop {
        if let Some(chosen) = order.try_complete(cases) {
            if matches!(mode, WaitMode::Until(_)) {
                consume_budget();
            }
            return Ok(Some(chosen));
        }
        let WaitMode::Until(until) = mode else { return Ok(None) };
        if until.is_some_and(|until| until <= now()) {
            consume_budget();
            return Ok(None);
        }
        let mut enqueued = Enqueued { cases, select_state: SelectState::take() };
        let outcome = if enqueued.enqueue(&order) { enqueued.wait(until) } else { Ok(()) };
        let chosen = enqueued.leave(true);
        std::mem::forget(enqueued);
        if chosen.is_some() {
            return Ok(chosen);
        }
        outcome?;
    }
}

/// What `select!` borrows, after any dereferencing.
#[doc(hidden)]
pub fn lent<T>(value: &T) -> &T {
    value
}

/// How many cases need no allocation for their order.
const FEW: usize = 32;

/// A random order of the cases, in which they are attempted and then enqueued.
///
/// Both are needed: of two cases that wait for one channel, the channel serves the one that was enqueued first.
struct Order {
    few: [u32; FEW],
    /// In place of `few` if there are more.
    many: Vec<u32>,
    count: usize,
}

impl Order {
    fn of(count: usize) -> Order {
        let number = |i: usize| u32::try_from(i).expect("fewer cases than fit into memory");
        let many = if count > FEW { (0..count).map(number).collect() } else { Vec::new() };
        Order { few: std::array::from_fn(|i| i as u32), many, count }
    }

    /// Does one of the cases if that needs no wait: those that are ready are equally likely. If none is, all of the order has
    /// been drawn.
    fn try_complete(&mut self, cases: &mut [&mut dyn Case]) -> Option<usize> {
        let order = if self.count > FEW { &mut self.many[..] } else { &mut self.few[..self.count] };
        for i in 0..order.len() {
            order.swap(i, i + random(order.len() - i));
            let case = order[i] as usize;
            if cases[case].try_complete(Internal) {
                return Some(case);
            }
        }
        None
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let order = if self.count > FEW { &self.many[..] } else { &self.few[..self.count] };
        order.iter().map(|&case| case as usize)
    }
}

/// Counts the plain threads that have used a select.
static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// For plain threads. Each has a sequence of its own: else the first select of every thread would choose alike.
    static RANDOM: Cell<u64> = Cell::new(rng::splitmix64(THREADS.fetch_add(1, Ordering::Relaxed)));
}

/// A number below `limit`. In a run the sequence depends on nothing but [`Config::seed`](crate::Config::seed).
fn random(limit: usize) -> usize {
    let step = |state: &Cell<u64>| (rng::xorshift64_star(state) >> 33) as usize;
    worker().map_or_else(|| RANDOM.with(step), |worker| step(&worker.random)) % limit
}

/// Nobody may hand over any more: the number that a select claims itself with.
const LEAVING: usize = usize::MAX;

/// A select that stands in line. Leaves if its wait is unwound, and passes on what it was handed.
struct Enqueued<'a, 'b> {
    cases: &'a mut [&'b mut dyn Case],
    select_state: &'static SelectState,
}

impl Enqueued<'_, '_> {
    fn turn(&self, case: usize) -> Turn {
        Turn { select_state: self.select_state, index: case + 1 }
    }

    /// False if one of the cases needs no wait any more.
    fn enqueue(&mut self, order: &Order) -> bool {
        order.iter().all(|case| {
            let turn = self.turn(case);
            self.cases[case].enqueue(turn, Internal)
        })
    }

    #[track_caller]
    fn wait(&self, until: Option<Instant>) -> Result<(), Cancelled> {
        let deadline = self.cases.iter().filter_map(|case| case.deadline(Internal)).chain(until).min();
        let closed = self.cases.iter().all(|case| case.is_closed(Internal));
        let wait =
            WaitSpec { reason: "one of several things", only_this_run: closed, external: !closed, ..WaitSpec::DEFAULT };
        loop {
            wait_anywhere(wait, deadline)?;
            let is_late = deadline.is_some_and(|deadline| deadline <= now());
            if self.select_state.claimed() == SelectState::OVER && !is_late {
                // It was passed over because of a limit, which has been moved since.
                return Err(Cancelled);
            }
            if self.select_state.claimed() != 0
                || is_late
                || self.cases.iter().enumerate().any(|(i, case)| case.is_ready(self.turn(i), Internal))
            {
                return Ok(());
            }
        }
    }

    /// Leaves all lines, and returns which case was handed something.
    fn leave(&mut self, keep: bool) -> Option<usize> {
        let _ = self.select_state.claim(LEAVING);
        let chosen =
            Some(self.select_state.claimed()).filter(|index| *index < SelectState::OVER).map(|index| index - 1);
        self.cases.iter_mut().for_each(|case| case.leave(keep, Internal));
        self.select_state.give_back();
        chosen
    }
}

impl Drop for Enqueued<'_, '_> {
    fn drop(&mut self) {
        self.leave(false);
    }
}
