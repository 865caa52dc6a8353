//! The mutex without its value: the lock state, the wait queue, and the rule that decides which caller is next.
//!
//! A release looks at the first waiter:
//!
//! * A task of the releasing worker is granted the lock. The lock never becomes free in between, so tasks of one worker
//!   hold it in arrival order. This costs one switch, and no other thread takes part.
//! * A waiter of another worker, or a plain thread, often sleeps. If it were always granted the lock, the lock would be
//!   idle until that thread runs, later callers would queue meanwhile, and every further release would meet a sleeper: a
//!   *lock convoy*, at some microseconds for each hold. Therefore such a waiter may be overtaken for [`PATIENCE`]. Until
//!   then the release grants the lock to the first waiter of its own worker. If there is none, it *offers* the lock: it
//!   wakes the first waiter, and the first caller that comes takes the lock (barging).
//! * Once the first waiter has waited for `PATIENCE`, the release grants it the lock, wherever it belongs.
//!
//! ```text
//!             take                   release, no waiter
//!    Free ------------> Held ----------------------------------> Free
//!                        | ^
//!      release, offered  | |  the woken waiter or a later caller takes the lock; or the woken
//!                        v |  waiter leaves, and the next waiter is granted the lock
//!                      Offered --------------------------------> Free
//!                              the woken waiter leaves, no other waiter
//! ```
//!
//! # Invariants
//!
//! 1. The lock is `Held`, or `Free` with a mark of the biased lock around it, while a guard exists, and while it is granted to a waiter that has not created its guard yet.
//!    At most one caller at a time has the lock.
//! 2. `Free`: the wait queue is empty.
//! 3. `Offered`: the first waiter was woken, and has not looked at the lock since. At most one queued waiter is in that
//!    state, always the first one, and no release wakes it again. When it looks, it takes the lock, or stays where it is,
//!    with its old time, and the next release wakes it again. If it leaves instead (cancel, deadline, unwinding), it
//!    releases the lock again, so that the next waiter is served.
//! 4. A caller passes no waiter of its own worker: it takes an offered lock only if no task of its worker waits.
//!    Otherwise it grants the lock to that task, and queues behind it.
//!
//! A woken waiter whose run abandons it never looks. The lock is then free, and the next caller's release serves the
//! other waiters. A waiter that was granted the lock and is abandoned keeps it permanently.
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use crate::sys::likely;
use crate::wait::lock::{BiasedLock, Guard, Mark};
use crate::wait::queue::{FirstWaiter, Line, OwnWaiter, WaitQueue, WaiterId, wait_in};
use crate::wait::{Holder, WaitSpec, WakeHandle, Worker, fiber, worker};
use std::hint::spin_loop;
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Instant;

/// The time for which callers on other threads may overtake the first waiter, in microseconds: several times as long as a
/// sleeping thread takes to wake.
const PATIENCE: u32 = 500;

/// The number of waiters among which a release looks for one of its own worker. With more waiters of other workers
/// before it, the first waiter is granted the lock, so a release takes bounded time.
const LOOKS: usize = 32;

/// The numbers of pauses of the processor, of 10 to 60 ns each, after which a plain thread looks at the lock before it queues.
const SPINS: [u32; 5] = [4, 8, 16, 32, 64];

/// The mark of the state's lock that means `Lock::Held`, while no caller waits.
const HELD: Mark = Mark::FIRST;

/// A mutex without its value. See the module head.
pub(super) struct RawMutex {
    state: BiasedLock<State>,
    holder: Holder,
}

/// The state of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    Free,
    Held,
    /// Free, and the first waiter was woken to take it.
    Offered,
}

struct State {
    /// `Free` also while the lock of the state has a mark: then a task of its owner holds the mutex, and no caller waits.
    lock: Lock,
    waiters: WaitQueue<Waiter>,
}

/// The record of a waiter: two flags, and the time since when it may have been overtaken. Packed into four bytes, with
/// which a node of the wait queue fills one cache line.
#[derive(Clone, Copy)]
struct Waiter(NonZeroU32);

impl Waiter {
    /// The bits of the time, in microseconds; 0 is no time. A waiter for which the time wraps around, after 9 minutes, may
    /// be overtaken for `PATIENCE` again.
    const TIME: u32 = (1 << 29) - 1;
    /// The waiter was woken for an offer, and has not looked since.
    const WOKEN: u32 = 1 << 29;
    /// The waiter records itself as the holder, because the code that gave it the lock had no access to `RawMutex::holder`.
    const RECORDS: u32 = 1 << 30;
    /// A waiter that no caller of another thread has overtaken. The bit is set in every record.
    const NEW: Waiter = Waiter(NonZeroU32::new(1 << 31).expect("a bit is set"));

    /// Returns the record of a waiter that callers of other threads may overtake from now on.
    #[cold]
    #[inline(never)]
    fn of_now() -> Waiter {
        Waiter::NEW.with(time())
    }

    fn with(self, bits: u32) -> Waiter {
        Waiter(self.0 | bits)
    }

    fn has(self, bits: u32) -> bool {
        self.0.get() & bits != 0
    }

    /// Returns whether the waiter has waited long enough at `time`. Its time begins now if it had none.
    fn is_due(&mut self, time: u32) -> bool {
        if !self.has(Waiter::TIME) {
            *self = self.with(time);
        }
        time.wrapping_sub(self.0.get()) & Waiter::TIME >= PATIENCE
    }

    /// Returns whether the waiter was woken for an offer, and resets that.
    fn looks(&mut self) -> bool {
        let was_woken = self.has(Waiter::WOKEN);
        self.0 = NonZeroU32::new(self.0.get() & !Waiter::WOKEN).unwrap_or(Waiter::NEW.0);
        was_woken
    }
}

/// Returns the time as `Waiter` stores it. A clock of the run would not do: the waiters belong to different runs.
fn time() -> u32 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since_start = START.get_or_init(Instant::now).elapsed();
    let micros = since_start.as_secs() * 1_000_000 + u64::from(since_start.subsec_micros());
    (micros as u32 & Waiter::TIME).max(1)
}

/// The waiter that a release chose.
#[derive(Clone, Copy)]
enum Next {
    /// The waiter was granted the lock.
    Granted(WaiterId),
    /// The waiter is woken and competes for the lock.
    Offered(WaiterId),
    /// No waiter must be woken.
    None,
}

impl State {
    /// Releases the lock: grants it to a waiter, offers it, or marks it free if none waits.
    #[inline(always)]
    fn release(&mut self) -> Next {
        match self.waiters.grant_if_own() {
            FirstWaiter::Granted(waiter) => {
                self.lock = Lock::Held;
                Next::Granted(waiter)
            }
            FirstWaiter::Elsewhere(first) => self.release_elsewhere(first),
            FirstWaiter::None => {
                self.lock = Lock::Free;
                Next::None
            }
        }
    }

    /// Releases the lock, if the first waiter belongs to another worker or is a plain thread.
    #[cold]
    #[inline(never)]
    fn release_elsewhere(&mut self, first: WaiterId) -> Next {
        if self.waiters.value(first).is_due(time()) {
            return self.grant(first);
        }
        match self.waiters.first_own(LOOKS) {
            OwnWaiter::Found(own) => self.grant(own),
            OwnWaiter::Unknown => self.grant(first),
            OwnWaiter::None => {
                self.lock = Lock::Offered;
                let waiter = self.waiters.value(first);
                if waiter.has(Waiter::WOKEN) {
                    return Next::None;
                }
                *waiter = waiter.with(Waiter::WOKEN);
                Next::Offered(first)
            }
        }
    }

    fn grant(&mut self, waiter: WaiterId) -> Next {
        self.lock = Lock::Held;
        self.waiters.grant_queued(waiter);
        Next::Granted(waiter)
    }

    /// Like `release`, for callers without access to the holder. Returns the waiter to wake.
    fn release_unrecorded(&mut self) -> Option<WakeHandle> {
        match self.release() {
            Next::Granted(waiter) => {
                let record = self.waiters.value(waiter);
                *record = record.with(Waiter::RECORDS);
                Some(self.waiters.waker(waiter))
            }
            Next::Offered(waiter) => Some(self.waiters.waker(waiter)),
            Next::None => None,
        }
    }
}

/// The wait queue of a mutex.
struct Lockers;

impl Line for Lockers {
    type State = State;
    type Value = Waiter;

    fn waiters(state: &mut State) -> &mut WaitQueue<Waiter> {
        &mut state.waiters
    }

    fn regrant(state: &mut State, _: Waiter) -> Vec<WakeHandle> {
        state.release_unrecorded().into_iter().collect()
    }

    fn left(state: &mut State, _: bool) -> Vec<WakeHandle> {
        // The waiter may be the first one, which was woken for the offer.
        let next = if state.lock == Lock::Offered { state.release_unrecorded() } else { None };
        next.into_iter().collect()
    }

    fn retry(state: &mut State, waiter: WaiterId) -> bool {
        let record = state.waiters.value(waiter);
        // A waiter that was woken by mistake would overtake the first one.
        if !record.looks() || state.lock != Lock::Offered {
            return false;
        }
        *record = record.with(Waiter::RECORDS);
        state.grant(waiter);
        true
    }
}

/// The outcome of an attempt to take the lock.
enum Attempt {
    Taken,
    /// Taken by a plain thread, after a moment.
    TakenAfterSpin,
    /// The caller was queued, and must wait.
    Queued(WaiterId),
}

/// Whether a cancel ends the wait for a mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnCancel {
    GiveUp,
    KeepWaiting,
}

impl RawMutex {
    pub(super) const fn new() -> RawMutex {
        let state = State { lock: Lock::Free, waiters: WaitQueue::new() };
        RawMutex { state: BiasedLock::with_marks(state, |state, _| state.lock = Lock::Held), holder: Holder::none() }
    }

    /// Returns whether the lock is held, or granted to a waiter.
    pub(super) fn is_locked(&self) -> bool {
        self.state.lock().lock == Lock::Held
    }

    #[inline]
    pub(super) fn try_take(&self) -> bool {
        let mut state = self.state.lock();
        let can = match state.lock {
            Lock::Free => true,
            Lock::Held => false,
            Lock::Offered => matches!(state.waiters.first_own(LOOKS), OwnWaiter::None),
        };
        if can {
            state.lock = Lock::Held;
            self.holder.set_current();
        }
        can
    }

    /// Acquires the lock, after all earlier callers of the same worker. Returns the worker whose cooperative budget pays for
    /// the call: `None` if the call waited, or if a plain thread made it.
    #[inline(always)]
    #[track_caller]
    pub(super) fn take(
        &self,
        deadline: Option<Instant>,
        on_cancel: OnCancel,
    ) -> Result<Option<&Worker>, WaitTimeoutError> {
        let worker = worker();
        if let Some(worker) = worker
            && let Some(state) = self.state.lock_as_owner(worker)
            && likely(state.lock == Lock::Free)
        {
            self.holder.set_task(worker, state.run());
            state.release_marked(HELD);
            return Ok(Some(worker));
        }
        let waiter = match self.take_or_queue(worker) {
            Attempt::Taken => return Ok(worker),
            Attempt::TakenAfterSpin => return Ok(None),
            Attempt::Queued(waiter) => waiter,
        };
        let wait = WaitSpec {
            reason: "a mutex",
            external: true,
            uncancellable: on_cancel == OnCancel::KeepWaiting,
            holder: &raw const self.holder,
            ..WaitSpec::DEFAULT
        };
        if outcome(wait_in::<Lockers>(&self.state, waiter, wait, deadline))?.has(Waiter::RECORDS) {
            self.holder.set_current();
        }
        Ok(None)
    }

    /// Takes the lock, or queues the caller. Not inlined: it returns before the wait.
    #[inline(never)]
    fn take_or_queue(&self, worker: Option<&Worker>) -> Attempt {
        let mut state = self.state.lock_for(worker);
        if state.lock == Lock::Free {
            state.lock = Lock::Held;
            self.holder.set_task_of(worker);
            return Attempt::Taken;
        }
        if state.lock == Lock::Offered && self.take_offer(&mut state) {
            return Attempt::Taken;
        }
        if worker.is_none() {
            match self.spin(state) {
                Some(locked) => state = locked,
                None => return Attempt::TakenAfterSpin,
            }
        }
        // Only a holder on another thread makes the clock worth its price: `is_due` begins the time of the rest.
        let is_own = worker.is_some_and(|worker| self.holder.is_in(worker.run()));
        Attempt::Queued(state.waiters.enqueue_in(if is_own { Waiter::NEW } else { Waiter::of_now() }, worker))
    }

    /// Waits for a moment without queueing, while no waiter is queued. A lock that is held briefly costs less so than by two
    /// wakes. Takes the lock if it becomes free; otherwise returns the state, in which the caller must queue.
    #[cold]
    #[inline(never)]
    fn spin<'a>(&'a self, mut state: Guard<'a, State>) -> Option<Guard<'a, State>> {
        // A fiber has something else to do, and the holder may be a fiber of the same thread.
        if fiber::current().is_some() {
            return Some(state);
        }
        for pauses in SPINS {
            if !state.waiters.is_empty() {
                break;
            }
            drop(state);
            (0..pauses).for_each(|_| spin_loop());
            state = self.state.lock_for(None);
            if state.lock != Lock::Held {
                state.lock = Lock::Held;
                self.holder.clear();
                return None;
            }
        }
        Some(state)
    }

    /// Takes the lock that is offered to another waiter, if that overtakes no task of the caller's worker. If one waits, it is
    /// granted the lock, and the caller must queue. With `LOOKS` waiters before that task, the woken waiter takes the lock.
    #[cold]
    #[inline(never)]
    fn take_offer(&self, state: &mut State) -> bool {
        match state.waiters.first_own(LOOKS) {
            OwnWaiter::None => {
                state.lock = Lock::Held;
                self.holder.set_current();
                return true;
            }
            OwnWaiter::Found(own) => {
                let waker = state.waiters.waker(own);
                state.grant(own);
                self.holder.set(waker);
                // The wake of a task of this worker takes no lock and runs no code of the user.
                let _ = waker.wake();
            }
            OwnWaiter::Unknown => {}
        }
        false
    }

    /// Reacquires the lock after the wait for a condition, even if the task was cancelled. Returns false if a
    /// deadlock or the end of the grace period ended the wait for the lock.
    #[track_caller]
    pub(super) fn take_again(&self) -> bool {
        self.take(None, OnCancel::KeepWaiting).is_ok()
    }

    /// Releases the lock, and wakes the waiter that it was granted or offered to.
    #[inline(always)]
    pub(super) fn give_up(&self) {
        // A mark that is still there: no caller has waited, and the state is still `Free`. `holder` stays set: it is read only while
        // a task waits, and the next holder overwrites it.
        if self.state.lock_marked(HELD).is_none() {
            self.pass_on();
        }
    }

    /// Releases the lock if it is not marked: a waiter may be granted it.
    #[inline(never)]
    fn pass_on(&self) {
        let waker = match self.state.lock_in_run() {
            Some(mut state) => self.release(&mut state),
            None => self.release(&mut self.state.lock()),
        };
        if let Some(waker) = waker {
            // False if the waiter has ended since: then there is no task to wake.
            let _ = waker.wake();
        }
    }

    /// Releases the lock. Returns the waiter to wake.
    #[inline(always)]
    fn release(&self, state: &mut State) -> Option<WakeHandle> {
        match state.release() {
            Next::Granted(waiter) => {
                let waker = state.waiters.waker(waiter);
                self.holder.set(waker);
                Some(waker)
            }
            Next::Offered(waiter) => {
                self.holder.clear();
                Some(state.waiters.waker(waiter))
            }
            Next::None => None,
        }
    }
}
