//! Select: waits until one of several operations is ready, and performs exactly that one.
//!
//! A select chooses at random among the ready cases (`Order`), so that no case is starved:
//!
//! ```text
//! attempt all cases, in random order ---- one was ready ----> chosen
//!        |  none
//!        v
//! enqueue in every wait queue, in the same order ---- one has become ready ----> leave all queues, attempt again
//!        |
//!        v
//! wait. A caller that grants to the select first claims it, in one atomic step; then the other queues skip the select
//!        |
//!        v
//! leave all queues ----> the claimed case is chosen; if none is claimed: attempt again, or return `Cancelled`
//! ```
//!
//! No wakeup is lost: under one hold of the queue's lock, a case checks that its operation is not ready and enqueues
//! itself. The claim is explained in `wait::queue`.
#![forbid(unsafe_code)]

mod cases;
#[macro_use]
mod macros;
#[doc(hidden)]
pub mod mistakes;
#[cfg(test)]
mod tests;

pub use self::cases::{AfterCase, JoinCase, WaitCase, after, at, join, wait};
use self::sealed::{Granted, Internal, Plan, Registration};
use crate::time::now;
use crate::wait::queue::SelectState;
#[cfg(feature = "io")]
use crate::wait::wait_anywhere_in_poll;
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget, rng, wait_anywhere, worker};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An operation that a [`Select`] can wait for: [receiving](super::channel::Receiver::case) and
/// [sending](super::channel::Sender::case) a message, the end of a task ([`join`]), the completion of a promise
/// ([`wait`]), a [notification](super::Notify::case), the [cancel of a token](super::CancellationToken::case), a time ([`after`], [`at`]), or the readiness of a descriptor (`io::readable`, `io::writable`).
///
/// After the select has chosen a case, the method `take` of the case returns its result. The trait is sealed: only this
/// crate can implement it and call its methods.
pub trait Case: sealed::Operation {}

/// The private part of [`Case`]: the steps of a select.
pub(crate) mod sealed {
    use crate::wait::queue::SelectState;
    use crate::wait::{WakeHandle, Worker};
    use std::time::Instant;

    /// Proof that the caller is this crate: another crate cannot name this type, so it cannot call a method that takes
    /// it.
    ///
    /// A private supertrait alone keeps other crates from implementing [`Case`](super::Case), but its methods could
    /// still be called through a bound.
    #[derive(Clone, Copy)]
    #[allow(missing_debug_implementations, reason = "sealed")]
    pub struct Internal<'a> {
        /// The worker of this thread, if any.
        pub(crate) worker: Option<&'a Worker>,
    }

    /// The use of a granted value by a case that leaves its queue.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Granted {
        /// The value becomes the result of the case.
        Keep,
        /// The value goes to the next waiter, or back to the type.
        PassOn,
    }

    /// The data that a case enqueues itself with: what a granter claims the select with.
    #[derive(Clone, Copy, Debug)]
    pub struct Registration {
        pub(crate) select_state: &'static SelectState,
        /// The number of the case, counted from 1: 0 means unclaimed.
        pub(crate) index: usize,
    }

    /// The wait of a select. Each case adds its part when it is enqueued.
    #[allow(missing_debug_implementations, reason = "sealed")]
    pub struct Plan {
        /// The wake handle of the select.
        pub(crate) waker: WakeHandle,
        /// The earliest time at which a case becomes ready by itself, if any.
        pub(crate) deadline: Option<Instant>,
        /// Whether other threads or the kernel can make a case ready, not only time and tasks of this run.
        pub(crate) external: bool,
    }

    /// The operation of a case.
    pub trait Operation {
        /// Completes the operation if it is ready. Returns whether it did.
        fn try_complete(&mut self, _: Internal) -> bool;

        /// Enqueues the case in its wait queue, unless it is ready. Returns whether it did.
        fn enqueue(&mut self, registration: Registration, plan: &mut Plan, _: Internal) -> bool;

        /// Returns whether `try_complete` would succeed. Called while the case is enqueued.
        fn is_ready(&self, registration: Registration, _: Internal) -> bool;

        /// Removes the case from its wait queue, if it is enqueued. A granted value becomes the
        /// result, or is passed on, as `granted` says.
        fn leave(&mut self, granted: Granted, _: Internal);

        /// Returns the descriptor whose readiness makes the case ready, if any: readable (`true`) or writable.
        #[cfg(feature = "io")]
        fn descriptor(&self, _: Internal) -> Option<(std::os::fd::BorrowedFd<'_>, bool)> {
            None
        }
    }
}

fn internal<'a>() -> Internal<'a> {
    Internal { worker: worker() }
}

/// The longest time that a select waits.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum WaitMode {
    /// The select does not wait.
    None,
    /// The select waits until this time, or without a limit if it is `None`.
    Until(Option<Instant>),
}

impl WaitMode {
    /// Returns the mode that waits for `duration` from now.
    pub fn of(duration: Duration) -> WaitMode {
        WaitMode::Until(now().checked_add(duration))
    }
}

/// A set of operations, of which a wait performs exactly one, as soon as one is ready.
///
/// Use it if the number of operations is known only at run time. Otherwise [`select!`](crate::select) is shorter.
///
/// Of several ready cases, the select chooses one at random, each with the same probability. If several cases of this
/// select wait for the same channel, a random one of them gets the message or the free slot. In a run the random
/// numbers depend only on [`Config::seed`](crate::Config::seed), so a deterministic program always makes the same
/// choices. A case that is not chosen has no effect: its message is neither taken nor sent.
///
/// Cancel safety: a cancelled select performs no operation.
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
    /// Creates a select without cases.
    pub fn new() -> Select<'a> {
        Select::default()
    }

    /// Adds a case. Cases are numbered from 0 in the order in which they are added.
    pub fn add(&mut self, case: &'a mut dyn Case) {
        self.cases.push(case);
    }

    /// Waits until a case is ready, performs it, and returns its number. The result is in the case.
    ///
    /// Cancel safety: a cancelled `wait` performs no case.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before its wait ends, if a deadline or scope around this call ends the
    /// wait, or if the task would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If there are no cases, or if the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn wait(mut self) -> Result<usize, Cancelled> {
        assert!(!self.cases.is_empty(), "cannot wait in a select without cases: none could ever become ready");
        Ok(among(&mut self.cases, WaitMode::Until(None))?.expect("a select without a deadline ends with a case"))
    }

    /// Like [`wait`](Self::wait), but gives up after `timeout`: the call then returns `Ok(None)` and performs no case. A
    /// timeout too long to be represented never expires. Without cases it waits for `timeout`.
    ///
    /// Cancel safety: a cancelled `wait_timeout` performs no case.
    ///
    /// # Errors
    ///
    /// The error of [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<Option<usize>, Cancelled> {
        among(&mut self.cases, WaitMode::of(timeout))
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now): the
    /// call then returns `Ok(None)` and performs no case. Without cases it waits until `deadline`.
    ///
    /// Cancel safety: a cancelled `wait_deadline` performs no case.
    ///
    /// # Errors
    ///
    /// The error of [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn wait_deadline(mut self, deadline: Instant) -> Result<Option<usize>, Cancelled> {
        among(&mut self.cases, WaitMode::Until(Some(deadline)))
    }

    /// Performs a ready case without waiting, and returns its number. Returns `None` if no case is ready.
    pub fn attempt(mut self) -> Option<usize> {
        Order::of(self.cases.len()).try_complete(&mut self.cases)
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("cases", &self.cases.len()).finish()
    }
}

/// Waits for one of the cases, no longer than `mode` allows, and performs it. Returns its number, or `None` if no case
/// became ready in time.
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
        // No wait if a case has become ready while the select enqueued itself: the next pass performs it.
        let mut plan = Plan { waker: WakeHandle::current(), deadline: until, external: false };
        let outcome = if enqueued.enqueue(&order, &mut plan) { enqueued.wait(&plan) } else { Ok(()) };
        let chosen = enqueued.leave(Granted::Keep);
        std::mem::forget(enqueued);
        // A grant that came first wins over a cancel: the next wait reports the cancel.
        if chosen.is_some() {
            return Ok(chosen);
        }
        outcome?;
    }
}

/// Returns its argument. `select!` calls it so that deref coercion applies to an operand.
#[doc(hidden)]
pub fn lent<T>(value: &T) -> &T {
    value
}

/// The largest number of cases whose order needs no allocation.
const FEW: usize = 32;

/// The random order in which the cases are attempted and then enqueued.
///
/// The order of the enqueueing matters too: of two cases that wait for the same channel, the channel grants to the case
/// that was enqueued first.
struct Order {
    few: [u8; FEW],
    /// Used instead of `few` if there are more than `FEW` cases.
    many: Vec<u32>,
    count: usize,
}

impl Order {
    fn of(count: usize) -> Order {
        let number = |i: usize| u32::try_from(i).expect("2^32 cases do not fit into memory");
        let many = if count > FEW { (0..count).map(number).collect() } else { Vec::new() };
        Order { few: std::array::from_fn(|i| i as u8), many, count }
    }

    /// Performs a ready case, each with the same probability, and returns its number. If no case is ready, the whole
    /// order is drawn.
    fn try_complete(&mut self, cases: &mut [&mut dyn Case]) -> Option<usize> {
        let internal = internal();
        let complete = |case: usize| cases[case].try_complete(internal);
        if self.count > FEW {
            shuffle(&mut self.many, |case| case as usize, complete)
        } else {
            shuffle(&mut self.few[..self.count], |case| case as usize, complete)
        }
    }

    /// Returns whether `f` returns true for all cases, in their order. Stops at the first false.
    fn all(&self, mut f: impl FnMut(usize) -> bool) -> bool {
        if self.count > FEW {
            self.many.iter().all(|&case| f(case as usize))
        } else {
            self.few[..self.count].iter().all(|&case| f(usize::from(case)))
        }
    }
}

/// Shuffles `order` (Fisher-Yates), and returns the first case for which `complete` returns true. Does not draw the rest
/// of the order then.
#[inline(always)]
fn shuffle<N: Copy>(
    order: &mut [N],
    number: impl Fn(N) -> usize,
    mut complete: impl FnMut(usize) -> bool,
) -> Option<usize> {
    let mut random = 0;
    for i in 0..order.len() {
        // Eight places among a few cases take 40 of the 64 bits of one draw.
        if i % 8 == 0 || order.len() > FEW {
            random = draw();
        }
        let product = u128::from(random) * (order.len() - i) as u128;
        random = product as u64;
        order.swap(i, i + (product >> 64) as usize);
        let case = number(order[i]);
        if complete(case) {
            return Some(case);
        }
    }
    None
}

/// The number of plain threads that have used a select.
static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The random state of a plain thread. Seeded differently for each thread: otherwise the first selects of all
    /// threads would choose alike.
    static RANDOM: Cell<u64> = Cell::new(rng::splitmix64(THREADS.fetch_add(1, Ordering::Relaxed)));
}

/// Returns 64 random bits. In a run the sequence depends only on [`Config::seed`](crate::Config::seed).
fn draw() -> u64 {
    worker().map_or_else(|| RANDOM.with(rng::xorshift64_star), |worker| rng::xorshift64_star(&worker.random))
}

/// The number that a select claims its own state with when it leaves its queues, so that no granter can claim it any
/// more.
const LEAVING: usize = usize::MAX;

/// The guard of an enqueued select: leaves all queues if its wait is unwound, and passes a granted value on.
struct Enqueued<'a, 'b> {
    cases: &'a mut [&'b mut dyn Case],
    select_state: &'static SelectState,
}

impl Enqueued<'_, '_> {
    fn registration(&self, case: usize) -> Registration {
        Registration { select_state: self.select_state, index: case + 1 }
    }

    /// Enqueues all cases in their wait queues. Stops and returns `false` if a case has become ready.
    fn enqueue(&mut self, order: &Order, plan: &mut Plan) -> bool {
        let internal = internal();
        order.all(|case| {
            let registration = self.registration(case);
            self.cases[case].enqueue(registration, plan, internal)
        })
    }

    /// Waits until a case was granted or may be ready, or the deadline has passed.
    #[track_caller]
    fn wait(&self, &Plan { deadline, external, .. }: &Plan) -> Result<(), Cancelled> {
        let reason = "one of several things";
        let wait = WaitSpec { reason, only_this_run: !external, external, ..WaitSpec::DEFAULT };
        loop {
            self.suspend(wait, deadline)?;
            let is_late = deadline.is_some_and(|deadline| deadline <= now());
            if self.select_state.claimed() == SelectState::OVER && !is_late {
                // A granter skipped this select because the deadline of a section had passed. Moving that deadline
                // afterwards does not undo the skip.
                return Err(Cancelled);
            }
            if self.select_state.claimed() != 0
                || is_late
                || self.cases.iter().enumerate().any(|(i, case)| case.is_ready(self.registration(i), internal()))
            {
                return Ok(());
            }
            // A spurious wakeup: keep the place in every queue, and wait again.
        }
    }

    #[cfg(feature = "io")]
    #[track_caller]
    fn suspend(&self, wait: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
        // Few selects have descriptors, and only plain threads need the list.
        if worker().is_some() || self.cases.iter().all(|case| case.descriptor(internal()).is_none()) {
            return wait_anywhere(wait, deadline);
        }
        let descriptors: Vec<_> = self.cases.iter().filter_map(|case| case.descriptor(internal())).collect();
        wait_anywhere_in_poll(wait, &descriptors, deadline)
    }

    #[cfg(not(feature = "io"))]
    #[track_caller]
    fn suspend(&self, wait: WaitSpec, deadline: Option<Instant>) -> Result<(), Cancelled> {
        wait_anywhere(wait, deadline)
    }

    /// Leaves all queues, and returns the case that was granted something. `granted` says what that case does with
    /// the value.
    fn leave(&mut self, granted: Granted) -> Option<usize> {
        // Fails if a granter has claimed the select, which `claimed` then returns.
        let _ = self.select_state.claim(LEAVING);
        let chosen =
            Some(self.select_state.claimed()).filter(|index| *index < SelectState::OVER).map(|index| index - 1);
        let internal = internal();
        self.cases.iter_mut().for_each(|case| case.leave(granted, internal));
        self.select_state.give_back();
        chosen
    }
}

impl Drop for Enqueued<'_, '_> {
    fn drop(&mut self) {
        self.leave(Granted::PassOn);
    }
}
