//! The table of task control blocks (TCBs): two dense arrays, one of contexts, which every turn touches, and one of TCBs, which only waits
//! and ends touch.
//!
//! ```text
//! chunk, 32 KiB, aligned to its size           beside it
//! +------------------+                         +-----------------+
//! | 0: where the     | ----------------------> | 0: unused       |
//! |    TCBs are      |                         | 1: Tcb          |
//! | 1: Context       |                         | 2: Tcb          |
//! | 2: Context       |                         ~                 ~
//! ~                  ~                         | 1023            |
//! | 1023             |                         +-----------------+
//! +------------------+
//! ```
//!
//! A turn reads one context and writes another, 32 bytes each, so two to a cache line; the run queue holds their addresses.
//! From a context the TCB is found by arithmetic, from a TCB the context by a field.

use super::phase::Phase;
use super::tcb::Tcb;
use crate::arch::Context;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::offset_of;
use std::ptr::null;

/// Slots in a chunk. The first holds the header.
pub(super) const SLOTS: usize = 1024;
/// For a debugger: the size of a context, where a table keeps its newest chunk, and a chunk the one before it.
pub(super) const CONTEXT_SIZE: usize = size_of::<Context>();
pub(super) const FIRST: usize = offset_of!(TcbTable, newest);
pub(super) const NEXT: usize = offset_of!(Header, before);
/// Bytes of a chunk's contexts, and their alignment: a power of two, because a context's size is.
const BYTES: usize = SLOTS * size_of::<Context>();
const _: () = assert!(BYTES.is_power_of_two());

/// The first slot of a chunk.
#[repr(C)]
struct Header {
    tcbs: *const Tcb,
    /// The chunk that was made before this one.
    before: *const Header,
}

const _: () = assert!(size_of::<Header>() <= size_of::<Context>());
// `Wake` keeps a bit in the address of a TCB.
const _: () = assert!(align_of::<Tcb>() > 1);

/// The TCB of a context that lies in a table.
///
/// # Safety
///
/// The context lies in a chunk of a table that still stands.
#[inline]
pub(crate) unsafe fn tcb_of(context: *const Context) -> *const Tcb {
    let address = context as usize;
    let chunk = address & !(BYTES - 1);
    // SAFETY: chunks are aligned to their size and begin with a header; the TCB array has as many slots.
    unsafe { (*(chunk as *const Header)).tcbs.add((address - chunk) / size_of::<Context>()) }
}

struct Chunk {
    contexts: *mut Context,
    tcbs: *mut Tcb,
}

impl Chunk {
    fn layouts() -> (Layout, Layout) {
        let contexts = Layout::from_size_align(BYTES, BYTES).expect("a power of two");
        (contexts, Layout::array::<Tcb>(SLOTS).expect("small"))
    }

    fn new(before: *const Header) -> Chunk {
        let (contexts_layout, tcbs_layout) = Chunk::layouts();
        // SAFETY: both layouts have a size; every slot is written before it is used.
        unsafe {
            let contexts = alloc(contexts_layout).cast::<Context>();
            let tcbs = alloc(tcbs_layout).cast::<Tcb>();
            if contexts.is_null() || tcbs.is_null() {
                handle_alloc_error(contexts_layout);
            }
            contexts.cast::<Header>().write(Header { tcbs, before });
            tcbs.write(Tcb::new(null()));
            for i in 1..SLOTS {
                contexts.add(i).write(Context::new());
                tcbs.add(i).write(Tcb::new(contexts.add(i)));
            }
            Chunk { contexts, tcbs }
        }
    }

    fn tcbs(&self) -> &[Tcb] {
        // SAFETY: all slots were written by `new`; TCBs change only through cells.
        unsafe { std::slice::from_raw_parts(self.tcbs, SLOTS) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let (contexts, tcbs) = Chunk::layouts();
        // SAFETY: allocated by `new` with these layouts; contexts need no drop, TCBs do.
        unsafe {
            for i in 0..SLOTS {
                self.tcbs.add(i).drop_in_place();
            }
            dealloc(self.tcbs.cast(), tcbs);
            dealloc(self.contexts.cast(), contexts);
        }
    }
}

/// All TCBs of one run. Lives as long as a handle to one of its tasks does.
pub(crate) struct TcbTable {
    chunks: RefCell<Vec<Chunk>>,
    /// The chunk that was made last, for a debugger to begin with.
    newest: Cell<*const Header>,
    free: RefCell<VecDeque<*const Tcb>>,
}

impl TcbTable {
    pub(crate) fn new() -> TcbTable {
        TcbTable { chunks: RefCell::default(), newest: Cell::new(null()), free: RefCell::default() }
    }

    /// A free TCB, the one freed last first.
    #[inline]
    pub(crate) fn take(&self) -> *const Tcb {
        if let Some(tcb) = self.free.borrow_mut().pop_back() {
            return tcb;
        }
        self.grow()
    }

    #[cold]
    fn grow(&self) -> *const Tcb {
        let chunk = Chunk::new(self.newest.get());
        self.newest.set(chunk.contexts.cast());
        let mut free = self.free.borrow_mut();
        free.extend(chunk.tcbs()[1..].iter().rev().map(std::ptr::from_ref));
        self.chunks.borrow_mut().push(chunk);
        free.pop_back().expect("a chunk has slots")
    }

    /// Makes a TCB free again.
    ///
    /// # Safety
    ///
    /// It is of this table, was taken, and nobody refers to it: its task has ended and been left, and its handle is gone.
    #[inline]
    pub(crate) unsafe fn give_back(&self, tcb: *const Tcb) {
        // SAFETY: the caller ensures that the TCB is one of this table, which is alive.
        unsafe { &*tcb }.free();
        self.free.borrow_mut().push_back(tcb);
    }

    /// Calls `f` with every TCB in use, in memory order.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Tcb)) {
        for chunk in self.chunks.borrow().iter() {
            chunk.tcbs().iter().filter(|tcb| tcb.phase() != Phase::Free).for_each(&mut f);
        }
    }

    /// Returns every TCB in use, in memory order.
    pub(crate) fn all(&self) -> Vec<&Tcb> {
        let mut all: Vec<*const Tcb> = Vec::new();
        self.for_each(|tcb| all.push(tcb));
        // SAFETY: the TCBs are in chunks of this table, which are freed with the table; the references borrow the table.
        all.into_iter().map(|tcb| unsafe { &*tcb }).collect()
    }

    /// How many TCBs there are room for, so that the run queue can have as much.
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.borrow().len() * SLOTS
    }
}
