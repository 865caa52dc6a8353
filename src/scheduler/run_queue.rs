//! The run queue: who is to run, in the order in which they became ready.
//!
//! An array, not a list through the TCBs: the next tasks' addresses are known ahead of time, so the CPU can fetch
//! them while it runs this one (in shuffled order at a million tasks a list takes 2.6 times as long). It has room for every
//! task there is, so a turn never has to look whether it must grow.

use crate::arch::{Context, clock, prefetch};
use std::cell::{Cell, UnsafeCell};

/// From how many ready tasks on it is tried whether fetching ahead pays.
const FETCH_FROM: usize = 4096;
/// How many turns ahead a context is fetched, and the stack that it names.
const FETCH_CONTEXT: usize = 24;
const FETCH_STACK: usize = 16;
/// After how many looks it is tried anew.
const FETCH_TRIAL: u32 = 64;

pub(crate) struct RunQueue {
    slots: Cell<*mut *const Context>,
    mask: Cell<usize>,
    /// Counts of all that was ever taken and put; the places in the array are these, wrapped.
    head: Cell<usize>,
    tail: Cell<usize>,
    /// Owns the array.
    memory: UnsafeCell<Vec<*const Context>>,
    /// Whether the next tasks are fetched ahead.
    fetch: Cell<bool>,
    trial: Cell<Trial>,
}

/// A comparison of turns with and without fetching ahead.
#[derive(Clone, Copy)]
struct Trial {
    /// Looks since it began. In the first stretch nothing is fetched, in the second everything; then the better holds.
    look: u32,
    /// The clock at the last look.
    clock: u64,
    /// What the first stretch took.
    without: u64,
}

impl RunQueue {
    pub(crate) fn new() -> RunQueue {
        let queue = RunQueue {
            slots: Cell::new(std::ptr::null_mut()),
            mask: Cell::new(0),
            head: Cell::new(0),
            tail: Cell::new(0),
            memory: UnsafeCell::new(Vec::new()),
            fetch: Cell::new(false),
            trial: Cell::new(Trial { look: 0, clock: 0, without: 0 }),
        };
        queue.reserve(256);
        queue
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.tail.get().wrapping_sub(self.head.get())
    }

    /// How many entries there is room for.
    #[inline(always)]
    pub(crate) fn capacity(&self) -> usize {
        self.mask.get() + 1
    }

    /// Makes room for `count` entries.
    pub(crate) fn reserve(&self, count: usize) {
        let size = count.next_power_of_two();
        if size <= self.mask.get() + 1 && !self.slots.get().is_null() {
            return;
        }
        let mut memory = Vec::with_capacity(size);
        while let Some(context) = self.pop_front() {
            memory.push(context);
        }
        self.head.set(0);
        self.tail.set(memory.len());
        memory.resize(size, std::ptr::null());
        // SAFETY: nobody holds a reference into the old array: entries are copied out.
        let owner = unsafe { &mut *self.memory.get() };
        *owner = memory;
        self.slots.set(owner.as_mut_ptr());
        self.mask.set(size - 1);
    }

    /// # Safety
    ///
    /// There is room: fewer entries than were reserved.
    #[inline(always)]
    pub(crate) unsafe fn push_back(&self, context: *const Context) {
        debug_assert!(self.len() <= self.mask.get(), "the run queue has room for every task");
        let tail = self.tail.get();
        // SAFETY: the index is wrapped to the array's size.
        unsafe { self.slots.get().add(tail & self.mask.get()).write(context) };
        self.tail.set(tail.wrapping_add(1));
    }

    /// Fetches what the next turns will touch: the context of the one after several more, and the stack of a nearer one.
    ///
    /// Two stages, because the second needs what the first has fetched. It pays only where there are so many tasks that they
    /// do not fit the cache, and where they touch their stacks: see `consider_fetching`.
    #[inline(always)]
    pub(crate) fn fetch_ahead(&self) {
        if !self.fetch.get() || self.len() <= FETCH_CONTEXT {
            return;
        }
        let at = |ahead: usize| {
            let index = self.head.get().wrapping_add(ahead) & self.mask.get();
            // SAFETY: the index is wrapped, and from head on there are more than `ahead` entries.
            unsafe { self.slots.get().add(index).read() }
        };
        prefetch(at(FETCH_CONTEXT) as usize);
        // SAFETY: whoever is in the run queue is suspended, and its context is in a table that stands.
        prefetch(unsafe { (*at(FETCH_STACK)).stack_pointer() });
    }

    /// Called at regular numbers of turns: tries whether fetching ahead makes these tasks faster, and holds to the answer for
    /// a while. A million tasks that touch a line of their stacks take 31 ns a turn with it and 43 without; the same million
    /// with nothing on their stacks 33 and 3.4. Nothing but the clock can tell one from the other.
    pub(crate) fn consider_fetching(&self) {
        if self.len() < FETCH_FROM {
            self.fetch.set(false);
            return;
        }
        let clock = clock();
        let Trial { look, clock: before, without } = self.trial.get();
        let took = clock.wrapping_sub(before);
        let next = Trial { look: (look + 1) % FETCH_TRIAL, clock, without };
        self.trial.set(match look {
            0 => {
                self.fetch.set(false);
                next
            }
            1 => {
                self.fetch.set(true);
                Trial { without: took, ..next }
            }
            2 => {
                self.fetch.set(took < without - without / 16);
                next
            }
            _ => next,
        });
    }

    /// Puts an entry before all others.
    ///
    /// # Safety
    ///
    /// As `push_back`.
    pub(crate) unsafe fn push_front(&self, context: *const Context) {
        debug_assert!(self.len() <= self.mask.get(), "the run queue has room for every task");
        let head = self.head.get().wrapping_sub(1);
        // SAFETY: the index is wrapped to the array's size.
        unsafe { self.slots.get().add(head & self.mask.get()).write(context) };
        self.head.set(head);
    }

    /// Takes the entry that was put last.
    pub(crate) fn pop_back(&self) -> Option<*const Context> {
        if self.len() == 0 {
            return None;
        }
        let tail = self.tail.get().wrapping_sub(1);
        self.tail.set(tail);
        // SAFETY: the index is wrapped, and entries from head to tail were written.
        Some(unsafe { self.slots.get().add(tail & self.mask.get()).read() })
    }

    /// Makes the entry `ahead` of the first one, wrapped around, the first.
    pub(crate) fn swap_to_front(&self, ahead: u64) {
        if self.len() < 2 {
            return;
        }
        let (head, mask) = (self.head.get(), self.mask.get());
        let other = head.wrapping_add((ahead % self.len() as u64) as usize);
        // SAFETY: both indices are wrapped, and entries from head to tail were written.
        unsafe { std::ptr::swap(self.slots.get().add(head & mask), self.slots.get().add(other & mask)) };
    }

    #[inline(always)]
    pub(crate) fn pop_front(&self) -> Option<*const Context> {
        let head = self.head.get();
        if head == self.tail.get() {
            return None;
        }
        self.head.set(head.wrapping_add(1));
        // SAFETY: the index is wrapped to the array's size, and entries from head to tail were written.
        Some(unsafe { self.slots.get().add(head & self.mask.get()).read() })
    }
}
