//! The slots: the state of each registered descriptor and its waiters.
#![forbid(unsafe_code)]

use super::interest::Interest;
use crate::arch::prefetch;
use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;

/// A task that waits, as the scheduler names it. The reactor only stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiter {
    /// The address of the task's TCB, which is also a hint for a prefetch.
    pub(crate) tcb: usize,
    /// The number of the task. No task has the number 0.
    pub(crate) task_id: u64,
}

impl Waiter {
    /// The waiter of an empty place.
    pub(super) const NONE: Waiter = Waiter { tcb: 0, task_id: 0 };
}

/// The name of a slot: its index and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    pub(super) fn new(index: usize, generation: u32) -> Token {
        Token((index as u64) << 32 | u64::from(generation))
    }

    pub(super) fn index(self) -> usize {
        (self.0 >> 32) as usize
    }

    fn generation(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u64) -> Token {
        Token(bits)
    }
}

/// The state of one descriptor, in one cache line.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Slot {
    /// The source that owns the slot; 0 for none.
    pub(super) source: u64,
    /// The first waiter of each direction, or `Waiter::NONE`.
    reader: Waiter,
    writer: Waiter,
    /// The further waiters of both directions, in arrival order. A direction without a first waiter has no further ones.
    further: Option<Box<[VecDeque<Waiter>; 2]>>,
    /// Advances when the slot gets another source. Never that of the bell's token.
    pub(super) generation: u32,
    pub(super) fd: RawFd,
    pub(super) readiness: u8,
    /// The number of events, one after the other, that told nothing new.
    repeated: u8,
}

/// The number of events without news after which a slot is superfluous. A task that reads less often than data arrives then pays for a
/// new registration, with that share of its events.
const MAX_REPEATED: u8 = 64;

const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    /// Adds the readiness of an event. Returns true if the slot is of no use: it has no waiters, and a number of events told nothing new.
    #[inline]
    pub(super) fn is_superfluous(&mut self, readiness: u8) -> bool {
        if readiness & !self.readiness != 0 {
            self.readiness |= readiness;
            self.repeated = 0;
            return false;
        }
        self.repeated += 1;
        self.repeated >= MAX_REPEATED && self.has_no_waiters()
    }

    #[cold]
    fn has_no_waiters(&mut self) -> bool {
        // If there are some, the count begins again.
        self.repeated = 0;
        !self.has_waiters(Interest::Readable) && !self.has_waiters(Interest::Writable)
    }

    #[inline]
    pub(super) fn first(&mut self, interest: Interest) -> &mut Waiter {
        match interest {
            Interest::Readable => &mut self.reader,
            Interest::Writable => &mut self.writer,
        }
    }

    /// Returns whether a direction has waiters.
    pub(super) fn has_waiters(&self, interest: Interest) -> bool {
        let first = match interest {
            Interest::Readable => self.reader,
            Interest::Writable => self.writer,
        };
        first != Waiter::NONE
    }

    /// Adds a waiter behind the earlier ones of its direction.
    #[inline]
    pub(super) fn push(&mut self, interest: Interest, waiter: Waiter) {
        let first = self.first(interest);
        if *first == Waiter::NONE { *first = waiter } else { self.push_further(interest, waiter) }
    }

    #[cold]
    fn push_further(&mut self, interest: Interest, waiter: Waiter) {
        self.further.get_or_insert_default()[interest as usize].push_back(waiter);
    }

    /// Removes and returns the first waiter of a direction, or `Waiter::NONE`.
    #[inline]
    fn pop(&mut self, interest: Interest) -> Waiter {
        let next = if self.further.is_some() { self.pop_further(interest) } else { Waiter::NONE };
        std::mem::replace(self.first(interest), next)
    }

    #[cold]
    fn pop_further(&mut self, interest: Interest) -> Waiter {
        let further = self.further.as_mut().and_then(|further| further[interest as usize].pop_front());
        further.unwrap_or(Waiter::NONE)
    }

    /// Removes a waiter. Returns false if it is not there.
    #[inline]
    pub(super) fn remove(&mut self, interest: Interest, waiter: Waiter) -> bool {
        if *self.first(interest) == waiter {
            self.pop(interest);
            return true;
        }
        self.remove_further(interest, waiter)
    }

    fn remove_further(&mut self, interest: Interest, waiter: Waiter) -> bool {
        let Some(further) = &mut self.further else { return false };
        let further = &mut further[interest as usize];
        let at = further.iter().position(|other| *other == waiter);
        at.is_some_and(|at| further.remove(at).is_some())
    }

    /// Removes all waiters of a direction in order, and calls `wake` for each. Returns their number.
    #[inline]
    pub(super) fn drain(&mut self, interest: Interest, wake: &mut impl FnMut(Waiter)) -> usize {
        let mut count = 0;
        while self.first(interest).task_id != Waiter::NONE.task_id {
            wake(self.pop(interest));
            count += 1;
        }
        count
    }
}

/// A slab of slots.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) slots: Vec<Slot>,
    /// The free list.
    pub(super) free: Vec<usize>,
    /// The slot of each registered descriptor.
    pub(super) by_fd: HashMap<RawFd, usize>,
}

impl Slots {
    /// Returns the slot of a token that is not stale.
    #[inline]
    pub(super) fn get(&mut self, token: Token) -> Option<&mut Slot> {
        self.slots.get_mut(token.index()).filter(|slot| slot.source != 0 && slot.generation == token.generation())
    }

    /// Returns the slot of a token if `source` owns it. The token may come from another run's reactor: see `io::source`.
    #[inline]
    pub(super) fn get_own(&mut self, source: u64, token: Token) -> Option<&mut Slot> {
        self.slots.get_mut(token.index()).filter(|slot| slot.source == source && slot.generation == token.generation())
    }

    /// Prefetches the slot of a token.
    #[inline]
    pub(super) fn fetch(&self, token: Token) {
        if let Some(slot) = self.slots.get(token.index()) {
            prefetch(std::ptr::from_ref(slot) as usize);
        }
    }

    /// Prefetches the TCB of the first reader of a token's slot.
    #[inline]
    pub(super) fn fetch_waiter(&self, token: Token) {
        if let Some(slot) = self.slots.get(token.index()) {
            prefetch(slot.reader.tcb);
        }
    }

    /// Frees a slot, and calls `wake` for the waiters of both directions. Returns their number.
    pub(super) fn release(&mut self, index: usize, mut wake: impl FnMut(Waiter)) -> usize {
        let slot = &mut self.slots[index];
        self.by_fd.remove(&slot.fd);
        slot.source = 0;
        slot.generation = slot.generation.wrapping_add(1);
        let count = slot.drain(Interest::Readable, &mut wake) + slot.drain(Interest::Writable, &mut wake);
        self.free.push(index);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(task_id: u64) -> Waiter {
        Waiter { tcb: 8, task_id }
    }

    #[test]
    fn waiters_keep_their_order_when_some_leave() {
        for (leaving, left) in [([1, 3], [2, 4]), ([2, 4], [1, 3]), ([1, 2], [3, 4])] {
            let mut slot = Slot::default();
            (1..=4).for_each(|id| slot.push(Interest::Readable, waiter(id)));
            slot.push(Interest::Writable, waiter(5));
            leaving.iter().for_each(|id| assert!(slot.remove(Interest::Readable, waiter(*id))));
            assert!(!slot.remove(Interest::Readable, waiter(leaving[0])));
            let mut woken = Vec::new();
            assert_eq!(slot.drain(Interest::Readable, &mut |waiter| woken.push(waiter.task_id)), 2);
            assert_eq!(woken, left);
            assert_eq!(slot.drain(Interest::Readable, &mut |_| ()), 0);
            assert_eq!(slot.drain(Interest::Writable, &mut |_| ()), 1);
        }
    }

    #[test]
    fn slot_is_superfluous_without_news_and_waiters() {
        let mut slot = Slot::default();
        let (read, write) = (Interest::Readable.bit(), Interest::Writable.bit());
        assert!(!slot.is_superfluous(read | write));
        assert!((1..MAX_REPEATED).all(|_| !slot.is_superfluous(read)));
        // News: the owner has read in between.
        slot.readiness = write;
        assert!(!slot.is_superfluous(read | write));
        assert!((1..MAX_REPEATED).all(|_| !slot.is_superfluous(read)));
        slot.readiness = write;
        slot.push(Interest::Readable, waiter(1));
        assert!((0..=u8::MAX).all(|_| !slot.is_superfluous(write)), "a task waits");
        assert!(slot.remove(Interest::Readable, waiter(1)));
        assert_eq!((0..MAX_REPEATED).filter(|_| slot.is_superfluous(write)).count(), 1);
    }
}
