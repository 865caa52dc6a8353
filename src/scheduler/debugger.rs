//! The layout of runs and tasks for debuggers: `tools/cede-gdb.py` reads it in a live process or a core file.
//!
//! The first run fills the layout in. The layout holds offsets and no types, so a debugger can read it in a program
//! that has line tables only.

use super::Worker;
use super::tcb::Tcb;
use super::tcb_table;
use crate::stack::arena;
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// A run in progress. `worker` is null in an unused entry.
#[repr(C)]
struct Run {
    worker: AtomicPtr<Worker>,
    table: AtomicUsize,
}

/// The number of concurrent runs that a debugger can see.
const RUNS: usize = 64;
/// The bytes of "cede", and the version of this layout.
const MAGIC: usize = 0x6365_6465_0000_0001;

/// The layout. It consists of machine words, which the script reads in this order.
#[repr(C)]
struct Layout {
    magic: AtomicUsize,
    runs: AtomicUsize,
    offsets: [AtomicUsize; 20],
    run: [Run; RUNS],
}

/// The static that the script looks up by its name.
static CEDE_DEBUG_LAYOUT: Layout = Layout {
    magic: AtomicUsize::new(0),
    runs: AtomicUsize::new(RUNS),
    offsets: [const { AtomicUsize::new(0) }; 20],
    run: [const { Run { worker: AtomicPtr::new(null_mut()), table: AtomicUsize::new(0) } }; RUNS],
};

/// Makes a run visible to debuggers.
pub(super) fn enter(worker: &Worker) {
    if CEDE_DEBUG_LAYOUT.magic.load(Relaxed) == 0 {
        let offsets = offsets(worker.main());
        CEDE_DEBUG_LAYOUT.offsets.iter().zip(offsets).for_each(|(place, offset)| place.store(offset, Relaxed));
        CEDE_DEBUG_LAYOUT.magic.store(MAGIC, Relaxed);
    }
    let me = std::ptr::from_ref(worker).cast_mut();
    let free = |run: &&Run| run.worker.compare_exchange(null_mut(), me, Relaxed, Relaxed).is_ok();
    // If `RUNS` runs are visible already, this one stays invisible.
    if let Some(run) = CEDE_DEBUG_LAYOUT.run.iter().find(free) {
        run.table.store(std::ptr::from_ref(&*worker.table) as usize, Relaxed);
    }
}

/// Removes a run that is over.
pub(super) fn leave(worker: &Worker) {
    let me = std::ptr::from_ref(worker).cast_mut();
    if let Some(run) = CEDE_DEBUG_LAYOUT.run.iter().find(|run| run.worker.load(Relaxed) == me) {
        run.worker.store(null_mut(), Relaxed);
    }
}

/// Returns the offsets, in the order of the script's `NAMES`. Offsets inside types of std are not public, so they are
/// measured.
fn offsets(tcb: &Tcb) -> [usize; 20] {
    let address = std::ptr::from_ref(tcb) as usize;
    let reason = words_of(&tcb.wait.get().reason, tcb.wait.get().reason.as_ptr() as usize);
    let sample: Arc<str> = "sample".into();
    let pointer = sample.as_ptr() as usize;
    // SAFETY: an `Arc<str>` is a wide pointer of two words, and any two words are a valid `[usize; 2]`.
    let inner = unsafe { std::mem::transmute_copy::<Arc<str>, [usize; 2]>(&sample) };
    let name = usize::from(inner[1] > inner[0]);
    let name_at = tcb.name.as_ptr() as usize - address;
    let wait = offset_of!(Tcb, wait) + offset_of!(super::WaitSpec, reason);
    let [slab, index, start, size, guard] = arena::OFFSETS;
    let stack = offset_of!(Tcb, stack);
    [
        usize::from(crate::arch::NATIVE),
        tcb_table::CONTEXT_SIZE,
        tcb_table::SLOTS,
        tcb_table::FIRST,
        tcb_table::NEXT,
        size_of::<Tcb>(),
        offset_of!(Tcb, id),
        offset_of!(Tcb, phase),
        wait + 8 * reason,
        wait + 8 * (1 - reason),
        name_at + 8 * name,
        name_at + 8 * (1 - name),
        pointer - inner[name],
        stack + slab,
        stack + index,
        start,
        size,
        guard,
        offset_of!(Worker, current),
        offset_of!(Worker, event_loop),
    ]
}

/// Returns the index of the pointer among the two words of a `&str`.
fn words_of(text: &&'static str, pointer: usize) -> usize {
    // SAFETY: a `&str` is a wide pointer of two words, and any two words are a valid `[usize; 2]`.
    let words = unsafe { std::mem::transmute_copy::<&str, [usize; 2]>(text) };
    usize::from(words[0] != pointer)
}
