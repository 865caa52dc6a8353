//! The stack pool: free lists of unused stacks. The warmest stack, which was used last, is reused first.
//!
//! The pool has three levels:
//!
//! 1. Each thread has a local cache, a small free list per shape, so creating and ending a coroutine takes no lock.
//! 2. All threads share one depot per shape (`depot`). Its stacks are warm, with the memory of their last use, or cold: their memory is
//!    returned to the system, and only the address space stays.
//! 3. If both are empty, the arena makes new stacks.
//!
//! [`trim`], [`set_pool_limit`](super::set_pool_limit) and [`set_pool_idle_timeout`](super::set_pool_idle_timeout) shrink the pool.

use super::arena::{self, Kind, Slot};
use super::depot;
use super::error::StackError;
use super::overflow::{self, AlternateStack};
use super::shape::Shape;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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
        // First the stack that was returned last: the case of code that makes one body after another.
        let last = LOCAL.try_with(|local| local.take_last(shape, kind)).ok().flatten();
        let slot = match last.or_else(|| take_local(shape, kind)) {
            Some(slot) => slot,
            None => acquire_from_depot(shape, kind)?,
        };
        if clear || name.is_some() {
            slot.describe(name, clear);
        }
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
    depot::store(&[slot]);
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
    /// The largest number of stacks, with the last one.
    most: usize,
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
        if depot::local_most() == 0 {
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
            Some(cache) if cache.free.len() + 1 < cache.most.min(depot::local_most()) => cache.free.push(slot),
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
        depot::store(&extra);
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

    /// Adds stacks from the depot, of which one more was taken.
    fn fill(&self, shape: Shape, slots: &[Slot]) {
        let mut caches = self.caches.borrow_mut();
        let cache = match caches.iter().position(|cache| cache.shape == shape) {
            Some(at) => &mut caches[at],
            None => {
                let most = depot::local_most_of(shape);
                caches.push(LocalCache { shape, most, free: Vec::with_capacity(most) });
                caches.last_mut().expect("just pushed")
            }
        };
        cache.free.extend(slots);
        self.count(slots.len() as isize);
        self.hold(slots.len() as isize + 1);
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
            depot::add_member(Arc::clone(&idle));
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
        depot::store(&self.empty());
        self.idle.set(None);
        if let Some(member) = self.member.take() {
            depot::remove_member(&member.idle);
        }
    }
}

/// Takes a stack from the depot, and fills the thread's local cache.
#[cold]
#[inline(never)]
fn acquire_from_depot(shape: Shape, kind: Kind) -> Result<Slot, StackError> {
    overflow::install();
    let _ = LOCAL.try_with(Local::join);
    let mut more = Vec::new();
    let slot = depot::take(shape, REFILL.min(depot::local_most_of(shape) / 2), &mut more)?;
    slot.set_tag(kind, LOCAL.try_with(Local::identity).unwrap_or(0));
    if LOCAL.try_with(|local| local.fill(shape, &more)).is_err() {
        depot::store(&more);
    }
    Ok(slot)
}

/// Shrinks the stack pool: returns the memory of all unused stacks to the system, except the stacks in the local caches
/// of other threads (up to 32 of each size per thread). Returns the number of stacks; some of them may have had no
/// memory.
///
/// The address space stays mapped, for the next burst.
///
/// ```
/// cede::stack::trim();
/// ```
pub fn trim() -> usize {
    let mut all = LOCAL.try_with(Local::empty).unwrap_or_default();
    depot::remove_warm(&mut all);
    let count = all.len();
    depot::chill(all);
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
