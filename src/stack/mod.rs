//! Stacks: pieces of address space with a guard page at the low end, kept in a pool for reuse.
//!
//! A stack costs address space, not memory: the kernel provides each page when it is first touched.
//!
//! * `arena` maps slabs. A slab is one mapping that contains many stacks of one size.
//! * `guard` protects the guard page below each stack.
//! * `pool` is the stack pool. It reuses the stack of an ended coroutine while its pages are still warm.
//! * `overflow` reports a stack overflow by the name of the coroutine or task, and aborts the process.
//!
//! ```text
//! one slot of a slab                      64 KiB stack, 4 KiB pages
//! 0x11000 +---------------------------+
//!         | staggering, (i mod 32)*64 |   tops of equal offset would all fall into the same cache sets
//! 0x10fc0 +---------------------------+ <- top      first address not usable; the owner's block is just below
//!         | owner's block             |
//!         | first frame               |
//!         |            |              |
//!         |            v              |
//! 0x01000 +---------------------------+ <- limit    lowest usable address
//!         | guard page: faults        |
//! 0x00000 +---------------------------+ <- the previous slot's end
//! ```

pub(crate) mod arena;
pub(crate) mod guard;
pub(crate) mod overflow;
pub(crate) mod pool;

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub use guard::GuardKind;
pub(crate) use pool::Stack;
pub use pool::{Stats, pool_cap, set_pool_cap, stats, trim};

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

/// Returns the size of a memory page in bytes: 4, 16 or 64 KiB, depending on the running kernel.
#[inline]
pub(crate) fn page_size() -> usize {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    match PAGE.load(Relaxed) {
        0 => {
            // SAFETY: sysconf has no preconditions.
            let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
            PAGE.store(page, Relaxed);
            page
        }
        page => page,
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

    /// Returns the distance from the start of one slot to the start of the next. The sum cannot overflow: both sizes
    /// are at most `MAX_SIZE`.
    pub(crate) fn stride(self) -> usize {
        self.size + self.guard
    }
}

/// The error of creating a coroutine or task that cannot get a stack.
///
/// The failure does not affect running code. A later attempt can succeed, because the stack of an ended coroutine is
/// reused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The requested size is less than [`min_size`].
    #[error("a stack of {requested} bytes is too small: ask for at least {minimum} bytes")]
    TooSmall {
        /// The requested size, in bytes.
        requested: usize,
        /// The smallest size that can be requested on this machine, in bytes.
        minimum: usize,
    },
    /// The requested size of the stack or the guard is more than [`MAX_SIZE`].
    #[error("a stack or guard of {requested} bytes is too large: ask for at most {maximum} bytes")]
    TooLarge {
        /// The requested size, in bytes.
        requested: usize,
        /// The largest size that can be requested, in bytes.
        maximum: usize,
    },
    /// The system refused the address space.
    #[error("no address space for stacks ({bytes} bytes refused with {live} stacks in use): {limit}")]
    Map {
        /// The size of the smallest mapping that was tried, in bytes.
        bytes: usize,
        /// The number of stacks in use.
        live: usize,
        /// The limit that was reached, if it is known. Its text says how to raise it.
        limit: Limit,
        /// The error of the system.
        source: io::Error,
    },
    /// The system refused to protect the guard page below a stack.
    #[error("cannot protect the guard page of another stack with {live} stacks in use: {limit}")]
    Guard {
        /// The number of stacks in use.
        live: usize,
        /// The limit that was reached, if it is known. Its text says how to raise it.
        limit: Limit,
        /// The error of the system.
        source: io::Error,
    },
}

/// A system limit that prevents another stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// `vm.max_map_count`: the largest number of mappings of one process. Holds the value.
    MapCount(usize),
    /// `RLIMIT_AS`: the largest size of the address space of the process, in bytes. Holds the value.
    AddressSpace(u64),
    /// `vm.overcommit_memory = 2`: the system counts address space as if it were memory.
    Overcommit,
    /// No known limit was reached. The `source` of the error is the system's reason.
    Unknown,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::MapCount(n) => write!(
                f,
                "the process has reached vm.max_map_count ({n} mappings); end some coroutines, raise it with \
                 `sysctl vm.max_map_count=...`, or use Linux 6.13 or later, where guards need no mapping of their own"
            ),
            Limit::AddressSpace(n) => {
                write!(f, "the process may have {n} bytes of address space (RLIMIT_AS); raise it with `ulimit -v`")
            }
            Limit::Overcommit => write!(
                f,
                "vm.overcommit_memory is 2, so the system counts address space as memory; ask for smaller stacks or \
                 set it to 0 or 1"
            ),
            Limit::Unknown => write!(f, "the system refused, but no known limit was reached"),
        }
    }
}

impl Limit {
    /// Returns the limit that caused an error of mmap or mprotect. `bytes` is the requested size. Slow, because it
    /// reads a few files, so call it for errors only.
    fn behind(error: &io::Error, bytes: usize) -> Limit {
        if error.raw_os_error() != Some(libc::ENOMEM) {
            return Limit::Unknown;
        }
        if let Some(max) = read_number("/proc/sys/vm/max_map_count") {
            // A failed split needs up to two more mappings, and other threads map and unmap at the same time.
            if count_mappings().is_ok_and(|n| n + 8 >= max) {
                return Limit::MapCount(max);
            }
        }
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: getrlimit writes to the struct, which lives until the end of this function.
        let limited =
            unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } == 0 && limit.rlim_cur != libc::RLIM_INFINITY;
        let pages =
            std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').next()?.parse().ok());
        let used = pages.unwrap_or(0usize).saturating_mul(page_size()).saturating_add(bytes);
        if limited && used as u64 >= limit.rlim_cur {
            return Limit::AddressSpace(limit.rlim_cur);
        }
        if read_number("/proc/sys/vm/overcommit_memory") == Some(2) {
            return Limit::Overcommit;
        }
        Limit::Unknown
    }
}

/// Counts the mappings of this process. Reads the list piece by piece: at a limit there may be no memory for all of it.
fn count_mappings() -> io::Result<usize> {
    let mut maps = std::fs::File::open("/proc/self/maps")?;
    let (mut piece, mut count) = ([0; 2048], 0);
    loop {
        match maps.read(&mut piece)? {
            0 => return Ok(count),
            n => count += piece[..n].iter().filter(|&&byte| byte == b'\n').count(),
        }
    }
}

fn read_number(path: &str) -> Option<usize> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU8;

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

    /// The end of a thread writes into the stacks of its suspended bodies. The previous user of a reused stack has
    /// ended, so nothing may be written for that user.
    #[test]
    fn thread_end_is_not_written_for_the_previous_user() {
        let words: &'static [AtomicU8; 2] = Box::leak(Box::default());
        let told = |user: &Stack, word: &'static AtomicU8| {
            // SAFETY: the word is never freed, and this thread took the stack.
            unsafe { user.slot().tell_at_thread_end(word.as_ptr()) };
        };
        let users = std::thread::spawn(move || {
            let take = |kind| Stack::acquire(Shape::default_shape(), kind, None, false).unwrap();
            let suspended = take(arena::Kind::Generator);
            told(&suspended, &words[0]);
            let ended = take(arena::Kind::Generator);
            told(&ended, &words[1]);
            let place = ended.limit();
            drop(ended);
            let next = take(arena::Kind::Task);
            assert_eq!(next.limit(), place, "the stack that was returned last is reused first");
            std::mem::forget((suspended, next));
        });
        users.join().unwrap();
        assert_eq!(words.each_ref().map(|word| word.load(Relaxed)), [pool::THREAD_ENDED, 0]);
    }

    #[test]
    fn sizes_are_whole_pages() {
        let shape = Shape::new(DEFAULT_SIZE + 1, 1).unwrap();
        assert_eq!(shape, Shape { size: DEFAULT_SIZE + page_size(), guard: page_size() });
        assert_eq!(Shape::new(DEFAULT_SIZE, 0).unwrap().guard, page_size());
    }
}
