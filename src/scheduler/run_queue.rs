//! The run queue: a FIFO ring buffer of the contexts that are ready, in the order in which they became ready.
//!
//! The run queue is an array and not an intrusive list through the TCBs: the addresses of the next contexts are known
//! ahead of time, so the CPU can prefetch them while it runs the current one (in shuffled order at a million tasks, a
//! list takes 2.6 times as long). The array has room for every TCB of the table, so a turn never checks whether the
//! array must grow.

use crate::arch::{Context, clock, prefetch};
use std::cell::{Cell, UnsafeCell};

/// The number of ready tasks from which the run queue tries whether prefetching pays.
const FETCH_FROM: usize = 4096;
/// The number of turns by which a context is prefetched.
const FETCH_CONTEXT: usize = 24;
/// The number of turns by which the stack of a context is prefetched.
const FETCH_STACK: usize = 16;
/// The number of lines of a stack, from the stack pointer up, that a task uses between two waits for I/O.
const FETCH_LINES: usize = 8;
/// The number of calls of `consider_fetching` after which it starts a new trial.
const FETCH_TRIAL: u32 = 64;

/// A FIFO ring buffer of contexts. Its length is a power of two.
pub(crate) struct RunQueue {
    slots: Cell<*mut *const Context>,
    /// The length of the array, less one.
    mask: Cell<usize>,
    /// The indices of the first entry and of the slot behind the last entry, before `mask` wraps them to the array.
    head: Cell<usize>,
    tail: Cell<usize>,
    /// The owner of the array that `slots` points to.
    memory: UnsafeCell<Vec<*const Context>>,
    /// Prefetching is on.
    fetch: Cell<bool>,
    trial: Cell<Trial>,
}

/// A comparison of turns with and without prefetching.
#[derive(Clone, Copy)]
struct Trial {
    /// The number of the next call of `consider_fetching` in this trial. Call 0 turns prefetching off, call 1 turns it
    /// on, and call 2 keeps the faster mode until the next trial.
    look: u32,
    /// The clock at the last call.
    clock: u64,
    /// The duration of the interval without prefetching.
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

    /// Returns the number of entries.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.tail.get().wrapping_sub(self.head.get())
    }

    /// Grows the array to hold at least `count` entries.
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
        // SAFETY: no other reference to `memory` exists: the methods read and write entries by value, through `slots`.
        let owner = unsafe { &mut *self.memory.get() };
        *owner = memory;
        self.slots.set(owner.as_mut_ptr());
        self.mask.set(size - 1);
    }

    /// Appends an entry.
    ///
    /// # Safety
    ///
    /// The run queue holds fewer entries than the number that was reserved.
    #[inline(always)]
    pub(crate) unsafe fn push_back(&self, context: *const Context) {
        debug_assert!(self.len() <= self.mask.get(), "the run queue has room for every task");
        let tail = self.tail.get();
        // SAFETY: `mask` wraps the index to the array, and the caller ensures that its slot is free.
        unsafe { self.slots.get().add(tail & self.mask.get()).write(context) };
        self.tail.set(tail.wrapping_add(1));
    }

    /// Prefetches memory of coming turns: the context `FETCH_CONTEXT` turns ahead, and the stack of the nearer one
    /// `FETCH_STACK` turns ahead.
    ///
    /// The prefetch has two stages, because the address of the stack is in the context, which the first stage has
    /// prefetched. Prefetching pays only if the tasks are too many for the cache and touch their stacks: see
    /// `consider_fetching`.
    #[inline(always)]
    pub(crate) fn fetch_ahead(&self) {
        if !self.fetch.get() || self.len() <= FETCH_CONTEXT {
            return;
        }
        let at = |ahead: usize| {
            let index = self.head.get().wrapping_add(ahead) & self.mask.get();
            // SAFETY: `mask` wraps the index to the array, and there are more than `ahead` entries from `head` on.
            unsafe { self.slots.get().add(index).read() }
        };
        prefetch(at(FETCH_CONTEXT) as usize);
        // SAFETY: contexts in the run queue are in the worker's table, which lives as long as the worker, and are
        // suspended (invariants 2 and 3), so no code writes to them.
        prefetch(unsafe { (*at(FETCH_STACK)).stack_pointer() });
    }

    /// Prefetches the stack of the first entry and the context of the second one. Called when a task waits for I/O: a
    /// poll has made several such tasks ready at once, whose stacks have not been used since their last events.
    #[inline]
    pub(crate) fn fetch_next(&self) {
        if self.len() < 2 {
            return;
        }
        let at = |ahead: usize| {
            let index = self.head.get().wrapping_add(ahead) & self.mask.get();
            // SAFETY: `mask` wraps the index to the array, and there are more than `ahead` entries from `head` on.
            unsafe { self.slots.get().add(index).read() }
        };
        prefetch(at(1) as usize);
        // SAFETY: contexts in the run queue are in the worker's table, which lives as long as the worker, and are
        // suspended (invariants 2 and 3), so no code writes to them.
        let stack = unsafe { (*at(0)).stack_pointer() };
        for line in 0..FETCH_LINES {
            prefetch(stack + line * 64);
        }
    }

    /// Tries whether prefetching makes the turns of these tasks faster, and keeps the answer for `FETCH_TRIAL` calls.
    /// Called at every poll.
    ///
    /// A million tasks that touch a line of their stacks take 31 ns a turn with prefetching and 43 ns without. The same
    /// million with nothing on their stacks take 33 ns and 3.4 ns. Only measuring tells the two cases apart.
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

    /// Adds an entry at the front.
    ///
    /// # Safety
    ///
    /// The run queue holds fewer entries than the number that was reserved.
    pub(crate) unsafe fn push_front(&self, context: *const Context) {
        debug_assert!(self.len() <= self.mask.get(), "the run queue has room for every task");
        let head = self.head.get().wrapping_sub(1);
        // SAFETY: `mask` wraps the index to the array, and the caller ensures that its slot is free.
        unsafe { self.slots.get().add(head & self.mask.get()).write(context) };
        self.head.set(head);
    }

    /// Removes and returns the last entry.
    pub(crate) fn pop_back(&self) -> Option<*const Context> {
        if self.len() == 0 {
            return None;
        }
        let tail = self.tail.get().wrapping_sub(1);
        self.tail.set(tail);
        // SAFETY: `mask` wraps the index to the array, and the entries from `head` to `tail` were written.
        Some(unsafe { self.slots.get().add(tail & self.mask.get()).read() })
    }

    /// Returns the entries, the first one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = *const Context> {
        let (head, mask) = (self.head.get(), self.mask.get());
        // SAFETY: `mask` wraps the index to the array, and the entries from `head` to `tail` were written.
        (0..self.len()).map(move |at| unsafe { self.slots.get().add(head.wrapping_add(at) & mask).read() })
    }

    /// Swaps the first entry with the one at index `ahead`, modulo the number of entries.
    pub(crate) fn swap_to_front(&self, ahead: u64) {
        if self.len() < 2 {
            return;
        }
        let (head, mask) = (self.head.get(), self.mask.get());
        let other = head.wrapping_add((ahead % self.len() as u64) as usize);
        // SAFETY: `mask` wraps both indices to the array, and the entries from `head` to `tail` were written.
        unsafe { std::ptr::swap(self.slots.get().add(head & mask), self.slots.get().add(other & mask)) };
    }

    /// Removes and returns the first entry.
    #[inline(always)]
    pub(crate) fn pop_front(&self) -> Option<*const Context> {
        let head = self.head.get();
        if head == self.tail.get() {
            return None;
        }
        self.head.set(head.wrapping_add(1));
        // SAFETY: `mask` wraps the index to the array, and the entries from `head` to `tail` were written.
        Some(unsafe { self.slots.get().add(head & self.mask.get()).read() })
    }
}
