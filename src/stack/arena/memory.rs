//! The memory of stacks: its size, and its return to the system.

use super::Slot;
use crate::sys::page_size;
use std::io;

impl Slot {
    /// Returns the high-water mark in bytes: the size of the part of the stack above the lowest page that was touched
    /// since the memory was last returned to the system, including this page.
    ///
    /// # Errors
    ///
    /// The error of `mincore`.
    pub(crate) fn high_water(self) -> io::Result<usize> {
        let page = page_size();
        let mut resident = vec![0u8; self.slab.shape.size / page];
        // SAFETY: the stack is mapped, since slabs are never unmapped, and `resident` has a byte for each of its pages.
        let answer =
            unsafe { libc::mincore(self.limit() as *mut _, self.slab.shape.size, resident.as_mut_ptr().cast()) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        let untouched = resident.iter().take_while(|&&page| page & 1 == 0).count();
        Ok((resident.len() - untouched) * page)
    }

    /// Returns about how much memory the stack has, in bytes, at least a page. Looks from the top down until 64 pages have no memory.
    pub(crate) fn resident(self) -> usize {
        let page = page_size();
        let (mut end, mut pages) = (self.start() + self.slab.shape.stride(), 0);
        while end > self.limit() {
            let mut seen = [0u8; 64];
            let start = end.saturating_sub(seen.len() * page).max(self.limit());
            // SAFETY: the range is a part of the stack, which is mapped, since slabs are never unmapped. `seen` has a byte for each of its
            // pages.
            let answer = unsafe { libc::mincore(start as *mut _, end - start, seen.as_mut_ptr().cast()) };
            let here = seen.iter().filter(|&&page| page & 1 != 0).count();
            if answer != 0 || here == 0 {
                break;
            }
            pages += here;
            end = start;
        }
        pages.max(1) * page
    }

    /// Fills the stack with zeros, which makes all of it resident.
    ///
    /// # Safety
    ///
    /// The stack is unused, and nothing points into it.
    pub(crate) unsafe fn fill_with_zeros(self) {
        // SAFETY: the range from the limit to the next slot is mapped, writable and unused (condition of this
        // function).
        unsafe { std::ptr::write_bytes(self.limit() as *mut u8, 0, self.shape().size) };
    }
}

/// Returns the memory of these stacks to the system; their guards stay. Sorts the slots, so that one call covers
/// neighbours. Returns false if the system refused some of the memory (locked memory), which then keeps its contents.
///
/// # Safety
///
/// The stacks are unused, and nothing points into them.
pub(crate) unsafe fn return_memory(slots: &mut [Slot]) -> bool {
    let mut all = true;
    slots.sort_unstable_by_key(|slot| slot.start());
    let mut rest = &*slots;
    while let [first, ..] = rest {
        let stride = first.shape().stride();
        let run = rest
            .iter()
            .enumerate()
            .take_while(|(i, slot)| slot.slab.start == first.slab.start && slot.start() == first.start() + i * stride)
            .count();
        let len = run * stride - first.shape().guard;
        // SAFETY: the slots are neighbours in one slab and unused (condition of this function). Guards of both kinds
        // survive the call. The range starts above the first slot's guard, which holds no memory.
        all &= unsafe { libc::madvise(first.limit() as *mut _, len, libc::MADV_DONTNEED) } == 0;
        rest = &rest[run..];
    }
    all
}
