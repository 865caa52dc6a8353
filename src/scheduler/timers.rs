//! The timers of a run: a binary heap of deadlines, ordered by time and then by the order of arming.
//!
//! Cancellation is lazy: a wait that ends before its deadline leaves its entry in the heap. The entry holds the
//! sequence number of the wait, so it is recognized as stale when it is popped. When more than half of the entries are
//! stale, the heap is rebuilt without them.
#![forbid(unsafe_code)]

use super::tcb::Tcb;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// (deadline, order of arming, TCB, sequence number of the wait)
type Entry = Reverse<(Instant, u64, *const Tcb, u32)>;

/// A heap of deadlines.
pub(crate) struct Timers {
    heap: RefCell<BinaryHeap<Entry>>,
    sequence: Cell<u64>,
    /// The number of stale entries in the heap, minus the number of entries that were popped after the wake of their task and before its
    /// turn: each of them is counted by `disarmed` later.
    stale: Cell<isize>,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers { heap: RefCell::default(), sequence: Cell::new(0), stale: Cell::new(0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heap.borrow().is_empty()
    }

    /// Returns the number of armed timers. Stale entries do not count. A timer counts until its task has run.
    pub(crate) fn armed(&self) -> usize {
        self.heap.borrow().len().saturating_add_signed(-self.stale.get())
    }

    /// Arms a timer for the wait `wait_seq` of the task.
    pub(crate) fn arm(&self, deadline: Instant, tcb: *const Tcb, wait_seq: u32) {
        let sequence = self.sequence.replace(self.sequence.get() + 1);
        self.heap.borrow_mut().push(Reverse((deadline, sequence, tcb, wait_seq)));
    }

    /// Counts an entry whose wait ended before its deadline. Rebuilds the heap if most entries are stale.
    pub(crate) fn disarmed(&self, is_stale: impl Fn(*const Tcb, u32) -> bool) {
        self.stale.set(self.stale.get() + 1);
        let mut heap = self.heap.borrow_mut();
        let before = heap.len();
        if self.stale.get() > 32 && self.stale.get() * 2 > before as isize {
            heap.retain(|Reverse((_, _, tcb, wait_seq))| !is_stale(*tcb, *wait_seq));
            self.stale.set(self.stale.get() - (before - heap.len()) as isize);
        }
    }

    /// Pops the first entry if its deadline has passed. The entry may be stale.
    pub(crate) fn due(&self, now: Instant) -> Option<(*const Tcb, u32)> {
        let mut heap = self.heap.borrow_mut();
        let Reverse((deadline, ..)) = heap.peek()?;
        if *deadline > now {
            return None;
        }
        let Reverse((_, _, tcb, wait_seq)) = heap.pop()?;
        Some((tcb, wait_seq))
    }

    /// Counts an entry that was popped without effect: its wait is over, or its task was woken and has not run yet.
    pub(crate) fn was_stale(&self) {
        self.stale.set(self.stale.get() - 1);
    }

    /// Returns the earliest deadline of a wait that is not over. Pops the stale entries before it: a sleep until a
    /// stale deadline would hide a deadlock.
    pub(crate) fn next(&self, is_stale: impl Fn(*const Tcb, u32) -> bool) -> Option<Instant> {
        let mut heap = self.heap.borrow_mut();
        while let Some(&Reverse((deadline, _, tcb, wait_seq))) = heap.peek() {
            if !is_stale(tcb, wait_seq) {
                return Some(deadline);
            }
            heap.pop();
            self.was_stale();
        }
        None
    }
}
