//! The task control blocks (TCBs), in two dense arrays: what every turn touches, and what only waits and ends touch.
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

use super::{Phase, WaitSpec, Worker};
use crate::arch::Context;
use crate::stack::pool::Stack;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::mem::{MaybeUninit, offset_of};
use std::ptr::null;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Slots in a chunk. The first holds the header.
pub(super) const SLOTS: usize = 1024;
/// For a debugger: the size of a context, where a table keeps its newest chunk, and a chunk the one before it.
pub(super) const CONTEXT_SIZE: usize = size_of::<Context>();
pub(super) const FIRST: usize = offset_of!(TcbTable, newest);
pub(super) const NEXT: usize = offset_of!(Header, before);
/// Bytes of a chunk's contexts, and their alignment: a power of two, because a context's size is.
const BYTES: usize = SLOTS * size_of::<Context>();
const _: () = assert!(BYTES.is_power_of_two());

/// How many machine words a result may have to lie in the TCB itself.
pub(crate) const RESULT_WORDS: usize = 4;

/// What belongs to one task beside its context. Touched by its own thread only.
pub(crate) struct Tcb {
    /// Where it is suspended.
    context: Cell<*const Context>,
    /// Counts up over the whole run; 0 while the TCB is free.
    pub(crate) id: Cell<u64>,
    pub(crate) phase: Cell<Phase>,
    /// The bits of `flags`.
    pub(crate) flags: Cell<u8>,
    /// Somebody unparked it while it was not parked.
    pub(crate) wake_token: Cell<bool>,
    /// An `Unparker` was used while the task was not in a public park: its next one returns at once. Kept over all other waits.
    pub(crate) permit: Cell<bool>,
    /// How many have to do with it: the task until it has ended, its handle, callbacks that are to see its result.
    pub(crate) ref_count: Cell<u32>,
    /// Drops the result, while it is there.
    pub(crate) drop_result: Cell<Option<unsafe fn(&Tcb)>>,
    /// One of its callbacks runs and may be looking at the result, so nobody may take it.
    pub(crate) result_borrowed: Cell<bool>,
    /// Counts its waits, so that a timer knows whether the wait it was set for is over.
    pub(crate) wait_seq: Cell<u32>,
    /// What it waits for. Meaningful while it waits: parked, woken and not entered yet, or in a line in `task::wait`.
    pub(crate) wait: Cell<WaitSpec>,
    /// When that wait ends at the latest. Meaningful while `flags::HAS_DEADLINE` is set.
    pub(crate) deadline: Cell<Option<Instant>>,
    /// Since when it waits: see `Worker::waits_since`.
    pub(crate) parked_at: Cell<u64>,
    /// Who waits in `join` for it to end.
    pub(crate) joiner: Cell<*const Tcb>,
    /// Who waits for it together with others.
    pub(crate) end_listener: Cell<Option<Rc<dyn EndListener>>>,
    /// The scope that it may not outlive.
    pub(crate) scope_link: Cell<Option<Rc<dyn ScopeLink>>>,
    /// Its index in the group that waits for it.
    pub(crate) group_index: Cell<u32>,
    /// Its index among its scope's children.
    pub(crate) scope_index: Cell<u32>,
    /// When it ended: a count of all that have ended in this run.
    pub(crate) ended: Cell<u64>,
    /// From `spawn` until it has ended and been left.
    pub(crate) stack: Cell<Option<Stack>>,
    pub(crate) name: RefCell<Option<Arc<str>>>,
    /// What few tasks have: callbacks, locals, unparkers. Erased, because the layer that knows them stands below.
    pub(crate) ext: RefCell<Option<Box<dyn Any>>>,
    /// The result or the box that holds it; which of the two is known by its type.
    pub(crate) result: UnsafeCell<MaybeUninit<[usize; RESULT_WORDS]>>,
}

impl Tcb {
    fn new(context: *const Context) -> Tcb {
        Tcb {
            context: Cell::new(context),
            id: Cell::new(0),
            phase: Cell::new(Phase::Free),
            flags: Cell::new(0),
            wake_token: Cell::new(false),
            permit: Cell::new(false),
            ref_count: Cell::new(0),
            drop_result: Cell::new(None),
            result_borrowed: Cell::new(false),
            wait_seq: Cell::new(0),
            wait: Cell::new(WaitSpec::DEFAULT),
            deadline: Cell::new(None),
            parked_at: Cell::new(0),
            joiner: Cell::new(null()),
            end_listener: Cell::new(None),
            scope_link: Cell::new(None),
            group_index: Cell::new(0),
            scope_index: Cell::new(0),
            ended: Cell::new(0),
            stack: Cell::new(None),
            name: RefCell::new(None),
            ext: RefCell::new(None),
            result: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    #[inline]
    pub(crate) fn context(&self) -> *const Context {
        self.context.get()
    }

    #[inline]
    pub(crate) fn has_flags(&self, bits: u8) -> bool {
        self.flags.get() & bits != 0
    }

    pub(crate) fn add_flags(&self, bits: u8) {
        self.flags.set(self.flags.get() | bits);
    }
}

/// Somebody who is told when a task has ended.
pub(crate) trait EndListener {
    /// The task that had `place` among those that are watched has ended. Called on its stack: wakes whom it concerns, and
    /// neither waits nor panics.
    fn ended(&self, worker: &Worker, place: u32, panicked: bool);
}

/// A scope, as its tasks see it.
pub(crate) trait ScopeLink: EndListener {
    /// The task panicked, and nobody holds a handle to it: the payload is the scope's.
    fn failed(&self, tcb: &Tcb, payload: Box<dyn Any + Send>);
}

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
        // SAFETY: the caller's.
        let this = unsafe { &*tcb };
        this.id.set(0);
        this.phase.set(Phase::Free);
        this.flags.set(0);
        this.wake_token.set(false);
        this.permit.set(false);
        this.wait_seq.set(this.wait_seq.get().wrapping_add(1));
        self.free.borrow_mut().push_back(tcb);
    }

    /// Calls `f` with every TCB in use, in memory order.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Tcb)) {
        for chunk in self.chunks.borrow().iter() {
            chunk.tcbs().iter().filter(|tcb| tcb.phase.get() != Phase::Free).for_each(&mut f);
        }
    }

    /// How many TCBs there are room for, so that the run queue can have as much.
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.borrow().len() * SLOTS
    }
}
