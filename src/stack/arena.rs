//! The arena: slabs of address space, each one mapping that holds many stacks of one shape.
//!
//! Slabs grow with what the program needs, from 16 stacks to 8,192, and are never unmapped: a stack that was forgotten
//! while something borrowed from it must stay where it is for ever, and an empty slab costs address space only. What this
//! buys is that the overflow handler may look through all slabs at any moment, without a lock.

use super::guard::{self, GuardKind};
use super::{Limit, Shape, StackError, page_size};
use crate::arch::valgrind;
use memmap2::{Advice, MmapMut, MmapOptions};
use std::borrow::Cow;
use std::io;
use std::mem::offset_of;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// What runs on a stack, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Coroutine,
    Generator,
    Sink,
    Task,
    /// Not a task: what runs between them.
    EventLoop,
}

impl Kind {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Kind::Coroutine => "coroutine",
            Kind::Generator => "generator",
            Kind::Sink => "sink",
            Kind::Task => "task",
            Kind::EventLoop => "scheduler",
        }
    }

    fn from_u8(kind: u8) -> Kind {
        [Kind::Coroutine, Kind::Generator, Kind::Sink, Kind::Task, Kind::EventLoop][usize::from(kind)]
    }
}

/// Who uses a slot. Written by the owner of the stack, read by it and by the overflow handler, which runs on the thread
/// that runs on the stack; so plain loads and stores would do, and atomics are only the way to say it.
struct Tag {
    name: AtomicPtr<u8>,
    len: AtomicU32,
    kind: AtomicU8,
    /// What is to be done when the user has ended: see the constants below. 0 for most, so that one look is enough.
    duties: AtomicU8,
    /// The thread that took the stack, by something that lies at one address for each living thread. 0 for none.
    owner: AtomicUsize,
    /// Where the user wants to be told that its thread ends. Null if it does not.
    last_word: AtomicPtr<u8>,
}

/// There is a name to be forgotten.
const NAMED: u8 = 1;
/// The name is a `Box<str>` that the tag owns.
const OWNED: u8 = 2;
/// The memory is to be given back, so that the next user finds zeros.
const CLEAR: u8 = 4;
/// The program runs under memcheck, which is told when the user has ended. Set when the stack is made, and never cleared.
const WATCHED: u8 = 8;

/// Many stacks of one shape in one mapping. The picture at the head of [`super`] shows one slot.
pub(crate) struct Slab {
    start: usize,
    /// The size of all of it.
    bytes: usize,
    shape: Shape,
    tags: Box<[Tag]>,
    next: *mut Slab,
    /// Owns the address space. Never dropped: slabs live as long as the process.
    _map: MmapMut,
}

// SAFETY: `next` is written once, before the slab is published, and points to another slab that lives for ever.
unsafe impl Send for Slab {}
// SAFETY: as above; all that changes is atomic.
unsafe impl Sync for Slab {}

/// All slabs, newest first. Only ever grows.
static SLABS: AtomicPtr<Slab> = AtomicPtr::new(null_mut());
/// How many slabs there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Slab {
    /// Maps a slab of `count` slots and makes it known to the overflow handler. Its guards do not stand yet.
    fn map(shape: Shape, count: usize) -> io::Result<&'static Slab> {
        let bytes = shape.stride().checked_mul(count).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapOptions::new().len(bytes).stack().no_reserve_swap().map_anon()?;
        // A huge page would make 2 MiB resident at the first touch. Kernels built without them answer EINVAL.
        #[cfg(target_os = "linux")]
        let _ = map.advise(Advice::NoHugePage);
        let tags = (0..count).map(|_| Tag {
            name: AtomicPtr::new(null_mut()),
            len: AtomicU32::new(0),
            kind: AtomicU8::new(0),
            duties: AtomicU8::new(0),
            owner: AtomicUsize::new(0),
            last_word: AtomicPtr::new(null_mut()),
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

/// How many slabs have been mapped.
pub(crate) fn slab_count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// One stack: its place, with the right to use it. Copies name the same place; who holds the right is the pool's matter.
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
    /// The lowest address of the slot, where its guard begins.
    fn start(self) -> usize {
        self.slab.start + self.index as usize * self.slab.shape.stride()
    }

    /// The lowest usable address.
    pub(crate) fn limit(self) -> usize {
        self.start() + self.slab.shape.guard
    }

    /// One past the highest usable address. Staggered by cache lines: tops at equal distances from a page all fall into
    /// the same few cache sets (a ring of 100 stacks: 4.5 ns a switch aligned, 2.1 ns staggered).
    pub(crate) fn top(self) -> usize {
        self.start() + self.slab.shape.stride() - (self.index as usize % 32) * 64
    }

    pub(crate) fn shape(self) -> Shape {
        self.slab.shape
    }

    fn tag(&self) -> &'static Tag {
        &self.slab.tags[self.index as usize]
    }

    /// Writes down who uses the stack, on which thread, and whether its memory is to be cleared afterwards.
    #[inline]
    pub(crate) fn set_tag(&self, kind: Kind, name: Option<Cow<'static, str>>, clear: bool, owner: usize) {
        let tag = self.tag();
        tag.kind.store(kind as u8, Ordering::Relaxed);
        tag.owner.store(owner, Ordering::Relaxed);
        if clear {
            tag.duties.fetch_or(CLEAR, Ordering::Relaxed);
        }
        if let Some(name) = name {
            self.set_name(name);
        }
    }

    #[cold]
    fn set_name(&self, name: Cow<'static, str>) {
        let tag = self.tag();
        // The length has 32 bits. Nobody reads a name of 4 GiB: such a one is left out.
        let Ok(len) = u32::try_from(name.len()) else { return };
        let (pointer, duty) = match name {
            Cow::Borrowed(name) => (name.as_ptr().cast_mut(), NAMED),
            Cow::Owned(name) => (Box::leak(name.into_boxed_str()).as_mut_ptr(), NAMED | OWNED),
        };
        tag.len.store(len, Ordering::Relaxed);
        tag.duties.fetch_or(duty, Ordering::Relaxed);
        tag.name.store(pointer, Ordering::Release);
    }

    /// Forgets the user, who has ended. True if the memory is to be cleared before the next one.
    #[inline]
    pub(crate) fn clear_tag(&self) -> bool {
        self.tag().last_word.store(null_mut(), Ordering::Relaxed);
        self.tag().duties.load(Ordering::Relaxed) != 0 && self.do_duties()
    }

    #[cold]
    fn do_duties(&self) -> bool {
        let tag = self.tag();
        let duties = tag.duties.fetch_and(WATCHED, Ordering::Relaxed);
        let name = tag.name.swap(null_mut(), Ordering::AcqRel);
        if duties & OWNED != 0 {
            let len = tag.len.load(Ordering::Relaxed) as usize;
            // SAFETY: `set_name` leaked this box; the swap made us the only one to have it, and the user whose label could
            // still borrow it has ended.
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(name, len)) });
        }
        if duties & WATCHED != 0 {
            // Memcheck has marked what lies below the last stack pointer as inaccessible. The next user writes there before
            // it runs there.
            valgrind::mark_undefined(self.limit(), self.slab.shape.size);
        }
        duties & CLEAR != 0
    }

    /// Registers the new stack with Valgrind, for as long as the process runs: slabs are never unmapped.
    #[cold]
    fn register(self) {
        // Without staggering, the stack pointer of a fresh stack is one past the highest address, and Valgrind compares
        // inclusively. The next stack begins a guard higher.
        valgrind::register_stack(self.limit(), self.limit() + self.slab.shape.size);
        if valgrind::mark_undefined(self.limit(), 0) {
            self.tag().duties.store(WATCHED, Ordering::Relaxed);
        }
    }

    /// What runs here and what it is called. The text lives as long as the user of the stack.
    pub(crate) fn label(&self) -> (Kind, Option<&str>) {
        let tag = self.tag();
        let kind = Kind::from_u8(tag.kind.load(Ordering::Relaxed));
        let name = tag.name.load(Ordering::Acquire);
        if name.is_null() {
            return (kind, None);
        }
        // SAFETY: `set_name` took pointer and length from one `str`, which is static or owned by the tag until
        // `clear_tag`, which comes after the user's end.
        let name = unsafe { std::slice::from_raw_parts(name, tag.len.load(Ordering::Relaxed) as usize) };
        // SAFETY: the bytes are those of a `str`.
        (kind, Some(unsafe { std::str::from_utf8_unchecked(name) }))
    }

    /// How many bytes below the top have ever been touched since the memory was last returned, in whole pages.
    pub(crate) fn high_water(self) -> io::Result<usize> {
        let page = page_size();
        let mut resident = vec![0u8; self.slab.shape.size / page];
        // SAFETY: the range is ours and mapped, and `resident` has a byte for each of its pages.
        let answer =
            unsafe { libc::mincore(self.limit() as *mut _, self.slab.shape.size, resident.as_mut_ptr().cast()) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        let untouched = resident.iter().take_while(|&&page| page & 1 == 0).count();
        Ok((resident.len() - untouched) * page)
    }
}

impl Slot {
    /// When the thread that took this stack ends, its user wants `word` to be set to `value`.
    ///
    /// # Safety
    ///
    /// `word` may be written until the tag is cleared, by the thread that took the stack.
    #[inline]
    pub(crate) unsafe fn tell_at_thread_end(&self, word: *mut u8) {
        self.tag().last_word.store(word, Ordering::Relaxed);
    }

    /// The word that the user of the stack asked to be told at, if it did.
    pub(crate) fn last_word(self) -> Option<NonNull<u8>> {
        NonNull::new(self.tag().last_word.load(Ordering::Relaxed))
    }
}

/// Tells everybody who runs on a stack of this thread that the thread ends.
pub(crate) fn tell_thread_end(owner: usize, value: u8) {
    let mut slab = SLABS.load(Ordering::Acquire);
    // SAFETY: slabs are published complete and never freed.
    while let Some(this) = unsafe { slab.as_ref() } {
        for tag in this.tags.iter().filter(|tag| tag.owner.load(Ordering::Relaxed) == owner) {
            let word = tag.last_word.load(Ordering::Relaxed);
            if !word.is_null() {
                // SAFETY: as `tell_at_thread_end` asked for; this is the thread that took the stack.
                unsafe { word.write(value) };
            }
        }
        slab = this.next;
    }
}

/// Gives the memory of these stacks back to the system; their guards stay. Sorts them, so that neighbours go in one call.
/// False if the system refused some of it (locked memory), which then stays as it is.
///
/// # Safety
/// Nobody uses the stacks, and nothing points into them.
pub(crate) unsafe fn return_memory(slots: &mut [Slot]) -> bool {
    let mut all = true;
    slots.sort_unstable_by_key(|slot| slot.start());
    let mut rest = &*slots;
    while let [first, ..] = rest {
        let stride = first.shape().stride();
        let run = rest
            .iter()
            .enumerate()
            .take_while(|(i, slot)| slot.slab.start == first.slab.start && slot.start() == first.start() + i * stride)
            .count();
        let len = run * stride - first.shape().guard;
        // SAFETY: the run is ours and unused; guards of both kinds survive this. The first slot's guard holds no memory,
        // so it is left out.
        all &= unsafe { libc::madvise(first.limit() as *mut _, len, libc::MADV_DONTNEED) } == 0;
        rest = &rest[run..];
    }
    all
}

impl Slot {
    /// Fills the stack with zeros, and makes all of it resident by that.
    ///
    /// # Safety
    ///
    /// Nobody uses the stack, and nothing points into it.
    pub(crate) unsafe fn fill_with_zeros(self) {
        // SAFETY: from the limit to the next slot is ours, writable and unused.
        unsafe { std::ptr::write_bytes(self.limit() as *mut u8, 0, self.shape().size) };
    }
}

/// The stacks of one shape that have never been handed out: the unused end of the newest slab.
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

    /// How many stacks have ever been made here.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// Adds new, guarded stacks to `out`: at least one. `live` is for the error's text.
    ///
    /// # Errors
    /// Without address space, or without a guard. Whatever could be made before that is in `out`, and counts as success.
    pub(crate) fn carve(&mut self, out: &mut Vec<Slot>, live: usize) -> Result<(), StackError> {
        let slab = match self.slab {
            Some(slab) if self.used < slab.tags.len() => slab,
            _ => {
                let slab = self.map_slab(live)?;
                self.used = 0;
                *self.slab.insert(slab)
            }
        };
        // A few at first, and more at once for programs that have shown that they need many: a call that makes 512 guards
        // costs about half of 512 calls.
        let batch = (self.made / 4).clamp(4, 512).min(slab.tags.len() - self.used);
        let stride = self.shape.stride();
        // SAFETY: the slots from `used` on are ours and were never handed out, and the guard is each one's low end.
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

    /// A slab as large as all before it together, within bounds; smaller where the system refuses that.
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

/// For a debugger: in a slot its slab and index, in a slab its start, and the sizes of a stack and of a guard.
pub(crate) const OFFSETS: [usize; 5] = [
    offset_of!(Slot, slab),
    offset_of!(Slot, index),
    offset_of!(Slab, start),
    offset_of!(Slab, shape) + offset_of!(Shape, size),
    offset_of!(Slab, shape) + offset_of!(Shape, guard),
];

/// Where an address lies.
pub(crate) enum Place {
    /// In the guard below this stack.
    Guard(Slot),
    /// On this stack, this many bytes above its limit.
    Stack(Slot, usize),
}

/// Finds the slot around an address. Takes no lock and allocates nothing: the overflow handler calls it.
pub(crate) fn find(address: usize) -> Option<Place> {
    let slot = slot_around(address)?;
    Some(match (address - slot.start()).checked_sub(slot.shape().guard) {
        None => Place::Guard(slot),
        Some(above) => Place::Stack(slot, above),
    })
}

/// The slot around an address, guard and all.
#[inline]
pub(crate) fn slot_around(address: usize) -> Option<Slot> {
    let mut slab = SLABS.load(Ordering::Acquire);
    // SAFETY: slabs are published complete and never freed.
    while let Some(this) = unsafe { slab.as_ref() } {
        let offset = address.wrapping_sub(this.start);
        if offset < this.bytes {
            return Some(Slot { slab: this, index: (offset / this.shape.stride()) as u32 });
        }
        slab = this.next;
    }
    None
}

/// How guards are made from now on.
pub(crate) fn guard_kind() -> GuardKind {
    guard::kind()
}
