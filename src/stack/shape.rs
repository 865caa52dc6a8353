//! The sizes of stacks and their guards.

use super::error::StackError;
use crate::sys::page_size;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The default size of a stack, in bytes: 64 KiB of address space.
///
/// Only touched pages use memory: a coroutine with few calls uses one page. Printing a panic with a backtrace needs
/// 21 KiB, a name look-up by the C library 12 KiB.
pub const DEFAULT_SIZE: usize = 64 * 1024;

/// The default size of a guard, in bytes. Guards are rounded up to whole pages, so the default guard is one page.
pub(crate) const DEFAULT_GUARD_SIZE: usize = 1;

/// The largest size of a stack that can be requested, in bytes: 1 TiB.
pub const MAX_SIZE: usize = 1 << 40;

/// Returns the smallest size of a stack that can be requested, in bytes.
///
/// The size is 16 KiB, or 8 KiB plus the size of a signal frame on this machine if that is more (CPUs with very large
/// registers), rounded up to whole pages.
///
/// ```
/// assert!(cede::stack::min_size() >= 16 * 1024);
/// ```
pub fn min_size() -> usize {
    static MIN: AtomicUsize = AtomicUsize::new(0);
    match MIN.load(Relaxed) {
        0 => {
            let min = (signal_frame_size() + 8 * 1024).max(16 * 1024).next_multiple_of(page_size());
            MIN.store(min, Relaxed);
            min
        }
        min => min,
    }
}

/// Rounds up to whole pages. The page size is a power of two, and `bytes` must be at most [`MAX_SIZE`].
#[inline]
fn whole_pages(bytes: usize) -> usize {
    let page = page_size();
    (bytes + page - 1) & !(page - 1)
}

/// Returns the largest number of bytes that the kernel pushes when it delivers a signal.
pub(crate) fn signal_frame_size() -> usize {
    #[cfg(target_os = "linux")]
    {
        const AT_MINSIGSTKSZ: libc::c_ulong = 51;
        // SAFETY: getauxval has no preconditions; an unknown key gives 0.
        let size = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
        if size != 0 {
            return size;
        }
    }
    libc::MINSIGSTKSZ
}

/// The size of a stack and of the guard below it, both within bounds and in whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) size: usize,
    pub(crate) guard: usize,
}

impl Shape {
    /// Checks the bounds and rounds up to whole pages. Every stack has a guard: a `guard` of 0 means the default size.
    ///
    /// # Errors
    ///
    /// [`StackError::TooSmall`] or [`StackError::TooLarge`] if a size is out of bounds.
    pub(crate) fn new(size: usize, guard: usize) -> Result<Shape, StackError> {
        let minimum = min_size();
        if size < minimum {
            return Err(StackError::TooSmall { requested: size, minimum });
        }
        if size > MAX_SIZE || guard > MAX_SIZE {
            return Err(StackError::TooLarge { requested: size.max(guard), maximum: MAX_SIZE });
        }
        Ok(Shape { size: whole_pages(size), guard: whole_pages(guard.max(DEFAULT_GUARD_SIZE)) })
    }

    /// Returns the default shape, by [`DEFAULT_SIZE`] and [`DEFAULT_GUARD_SIZE`].
    #[inline]
    pub(crate) fn default_shape() -> Shape {
        Shape { size: whole_pages(DEFAULT_SIZE), guard: whole_pages(DEFAULT_GUARD_SIZE) }
    }

    /// Returns the default shape of fibers: 256 KiB, since futures are polled on their stacks, and take much of it without optimization.
    #[inline]
    pub(crate) fn fiber_shape() -> Shape {
        // As `whole_pages`, with one look at the size of a page, which is the size of the default guard.
        let page = page_size();
        Shape { size: (256 * 1024 + page - 1) & !(page - 1), guard: page }
    }

    /// Returns the distance from the start of one slot to the start of the next. The sum cannot overflow: both sizes
    /// are at most `MAX_SIZE`.
    pub(crate) fn stride(self) -> usize {
        self.size + self.guard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors_that_name_the_bound() {
        for size in [0, 1, 4095, 16 * 1024 - 1] {
            let error = Shape::new(size, 0).unwrap_err();
            assert!(matches!(error, StackError::TooSmall { requested, .. } if requested == size), "{error}");
        }
        for size in [MAX_SIZE + 1, 1 << 47, usize::MAX - 4095, usize::MAX] {
            assert!(matches!(Shape::new(size, 0), Err(StackError::TooLarge { .. })));
            assert!(matches!(Shape::new(DEFAULT_SIZE, size), Err(StackError::TooLarge { .. })));
        }
    }

    #[test]
    fn sizes_are_whole_pages() {
        let shape = Shape::new(DEFAULT_SIZE + 1, 1).unwrap();
        assert_eq!(shape, Shape { size: DEFAULT_SIZE + page_size(), guard: page_size() });
        assert_eq!(Shape::new(DEFAULT_SIZE, 0).unwrap().guard, page_size());
    }
}
