//! A hierarchical timer wheel with exact order: entries leave it by time, and entries of equal times in the order of
//! arming.
//!
//! Times are nanoseconds since an origin. A *tick* is 16.4 us. The wheel has nine levels of 64 slots. A slot of level 0
//! holds the entries of one tick, and a slot of level `n` those of 64^n ticks. The level of an entry is the highest
//! base-64 digit in which its tick differs from the current tick, and its slot is that digit:
//!
//! ```text
//! arm ---> tick has come? -- no --> slot: a list ---- its first tick comes: each entry is armed again ----> slot of a
//!               | yes                                                                                       lower level
//!               +-----------------> heap <---- at level 0 --------------------------------------------------+
//! ```
//!
//! The heap sorts what one tick holds, and what was armed late. All entries of the heap come before all entries in
//! slots, and the entries of a level before those of higher levels. A slot of few entries and at most 67 ms goes to the
//! heap as a whole: then its last tick is the current one.
//!
//! Every entry has a node, which knows its place: a cancel removes the entry at once, and nothing stale remains. An entry
//! moves at most nine times before it comes due, whatever the number of entries.
#![forbid(unsafe_code)]

/// The length of a tick: 2^14 ns.
const TICK: u32 = 14;
/// The bits of a digit: 64 slots in a level.
const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;
/// Nine digits hold every tick: 63 - 14 bits.
const LEVELS: usize = 9;
/// The index of no node.
const NONE: u32 = u32::MAX;
/// A place at or above this is `HEAP` plus the position in the heap. Places below are numbers of slots.
const HEAP: u32 = 1 << 31;
/// The number of entries that a lower bound looks at.
const FEW: usize = 16;
/// The largest number of entries of a slot that goes to the heap as a whole.
const SPARSE: usize = 4;
/// The highest level of such a slot.
const SHORT: usize = 2;

/// The handle to an armed entry: its node, and the number of its arming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) node: u32,
    pub(crate) sequence: u64,
}

struct Node<T> {
    value: T,
    /// The number of the arming, from 1; 0 for a free node.
    sequence: u64,
    /// Nanoseconds since the origin.
    time: i64,
    /// The neighbours in the list of a slot. A free node has its successor in the free list in `next`.
    next: u32,
    previous: u32,
    place: u32,
}

/// An entry of the heap: ordered by time, then by the number of its arming.
#[derive(Clone, Copy)]
struct Entry {
    time: i64,
    sequence: u64,
    node: u32,
}

impl Entry {
    fn is_before(&self, other: &Entry) -> bool {
        (self.time, self.sequence) < (other.time, other.sequence)
    }
}

/// A timer wheel. `T` is the value of an entry.
pub(crate) struct Wheel<T> {
    /// The current tick. Entries of this tick and of earlier ones are in the heap.
    tick: u64,
    nodes: Vec<Node<T>>,
    /// The head of the list of free nodes.
    free: u32,
    armed: usize,
    /// The number of the last arming.
    sequence: u64,
    /// The first node of each slot. Empty until an entry goes into a slot.
    slots: Vec<u32>,
    /// The slots of each level that hold entries, and the levels that have such slots.
    occupied: [u64; LEVELS],
    levels: u16,
    /// A 4-ary heap.
    heap: Vec<Entry>,
}

impl<T: Copy> Wheel<T> {
    pub(crate) fn new() -> Wheel<T> {
        Wheel {
            tick: 0,
            nodes: Vec::new(),
            free: NONE,
            armed: 0,
            sequence: 0,
            slots: Vec::new(),
            occupied: [0; LEVELS],
            levels: 0,
            heap: Vec::new(),
        }
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.armed
    }

    /// Returns the memory in use, in nodes and in entries of the heap.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.nodes.capacity() + self.heap.capacity()
    }

    /// Adds an entry.
    #[inline]
    pub(crate) fn arm(&mut self, time: i64, value: T) -> Key {
        self.sequence += 1;
        self.armed += 1;
        let sequence = self.sequence;
        if self.free == NONE {
            self.add(value);
        }
        let node = self.free;
        let entry = &mut self.nodes[node as usize];
        self.free = entry.next;
        (entry.time, entry.sequence, entry.value) = (time, sequence, value);
        self.insert(node, time);
        Key { node, sequence }
    }

    /// Adds a free node.
    #[cold]
    fn add(&mut self, value: T) {
        let node = u32::try_from(self.nodes.len()).ok().filter(|node| *node < HEAP);
        self.nodes.push(Node { sequence: 0, value, time: 0, next: self.free, previous: NONE, place: NONE });
        self.free = node.expect("2^31 timers do not fit into memory");
    }

    /// Removes an entry. Returns false if it has left the wheel before.
    #[inline]
    pub(crate) fn cancel(&mut self, key: Key) -> bool {
        let Node { sequence, next, previous, place, .. } = self.nodes[key.node as usize];
        if sequence != key.sequence {
            return false;
        }
        if place >= HEAP {
            self.heap_remove((place - HEAP) as usize);
        } else {
            if next != NONE {
                self.nodes[next as usize].previous = previous;
            }
            if previous != NONE {
                self.nodes[previous as usize].next = next;
            } else {
                self.slots[place as usize] = next;
                if next == NONE {
                    self.vacate(place as usize);
                }
            }
        }
        self.release(key.node);
        true
    }

    /// Removes and returns the first entry, if its time is not after `now`.
    pub(crate) fn pop(&mut self, now: i64) -> Option<T> {
        loop {
            if let Some(first) = self.heap.first().copied() {
                if first.time > now {
                    return None;
                }
                self.heap_remove(0);
                let value = self.nodes[first.node as usize].value;
                self.release(first.node);
                return Some(value);
            }
            let slot = self.first_slot().filter(|slot| self.start_of(*slot) <= tick_of(now));
            let Some(slot) = slot else {
                // No slot begins before `now`, so no entry changes its level or its slot by this step.
                self.tick = self.tick.max(tick_of(now));
                return None;
            };
            self.open(slot);
        }
    }

    /// Moves the entries of the first slot to the heap and to lower levels.
    fn open(&mut self, slot: usize) {
        let level = slot / SLOTS;
        self.tick = self.start_of(slot);
        let mut node = self.slots[slot];
        if level <= SHORT && self.entries(node).nth(SPARSE).is_none() {
            self.tick |= (1 << (level as u32 * DIGIT)) - 1;
        }
        self.slots[slot] = NONE;
        self.vacate(slot);
        while node != NONE {
            let Node { time, next, .. } = self.nodes[node as usize];
            self.insert(node, time);
            node = next;
        }
    }

    /// Returns the times of a list.
    fn entries(&self, first: u32) -> impl Iterator<Item = i64> {
        let mut node = first;
        std::iter::from_fn(move || {
            let entry = self.nodes.get(node as usize)?; // `NONE` is none
            node = entry.next;
            Some(entry.time)
        })
    }

    /// Returns the time of the first entry.
    pub(crate) fn first(&self) -> Option<i64> {
        self.first_among(usize::MAX)
    }

    /// Returns a time at or before that of the first entry, in constant time. If it is before it, the entry is in a slot
    /// of many entries, and the time is the beginning of that slot.
    pub(crate) fn lower_bound(&self) -> Option<i64> {
        self.first_among(FEW)
    }

    fn first_among(&self, most: usize) -> Option<i64> {
        if let Some(first) = self.heap.first() {
            return Some(first.time);
        }
        let slot = self.first_slot()?;
        let mut entries = self.entries(self.slots[slot]);
        let first = entries.by_ref().take(most).min();
        if entries.next().is_some() { Some((self.start_of(slot) << TICK) as i64) } else { first }
    }

    /// Puts an entry into the heap or into its slot.
    #[inline]
    fn insert(&mut self, node: u32, time: i64) {
        let tick = tick_of(time);
        if tick <= self.tick {
            let sequence = self.nodes[node as usize].sequence;
            self.heap.push(Entry { time, sequence, node });
            self.sift_up(self.heap.len() - 1);
            return;
        }
        let level = ((tick ^ self.tick).ilog2() / DIGIT) as usize;
        let digit = (tick >> (level as u32 * DIGIT)) as usize % SLOTS;
        let slot = level * SLOTS + digit;
        if self.slots.is_empty() {
            self.slots = vec![NONE; LEVELS * SLOTS];
        }
        let next = std::mem::replace(&mut self.slots[slot], node);
        if next != NONE {
            self.nodes[next as usize].previous = node;
        }
        let entry = &mut self.nodes[node as usize];
        (entry.next, entry.previous, entry.place) = (next, NONE, slot as u32);
        self.occupied[level] |= 1 << digit;
        self.levels |= 1 << level;
    }

    /// Counts a slot as empty.
    fn vacate(&mut self, slot: usize) {
        let level = slot / SLOTS;
        self.occupied[level] &= !(1 << (slot % SLOTS));
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Returns the slot of the earliest entries outside of the heap. Slots at or before the current tick are empty, so
    /// it is the first slot of the lowest level that has entries.
    fn first_slot(&self) -> Option<usize> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some(level * SLOTS + self.occupied[level].trailing_zeros() as usize)
    }

    /// Returns the first tick of a slot.
    fn start_of(&self, slot: usize) -> u64 {
        let shift = (slot / SLOTS) as u32 * DIGIT;
        let digits_above = (self.tick >> shift) & !(SLOTS as u64 - 1);
        (digits_above | (slot % SLOTS) as u64) << shift
    }

    fn release(&mut self, node: u32) {
        let entry = &mut self.nodes[node as usize];
        (entry.sequence, entry.next) = (0, self.free);
        self.free = node;
        self.armed -= 1;
    }

    /// Removes the entry at this position of the heap.
    fn heap_remove(&mut self, at: usize) {
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            let at = self.sift_up(at);
            self.sift_down(at);
        }
    }

    /// Moves an entry of the heap towards the root, as far as it comes before its parents. Returns its position.
    fn sift_up(&mut self, mut at: usize) -> usize {
        let entry = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / 4;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            self.settle(at, self.heap[parent]);
            at = parent;
        }
        self.settle(at, entry);
        at
    }

    /// Moves an entry of the heap away from the root, as far as it comes after its children.
    fn sift_down(&mut self, mut at: usize) {
        let entry = self.heap[at];
        loop {
            let children = 4 * at + 1..(4 * at + 5).min(self.heap.len());
            let first = children.reduce(|a, b| if self.heap[b].is_before(&self.heap[a]) { b } else { a });
            let Some(child) = first.filter(|child| self.heap[*child].is_before(&entry)) else { break };
            self.settle(at, self.heap[child]);
            at = child;
        }
        self.settle(at, entry);
    }

    /// Stores an entry at a position of the heap.
    fn settle(&mut self, at: usize, entry: Entry) {
        self.nodes[entry.node as usize].place = HEAP + at as u32;
        self.heap[at] = entry;
    }
}

/// Returns the tick of a time. Times before the origin belong to the first tick.
fn tick_of(time: i64) -> u64 {
    time.max(0) as u64 >> TICK
}
