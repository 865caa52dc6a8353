//! The table of task control blocks (TCBs): two dense arrays, one of contexts, which every turn accesses, and one of
//! TCBs, which only waits and ends access. Free TCBs are linked to a free list.
//!
//! ```text
//! chunk, 32 KiB, aligned to its size           TCBs
//! +------------------+                         +-----------------+
//! | 0: Header, with  | ----------------------> | 0: unused       |
//! |    their address |                         | 1: Tcb          |
//! | 1: Context       |                         | 2: Tcb          |
//! | 2: Context       |                         ~                 ~
//! ~                  ~                         | 1023            |
//! | 1023             |                         +-----------------+
//! +------------------+
//! ```
//!
//! A turn reads one context and writes another. A context has 32 bytes, so two fit a cache line. The run queue holds
//! the addresses of contexts. The TCB of a context is found by arithmetic ([`tcb_of`]), the context of a TCB by a
//! field.

use super::phase::Phase;
use super::tcb::Tcb;
use crate::arch::Context;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::mem::offset_of;
use std::ptr::null;

/// Slots in a chunk. The first holds the header.
pub(super) const SLOTS: usize = 1024;
/// For debuggers: the size of a context, the offset of the newest chunk in a table, and that of the previous chunk in a
/// chunk.
pub(super) const CONTEXT_SIZE: usize = size_of::<Context>();
pub(super) const FIRST: usize = offset_of!(TcbTable, newest);
pub(super) const NEXT: usize = offset_of!(Header, before);
/// The size of a chunk's contexts in bytes, and their alignment. A power of two, because the size of a context is one.
const BYTES: usize = SLOTS * size_of::<Context>();
const _: () = assert!(BYTES.is_power_of_two());

/// The first slot of a chunk.
#[repr(C)]
struct Header {
    tcbs: *const Tcb,
    /// The chunk that was allocated before this one, or null.
    before: *const Header,
}

const _: () = assert!(size_of::<Header>() <= size_of::<Context>());
// `RemoteWake` stores a bit in the address of a TCB.
const _: () = assert!(align_of::<Tcb>() > 1);
// `tcb_of`, which every turn and every wait calls, then shifts where it would multiply.
const _: () = assert!(size_of::<Tcb>().is_power_of_two());

/// Returns the TCB of a context.
///
/// # Safety
///
/// The context is in a chunk of a table that is alive.
#[inline]
pub(crate) unsafe fn tcb_of(context: *const Context) -> *const Tcb {
    let address = context as usize;
    let chunk = address & !(BYTES - 1);
    // SAFETY: the caller ensures that the chunk is alive. A chunk is aligned to its size and begins with its header,
    // and the array of TCBs has as many slots as the chunk.
    unsafe { (*(chunk as *const Header)).tcbs.add((address - chunk) / size_of::<Context>()) }
}

/// A chunk of contexts, and the array of their TCBs.
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
        // SAFETY: neither layout has the size 0, and every slot is written before it is used.
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
        // SAFETY: `new` has written all slots, which stay allocated as long as the chunk. TCBs change only through
        // cells.
        unsafe { std::slice::from_raw_parts(self.tcbs, SLOTS) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let (contexts, tcbs) = Chunk::layouts();
        // SAFETY: `new` has allocated both arrays with these layouts and written all TCBs. Contexts need no drop.
        unsafe {
            for i in 0..SLOTS {
                self.tcbs.add(i).drop_in_place();
            }
            dealloc(self.tcbs.cast(), tcbs);
            dealloc(self.contexts.cast(), contexts);
        }
    }
}

/// The TCBs of one run. The worker and the handles to its tasks keep the table alive.
pub(crate) struct TcbTable {
    chunks: RefCell<Vec<Chunk>>,
    /// The chunk that was allocated last, from which a debugger begins.
    newest: Cell<*const Header>,
    /// The first TCB of the free list, or null. The one freed last is first: its memory is most likely in the cache.
    free: Cell<*const Tcb>,
    /// The number of TCBs in all chunks.
    capacity: Cell<usize>,
    /// The address of the worker while its run is open, otherwise null.
    worker: Cell<*const ()>,
}

impl TcbTable {
    pub(crate) fn new() -> TcbTable {
        TcbTable {
            chunks: RefCell::default(),
            newest: Cell::new(null()),
            free: Cell::new(null()),
            capacity: Cell::new(0),
            worker: Cell::new(null()),
        }
    }

    /// Sets the address of the worker when the run opens; null when it closes.
    pub(super) fn set_worker(&self, worker: *const ()) {
        self.worker.set(worker);
    }

    /// Returns the address of the worker while the run is open, otherwise null.
    pub(super) fn worker(&self) -> *const () {
        self.worker.get()
    }

    /// Takes the first TCB of the free list; `None` if the table must [`grow`](Self::grow).
    #[inline(always)]
    pub(super) fn take(&self) -> Option<&Tcb> {
        // SAFETY: null, or a free TCB of this table, which never moves a TCB.
        let tcb = unsafe { self.free.get().as_ref() }?;
        self.free.set(tcb.take_next_free());
        Some(tcb)
    }

    /// Adds a chunk of free TCBs.
    pub(super) fn grow(&self) {
        let chunk = Chunk::new(self.newest.get());
        self.newest.set(chunk.contexts.cast());
        for tcb in chunk.tcbs()[1..].iter().rev() {
            tcb.set_next_free(self.free.replace(tcb));
        }
        self.chunks.borrow_mut().push(chunk);
        self.capacity.set(self.capacity.get() + SLOTS);
    }

    /// Returns a TCB to the free list.
    ///
    /// # Safety
    ///
    /// `tcb` was taken from this table, its task has ended, and no counted reference to it is left.
    #[inline]
    pub(crate) unsafe fn give_back(&self, tcb: *const Tcb) {
        // SAFETY: the caller ensures that `tcb` is in this table, which keeps it allocated.
        let freed = unsafe { &*tcb };
        freed.free();
        freed.set_next_free(self.free.replace(tcb));
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
        // SAFETY: the TCBs are in chunks of this table, which are freed with the table; the references borrow the
        // table.
        all.into_iter().map(|tcb| unsafe { &*tcb }).collect()
    }

    /// Returns the number of TCBs that the allocated chunks hold. The run queue reserves as many slots.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity.get()
    }
}
