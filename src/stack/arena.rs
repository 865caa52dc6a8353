//! The arena: slabs of address space. A slab is one mapping that contains many stacks of one shape.
//!
//! The size of new slabs grows with the number of stacks, from 16 to 8,192. Slabs are never unmapped: a leaked stack
//! that other code borrows from must stay at its address, and an unused slab costs address space only. Therefore the
//! handler for stack overflow may search the list of slabs at any moment, without a lock.

mod memory;
mod region;

pub(crate) use self::memory::return_memory;
pub(crate) use self::region::Region;
use super::error::{Limit, StackError};
use super::guard::{self, GuardKind};
use super::shape::Shape;
use crate::arch::valgrind;
use memmap2::{Advice, MmapMut, MmapOptions};
use std::borrow::Cow;
use std::io;
use std::mem::offset_of;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// The kind of code that runs on a stack, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Coroutine,
    Generator,
    Sink,
    Task,
    /// The event loop of a run, which is not a task.
    EventLoop,
    Fiber,
}

impl Kind {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Kind::Coroutine => "coroutine",
            Kind::Generator => "generator",
            Kind::Sink => "sink",
            Kind::Task => "task",
            Kind::EventLoop => "event loop",
            Kind::Fiber => "fiber",
        }
    }

    fn from_u8(kind: u8) -> Kind {
        [Kind::Coroutine, Kind::Generator, Kind::Sink, Kind::Task, Kind::EventLoop, Kind::Fiber][usize::from(kind)]
    }
}

/// The description of a slot's user: a coroutine, a task or an event loop. Written by the owner of the stack. Read by
/// the owner, by signal handlers on the thread that runs on the stack, and (only `owner`) by other threads when they
/// end.
struct Tag {
    name: AtomicPtr<u8>,
    len: AtomicU32,
    kind: AtomicU8,
    /// The work to do when the user has ended, as a set of the constants below. 0 for most users, so one check is
    /// enough.
    duties: AtomicU8,
    /// The thread that took the stack, identified by an address that is unique among live threads. 0 for none.
    owner: AtomicUsize,
    /// The byte to write when the thread of the user ends. Null if the user has not registered one.
    exit_byte: AtomicPtr<u8>,
}

/// The tag has a name, which must be removed.
const NAMED: u8 = 1;
/// The name is a `Box<str>` that the tag owns.
const OWNED: u8 = 2;
/// The memory must be returned to the system, so that the next user finds zeros.
const CLEAR: u8 = 4;
/// The program runs under memcheck, which must learn that the user has ended. Set when the stack is made, and never
/// cleared.
const WATCHED: u8 = 8;
/// The stack was leaked: its user will not run again and has not ended. The stack is never used again, so this is never cleared.
const LEAKED: u8 = 16;

/// A slab: one mapping with many stacks of one shape. The diagram in [`super`] shows one slot.
pub(crate) struct Slab {
    start: usize,
    /// The size of the mapping.
    bytes: usize,
    shape: Shape,
    tags: Box<[Tag]>,
    next: *mut Slab,
    /// Owns the address space. Never dropped: slabs live as long as the process.
    _map: MmapMut,
}

// SAFETY: `next` is written only before the slab is published, and points to another slab, which is never freed.
unsafe impl Send for Slab {}
// SAFETY: as for `Send`. Everything that changes after the slab is published is atomic.
unsafe impl Sync for Slab {}

/// The list of all slabs, newest first. Slabs are never removed.
static SLABS: AtomicPtr<Slab> = AtomicPtr::new(null_mut());
/// The number of slabs.
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Slab {
    /// Maps a slab of `count` slots and publishes it to the overflow handler. Its slots have no guards yet.
    fn map(shape: Shape, count: usize) -> io::Result<&'static Slab> {
        let bytes = shape.stride().checked_mul(count).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapOptions::new().len(bytes).stack().no_reserve_swap().map_anon()?;
        // A huge page would make 2 MiB resident at the first touch. Kernels without huge pages return EINVAL, which is
        // fine.
        #[cfg(target_os = "linux")]
        let _ = map.advise(Advice::NoHugePage);
        let tags = (0..count).map(|_| Tag {
            name: AtomicPtr::new(null_mut()),
            len: AtomicU32::new(0),
            kind: AtomicU8::new(0),
            duties: AtomicU8::new(0),
            owner: AtomicUsize::new(0),
            exit_byte: AtomicPtr::new(null_mut()),
        });
        let slab = Box::leak(Box::new(Slab {
            start: map.as_ptr() as usize,
            bytes,
            shape,
            tags: tags.collect(),
            next: null_mut(),
            _map: map,
        }));
        let mut head = SLABS.load(Ordering::Acquire);
        loop {
            slab.next = head;
            match SLABS.compare_exchange_weak(head, slab, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        COUNT.fetch_add(1, Ordering::Relaxed);
        Ok(slab)
    }
}

/// Returns the number of slabs.
pub(crate) fn slab_count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// A slot of a slab: one stack with its guard. A slot only names the stack; [`Stack`](super::pool::Stack) is the right
/// to use it.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    slab: &'static Slab,
    index: u32,
}

impl PartialEq for Slot {
    fn eq(&self, other: &Slot) -> bool {
        self.start() == other.start()
    }
}

impl Slot {
    /// Returns the lowest address of the slot, where its guard starts.
    fn start(self) -> usize {
        self.slab.start + self.index as usize * self.slab.shape.stride()
    }

    /// Returns the lowest usable address.
    pub(crate) fn limit(self) -> usize {
        self.start() + self.slab.shape.guard
    }

    /// Returns the first address above the usable ones. Tops are staggered by cache lines: tops at equal distances from
    /// a page would all fall into the same few cache sets (a ring of 100 stacks: 4.5 ns a switch aligned, 2.1 ns
    /// staggered).
    pub(crate) fn top(self) -> usize {
        self.start() + self.slab.shape.stride() - (self.index as usize % 32) * 64
    }

    pub(crate) fn shape(self) -> Shape {
        self.slab.shape
    }

    #[inline(always)]
    fn tag(&self) -> &'static Tag {
        debug_assert!((self.index as usize) < self.slab.tags.len());
        // SAFETY: both places that create a slot take its index from its slab: `carve` from the slots that it has made, `slot_around` from an
        // address inside the slab. A slab never shrinks.
        unsafe { self.slab.tags.get_unchecked(self.index as usize) }
    }

    /// Returns whether an address is on the stack, or in its guard.
    #[inline(always)]
    pub(crate) fn contains(self, address: usize) -> bool {
        address.wrapping_sub(self.start()) < self.slab.shape.stride()
    }

    /// Stores the kind of the stack's user and its thread.
    #[inline]
    pub(crate) fn set_tag(&self, kind: Kind, owner: usize) {
        let tag = self.tag();
        tag.kind.store(kind as u8, Ordering::Relaxed);
        tag.owner.store(owner, Ordering::Relaxed);
    }

    /// Stores the name of the stack's user, and whether the memory must be cleared afterwards.
    #[cold]
    pub(crate) fn describe(&self, name: Option<Cow<'static, str>>, clear: bool) {
        if clear {
            self.tag().duties.fetch_or(CLEAR, Ordering::Relaxed);
        }
        if let Some(name) = name {
            self.set_name(name);
        }
    }

    fn set_name(&self, name: Cow<'static, str>) {
        let tag = self.tag();
        // The length has 32 bits. A longer name is left out.
        let Ok(len) = u32::try_from(name.len()) else { return };
        let (pointer, duty) = match name {
            Cow::Borrowed(name) => (name.as_ptr().cast_mut(), NAMED),
            Cow::Owned(name) => (Box::leak(name.into_boxed_str()).as_mut_ptr(), NAMED | OWNED),
        };
        tag.len.store(len, Ordering::Relaxed);
        tag.duties.fetch_or(duty, Ordering::Relaxed);
        tag.name.store(pointer, Ordering::Release);
    }

    /// Notes that the stack is leaked with its user.
    #[cold]
    pub(crate) fn mark_leaked(&self) {
        self.tag().duties.fetch_or(LEAKED, Ordering::Relaxed);
    }

    /// Returns whether the stack was leaked.
    #[inline(always)]
    pub(crate) fn is_leaked(&self) -> bool {
        self.tag().duties.load(Ordering::Relaxed) & LEAKED != 0
    }

    /// Removes the description of a user that has ended. Returns true if the memory must be cleared for the next user.
    #[inline]
    pub(crate) fn clear_tag(&self) -> bool {
        self.tag().exit_byte.store(null_mut(), Ordering::Relaxed);
        self.tag().duties.load(Ordering::Relaxed) != 0 && self.do_duties()
    }

    #[cold]
    fn do_duties(&self) -> bool {
        let tag = self.tag();
        let duties = tag.duties.fetch_and(WATCHED, Ordering::Relaxed);
        let name = tag.name.swap(null_mut(), Ordering::AcqRel);
        if duties & OWNED != 0 {
            let len = tag.len.load(Ordering::Relaxed) as usize;
            // SAFETY: `set_name` leaked this box, and the swap took the only pointer to it. The user, whose label could
            // borrow it, has ended.
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(name, len)) });
        }
        if duties & WATCHED != 0 {
            // Memcheck has marked the memory below the last stack pointer as inaccessible. The next owner writes there
            // before anything runs on the stack.
            valgrind::mark_undefined(self.limit(), self.slab.shape.size);
        }
        duties & CLEAR != 0
    }

    /// Registers a new stack with Valgrind, permanently: slabs are never unmapped.
    #[cold]
    fn register(self) {
        // The highest address is one past the stack: without staggering a fresh stack pointer has this value, and
        // Valgrind compares inclusively. The address is in no other stack, because the next stack starts above its
        // guard.
        valgrind::register_stack(self.limit(), self.limit() + self.slab.shape.size);
        if valgrind::mark_undefined(self.limit(), 0) {
            self.tag().duties.store(WATCHED, Ordering::Relaxed);
        }
    }

    /// Returns the kind of the stack's user.
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_u8(self.tag().kind.load(Ordering::Relaxed))
    }

    /// Returns the kind and the name of the stack's user. The name lives as long as the user.
    pub(crate) fn label(&self) -> (Kind, Option<&str>) {
        let (kind, tag) = (self.kind(), self.tag());
        let name = tag.name.load(Ordering::Acquire);
        if name.is_null() {
            return (kind, None);
        }
        // SAFETY: `set_name` took pointer and length from one `str`. The `str` is static, or the tag owns it until
        // `clear_tag`, which runs after the user has ended.
        let name = unsafe { std::slice::from_raw_parts(name, tag.len.load(Ordering::Relaxed) as usize) };
        // SAFETY: the bytes are those of the `str` that `set_name` stored.
        (kind, Some(unsafe { std::str::from_utf8_unchecked(name) }))
    }
}

impl Slot {
    /// Registers a byte that [`write_thread_end`] writes when the thread that took this stack ends.
    ///
    /// # Safety
    ///
    /// The thread that took the stack may write `word` until the tag is cleared.
    #[inline]
    pub(crate) unsafe fn write_at_thread_end(&self, word: *mut u8) {
        self.tag().exit_byte.store(word, Ordering::Relaxed);
    }

    /// Returns the byte that the user of the stack registered, if any.
    pub(crate) fn exit_byte(self) -> Option<NonNull<u8>> {
        NonNull::new(self.tag().exit_byte.load(Ordering::Relaxed))
    }
}

/// Writes `value` to the registered byte of every stack that the thread `owner` took. That thread calls this function
/// when it ends.
pub(crate) fn write_thread_end(owner: usize, value: u8) {
    let mut slab = SLABS.load(Ordering::Acquire);
    // SAFETY: slabs are initialised before they are published, and are never freed.
    while let Some(this) = unsafe { slab.as_ref() } {
        for tag in this.tags.iter().filter(|tag| tag.owner.load(Ordering::Relaxed) == owner) {
            let word = tag.exit_byte.load(Ordering::Relaxed);
            if !word.is_null() {
                // SAFETY: this thread took the stack, and the tag is not cleared, so the thread may write the byte
                // (condition of `write_at_thread_end`).
                unsafe { word.write(value) };
            }
        }
        slab = this.next;
    }
}

/// The slots of one shape that have never been used: the end of the newest slab.
pub(crate) struct FreshSlots {
    shape: Shape,
    slab: Option<&'static Slab>,
    used: usize,
    made: usize,
}

impl FreshSlots {
    pub(crate) const fn new(shape: Shape) -> FreshSlots {
        FreshSlots { shape, slab: None, used: 0, made: 0 }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the number of stacks that were ever made.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// Adds new stacks with guards to `out`, at least one. `live` is the number of stacks in use, for the error text.
    ///
    /// # Errors
    ///
    /// [`StackError::Map`] if the system refuses the address space, [`StackError::Guard`] if it refuses the first
    /// guard. If it refuses a later guard, the call succeeds with the stacks made so far.
    pub(crate) fn carve(&mut self, out: &mut Vec<Slot>, live: usize) -> Result<(), StackError> {
        let slab = match self.slab {
            Some(slab) if self.used < slab.tags.len() => slab,
            _ => {
                let slab = self.map_slab(live)?;
                self.used = 0;
                *self.slab.insert(slab)
            }
        };
        // Small batches at first, larger ones for programs that need many stacks: one call that makes 512 guards costs
        // about half of 512 calls.
        let batch = (self.made / 4).clamp(4, 512).min(slab.tags.len() - self.used);
        let stride = self.shape.stride();
        // SAFETY: the slots from `used` on were never used, and only this `FreshSlots` refers to them. The guard is the
        // low end of each slot, and the slab is one mapping.
        let made =
            unsafe { guard::protect(slab.start + self.used * stride, self.shape.guard, stride, batch, self.used == 0) };
        let made = made.map_err(|source| StackError::Guard { live, limit: Limit::behind(&source, 0), source })?;
        let slots = (self.used..self.used + made).rev().map(|index| Slot { slab, index: index as u32 });
        if valgrind::is_running() {
            slots.clone().for_each(Slot::register);
        }
        out.extend(slots);
        self.used += made;
        self.made += made;
        Ok(())
    }

    /// Maps a slab as large as all earlier slabs of this shape together, within bounds. Halves the size while the
    /// system refuses it.
    fn map_slab(&self, live: usize) -> Result<&'static Slab, StackError> {
        const MOST_BYTES: usize = 1 << 30;
        let fits = (MOST_BYTES / self.shape.stride()).max(1);
        let mut count = self.made.clamp(16, 8192).min(fits);
        loop {
            match Slab::map(self.shape, count) {
                Ok(slab) => return Ok(slab),
                Err(source) if count == 1 => {
                    let bytes = self.shape.stride();
                    let limit = Limit::behind(&source, bytes);
                    return Err(StackError::Map { bytes, live, limit, source });
                }
                Err(_) => count /= 2,
            }
        }
    }
}

/// Field offsets for a debugger: slab and index of a slot; start, stack size and guard size of a slab.
pub(crate) const OFFSETS: [usize; 5] = [
    offset_of!(Slot, slab),
    offset_of!(Slot, index),
    offset_of!(Slab, start),
    offset_of!(Slab, shape) + offset_of!(Shape, size),
    offset_of!(Slab, shape) + offset_of!(Shape, guard),
];

/// The part of a slot that contains an address.
pub(crate) enum Place {
    /// In the guard below this stack.
    Guard(Slot),
    /// On this stack, this many bytes above its limit.
    Stack(Slot, usize),
}

/// Finds the slot that contains an address, and the part of it. Takes no lock and allocates nothing, because the
/// overflow handler calls it.
pub(crate) fn find(address: usize) -> Option<Place> {
    let slot = slot_around(address)?;
    Some(match (address - slot.start()).checked_sub(slot.shape().guard) {
        None => Place::Guard(slot),
        Some(above) => Place::Stack(slot, above),
    })
}

/// Returns the slot that contains an address, on its stack or in its guard.
#[inline]
pub(crate) fn slot_around(address: usize) -> Option<Slot> {
    let mut slab = SLABS.load(Ordering::Acquire);
    // SAFETY: slabs are initialised before they are published, and are never freed.
    while let Some(this) = unsafe { slab.as_ref() } {
        let offset = address.wrapping_sub(this.start);
        if offset < this.bytes {
            return Some(Slot { slab: this, index: (offset / this.shape.stride()) as u32 });
        }
        slab = this.next;
    }
    None
}

/// Returns the kind of the next guard.
pub(crate) fn guard_kind() -> GuardKind {
    guard::kind()
}
