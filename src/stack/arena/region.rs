//! Regions of the address space: what a stack pointer says about the code that runs there, kept from one look to the next.
//!
//! [`slot_around`](super::slot_around) walks the list of slabs, which is long in a program with many stacks. A thread asks again and again
//! from the same stack, and a [`Region`] answers with three comparisons.

use super::{Kind, SLABS, Slab};
use std::ptr::{eq, null};
use std::sync::atomic::{AtomicU8, Ordering};

/// A range of addresses that is one slot, or that contains no slot.
///
/// # Why an old region still tells the truth
///
/// A slab is never unmapped, and its slots and tags never move: so a slot stays a slot, and its kind is read anew at each question. A range
/// without slots stays so until a slab is added. Then the newest slab is another one, also if it is elsewhere, and the region is not used any
/// more. Its address proves that, since no slab is freed. A thread sees each slab on whose stacks it runs: it has taken the stack from a
/// list that was filled after the slab was published.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    start: usize,
    len: usize,
    /// The newest slab when the region was found.
    newest: *const Slab,
    /// The kind of the slot's user.
    kind: &'static AtomicU8,
}

/// The kind in a range without slots: threads have their stacks there, and run no body on them.
static NO_BODY: AtomicU8 = AtomicU8::new(Kind::EventLoop as u8);

impl Region {
    /// A region that contains no address.
    pub(crate) const EMPTY: Region = Region { start: 0, len: 0, newest: null(), kind: &NO_BODY };

    /// Finds the region around an address.
    pub(crate) fn around(address: usize) -> Region {
        let newest = SLABS.load(Ordering::Acquire).cast_const();
        let (mut start, mut end) = (0, usize::MAX);
        let mut slab = newest;
        // SAFETY: slabs are initialised before they are published, and are never freed.
        while let Some(this) = unsafe { slab.as_ref() } {
            let (offset, stride) = (address.wrapping_sub(this.start), this.shape.stride());
            if offset < this.bytes {
                let index = offset / stride;
                return Region {
                    start: this.start + index * stride,
                    len: stride,
                    newest,
                    kind: &this.tags[index].kind,
                };
            }
            if this.start > address {
                end = end.min(this.start);
            } else {
                start = start.max(this.start + this.bytes);
            }
            slab = this.next;
        }
        Region { start, len: end - start, newest, kind: &NO_BODY }
    }

    /// Returns whether this region says that the code at a stack pointer belongs to no body, or to a fiber and to no body inside of it.
    /// False if the region says nothing about that stack pointer.
    #[inline(always)]
    pub(crate) fn shows_no_body(&self, stack_pointer: usize) -> bool {
        stack_pointer.wrapping_sub(self.start) < self.len
            && eq(SLABS.load(Ordering::Acquire), self.newest)
            && self.kind.load(Ordering::Relaxed) >= Kind::Task as u8
    }
}

// The kinds from `Task` on have no section that a fiber's poll could open on them.
const _: () = assert!(
    (Kind::Coroutine as u8) < Kind::Task as u8
        && (Kind::Generator as u8) < Kind::Task as u8
        && (Kind::Sink as u8) < Kind::Task as u8
        && (Kind::EventLoop as u8) > Kind::Task as u8
        && (Kind::Fiber as u8) > Kind::Task as u8
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch;
    use crate::stack::arena::slot_around;
    use crate::stack::{Shape, Stack};

    /// Takes a stack, on a slab of its own if `size` was not used before.
    fn take(size: usize, kind: Kind) -> Stack {
        Stack::acquire(Shape::new(size, 0).unwrap(), kind, None, false).unwrap()
    }

    #[test]
    fn region_follows_the_user() {
        let stack = take(320 * 1024, Kind::Fiber);
        let (limit, top) = (stack.limit(), stack.top());
        let region = Region::around(limit);
        assert!(region.shows_no_body(limit) && region.shows_no_body(top - 1), "a fiber");
        assert!(!region.shows_no_body(limit + 320 * 1024), "the next slot");
        drop(stack);
        let again = take(320 * 1024, Kind::Generator);
        assert_eq!(again.limit(), limit);
        assert!(!region.shows_no_body(limit), "a generator on the same stack");
        drop(again);
        assert!(!Region::EMPTY.shows_no_body(0));
    }

    #[test]
    fn new_slab_ends_a_region() {
        // Other tests add slabs, too: a look between two of them succeeds.
        let here = arch::stack_pointer();
        assert!((0..1000).any(|_| Region::around(here).shows_no_body(here)), "no stack of the library");
        let region = Region::around(here);
        let (start, end) = (region.start, region.start + region.len);
        let stack = take(352 * 1024, Kind::Generator);
        assert!(!region.shows_no_body(here), "a slab was added");
        // A slab that is in the old range is not in the new one.
        let region = Region::around(stack.limit());
        assert!(region.start < stack.limit() && region.len == stack.slot().shape().stride());
        assert!(!region.shows_no_body(stack.limit()));
        let gap = Region::around(here);
        assert!(gap.start >= start && gap.start + gap.len <= end);
        assert!(slot_around(gap.start).is_none() && slot_around(gap.start + gap.len - 1).is_none());
    }
}
