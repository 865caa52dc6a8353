//! Deadlines: a heap keyed by time and order of arming.
//!
//! A wait that ends early leaves its entry behind; the entry knows the wait's wait_seq, so it is recognised as stale when it
//! comes up. When more than half are stale the heap is rebuilt without them.
#![forbid(unsafe_code)]

use super::tcb::Tcb;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// (when, in which order armed, whose wait, which of its waits)
type Entry = Reverse<(Instant, u64, *const Tcb, u32)>;

pub(crate) struct Timers {
    heap: RefCell<BinaryHeap<Entry>>,
    sequence: Cell<u64>,
    stale: Cell<usize>,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers { heap: RefCell::default(), sequence: Cell::new(0), stale: Cell::new(0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heap.borrow().is_empty()
    }

    /// How many wait for their time: those whose wait ended early are not counted.
    pub(crate) fn armed(&self) -> usize {
        self.heap.borrow().len().saturating_sub(self.stale.get())
    }

    pub(crate) fn arm(&self, deadline: Instant, tcb: *const Tcb, wait_seq: u32) {
        let sequence = self.sequence.replace(self.sequence.get() + 1);
        self.heap.borrow_mut().push(Reverse((deadline, sequence, tcb, wait_seq)));
    }

    /// A wait ended before its deadline.
    pub(crate) fn disarmed(&self, is_stale: impl Fn(*const Tcb, u32) -> bool) {
        self.stale.set(self.stale.get() + 1);
        let mut heap = self.heap.borrow_mut();
        if self.stale.get() > 32 && self.stale.get() * 2 > heap.len() {
            heap.retain(|Reverse((_, _, tcb, wait_seq))| !is_stale(*tcb, *wait_seq));
            self.stale.set(0);
        }
    }

    /// The next entry that is due, stale ones included.
    pub(crate) fn due(&self, now: Instant) -> Option<(*const Tcb, u32)> {
        let mut heap = self.heap.borrow_mut();
        let Reverse((deadline, ..)) = heap.peek()?;
        if *deadline > now {
            return None;
        }
        let Reverse((_, _, tcb, wait_seq)) = heap.pop()?;
        Some((tcb, wait_seq))
    }

    /// An entry that came up was stale.
    pub(crate) fn was_stale(&self) {
        self.stale.set(self.stale.get().saturating_sub(1));
    }

    /// When the next wait that is still under way is to end. Stale entries before it are thrown away: sleeping for them
    /// would hide a deadlock.
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
