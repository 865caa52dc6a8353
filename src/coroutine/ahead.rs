//! The buffer of a body that runs ahead: a body puts values into it instead of suspending with each.
//!
//! Both halves share the slots. [`Writer`] is the body's half, a part of the handle. [`Reader`] is the owner's half.
//!
//! ```text
//!   slots     next       end          filled        limit        slots + size
//!   +---------+----------+------------+-------------+------------+
//!   | moved   | initialised values    | uninitialised            |
//!   +---------+----------+------------+-------------+------------+
//!   Reader::take moves   | Reader::look sees        | the last slot is for Reader::push
//!                                      Writer::put writes at `filled`
//! ```
//!
//! Positions are pointers, because the index, the pointer and the length of a slice would be two loads more for each
//! value. A value of size 0 counts as one byte here, and is never written or read at such a position.
//!
//! # Invariants
//!
//! 1. `slots <= next <= end <= filled <= slots + size`, and all are whole values away from `slots`.
//! 2. The slots `next..filled` are initialised and belong to the reader.
//! 3. One reader and one writer share the slots, on one thread: neither half is `Clone`, `Send` or `Sync`.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, slice_from_raw_parts_mut};
use std::rc::Rc;

struct Shared<Y> {
    filled: Cell<*mut Y>,
    limit: *mut Y,
    slots: *mut [MaybeUninit<Y>],
}

/// The body's half: puts values in.
pub(crate) struct Writer<Y>(Rc<Shared<Y>>);

/// The owner's half: takes the values out, in order. Dropping it drops the values that were not taken.
pub(crate) struct Reader<Y> {
    next: *mut Y,
    end: *mut Y,
    shared: Rc<Shared<Y>>,
}

/// Creates a buffer for `size` values, at least 1: the writer puts in one less, and the reader pushes the last.
///
/// # Panics
///
/// Panics if the values do not fit into the address space.
pub(crate) fn buffer<Y>(size: usize) -> (Writer<Y>, Reader<Y>) {
    // Positions of values without a size stay in the address space.
    let size = if size_of::<Y>() == 0 { size.min(isize::MAX as usize) } else { size }.max(1);
    let slots = Box::into_raw(Box::new_uninit_slice(size));
    let first = slots.cast::<Y>();
    let shared = Rc::new(Shared { filled: Cell::new(first), limit: after(first, size - 1), slots });
    (Writer(Rc::clone(&shared)), Reader { next: first, end: first, shared })
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

impl<Y> Shared<Y> {
    /// Writes a value. Returns it if `limit` is reached.
    #[inline(always)]
    fn put(&self, value: Y, limit: *mut Y) -> Result<(), Y> {
        let filled = self.filled.get();
        // After a push, the writer's limit is below.
        if filled >= limit {
            return Err(value);
        }
        // SAFETY: both callers pass a limit of at most `slots + size`, so the slot is in bounds. It is not initialised and
        // no reference to it exists (invariants 1 and 2). `slots` lives as long as `self`.
        unsafe { slot(filled).write(value) };
        self.filled.set(after(filled, 1));
        Ok(())
    }
}

impl<Y> Drop for Shared<Y> {
    fn drop(&mut self) {
        // SAFETY: the pointer is that of `Box::into_raw`, and only this drop uses it for a box. Both halves are dropped.
        drop(unsafe { Box::from_raw(self.slots) });
    }
}

impl<Y> Writer<Y> {
    /// Puts a value in, or returns it if the buffer is full but for its last slot.
    #[inline(always)]
    pub(crate) fn put(&self, value: Y) -> Result<(), Y> {
        self.0.put(value, self.0.limit)
    }
}

impl<Y> Reader<Y> {
    /// Takes the next value that [`look`](Self::look) has seen.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<Y> {
        let next = self.next;
        if next == self.end {
            return None;
        }
        self.next = after(next, 1);
        // SAFETY: the slot is initialised and in bounds (invariants 1 and 2). The line above gave it back to the writer,
        // so the value is moved once.
        Some(unsafe { slot(next).read() })
    }

    /// Returns the number of values that [`take`](Self::take) returns.
    pub(crate) fn len(&self) -> usize {
        between(self.next, self.end)
    }

    /// Sees the values that the writer has put in since.
    #[inline]
    pub(crate) fn look(&mut self) {
        self.end = self.shared.filled.get();
    }

    /// Appends a value, which [`take`](Self::take) returns after the values that are there. Returns the value if the buffer is full.
    #[inline]
    pub(crate) fn push(&mut self, value: Y) -> Result<(), Y> {
        let limit = after(self.shared.slots.cast(), self.shared.slots.len());
        self.shared.put(value, limit)?;
        self.look();
        Ok(())
    }

    /// Makes all slots free again, if all values have been taken.
    #[inline]
    pub(crate) fn rewind(&mut self) {
        if self.next == self.shared.filled.get() {
            let first = self.shared.slots.cast();
            self.shared.filled.set(first);
            (self.next, self.end) = (first, first);
        }
    }

    /// Drops all values, in order. If the destructor of one panics, the rest is dropped nevertheless.
    pub(crate) fn clear(&mut self) {
        let (next, filled) = (self.next, self.shared.filled.get());
        (self.next, self.end) = (filled, filled);
        // SAFETY: the slots `next..filled` are initialised (invariant 2), and do not belong to the reader any more: its
        // `next` is past them. The writer does not touch them: it writes from `filled` on, and only the reader rewinds.
        unsafe { slice_from_raw_parts_mut(slot(next), between(next, filled)).drop_in_place() };
    }
}

impl<Y> Drop for Reader<Y> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_buffer_returns_the_value() {
        let (writer, mut reader) = buffer(3);
        assert_eq!((writer.put(1), writer.put(2), writer.put(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!((reader.take(), reader.len()), (None, 0));
        reader.look();
        assert_eq!((reader.len(), reader.push(3), reader.push(4)), (2, Ok(()), Err(4)));
        assert_eq!((reader.take(), reader.take(), reader.len()), (Some(1), Some(2), 1));
        reader.rewind();
        assert_eq!((writer.put(4), reader.take(), reader.take()), (Err(4), Some(3), None));
        reader.rewind();
        assert_eq!((writer.put(5), reader.len()), (Ok(()), 0));
    }

    #[test]
    fn values_are_dropped_once() {
        let value = Rc::new(());
        let (writer, mut reader) = buffer(5);
        (0..3).for_each(|_| assert!(writer.put(Rc::clone(&value)).is_ok()));
        reader.look();
        assert!(reader.take().is_some());
        assert_eq!(Rc::strong_count(&value), 3);
        assert!(writer.put(Rc::clone(&value)).is_ok());
        reader.clear();
        assert_eq!((Rc::strong_count(&value), reader.len()), (1, 0));
        reader.rewind();
        assert!(writer.put(Rc::clone(&value)).is_ok());
        // Not looked at.
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
        let (writer, mut reader) = buffer(4);
        assert!([writer.put(Unit), writer.put(Unit), writer.put(Unit)].iter().all(Result::is_ok));
        assert!(writer.put(Unit).is_err());
        reader.look();
        assert_eq!((reader.len(), reader.take().is_some(), DROPS.get()), (3, true, 1));
        drop(reader);
        assert_eq!(DROPS.get(), 4);
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn no_size_is_too_large() {
        let (writer, mut reader) = buffer(usize::MAX);
        assert_eq!((writer.put(()), reader.push(())), (Ok(()), Ok(())));
        assert_eq!((reader.take(), reader.take(), reader.take()), (Some(()), Some(()), None));
        assert!(std::panic::catch_unwind(|| drop(buffer::<u64>(usize::MAX))).is_err());
    }

    #[test]
    fn no_size_is_too_small() {
        for size in [0, 1] {
            let (writer, mut reader) = buffer(size);
            assert_eq!((writer.put(1), reader.push(2), reader.push(3)), (Err(1), Ok(()), Err(3)));
            assert_eq!((reader.take(), reader.take()), (Some(2), None));
        }
    }
}
