//! Stacks: small pieces of address space with a guard at the low end, kept for reuse.
//!
//! A stack costs address space, not memory: the kernel gives a page when it is first touched. Many stacks lie side by
//! side in one mapping (`arena`), each with a guard below it (`guard`); a stack whose coroutine has ended is handed to
//! the next one while its pages are still warm (`pool`); and whoever runs into a guard is named before the process
//! stops (`overflow`).
//!
//! ```text
//! one slot of a slab                      64 KiB stack, 4 KiB pages
//! 0x11000 +---------------------------+
//!         | staggering, (i mod 32)*64 |   tops of equal offset would all fall into the same cache sets
//! 0x10fc0 +---------------------------+ <- top      first address not usable; what the owner keeps lies just below
//!         | owner's block             |
//!         | first frame               |
//!         |            |              |
//!         |            v              |
//! 0x01000 +---------------------------+ <- limit    lowest usable address
//!         | guard: any access faults  |
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

/// The size of a stack in bytes when nobody asks for another: 64 KiB of address space.
///
/// Memory is what is touched: a coroutine that calls little keeps one page. Printing a panic with a backtrace needs
/// 21 KiB, a name look-up by the C library 12.
pub const DEFAULT_SIZE: usize = 64 * 1024;

/// The largest stack that can be asked for, in bytes: 1 TiB.
pub const MAX_SIZE: usize = 1 << 40;

/// The smallest stack that can be asked for, in bytes: 16 KiB, or what a signal frame needs on this machine plus 8 KiB
/// where that is more (CPUs with very large registers), rounded up to whole pages.
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

/// The size of a page of memory in bytes: 4, 16 or 64 KiB, as the system was started.
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

/// Rounds up to pages, whose size is a power of two. `bytes` is at most [`MAX_SIZE`].
#[inline]
fn whole_pages(bytes: usize) -> usize {
    let page = page_size();
    (bytes + page - 1) & !(page - 1)
}

/// How many bytes the kernel pushes when it delivers a signal, at most.
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

/// The size of a stack and of the guard below it, both checked and in whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) size: usize,
    pub(crate) guard: usize,
}

impl Shape {
    /// Rounds up to pages. `guard` of 0 means one page: there is no stack without a guard.
    pub(crate) fn new(size: usize, guard: usize) -> Result<Shape, StackError> {
        let minimum = min_size();
        if size < minimum {
            return Err(StackError::TooSmall { requested: size, minimum });
        }
        if size > MAX_SIZE || guard > MAX_SIZE {
            return Err(StackError::TooLarge { requested: size.max(guard), maximum: MAX_SIZE });
        }
        Ok(Shape { size: whole_pages(size), guard: whole_pages(guard.max(1)) })
    }

    /// The shape that nobody has to ask for.
    #[inline]
    pub(crate) fn default_shape() -> Shape {
        Shape { size: whole_pages(DEFAULT_SIZE), guard: page_size() }
    }

    /// From the start of one slot to the start of the next. Cannot overflow: both parts are at most `MAX_SIZE`.
    pub(crate) fn stride(self) -> usize {
        self.size + self.guard
    }
}

/// Why there is no stack.
///
/// Nothing that is already running is touched by a failure, and a later try can succeed: after a coroutine has ended its
/// stack is used again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// Fewer bytes were asked for than a stack must have: see [`min_size`].
    #[error("a stack of {requested} bytes is too small: ask for at least {minimum} bytes")]
    TooSmall {
        /// What was asked for, in bytes.
        requested: usize,
        /// The least that can be asked for here, in bytes.
        minimum: usize,
    },
    /// More bytes were asked for than [`MAX_SIZE`].
    #[error("a stack or guard of {requested} bytes is too large: ask for at most {maximum} bytes")]
    TooLarge {
        /// What was asked for, in bytes.
        requested: usize,
        /// The most that can be asked for, in bytes.
        maximum: usize,
    },
    /// The system refused the address space.
    #[error("no address space for stacks ({bytes} bytes refused with {live} stacks in use): {limit}")]
    Map {
        /// The size of the smallest mapping that was tried, in bytes.
        bytes: usize,
        /// How many stacks were in use.
        live: usize,
        /// The limit that was hit, as far as can be told, and what to do.
        limit: Limit,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused to protect the guard below a stack.
    #[error("no guard for another stack with {live} stacks in use: {limit}")]
    Guard {
        /// How many stacks were in use.
        live: usize,
        /// The limit that was hit, as far as can be told, and what to do.
        limit: Limit,
        /// What the system said.
        source: io::Error,
    },
}

/// The limit of the system that stood in the way of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// `vm.max_map_count`, the number of mappings of one process, with its value.
    MapCount(usize),
    /// `RLIMIT_AS`, the address space of the process in bytes, with its value.
    AddressSpace(u64),
    /// `vm.overcommit_memory = 2`: the system counts address space as if it were memory.
    Overcommit,
    /// None of the known ones; the source has the system's word.
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
            Limit::Unknown => write!(f, "the system said no, for a reason of its own"),
        }
    }
}

impl Limit {
    /// Looks for the limit behind an error of mmap or mprotect. Slow: it reads a few files, so only errors pay for it.
    /// `bytes` is what was asked for.
    fn behind(error: &io::Error, bytes: usize) -> Limit {
        if error.raw_os_error() != Some(libc::ENOMEM) {
            return Limit::Unknown;
        }
        if let Some(max) = read_number("/proc/sys/vm/max_map_count") {
            // A failed split needs up to two more, and other threads map and unmap meanwhile.
            if count_mappings().is_ok_and(|n| n + 8 >= max) {
                return Limit::MapCount(max);
            }
        }
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: getrlimit writes to the struct that it is given.
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

/// The mappings of this process. Piece by piece: at the wall there may be no memory for the whole list.
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

    /// The end of a thread writes into the stacks of its suspended bodies. A stack that was given back and taken again is not
    /// its last user's any more, so nothing is written for that one.
    #[test]
    fn thread_end_is_not_told_to_the_last_user_of_a_stack() {
        let words: &'static [AtomicU8; 2] = Box::leak(Box::default());
        let told = |user: &Stack, word: &'static AtomicU8| {
            // SAFETY: the word is never freed, and this is the thread that took the stack.
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
            assert_eq!(next.limit(), place, "the stack that was given back last is taken first");
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
