//! The item orders of the queues: a FIFO ring buffer, a LIFO stack, and a priority queue as a binary heap.

use crate::task::no_suspend;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The ordered items of a queue.
///
/// Only `settle`, `take` and `take_all` run user code. If that panics, no item is lost and nothing observable changes. `put` and
/// `put_back` run no user code, so they may be called while the thread panics, or while the caller owns another item.
pub(super) trait Items: Default {
    type Item;

    fn len(&self) -> usize;

    fn put(&mut self, item: Self::Item);

    /// Puts back the item that was taken last, to the place from which it was taken.
    fn put_back(&mut self, item: Self::Item);

    /// Moves newly put items to their places in the order. Without this call the next `take` does it.
    fn settle(&mut self) {}

    fn take(&mut self) -> Option<Self::Item>;

    /// Takes out all items, in their order.
    fn take_all(&mut self) -> Vec<Self::Item>;
}

/// First in, first out: a ring buffer.
pub(super) struct Fifo<T>(VecDeque<T>);

impl<T> Default for Fifo<T> {
    fn default() -> Fifo<T> {
        Fifo(VecDeque::new())
    }
}

impl<T> Items for Fifo<T> {
    type Item = T;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn put(&mut self, item: T) {
        self.0.push_back(item);
    }

    fn put_back(&mut self, item: T) {
        self.0.push_front(item);
    }

    #[inline]
    fn take(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn take_all(&mut self) -> Vec<T> {
        take(&mut self.0).into()
    }
}

/// Last in, first out: a stack.
pub(super) struct Lifo<T>(Vec<T>);

impl<T> Default for Lifo<T> {
    fn default() -> Lifo<T> {
        Lifo(Vec::new())
    }
}

impl<T> Items for Lifo<T> {
    type Item = T;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn put(&mut self, item: T) {
        self.0.push(item);
    }

    fn put_back(&mut self, item: T) {
        self.put(item);
    }

    #[inline]
    fn take(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn take_all(&mut self) -> Vec<T> {
        let mut items = take(&mut self.0);
        items.reverse();
        items
    }
}

/// An item with its number, which orders equal items.
struct Numbered<T> {
    item: T,
    number: i64,
}

impl<T: Ord> Numbered<T> {
    fn order(&self, other: &Self) -> Ordering {
        self.item.cmp(&other.item).then(self.number.cmp(&other.number))
    }

    #[inline]
    fn is_before(&self, other: &Self) -> bool {
        self.order(other).is_lt()
    }
}

/// The smallest item first, equal items in FIFO order: a binary heap.
///
/// `Ord` is user code and runs while the queue is locked: it must not wait, and in a run `no_suspend` prevents that. It may
/// panic. The heap of the standard library would lose an item then. So this heap makes all comparisons of a step before it
/// moves any item:
///
/// ```text
/// items: | a heap: each item is before its children | newly put, in any order |
///                                            settled ^
/// ```
pub(super) struct Smallest<T> {
    items: Vec<Numbered<T>>,
    /// The number of items, from the first on, that form the heap.
    settled: usize,
    /// The number of the next item that is put.
    next: i64,
    /// The number of the next item that is put back: negative and decreasing, so that it precedes all equal items.
    before: i64,
}

impl<T: Ord> Default for Smallest<T> {
    fn default() -> Smallest<T> {
        Smallest { items: Vec::new(), settled: 0, next: 0, before: -1 }
    }
}

impl<T: Ord> Smallest<T> {
    /// Adds the first item behind the heap to the heap.
    #[inline]
    fn settle_one(&mut self) {
        let from = self.settled;
        let mut position = from;
        while position > 0 && self.items[from].is_before(&self.items[(position - 1) / 2]) {
            position = (position - 1) / 2;
        }
        // No comparison follows, so no panic can interrupt the moves.
        let mut at = from;
        while at > position {
            let parent = (at - 1) / 2;
            self.items.swap(at, parent);
            at = parent;
        }
        self.settled += 1;
    }

    /// Returns the position of the last item after the first is taken out. All items must be settled. Follows the smaller
    /// children from the root to the bottom, then goes up until the item fits: usually a short way, since the last item
    /// comes from the bottom.
    #[inline]
    fn place_of_last(&self) -> usize {
        let Some((last, items)) = self.items.split_last() else { return 0 };
        let (mut position, mut left) = (0, 1);
        while left < items.len() {
            let is_right = items.get(left + 1).is_some_and(|right| right.is_before(&items[left]));
            position = left + usize::from(is_right);
            left = 2 * position + 1;
        }
        // The item that is at `position` now will move one step up and precede the last item.
        while position > 0 && last.is_before(&items[position]) {
            position = (position - 1) / 2;
        }
        position
    }

    fn settle_all(&mut self) {
        while self.settled < self.items.len() {
            self.settle_one();
        }
    }

    fn take_first(&mut self) -> Option<T> {
        self.settle_all();
        if self.items.is_empty() {
            return None;
        }
        let position = self.place_of_last();
        // No comparison follows, so no panic can interrupt the moves.
        self.lift(position);
        self.settled -= 1;
        Some(self.items.swap_remove(position).item)
    }

    /// Moves the root to `position`, and each item on the path one step up.
    fn lift(&mut self, position: usize) {
        // Counted from 1, the binary digits of a position after the first digit are the path from the root to it.
        let target = position + 1;
        let mut at = 0;
        for level in (0..target.ilog2()).rev() {
            let child = (target >> level) - 1;
            self.items.swap(at, child);
            at = child;
        }
    }
}

impl<T: Ord> Items for Smallest<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn put(&mut self, item: T) {
        let number = self.next;
        self.next += 1;
        self.items.push(Numbered { item, number });
    }

    fn put_back(&mut self, item: T) {
        let number = self.before;
        self.before -= 1;
        self.items.push(Numbered { item, number });
    }

    fn settle(&mut self) {
        no_suspend(|| self.settle_all());
    }

    fn take(&mut self) -> Option<T> {
        no_suspend(|| self.take_first())
    }

    /// If a comparison panics, the items are returned in no particular order.
    fn take_all(&mut self) -> Vec<T> {
        let mut items = take(&mut self.items);
        self.settled = 0;
        // If a comparison panics, `sort_by` keeps all items. The panic hook has reported the panic.
        let sorted = catch_unwind(AssertUnwindSafe(|| no_suspend(|| items.sort_by(Numbered::order))));
        if let Err(payload) = sorted {
            std::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(payload))));
        }
        items.into_iter().map(|numbered| numbered.item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::rng;
    use std::cell::Cell;

    /// Random sequences of puts and takes of small numbers, compared with a sorted list.
    #[test]
    fn smallest_any_puts_and_takes_agrees_with_sorting() {
        for seed in 0..2000_u64 {
            let (mut queue, mut model) = (Smallest::default(), Vec::<(u64, usize)>::new());
            let state = Cell::new(rng::splitmix64(seed));
            for step in 0..60 {
                let x = rng::xorshift64(&state);
                if !x.is_multiple_of(3) {
                    let item = (x >> 8) % 7;
                    queue.put((item, step));
                    if x >> 40 & 1 == 0 {
                        queue.settle();
                    }
                    model.push((item, step));
                    model.sort();
                } else {
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    assert_eq!(queue.take(), expected, "seed {seed}");
                }
            }
            assert_eq!(queue.take_all(), model, "seed {seed}");
        }
    }
}
