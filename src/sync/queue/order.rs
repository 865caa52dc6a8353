//! In which order items come out.

use crate::task::no_suspend;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The items of a queue.
///
/// Only `settle`, `take` and `take_all` run the user's code. A panic of that loses no item and changes nothing that can be
/// seen; `put` and `put_back` can therefore be called while the thread panics, or with another item in hand.
pub(super) trait Items: Default {
    type Item;

    fn len(&self) -> usize;

    fn put(&mut self, item: Self::Item);

    /// Puts back what was taken last.
    fn put_back(&mut self, item: Self::Item);

    /// Gives the items that were put since their places in the order; otherwise the next `take` does so.
    fn settle(&mut self) {}

    fn take(&mut self) -> Option<Self::Item>;

    /// All items, in their order.
    fn take_all(&mut self) -> Vec<Self::Item>;
}

/// First in, first out.
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

/// Last in, first out.
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

/// An item with its number, which decides among equals.
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

/// The smallest first, and the first in among equals: a binary heap.
///
/// `Ord` is the user's, and runs under the lock of the queue: it must not wait, and in a run it cannot. It may panic. The heap
/// of the standard library would lose an item then, so this one makes all comparisons of a step before it moves anything:
///
/// ```text
/// items: | a heap: each item is before its children | put since, in any order |
///                                            settled ^
/// ```
pub(super) struct Smallest<T> {
    items: Vec<Numbered<T>>,
    /// How many of the items, from the first on, form the heap.
    settled: usize,
    /// The number of the next item; one that is put back goes before all.
    next: i64,
    before: i64,
}

impl<T: Ord> Default for Smallest<T> {
    fn default() -> Smallest<T> {
        Smallest { items: Vec::new(), settled: 0, next: 0, before: -1 }
    }
}

impl<T: Ord> Smallest<T> {
    /// Makes the first item after the heap part of it.
    #[inline]
    fn settle_one(&mut self) {
        let from = self.settled;
        let mut waiter = from;
        while waiter > 0 && self.items[from].is_before(&self.items[(waiter - 1) / 2]) {
            waiter = (waiter - 1) / 2;
        }
        // From here on nothing panics.
        let mut at = from;
        while at > waiter {
            let parent = (at - 1) / 2;
            self.items.swap(at, parent);
            at = parent;
        }
        self.settled += 1;
    }

    /// Where the last item of the heap goes when the first is taken out: the path from the root along the smaller children to
    /// the bottom, and then up again as far as the item has to; mostly that is not far. All items are settled.
    #[inline]
    fn place_of_last(&self) -> usize {
        let Some((last, items)) = self.items.split_last() else { return 0 };
        let (mut waiter, mut left) = (0, 1);
        while left < items.len() {
            let is_right = items.get(left + 1).is_some_and(|right| right.is_before(&items[left]));
            waiter = left + usize::from(is_right);
            left = 2 * waiter + 1;
        }
        // The item that is at `waiter` now will be one step up, above the last one.
        while waiter > 0 && last.is_before(&items[waiter]) {
            waiter = (waiter - 1) / 2;
        }
        waiter
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
        let waiter = self.place_of_last();
        // From here on nothing panics.
        self.lift(waiter);
        self.settled -= 1;
        Some(self.items.swap_remove(waiter).item)
    }

    /// Brings the root to `waiter`, and each item on the way one step up.
    fn lift(&mut self, waiter: usize) {
        // Places count from 1 here: then the binary digits after the first are the turns from the root to the place.
        let target = waiter + 1;
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

    /// As long as the items cannot be compared they are in no particular order.
    fn take_all(&mut self) -> Vec<T> {
        let mut items = take(&mut self.items);
        self.settled = 0;
        // A sort whose comparison panics keeps all items. The panic hook has told of it.
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

    /// All orders of putting and taking small numbers, against a sorted list.
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
