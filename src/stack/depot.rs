//! The depots of the stack pool: the unused stacks that are in no thread's local cache, with one depot for each shape.
//!
//! A depot keeps the memory of its *warm* stacks, and has returned the memory of its *cold* stacks to the system. It has two rules for
//! the memory that it keeps:
//!
//! * Up to [`pool_limit`] bytes it keeps permanently. Each shape has its own limit, so a burst of one size takes nothing from another.
//! * Beyond the limit it keeps what has been used lately. While a run is alive, stacks over the limit stay warm for the next burst, and each
//!   depot counts how many of them no task has needed since the current *period* began. At the end of the period, after
//!   [`pool_idle_timeout`], the memory of this many stacks is returned. So bursts that recur within a period cost no page faults, and
//!   memory that is not used again is returned after one to two periods. The event loops of the runs call [`shrink_idle`] for that. Without a
//!   run no code would call it, so no stack over the limit stays warm.
//!
//! The memory of a stack is what it has touched, which only the system knows. A depot asks it about one stack of each batch that it takes
//! back, and counts the rest of the batch as equal.

use super::arena::{self, FreshSlots, Slot};
use super::error::StackError;
use super::guard::GuardKind;
use super::shape::Shape;
use crate::sys::page_size;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The largest number of unused stacks of one shape in a thread's local cache.
const LOCAL_CACHE_MOST: usize = 32;
/// The largest number of bytes of the unused stacks of one shape in a thread's local cache, if these are more than two stacks.
const LOCAL_CACHE_BYTES: usize = 16 << 20;
/// The number of pages that a depot keeps if the program sets no limit.
const DEFAULT_LIMIT_PAGES: usize = 1024;
/// The largest number of stacks whose memory one call of `shrink_idle` returns, which takes up to a quarter of a millisecond.
const SHRINK_MOST: usize = 256;

/// The unused stacks of one shape that are in no thread's local cache.
struct Depot {
    fresh: FreshSlots,
    /// The free list of stacks with the memory of their last use. The warmest stack is last.
    warm: VecDeque<Slot>,
    /// About how much memory the warm stacks have, in bytes.
    warm_bytes: usize,
    /// The smallest number of warm stacks since the period began: so many were not needed.
    least: usize,
    /// The free list of stacks without memory.
    cold: Vec<Slot>,
}

struct Depots {
    all: Vec<Depot>,
    /// The start of the period. `None` if no depot is over its limit.
    period: Option<Instant>,
}

static DEPOTS: Mutex<Depots> = Mutex::new(Depots::new());
/// For each thread that has taken a stack, the number of unused stacks in its local cache.
static MEMBERS: Mutex<Vec<Arc<AtomicUsize>>> = Mutex::new(Vec::new());
/// The limit in bytes. `usize::MAX` if the program has not set it.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// `LOCAL_CACHE_MOST`, or less if the limit is smaller than as many pages.
static LOCAL_MOST: AtomicUsize = AtomicUsize::new(LOCAL_CACHE_MOST);
/// The idle timeout in nanoseconds. `u64::MAX` means that the timeout never passes.
static IDLE_TIMEOUT: AtomicU64 = AtomicU64::new(1_000_000_000);
/// The number of workers in runs, which call `shrink_idle`. Written and read under the lock of `DEPOTS`.
static WORKERS: AtomicUsize = AtomicUsize::new(0);
/// A period has begun: there is memory over the limits.
static IS_OVER: AtomicBool = AtomicBool::new(false);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Poisoning is ignored: no code panics between two steps of a change, so the lists are consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the largest number of stacks of any shape in a thread's local cache: 0 if no stack may keep its memory.
#[inline]
pub(super) fn local_most() -> usize {
    LOCAL_MOST.load(Relaxed)
}

/// Returns the largest number of stacks of this shape in a thread's local cache.
pub(super) fn local_most_of(shape: Shape) -> usize {
    (LOCAL_CACHE_BYTES / shape.size).clamp(2, LOCAL_CACHE_MOST).min(local_most())
}

/// Registers a thread's count of unused stacks.
pub(super) fn add_member(idle: Arc<AtomicUsize>) {
    lock(&MEMBERS).push(idle);
}

pub(super) fn remove_member(idle: &Arc<AtomicUsize>) {
    lock(&MEMBERS).retain(|other| !Arc::ptr_eq(other, idle));
}

impl Depot {
    /// Returns the mean memory of a warm stack. There is one.
    fn each(&self) -> usize {
        self.warm_bytes / self.warm.len()
    }

    /// Returns the number of warm stacks over the limit.
    fn excess(&self, limit: usize) -> usize {
        match self.warm_bytes.saturating_sub(limit) {
            0 => 0,
            over => over.div_ceil(self.each()).min(self.warm.len()),
        }
    }

    /// Subtracts the memory of `count` warm stacks, which the caller removes afterwards.
    fn subtract(&mut self, count: usize) {
        if count > 0 {
            let left = self.warm.len() - count;
            self.warm_bytes = self.each() * left;
            self.least = self.least.min(left);
        }
    }

    /// Moves the coldest warm stacks to `out`.
    fn remove_coldest(&mut self, count: usize, out: &mut Vec<Slot>) {
        // What was not needed is removed first.
        let least = self.least.saturating_sub(count);
        self.subtract(count);
        self.least = least;
        out.extend(self.warm.drain(..count));
    }

    /// Moves the warmest stack to the caller, and up to `more` further ones to `out`.
    fn take(&mut self, more: usize, out: &mut Vec<Slot>) -> Slot {
        if self.warm.is_empty() {
            let slot = self.cold.pop().expect("the depot has a stack");
            out.extend(self.cold.drain(self.cold.len().saturating_sub(more)..));
            return slot;
        }
        let count = (more + 1).min(self.warm.len());
        self.subtract(count);
        let slot = self.warm.pop_back().expect("checked above");
        out.extend(self.warm.drain(self.warm.len() - (count - 1)..));
        slot
    }
}

impl Depots {
    const fn new() -> Depots {
        Depots { all: Vec::new(), period: None }
    }

    fn of(&mut self, shape: Shape) -> &mut Depot {
        let at = self.all.iter().position(|depot| depot.fresh.shape() == shape).unwrap_or_else(|| {
            let fresh = FreshSlots::new(shape);
            self.all.push(Depot { fresh, warm: VecDeque::new(), warm_bytes: 0, least: 0, cold: Vec::new() });
            self.all.len() - 1
        });
        &mut self.all[at]
    }

    fn count_live(&self) -> usize {
        let idle: usize = lock(&MEMBERS).iter().map(|idle| idle.load(Relaxed)).sum();
        let stored: usize = self.all.iter().map(|depot| depot.warm.len() + depot.cold.len()).sum();
        let made: usize = self.all.iter().map(|depot| depot.fresh.made()).sum();
        // Other threads take and return stacks at the same time, so the difference may be below zero for a moment.
        made.saturating_sub(idle + stored)
    }

    /// Adds unused stacks of one shape with `bytes` of memory. If stacks over the limit keep their memory, begins a period, else moves them
    /// to `over`.
    fn add(&mut self, batch: &[Slot], bytes: usize, rules: Rules, over: &mut Vec<Slot>) {
        let depot = self.of(batch[0].shape());
        depot.warm.extend(batch);
        depot.warm_bytes += bytes;
        let excess = depot.excess(rules.limit);
        if rules.limit == 0 || rules.idle_timeout.is_zero() {
            depot.remove_coldest(excess, over);
        } else if excess > 0 && self.period.is_none() {
            self.begin_period(rules, Instant::now());
        }
    }

    /// Moves all stacks over the limit to `out`, and ends the period.
    fn remove_excess(&mut self, rules: Rules, out: &mut Vec<Slot>) {
        for depot in &mut self.all {
            depot.remove_coldest(depot.excess(rules.limit), out);
        }
        self.period = None;
    }

    /// If the period is over, moves the stacks over the limit that were not needed in it to `out`, at most `SHRINK_MOST`. Returns the time
    /// of the next call.
    fn remove_idle(&mut self, rules: Rules, now: Instant, out: &mut Vec<Slot>) -> Option<Instant> {
        let end = self.period?.checked_add(rules.idle_timeout)?;
        if now < end {
            return Some(end);
        }
        for depot in &mut self.all {
            let count = depot.least.min(depot.excess(rules.limit)).min(SHRINK_MOST - out.len());
            depot.remove_coldest(count, out);
        }
        if out.len() == SHRINK_MOST {
            return Some(now);
        }
        self.begin_period(rules, now);
        self.period?.checked_add(rules.idle_timeout)
    }

    /// Begins a period if a depot is over the limit.
    fn begin_period(&mut self, rules: Rules, now: Instant) {
        let over = self.all.iter().any(|depot| depot.excess(rules.limit) > 0);
        self.all.iter_mut().for_each(|depot| depot.least = depot.warm.len());
        self.period = over.then_some(now);
    }
}

/// The rules by which the depots keep memory.
#[derive(Clone, Copy)]
struct Rules {
    /// The number of bytes that a depot keeps permanently.
    limit: usize,
    /// The time for which unused memory over the limit is kept: zero without a run.
    idle_timeout: Duration,
}

/// Changes the depots. Then returns the memory of the stacks that `change` has moved to the list, and makes them cold.
fn with_depots<R>(change: impl FnOnce(&mut Depots, Rules, &mut Vec<Slot>) -> R) -> R {
    let mut over = Vec::new();
    let result = {
        let mut depots = lock(&DEPOTS);
        let idle_timeout = if WORKERS.load(Relaxed) == 0 { Duration::ZERO } else { pool_idle_timeout() };
        let result = change(&mut depots, Rules { limit: pool_limit(), idle_timeout }, &mut over);
        IS_OVER.store(depots.period.is_some(), Relaxed);
        result
    };
    chill(over);
    result
}

/// Takes the warmest stack of this shape, or makes a new one. Moves up to `more` further stacks to `out`.
///
/// # Errors
///
/// [`StackError::Map`] or [`StackError::Guard`] if a new stack is needed and the system refuses it.
pub(super) fn take(shape: Shape, more: usize, out: &mut Vec<Slot>) -> Result<Slot, StackError> {
    let mut depots = lock(&DEPOTS);
    let depot = depots.of(shape);
    if depot.warm.is_empty() && depot.cold.is_empty() {
        let live = depots.count_live();
        let depot = depots.of(shape);
        depot.fresh.carve(&mut depot.cold, live)?;
    }
    Ok(depots.of(shape).take(more, out))
}

/// Puts unused stacks into their depots. Without a run, stacks over the limit lose their memory.
pub(super) fn store(slots: &[Slot]) {
    // One batch, except for the stacks of a thread that ends.
    for batch in slots.chunk_by(|one, other| one.shape() == other.shape()) {
        let bytes = batch[0].resident() * batch.len();
        with_depots(|depots, rules, over| depots.add(batch, bytes, rules, over));
    }
}

/// Returns the memory of these stacks to the system and puts them into their depots as cold stacks.
pub(super) fn chill(mut slots: Vec<Slot>) {
    if !slots.is_empty() {
        // SAFETY: the slots are from dropped `Stack`s, whose users have ended, and were removed from their free lists.
        unsafe { arena::return_memory(&mut slots) };
        let mut depots = lock(&DEPOTS);
        slots.iter().for_each(|slot| depots.of(slot.shape()).cold.push(*slot));
    }
}

/// Moves all warm stacks to `out`.
pub(super) fn remove_warm(out: &mut Vec<Slot>) {
    with_depots(|depots, rules, _| depots.remove_excess(Rules { limit: 0, ..rules }, out));
}

/// Counts a worker, whose event loop calls [`shrink_idle`] until [`leave_run`].
pub(crate) fn enter_run() {
    with_depots(|_, _, _| WORKERS.fetch_add(1, Relaxed));
}

/// Ends what [`enter_run`] began. After the last worker, no stack over the limit keeps its memory.
pub(crate) fn leave_run() {
    with_depots(|depots, rules, over| {
        if WORKERS.fetch_sub(1, Relaxed) == 1 {
            depots.remove_excess(rules, over);
        }
    });
}

/// Returns memory over the limits that was not used for a period. Returns the time of the next call: `None` if none is needed. Called by
/// event loops, between turns and before they sleep.
#[inline]
pub(crate) fn shrink_idle() -> Option<Instant> {
    if IS_OVER.load(Relaxed) { shrink_now() } else { None }
}

#[cold]
#[inline(never)]
fn shrink_now() -> Option<Instant> {
    with_depots(|depots, rules, idle| depots.remove_idle(rules, Instant::now(), idle))
}

/// The numbers of stacks in the stack pool, returned by [`stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Stacks in use, including leaked stacks and stacks whose memory is being returned to the system at this moment.
    pub live: usize,
    /// Unused stacks that may have the memory of their last use, including the local caches of all threads.
    pub warm: usize,
    /// About how much memory these stacks have, in bytes, without the local caches.
    pub warm_bytes: usize,
    /// Unused stacks without memory: address space only.
    pub cold: usize,
    /// Mappings that contain the stacks. With guards by `mprotect` the system counts two more mappings for every stack.
    pub slabs: usize,
    /// The kind of the next guard.
    pub guard: GuardKind,
}

/// Returns the numbers of live, warm and cold stacks of the process. They are exact while no other thread creates or
/// ends a coroutine or task.
///
/// ```
/// let g = cede::Generator::new(|y: &cede::Yielder<u32>| { y.yield_(1); });
/// assert!(cede::stack::stats().live >= 1);
/// drop(g);
/// ```
pub fn stats() -> Stats {
    let depots = lock(&DEPOTS);
    let idle: usize = lock(&MEMBERS).iter().map(|idle| idle.load(Relaxed)).sum();
    Stats {
        live: depots.count_live(),
        warm: idle + depots.all.iter().map(|depot| depot.warm.len()).sum::<usize>(),
        warm_bytes: depots.all.iter().map(|depot| depot.warm_bytes).sum(),
        cold: depots.all.iter().map(|depot| depot.cold.len()).sum(),
        slabs: arena::slab_count(),
        guard: arena::guard_kind(),
    }
}

/// Returns the limit of the stack pool: the number of bytes that the unused stacks of each size keep permanently for their next users.
///
/// The default is 1,024 pages, which is 4 MiB if a page has 4 KiB. Only memory counts, not address space: a stack that has touched one page
/// counts as one page. The pool looks at one stack of each batch that a thread returns, and counts the rest of the batch as equal.
///
/// In addition, each thread keeps up to 32 stacks of each size, fewer if they are larger than 512 KiB.
/// While a run is alive, memory over the limit is kept until it is idle: see [`set_pool_idle_timeout`].
#[inline]
pub fn pool_limit() -> usize {
    match LIMIT.load(Relaxed) {
        usize::MAX => DEFAULT_LIMIT_PAGES * page_size(),
        limit => limit,
    }
}

/// Sets the limit of the stack pool in bytes, for each size of stacks, and returns the memory of unused stacks over the limit to the system.
///
/// With a limit of 0 every stack loses its memory when its coroutine ends, which costs a system call each time.
///
/// ```
/// cede::stack::set_pool_limit(64 << 20);
/// assert_eq!(cede::stack::pool_limit(), 64 << 20);
/// ```
pub fn set_pool_limit(bytes: usize) {
    LIMIT.store(bytes.min(usize::MAX - 1), Relaxed);
    LOCAL_MOST.store(LOCAL_CACHE_MOST.min(bytes / page_size()), Relaxed);
    with_depots(|depots, rules, over| depots.remove_excess(rules, over));
}

/// Returns the idle timeout of the stack pool, set by [`set_pool_idle_timeout`]. The default is one second.
pub fn pool_idle_timeout() -> Duration {
    match IDLE_TIMEOUT.load(Relaxed) {
        u64::MAX => Duration::MAX,
        nanos => Duration::from_nanos(nanos),
    }
}

/// Sets how long the stack pool keeps memory over [`pool_limit`] that is not used.
///
/// A burst of many tasks needs many stacks. While a run is alive, the pool keeps their memory when the tasks have ended, so the next burst
/// costs no page faults. The memory that no task has used for `timeout` is returned to the system, at the latest after twice that time:
/// by the event loops, in small parts, and at once when the last run of the process ends. With [`Duration::ZERO`] nothing over the limit is
/// kept, with [`Duration::MAX`] all of it until the last run ends. [`trim`](super::trim) returns all memory at any time.
///
/// ```
/// use std::time::Duration;
///
/// cede::stack::set_pool_idle_timeout(Duration::from_secs(10));
/// assert_eq!(cede::stack::pool_idle_timeout(), Duration::from_secs(10));
/// ```
pub fn set_pool_idle_timeout(timeout: Duration) {
    IDLE_TIMEOUT.store(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    if timeout.is_zero() {
        with_depots(|depots, rules, over| depots.remove_excess(rules, over));
    }
}

#[cfg(test)]
#[path = "depot_tests.rs"]
mod tests;
