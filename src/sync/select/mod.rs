//! Waiting for whichever of several things comes first.
//!
//! ```text
//! attempt all, in random order --- one can be done ---> chosen
//!        |  none
//!        v
//! enlist in every line --- one can be done by now --> leave all, attempt again
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

pub use self::cases::{AfterCase, JoinCase, WaitCase, after, at, join, wait};
use crate::scheduler::{Wait, worker};
use crate::sync::waiters::Choice;
use crate::task::Cancelled;
use crate::task::wait::{breathe, wait_anywhere};
use crate::time::now;
use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

/// One thing that a [`Select`] may wait for: to [receive](super::channel::Receiver::case), to
/// [send](super::channel::Sender::case), the end of a task ([`join`]), a promise ([`wait`]), or a time ([`after`], [`at`]).
///
/// After the select has chosen it, the case's own `take` gives the result.
pub trait Case: Sealed {
    /// Does it, if that needs no wait.
    #[doc(hidden)]
    fn attempt(&mut self) -> bool;

    /// Stands in line, unless there is no need to wait.
    #[doc(hidden)]
    fn enlist(&mut self, turn: Turn) -> bool;

    /// While in line: whether an attempt would succeed.
    #[doc(hidden)]
    fn is_ready(&self, turn: Turn) -> bool;

    /// Leaves the line. What was handed over is kept as the result, or passed on.
    #[doc(hidden)]
    fn leave(&mut self, keep: bool);

    /// When an attempt will succeed at the latest.
    #[doc(hidden)]
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether only time and tasks of this run can make it happen.
    #[doc(hidden)]
    fn is_closed(&self) -> bool {
        false
    }
}

/// Only this crate knows how to wait.
#[doc(hidden)]
pub trait Sealed {}

/// A case's place in a select that waits.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub(crate) choice: &'static Choice,
    /// Counted from 1.
    pub(crate) index: usize,
}

/// How long a select waits.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Not at all.
    None,
    /// Until then; for ever if there is no such time.
    Until(Option<Instant>),
}

impl Patience {
    /// As long as this, from now on.
    pub fn of(duration: Duration) -> Patience {
        Patience::Until(now().checked_add(duration))
    }
}

/// Waits for whichever of several things comes first, for numbers of things that are known only at run time; else
/// [`select!`](crate::select) is shorter.
///
/// Of several that are ready one is chosen at random, in the same way in every run. What is not chosen has not happened: no
/// message is lost or sent.
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
        Ok(among(&mut self.cases, Patience::Until(None))?.expect("it has no deadline"))
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
        among(&mut self.cases, Patience::of(timeout))
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
        among(&mut self.cases, Patience::Until(Some(deadline)))
    }

    /// Does one of the cases if that needs no wait, and returns its number.
    pub fn attempt(mut self) -> Option<usize> {
        attempt(&mut self.cases)
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
pub fn among(cases: &mut [&mut dyn Case], patience: Patience) -> Result<Option<usize>, Cancelled> {
    loop {
        if let Some(chosen) = attempt(cases) {
            if matches!(patience, Patience::Until(_)) {
                breathe();
            }
            return Ok(Some(chosen));
        }
        let Patience::Until(until) = patience else { return Ok(None) };
        if until.is_some_and(|until| until <= now()) {
            breathe();
            return Ok(None);
        }
        let mut enlisted = Enlisted { cases, count: 0, choice: Choice::take() };
        let outcome = if enlisted.enlist() { enlisted.wait(until) } else { Ok(()) };
        let chosen = enlisted.leave(true);
        std::mem::forget(enlisted);
        if chosen.is_some() {
            return Ok(chosen);
        }
        outcome?;
    }
}

/// Does one of the cases if that needs no wait: those that are ready are equally likely.
fn attempt(cases: &mut [&mut dyn Case]) -> Option<usize> {
    // A permutation is drawn as far as it is needed.
    let mut few = [0; 32];
    let mut many = Vec::new();
    let order = if cases.len() <= few.len() {
        &mut few[..cases.len()]
    } else {
        many.resize(cases.len(), 0);
        &mut many[..]
    };
    order.iter_mut().enumerate().for_each(|(i, place)| *place = i);
    for i in 0..order.len() {
        order.swap(i, i + random(order.len() - i));
        if cases[order[i]].attempt() {
            return Some(order[i]);
        }
    }
    None
}

thread_local! {
    /// For plain threads.
    static RANDOM: Cell<u64> = const { Cell::new(1) };
}

/// A number below `limit`: the same ones in every run. Vigna's xorshift64*, "An experimental exploration of Marsaglia's
/// xorshift generators, scrambled" (2016).
fn random(limit: usize) -> usize {
    let step = |cell: &Cell<u64>| {
        let mut x = cell.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        cell.set(x);
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize
    };
    worker().map_or_else(|| RANDOM.with(step), |worker| step(&worker.random)) % limit
}

/// Nobody may hand over any more: the number that a select claims itself with.
const LEAVING: usize = usize::MAX;

/// A select that stands in line. Leaves if its wait is unwound, and passes on what it was handed.
struct Enlisted<'a, 'b> {
    cases: &'a mut [&'b mut dyn Case],
    /// How many of them are in line.
    count: usize,
    choice: &'static Choice,
}

impl Enlisted<'_, '_> {
    /// False if one of the cases needs no wait any more.
    fn enlist(&mut self) -> bool {
        while let Some(case) = self.cases.get_mut(self.count) {
            self.count += 1;
            if !case.enlist(Turn { choice: self.choice, index: self.count }) {
                return false;
            }
        }
        true
    }

    #[track_caller]
    fn wait(&self, until: Option<Instant>) -> Result<(), Cancelled> {
        let deadline = self.cases.iter().filter_map(|case| case.deadline()).chain(until).min();
        let closed = self.cases.iter().all(|case| case.is_closed());
        let wait = Wait { why: "one of several things", closed, open: !closed, ..Wait::NOTHING };
        loop {
            wait_anywhere(wait, deadline)?;
            let turn = |index| Turn { choice: self.choice, index };
            let is_late = deadline.is_some_and(|deadline| deadline <= now());
            if self.choice.claimed() == Choice::OVER && !is_late {
                // It was passed over because of a limit, which has been moved since.
                return Err(Cancelled);
            }
            if self.choice.claimed() != 0
                || is_late
                || self.cases.iter().enumerate().any(|(i, case)| case.is_ready(turn(i + 1)))
            {
                return Ok(());
            }
        }
    }

    /// Leaves all lines, and returns which case was handed something.
    fn leave(&mut self, keep: bool) -> Option<usize> {
        let _ = self.choice.claim(LEAVING);
        let chosen = Some(self.choice.claimed()).filter(|index| *index < Choice::OVER).map(|index| index - 1);
        self.cases[..self.count].iter_mut().for_each(|case| case.leave(keep));
        self.choice.give_back();
        chosen
    }
}

impl Drop for Enlisted<'_, '_> {
    fn drop(&mut self) {
        self.leave(false);
    }
}
