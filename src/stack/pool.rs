//! The pool: stacks that were used go to the next one who asks, the warmest first.
//!
//! Three levels. Each thread keeps a few stacks to itself, so that making and ending a coroutine takes no lock. Behind
//! them is one depot for each shape, shared by all threads: up to the cap its stacks stay warm (their memory is kept),
//! beyond it the memory goes back to the system and only the address space stays. Behind that, new ones are made.

use super::arena::{self, FreshSlots, Kind, Slot};
use super::overflow::{self, AlternateStack};
use super::{GuardKind, Shape, StackError};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many unused stacks of one shape a thread keeps to itself.
const LOCAL_CACHE_MOST: usize = 32;
/// How many a thread takes from the depot when it has none.
const REFILL: usize = 16;

/// A stack with the right to use it. Dropping it makes it the next one's; one that is forgotten is never used again, which
/// is what makes borrowing from it safe.
pub(crate) struct Stack {
    slot: Slot,
}

impl Stack {
    /// The warmest unused stack of this shape, or a new one.
    #[inline]
    pub(crate) fn acquire(
        shape: Shape,
        kind: Kind,
        name: Option<Cow<'static, str>>,
        clear: bool,
    ) -> Result<Stack, StackError> {
        let (slot, owner) = match LOCAL.try_with(|local| (local.take(shape), local.identity())) {
            Ok((Some(slot), owner)) => (slot, owner),
            Ok((None, owner)) => (acquire_from_depot(shape)?, owner),
            Err(_) => (acquire_from_depot(shape)?, 0),
        };
        slot.set_tag(kind, name, clear, owner);
        let _ = LOCAL.try_with(|local| local.in_use.set(local.in_use.get() + 1));
        Ok(Stack { slot })
    }

    #[inline]
    pub(crate) fn top(&self) -> usize {
        self.slot.top()
    }

    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.slot.limit()
    }

    /// The place, without the right to use it.
    #[inline]
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }
}

impl Drop for Stack {
    #[inline]
    fn drop(&mut self) {
        let slot = self.slot;
        if slot.clear_tag() {
            // SAFETY: the user has ended.
            unsafe {
                if !arena::return_memory(&mut [slot]) {
                    slot.fill_with_zeros();
                }
            }
        }
        if LOCAL.try_with(|local| local.take_back(slot)).is_err() {
            store(&mut vec![slot]);
        }
    }
}

/// Whether this thread's thread-locals still stand, as far as can be told: the one of this module was made when the thread
/// made its first stack, and goes down before those that were made earlier.
pub(crate) fn thread_is_alive() -> bool {
    LOCAL.try_with(|_| ()).is_ok()
}

thread_local! {
    static LOCAL: Local = const { Local { caches: RefCell::new(Vec::new()), idle: Cell::new(None), in_use: Cell::new(0) } };
}

/// A thread's own unused stacks.
struct Local {
    caches: RefCell<Vec<LocalCache>>,
    /// Set with the first stack, and then for the life of the thread.
    idle: Cell<Option<&'static Membership>>,
    /// How many stacks this thread has taken and not given back.
    in_use: Cell<usize>,
}

struct LocalCache {
    shape: Shape,
    free: Vec<Slot>,
}

/// What a thread owes to the process: its count of idle stacks is public, and its alternate signal stack ends with it.
struct Membership {
    idle: Arc<AtomicUsize>,
    _signals: Option<AlternateStack>,
}

impl Local {
    #[inline]
    fn take(&self, shape: Shape) -> Option<Slot> {
        let mut caches = self.caches.borrow_mut();
        let slot = caches.iter_mut().find(|cache| cache.shape == shape)?.free.pop()?;
        self.count(-1);
        Some(slot)
    }

    /// Something that lies at one address for each living thread.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    #[inline]
    fn take_back(&self, slot: Slot) {
        self.in_use.set(self.in_use.get() - 1);
        self.put(slot);
    }

    #[inline]
    fn put(&self, slot: Slot) {
        let mut caches = self.caches.borrow_mut();
        match caches.iter_mut().find(|cache| cache.shape == slot.shape()) {
            Some(cache) if cache.free.len() < LOCAL_CACHE_MOST.min(pool_cap()) => {
                cache.free.push(slot);
                self.count(1);
            }
            cache => {
                // The coldest go to the depot.
                let mut extra = cache.map_or(Vec::new(), |cache| {
                    let most = cache.free.len();
                    cache.free.drain(..most.div_ceil(2)).collect()
                });
                self.count(-(extra.len() as isize));
                extra.push(slot);
                drop(caches);
                store(&mut extra);
            }
        }
    }

    #[inline]
    fn count(&self, change: isize) {
        if let Some(member) = self.idle.get() {
            // Only this thread writes, so this need not be one indivisible step.
            member.idle.store(member.idle.load(Relaxed).wrapping_add_signed(change), Relaxed);
        }
    }

    /// Takes all stacks off the caches.
    fn empty(&self) -> Vec<Slot> {
        let all: Vec<Slot> = self.caches.borrow_mut().iter_mut().flat_map(|cache| cache.free.drain(..)).collect();
        self.count(-(all.len() as isize));
        all
    }

    /// Makes the thread a member with its first stack.
    fn join(&self) {
        if self.idle.get().is_none() {
            let idle = Arc::new(AtomicUsize::new(0));
            lock(&MEMBERS).push(Arc::clone(&idle));
            let member = Membership { idle, _signals: overflow::prepare_thread() };
            self.idle.set(Some(Box::leak(Box::new(member))));
        }
    }
}

/// What is written where somebody asked to be told that the thread ends.
pub(crate) const THREAD_ENDED: u8 = 0xed;

impl Drop for Local {
    fn drop(&mut self) {
        if self.in_use.get() > 0 {
            arena::tell_thread_end(self.identity(), THREAD_ENDED);
        }
        store(&mut self.empty());
        if let Some(member) = self.idle.take() {
            // SAFETY: `join` leaked it for this thread, whose last use of it this is.
            let member = unsafe { Box::from_raw(std::ptr::from_ref(member).cast_mut()) };
            lock(&MEMBERS).retain(|idle| !Arc::ptr_eq(idle, &member.idle));
        }
    }
}

/// The stacks of one shape that no thread keeps to itself.
struct Depot {
    fresh: FreshSlots,
    /// With memory from their last use.
    warm: Vec<Slot>,
    /// Without memory.
    cold: Vec<Slot>,
}

static DEPOTS: Mutex<Vec<Depot>> = Mutex::new(Vec::new());
static MEMBERS: Mutex<Vec<Arc<AtomicUsize>>> = Mutex::new(Vec::new());
static CAP: AtomicUsize = AtomicUsize::new(1024);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics half-way, and a list of stacks is as good as it was.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cold]
fn acquire_from_depot(shape: Shape) -> Result<Slot, StackError> {
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
    });
    Ok(slot)
}

/// Puts unused stacks into their depots; what is over the cap loses its memory.
fn store(slots: &mut Vec<Slot>) {
    let mut depots = lock(&DEPOTS);
    let room = pool_cap().saturating_sub(depots.iter().map(|depot| depot.warm.len()).sum());
    // The end of the list is the warmest.
    let over = slots.len().saturating_sub(room);
    for slot in slots.drain(over..) {
        depot_of(&mut depots, slot).warm.push(slot);
    }
    drop(depots);
    chill(slots);
}

/// Returns the memory of these stacks and puts them away.
fn chill(slots: &mut Vec<Slot>) {
    if !slots.is_empty() {
        // SAFETY: whoever hands stacks to the pool has ended.
        unsafe { arena::return_memory(slots) };
        let mut depots = lock(&DEPOTS);
        for slot in slots.drain(..) {
            depot_of(&mut depots, slot).cold.push(slot);
        }
    }
}

fn depot_of(depots: &mut [Depot], slot: Slot) -> &mut Depot {
    let depot = depots.iter_mut().find(|depot| depot.fresh.shape() == slot.shape());
    depot.expect("the depot that made the stack stays for ever")
}

fn count_live(depots: &[Depot]) -> usize {
    let idle: usize = lock(&MEMBERS).iter().map(|idle| idle.load(Relaxed)).sum();
    let stored: usize = depots.iter().map(|depot| depot.warm.len() + depot.cold.len()).sum();
    let made: usize = depots.iter().map(|depot| depot.fresh.made()).sum();
    // Other threads take and put meanwhile; a difference below zero is such a moment.
    made.saturating_sub(idle + stored)
}

/// What the pool of stacks holds: see [`stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Stacks in use: those that were leaked included, and those whose memory is being given back at this moment.
    pub live: usize,
    /// Unused stacks that may keep the memory of their last use, with those that a thread holds ready for its next use.
    pub warm: usize,
    /// Unused stacks without memory: address space only.
    pub cold: usize,
    /// Mappings that hold the stacks. With guards by `mprotect` the system counts two more for every stack.
    pub slabs: usize,
    /// How the next guard will be made.
    pub guard: GuardKind,
}

/// Counts the stacks of the process. Exact while no other thread makes or ends a coroutine.
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

/// How many unused stacks keep their memory for the next user, all shapes together. 1,024 unless set; each thread keeps
/// up to 32 of each shape beside them.
pub fn pool_cap() -> usize {
    CAP.load(Relaxed)
}

/// Sets how many unused stacks keep their memory, and returns the memory of those beyond it.
///
/// With 0 every stack loses its memory when its coroutine ends, which costs a system call each time.
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

/// Gives the memory of all unused stacks back to the system, except those that other threads keep to themselves (up to 32
/// of each shape a thread). Returns how many stacks that was; some of them may not have had any.
///
/// The address space stays, for the next burst.
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
