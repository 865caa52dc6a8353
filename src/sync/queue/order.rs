//! In which order items come out.

use crate::task::no_suspend;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// The items of a queue.
pub(super) trait Items: Default {
    type Item;

    fn len(&self) -> usize;

    fn put(&mut self, item: Self::Item);

    /// Puts back what was taken last.
    fn put_back(&mut self, item: Self::Item);

    fn take(&mut self) -> Option<Self::Item>;
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
}

/// An item with its number, which decides among equals.
struct Numbered<T> {
    item: T,
    number: i64,
}

impl<T: Ord> Ord for Numbered<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.item.cmp(&other.item).then(self.number.cmp(&other.number))
    }
}

impl<T: Ord> PartialOrd for Numbered<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Eq for Numbered<T> {}

impl<T: Ord> PartialEq for Numbered<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

/// The smallest first, and the first in among equals.
///
/// `Ord` is the user's, and runs under the lock of the queue: it must not wait, and in a run it cannot.
pub(super) struct Smallest<T> {
    heap: BinaryHeap<Reverse<Numbered<T>>>,
    /// The number of the next item; one that is put back goes before all.
    next: i64,
    before: i64,
}

impl<T: Ord> Default for Smallest<T> {
    fn default() -> Smallest<T> {
        Smallest { heap: BinaryHeap::new(), next: 0, before: -1 }
    }
}

impl<T: Ord> Items for Smallest<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.heap.len()
    }

    fn put(&mut self, item: T) {
        let number = self.next;
        self.next += 1;
        no_suspend(|| self.heap.push(Reverse(Numbered { item, number })));
    }

    fn put_back(&mut self, item: T) {
        let number = self.before;
        self.before -= 1;
        no_suspend(|| self.heap.push(Reverse(Numbered { item, number })));
    }

    fn take(&mut self) -> Option<T> {
        no_suspend(|| self.heap.pop()).map(|Reverse(numbered)| numbered.item)
    }
}
