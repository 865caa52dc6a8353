//! The stack pool: free lists of unused stacks. The warmest stack, which was used last, is reused first.
//!
//! The pool has three levels:
//!
//! 1. Each thread has a local cache, a small free list per shape, so creating and ending a coroutine takes no lock.
//! 2. All threads share one depot per shape. Up to the cap its stacks are warm: their memory is kept. Beyond the cap
//!    they are cold: their memory is returned to the system, and only the address space stays.
//! 3. If both are empty, the arena makes new stacks.
//!
//! [`trim`] and [`set_pool_cap`] shrink the pool.

use super::arena::{self, FreshSlots, Kind, Slot};
use super::error::StackError;
use super::guard::GuardKind;
use super::overflow::{self, AlternateStack};
use super::shape::Shape;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The largest number of unused stacks of one shape in a thread's local cache.
const LOCAL_CACHE_MOST: usize = 32;
/// The largest number of stacks that a thread moves from the depot to its local cache when the cache is empty.
const REFILL: usize = 16;

/// The exclusive right to use a stack. Dropping it returns the stack to the pool. A leaked `Stack` is never reused, so
/// other code may keep borrowing from it.
pub(crate) struct Stack {
    slot: Slot,
}

impl Stack {
    /// Takes the warmest unused stack of this shape, or makes a new one.
    ///
    /// # Errors
    ///
    /// [`StackError::Map`] or [`StackError::Guard`] if a new stack is needed and the system refuses it.
    #[inline(always)]
    pub(crate) fn acquire(
        shape: Shape,
        kind: Kind,
        name: Option<Cow<'static, str>>,
        clear: bool,
    ) -> Result<Stack, StackError> {
        let depot = || acquire_from_depot(shape, kind).map(|slot| Stack { slot });
        let stack = Stack::acquire_cached(shape, kind).map_or_else(depot, Ok)?;
        if clear || name.is_some() {
            stack.slot.describe(name, clear);
        }
        Ok(stack)
    }

    /// Takes the warmest unused stack of this shape from the thread's local cache, if there is one.
    #[inline(always)]
    pub(crate) fn acquire_cached(shape: Shape, kind: Kind) -> Option<Stack> {
        // First the stack that was returned last: the case of code that makes one body after another.
        let last = LOCAL.try_with(|local| local.take_last(shape, kind)).ok().flatten();
        last.or_else(|| take_local(shape, kind)).map(|slot| Stack { slot })
    }

    #[inline]
    pub(crate) fn top(&self) -> usize {
        self.slot.top()
    }

    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.slot.limit()
    }

    /// Returns a stack to the pool whose `Stack` was forgotten.
    ///
    /// # Safety
    ///
    /// The `Stack` of this slot was forgotten, once for each call, and its user has ended.
    #[inline(never)]
    pub(crate) unsafe fn free(slot: Slot) {
        if slot.clear_tag() {
            // SAFETY: the caller has the right to use the slot, and its user has ended.
            unsafe { clear(slot) };
        }
        if LOCAL.try_with(|local| local.take_back(slot)).is_err() {
            store_one(slot);
        }
    }

    /// Returns the slot, which names the stack without the right to use it.
    #[inline]
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }
}

impl Drop for Stack {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this `Stack` was the right to use the slot, and its user has ended. Nothing uses it after its drop.
        unsafe { Stack::free(self.slot) };
    }
}

/// Fills the memory of a stack with zeros.
///
/// # Safety
///
/// The stack is unused, and nothing points into it.
#[cold]
#[inline(never)]
unsafe fn clear(slot: Slot) {
    // SAFETY: as the caller promises.
    unsafe {
        if !arena::return_memory(&mut [slot]) {
            slot.fill_with_zeros();
        }
    }
}

#[cold]
#[inline(never)]
fn store_one(slot: Slot) {
    store(&mut vec![slot]);
}

/// Returns false if this thread is destroying its thread-locals, as far as this module can see: its own thread-local
/// was created with the thread's first stack, and is destroyed before thread-locals that were created earlier.
pub(crate) fn thread_is_alive() -> bool {
    LOCAL.try_with(|_| ()).is_ok()
}

thread_local! {
    static LOCAL: Local = const {
        Local { last: Cell::new(None), caches: RefCell::new(Vec::new()), idle: Cell::new(None), member: Cell::new(None), held: Cell::new(0) }
    };
}

/// The state of the pool in one thread: its unused stacks and counts.
struct Local {
    /// The stack that was returned last, of any shape, if it was not taken since: a cache in front of the caches.
    last: Cell<Option<Slot>>,
    caches: RefCell<Vec<LocalCache>>,
    /// The number of unused stacks here. Set when the thread takes its first stack, and kept until the thread ends.
    idle: Cell<Option<&'static AtomicUsize>>,
    member: Cell<Option<Membership>>,
    /// The number of stacks that this thread took from the depot, minus the number that it put there. A stack that is not idle is in use.
    held: Cell<usize>,
}

/// A thread's free list of one shape. The warmest stack is last.
struct LocalCache {
    shape: Shape,
    free: Vec<Slot>,
}

/// The registration of a thread: its count of unused stacks, which other threads read, and its alternate signal stack,
/// which is freed when the thread ends.
struct Membership {
    idle: Arc<AtomicUsize>,
    _signals: Option<AlternateStack>,
}

/// Takes a stack from the thread's local cache.
#[inline(never)]
fn take_local(shape: Shape, kind: Kind) -> Option<Slot> {
    LOCAL.try_with(|local| local.take(shape, kind)).ok().flatten()
}

impl Local {
    #[inline(always)]
    fn take_last(&self, shape: Shape, kind: Kind) -> Option<Slot> {
        let slot = self.last.get().filter(|slot| slot.shape() == shape)?;
        self.last.set(None);
        slot.set_tag(kind, self.identity());
        self.count(-1);
        Some(slot)
    }

    #[inline(always)]
    fn take(&self, shape: Shape, kind: Kind) -> Option<Slot> {
        let mut caches = self.caches.borrow_mut();
        let slot = caches.iter_mut().find(|cache| cache.shape == shape)?.free.pop()?;
        slot.set_tag(kind, self.identity());
        self.count(-1);
        Some(slot)
    }

    /// Returns an address that is unique among live threads.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Keeps a stack for the next user.
    #[inline]
    fn take_back(&self, slot: Slot) {
        if pool_cap() == 0 {
            return self.put_into_depot(slot);
        }
        self.count(1);
        if let Some(former) = self.last.replace(Some(slot)) {
            self.put(former);
        }
    }

    /// Puts the stack that was returned before the last one into its cache.
    #[inline(never)]
    fn put(&self, slot: Slot) {
        let mut caches = self.caches.borrow_mut();
        match caches.iter_mut().find(|cache| cache.shape == slot.shape()) {
            // The last stack counts, too.
            Some(cache) if cache.free.len() + 1 < LOCAL_CACHE_MOST.min(pool_cap()) => cache.free.push(slot),
            _ => {
                drop(caches);
                self.count(-1);
                self.put_into_depot(slot);
            }
        }
    }

    /// Puts a stack into the depot, and with it the colder half of the local cache, which is full.
    #[cold]
    #[inline(never)]
    fn put_into_depot(&self, slot: Slot) {
        let mut caches = self.caches.borrow_mut();
        let cache = caches.iter_mut().find(|cache| cache.shape == slot.shape());
        let mut extra = cache.map_or(Vec::new(), |cache| {
            let most = cache.free.len();
            cache.free.drain(..most.div_ceil(2)).collect()
        });
        self.count(-(extra.len() as isize));
        extra.push(slot);
        drop(caches);
        self.hold(-(extra.len() as isize));
        store(&mut extra);
    }

    #[inline]
    fn count(&self, change: isize) {
        if let Some(idle) = self.idle.get() {
            // Only this thread writes the count, so no atomic read-modify-write is needed.
            idle.store(idle.load(Relaxed).wrapping_add_signed(change), Relaxed);
        }
    }

    fn hold(&self, change: isize) {
        self.held.set(self.held.get().wrapping_add_signed(change));
    }

    /// Removes all stacks from the caches.
    fn empty(&self) -> Vec<Slot> {
        let mut all: Vec<Slot> = self.caches.borrow_mut().iter_mut().flat_map(|cache| cache.free.drain(..)).collect();
        all.extend(self.last.take());
        self.count(-(all.len() as isize));
        self.hold(-(all.len() as isize));
        all
    }

    /// Registers the thread, when it takes its first stack.
    fn join(&self) {
        if self.idle.get().is_none() {
            let idle = Arc::new(AtomicUsize::new(0));
            lock(&MEMBERS).push(Arc::clone(&idle));
            // SAFETY: `member` keeps the count alive until `drop`, which removes this reference first.
            self.idle.set(Some(unsafe { &*Arc::as_ptr(&idle) }));
            self.member.set(Some(Membership { idle, _signals: overflow::prepare_thread() }));
        }
    }
}

/// The value of the registered byte of a stack after the thread that took the stack has ended.
pub(crate) const THREAD_ENDED: u8 = 0xed;

impl Drop for Local {
    fn drop(&mut self) {
        // A stack of this thread that is not idle is in use.
        if self.idle.get().is_some_and(|idle| self.held.get() != idle.load(Relaxed)) {
            arena::write_thread_end(self.identity(), THREAD_ENDED);
        }
        store(&mut self.empty());
        self.idle.set(None);
        if let Some(member) = self.member.take() {
            lock(&MEMBERS).retain(|idle| !Arc::ptr_eq(idle, &member.idle));
        }
    }
}

/// The unused stacks of one shape that are in no thread's local cache.
struct Depot {
    fresh: FreshSlots,
    /// The free list of stacks with the memory of their last use. The warmest stack is last.
    warm: Vec<Slot>,
    /// The free list of stacks without memory.
    cold: Vec<Slot>,
}

static DEPOTS: Mutex<Vec<Depot>> = Mutex::new(Vec::new());
static MEMBERS: Mutex<Vec<Arc<AtomicUsize>>> = Mutex::new(Vec::new());
static CAP: AtomicUsize = AtomicUsize::new(1024);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Poisoning is ignored: no code panics between two steps of a change, so the lists are consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a stack from the depot, and fills the thread's local cache.
#[cold]
#[inline(never)]
fn acquire_from_depot(shape: Shape, kind: Kind) -> Result<Slot, StackError> {
    let slot = take_from_depot(shape)?;
    slot.set_tag(kind, LOCAL.try_with(Local::identity).unwrap_or(0));
    let _ = LOCAL.try_with(|local| local.hold(1));
    Ok(slot)
}

fn take_from_depot(shape: Shape) -> Result<Slot, StackError> {
    overflow::install();
    let _ = LOCAL.try_with(Local::join);
    let mut depots = lock(&DEPOTS);
    let live = count_live(&depots);
    let depot = match depots.iter().position(|depot| depot.fresh.shape() == shape) {
        Some(at) => &mut depots[at],
        None => {
            depots.push(Depot { fresh: FreshSlots::new(shape), warm: Vec::new(), cold: Vec::new() });
            depots.last_mut().expect("just pushed")
        }
    };
    let Depot { fresh, warm, cold } = depot;
    if warm.is_empty() && cold.is_empty() {
        fresh.carve(cold, live)?;
    }
    let from = if warm.is_empty() { cold } else { warm };
    let slot = from.pop().expect("one of the two has a stack");
    let more = REFILL.min(LOCAL_CACHE_MOST.min(pool_cap())).min(from.len());
    let _ = LOCAL.try_with(|local| {
        let mut caches = local.caches.borrow_mut();
        let cache = match caches.iter().position(|cache| cache.shape == shape) {
            Some(at) => &mut caches[at],
            None => {
                caches.push(LocalCache { shape, free: Vec::with_capacity(LOCAL_CACHE_MOST) });
                caches.last_mut().expect("just pushed")
            }
        };
        cache.free.extend(from.drain(from.len() - more..));
        local.count(more as isize);
        local.hold(more as isize);
    });
    Ok(slot)
}

/// Puts unused stacks into their depots. Stacks over the cap lose their memory.
fn store(slots: &mut Vec<Slot>) {
    let mut depots = lock(&DEPOTS);
    let room = pool_cap().saturating_sub(depots.iter().map(|depot| depot.warm.len()).sum());
    // The warmest stacks are at the end of the list, so the stacks over the cap are at its start.
    let over = slots.len().saturating_sub(room);
    for slot in slots.drain(over..) {
        depot_of(&mut depots, slot).warm.push(slot);
    }
    drop(depots);
    chill(slots);
}

/// Returns the memory of these stacks to the system and puts them into their depots as cold stacks.
fn chill(slots: &mut Vec<Slot>) {
    if !slots.is_empty() {
        // SAFETY: the slots are from dropped `Stack`s, whose users have ended, and were removed from their free lists.
        unsafe { arena::return_memory(slots) };
        let mut depots = lock(&DEPOTS);
        for slot in slots.drain(..) {
            depot_of(&mut depots, slot).cold.push(slot);
        }
    }
}

fn depot_of(depots: &mut [Depot], slot: Slot) -> &mut Depot {
    let depot = depots.iter_mut().find(|depot| depot.fresh.shape() == slot.shape());
    depot.expect("the depot that made the stack is never removed")
}

fn count_live(depots: &[Depot]) -> usize {
    let idle: usize = lock(&MEMBERS).iter().map(|idle| idle.load(Relaxed)).sum();
    let stored: usize = depots.iter().map(|depot| depot.warm.len() + depot.cold.len()).sum();
    let made: usize = depots.iter().map(|depot| depot.fresh.made()).sum();
    // Other threads take and return stacks at the same time, so the difference may be below zero for a moment.
    made.saturating_sub(idle + stored)
}

/// The numbers of stacks in the stack pool, returned by [`stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Stacks in use, including leaked stacks and stacks whose memory is being returned to the system at this moment.
    pub live: usize,
    /// Unused stacks that may have the memory of their last use, including the local caches of all threads.
    pub warm: usize,
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
        live: count_live(&depots),
        warm: idle + depots.iter().map(|depot| depot.warm.len()).sum::<usize>(),
        cold: depots.iter().map(|depot| depot.cold.len()).sum(),
        slabs: arena::slab_count(),
        guard: arena::guard_kind(),
    }
}

/// Returns the cap of the stack pool: the largest number of unused stacks, of all shapes together, that keep their
/// memory for the next user.
///
/// The default is 1,024. In addition, each thread keeps up to 32 stacks of each shape.
#[inline]
pub fn pool_cap() -> usize {
    CAP.load(Relaxed)
}

/// Sets the cap of the stack pool, and returns the memory of unused stacks beyond the cap to the system.
///
/// With a cap of 0 every stack loses its memory when its coroutine ends, which costs a system call each time.
///
/// ```
/// cede::stack::set_pool_cap(64);
/// assert_eq!(cede::stack::pool_cap(), 64);
/// ```
pub fn set_pool_cap(stacks: usize) {
    CAP.store(stacks, Relaxed);
    let mut over = Vec::new();
    {
        let mut depots = lock(&DEPOTS);
        let mut excess = depots.iter().map(|depot| depot.warm.len()).sum::<usize>().saturating_sub(stacks);
        for depot in depots.iter_mut() {
            let most = excess.min(depot.warm.len());
            over.extend(depot.warm.drain(..most));
            excess -= most;
        }
    }
    chill(&mut over);
}

/// Shrinks the stack pool: returns the memory of all unused stacks to the system, except the stacks in the local caches
/// of other threads (up to 32 of each shape per thread). Returns the number of stacks; some of them may have had no
/// memory.
///
/// The address space stays mapped, for the next burst.
///
/// ```
/// cede::stack::trim();
/// ```
pub fn trim() -> usize {
    let mut all = LOCAL.try_with(Local::empty).unwrap_or_default();
    for depot in lock(&DEPOTS).iter_mut() {
        all.append(&mut depot.warm);
    }
    let count = all.len();
    chill(&mut all);
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// The end of a thread writes into the stacks of its suspended bodies. The previous user of a reused stack has
    /// ended, so nothing may be written for that user.
    #[test]
    fn thread_end_is_not_written_for_the_previous_user() {
        let words: &'static [AtomicU8; 2] = Box::leak(Box::default());
        let register = |user: &Stack, word: &'static AtomicU8| {
            // SAFETY: the word is never freed, and this thread took the stack.
            unsafe { user.slot().write_at_thread_end(word.as_ptr()) };
        };
        let users = std::thread::spawn(move || {
            let take = |kind| Stack::acquire(Shape::default_shape(), kind, None, false).unwrap();
            let suspended = take(Kind::Generator);
            register(&suspended, &words[0]);
            let ended = take(Kind::Generator);
            register(&ended, &words[1]);
            let place = ended.limit();
            drop(ended);
            let next = take(Kind::Task);
            assert_eq!(next.limit(), place, "the stack that was returned last is reused first");
            std::mem::forget((suspended, next));
        });
        users.join().unwrap();
        assert_eq!(words.each_ref().map(|word| word.load(Ordering::Relaxed)), [THREAD_ENDED, 0]);
    }
}
