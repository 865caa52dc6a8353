//! The buffer of a body that runs ahead: a body puts values into it instead of suspending with each.
//!
//! The owner has the buffer, a [`Reader`]. While the body runs ahead, its handle knows the [`Slots`] of the buffer.
//!
//! ```text
//!   slots     next       end                      limit        slots + size
//!   +---------+----------+----------+-------------+------------+
//!   | moved   | values   | put      | uninitialised            |
//!   +---------+----------+----------+-------------+------------+
//!   Reader::take moves              limit - room               the last slot is for Reader::push
//! ```
//!
//! Positions are pointers, because the index, the pointer and the length of a slice would be two loads more for each
//! value. A value of size 0 counts as one byte here, and is never written or read at such a position. The body counts the room
//! that is left where it counts its open sections, at which it looks anyway.
//!
//! # Invariants
//!
//! 1. `slots <= next <= end <= slots + size`, and all are whole values away from `slots`.
//! 2. The slots `next..end` are initialised and belong to the reader.
//! 3. A body puts values into the slots only inside of [`Reader::fill`], which begins with an empty buffer.

use super::chain::Head;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, from_ref, null_mut, slice_from_raw_parts_mut};

/// The body's half: the place where it puts values.
pub(crate) struct Slots<Y> {
    /// The slot after the last one for the body.
    limit: Cell<*mut Y>,
}

/// The owner's half: takes the values out, in order. Dropping it drops the values that were not taken.
pub(crate) struct Reader<Y> {
    next: *mut Y,
    end: *mut Y,
    slots: *mut [MaybeUninit<Y>],
}

/// Returns the number of bytes from one position to the next.
const fn step<Y>() -> usize {
    if size_of::<Y>() == 0 { 1 } else { size_of::<Y>() }
}

/// Returns the position `count` values after another one.
#[inline(always)]
fn after<Y>(position: *mut Y, count: usize) -> *mut Y {
    position.wrapping_byte_add(count * step::<Y>())
}

/// Returns the number of values between two positions.
#[inline(always)]
fn between<Y>(first: *mut Y, end: *mut Y) -> usize {
    (end.addr() - first.addr()) / step::<Y>()
}

/// Returns the pointer through which the value at a position is written and read.
#[inline(always)]
fn slot<Y>(position: *mut Y) -> *mut Y {
    if size_of::<Y>() == 0 { NonNull::dangling().as_ptr() } else { position }
}

impl<Y> Slots<Y> {
    pub(crate) const fn new() -> Self {
        Slots { limit: Cell::new(null_mut()) }
    }

    /// Puts a value into the slot that is `-room` slots before the limit.
    ///
    /// # Safety
    /// [`Reader::fill`] runs the body, and there is room for `-room` values, at least 1.
    #[inline(always)]
    pub(super) unsafe fn put(&self, room: isize, value: Y) {
        let position = self.limit.get().wrapping_offset(room);
        // SAFETY: the slot is in bounds and free (contract of this function, invariant 3). The buffer belongs to the reader, which
        // `fill` borrows.
        unsafe { slot(position).write(value) };
    }
}

impl<Y> Reader<Y> {
    /// Creates a buffer for `size` values, at least 1: a body puts in one less, and [`push`](Self::push) the last.
    ///
    /// # Panics
    ///
    /// Panics if the values do not fit into the address space.
    pub(crate) fn new(size: usize) -> Self {
        // Positions of values without a size stay in the address space.
        let size = if size_of::<Y>() == 0 { size.min(isize::MAX as usize) } else { size }.max(1);
        let slots = Box::into_raw(Box::new_uninit_slice(size));
        Reader { next: slots.cast(), end: slots.cast(), slots }
    }

    /// Takes the next value.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<Y> {
        let next = self.next;
        if next == self.end {
            return None;
        }
        self.next = after(next, 1);
        // SAFETY: the slot is initialised and in bounds (invariants 1 and 2). After the line above it is not the reader's any
        // more, so the value is moved once.
        Some(unsafe { slot(next).read() })
    }

    /// Returns the number of values that [`take`](Self::take) returns.
    pub(crate) fn len(&self) -> usize {
        between(self.next, self.end)
    }

    /// Appends a value. Returns it if the buffer is full.
    #[inline]
    pub(crate) fn push(&mut self, value: Y) -> Result<(), Y> {
        if between(self.slots.cast(), self.end) == self.slots.len() {
            return Err(value);
        }
        // SAFETY: the slot is in bounds, because the end is not that of the slots, and it is free (invariant 2).
        unsafe { slot(self.end).write(value) };
        self.end = after(self.end, 1);
        Ok(())
    }

    /// Drops all values, and calls `run`, in which the body puts values into the buffer while there is room. `yielder` returns the body's
    /// side of `generator`.
    ///
    /// # Panics
    ///
    /// Propagates a panic of `run`, after which the reader has the values that the body has put in. Aborts the process if `yielder`
    /// returns another body after `run` than before.
    #[inline]
    pub(crate) fn fill<G, T>(
        &mut self,
        generator: &mut G,
        yielder: impl Fn(&G) -> (&Head, &Slots<Y>),
        run: impl FnOnce(&mut G) -> T,
    ) -> T {
        self.clear();
        let room = self.slots.len() as isize - 1;
        let (head, slots) = yielder(generator);
        slots.limit.set(after(self.end, room as usize));
        head.set_room(room);
        let body = from_ref(head);
        let filling = Filling { reader: self, room, body, yielder, generator };
        run(filling.generator)
    }

    /// Drops all values, in order. If the destructor of one panics, the rest is dropped nevertheless.
    pub(crate) fn clear(&mut self) {
        let (next, end) = (self.next, self.end);
        (self.next, self.end) = (self.slots.cast(), self.slots.cast());
        // SAFETY: the slots `next..end` are initialised (invariant 2), and do not belong to the reader any more: it begins anew.
        unsafe { slice_from_raw_parts_mut(slot(next), between(next, end)).drop_in_place() };
    }
}

/// Ends [`Reader::fill`] when it is dropped, on return and on unwinding. After that the body puts in nothing.
struct Filling<'a, G, Y, F: Fn(&G) -> (&Head, &Slots<Y>)> {
    reader: &'a mut Reader<Y>,
    room: isize,
    body: *const Head,
    yielder: F,
    generator: &'a mut G,
}

impl<G, Y, F: Fn(&G) -> (&Head, &Slots<Y>)> Drop for Filling<'_, G, Y, F> {
    #[inline]
    fn drop(&mut self) {
        let (head, _) = (self.yielder)(self.generator);
        if from_ref(head) != self.body {
            // The first body could still put values in.
            std::process::abort();
        }
        let left = head.set_room(0);
        // The slots from the end on are as many as there was room for, and those with room left are not initialised (invariant 3).
        self.reader.end = after(self.reader.end, (self.room - left) as usize);
    }
}

impl<Y> Drop for Reader<Y> {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: the pointer is that of `Box::into_raw`, and only this drop uses it for a box. No body puts values in (invariant 3).
        drop(unsafe { Box::from_raw(self.slots) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    /// A body's side without a body.
    struct Body<Y>(Head, Slots<Y>);

    impl<Y> Body<Y> {
        fn new() -> Self {
            Body(Head::new(), Slots::new())
        }

        fn sides(&self) -> (&Head, &Slots<Y>) {
            (&self.0, &self.1)
        }

        /// Puts values in while there is room, as a body does. Returns the number.
        fn put(&self, values: impl IntoIterator<Item = Y>) -> usize {
            let put = |value| {
                let left = self.0.set_room(0);
                if left > 0 {
                    // SAFETY: all callers are inside of `fill`, and there is room.
                    unsafe { self.1.put(-left, value) };
                    self.0.set_room(left - 1);
                }
                left > 0
            };
            values.into_iter().map(put).take_while(|put| *put).count()
        }
    }

    /// Fills a buffer with as many of the values as there is room for. Returns their number.
    fn fill<Y>(reader: &mut Reader<Y>, values: impl IntoIterator<Item = Y>) -> usize {
        reader.fill(&mut Body::new(), Body::sides, |body| body.put(values))
    }

    #[test]
    fn full_buffer_has_room_for_a_push() {
        let mut reader = Reader::new(3);
        assert_eq!((fill(&mut reader, 1..9), reader.len(), reader.push(3), reader.push(4)), (2, 2, Ok(()), Err(4)));
        assert_eq!((reader.take(), reader.take(), reader.take(), reader.take()), (Some(1), Some(2), Some(3), None));
        assert_eq!((fill(&mut reader, [5]), reader.push(6), reader.len()), (1, Ok(()), 2));
        assert_eq!((reader.take(), reader.take(), reader.take()), (Some(5), Some(6), None));
    }

    /// After `fill` the body puts in nothing.
    #[test]
    fn body_has_no_room_outside_of_fill() {
        let (mut reader, mut body) = (Reader::new(5), Body::new());
        assert_eq!(body.put([1]), 0);
        reader.fill(&mut body, Body::sides, |body| assert_eq!(body.put([1, 2]), 2));
        assert_eq!((body.put([3]), reader.len()), (0, 2));
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn panic_in_fill_keeps_the_values() {
        let (mut reader, mut body) = (Reader::new(5), Body::new());
        let run = |body: &mut Body<_>| {
            body.put([1, 2]);
            std::panic::resume_unwind(Box::new(()));
        };
        let fill = || reader.fill(&mut body, Body::sides, run);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(fill)).is_err());
        assert_eq!((body.put([3]), reader.take(), reader.take(), reader.take()), (0, Some(1), Some(2), None));
    }

    #[test]
    fn values_are_dropped_once() {
        let value = Rc::new(());
        let copies = |n| std::iter::repeat_n(&value, n).cloned();
        let mut reader = Reader::new(5);
        assert_eq!(fill(&mut reader, copies(3)), 3);
        assert!(reader.take().is_some());
        assert_eq!(Rc::strong_count(&value), 3);
        // What was not taken is dropped.
        assert_eq!((fill(&mut reader, copies(4)), Rc::strong_count(&value)), (4, 5));
        reader.clear();
        assert_eq!((Rc::strong_count(&value), reader.len()), (1, 0));
        assert_eq!(fill(&mut reader, copies(1)), 1);
        drop(reader);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    /// Values without a size are counted, and dropped as often as they were put in.
    #[test]
    fn values_without_size_are_counted() {
        thread_local!(static DROPS: Cell<u32> = const { Cell::new(0) });
        struct Unit;
        impl Drop for Unit {
            fn drop(&mut self) {
                DROPS.set(DROPS.get() + 1);
            }
        }
        let mut reader = Reader::new(4);
        assert_eq!(fill(&mut reader, [Unit, Unit, Unit, Unit]), 3);
        assert_eq!((DROPS.get(), reader.len()), (1, 3));
        assert!(reader.take().is_some());
        assert_eq!(DROPS.get(), 2);
        drop(reader);
        assert_eq!(DROPS.get(), 4);
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn no_size_is_too_large() {
        let mut reader = Reader::new(usize::MAX);
        assert_eq!((fill(&mut reader, [()]), reader.push(())), (1, Ok(())));
        assert_eq!((reader.take(), reader.take(), reader.take()), (Some(()), Some(()), None));
        assert!(std::panic::catch_unwind(|| drop(Reader::<u64>::new(usize::MAX))).is_err());
    }

    #[test]
    fn no_size_is_too_small() {
        for size in [0, 1] {
            let mut reader = Reader::new(size);
            assert_eq!((fill(&mut reader, [1]), reader.push(2), reader.push(3)), (0, Ok(()), Err(3)));
            assert_eq!((reader.take(), reader.take()), (Some(2), None));
        }
    }
}
