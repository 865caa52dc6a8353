//! Why there is no stack, with the limit of the system that was reached.

use crate::sys::page_size;
use std::io::{self, Read};

/// The error of creating a coroutine or task that cannot get a stack.
///
/// The failure does not affect running code. A later attempt can succeed, because the stack of an ended coroutine is
/// reused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The requested size is less than [`min_size`](super::min_size).
    #[error("a stack of {requested} bytes is too small: ask for at least {minimum} bytes")]
    TooSmall {
        /// The requested size, in bytes.
        requested: usize,
        /// The smallest size that can be requested on this machine, in bytes.
        minimum: usize,
    },
    /// The requested size of the stack or the guard is more than [`MAX_SIZE`](super::MAX_SIZE).
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
    pub(super) fn behind(error: &io::Error, bytes: usize) -> Limit {
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
        // The type is signed on FreeBSD.
        #[allow(clippy::unnecessary_cast, reason = "u64 on Linux")]
        let most = limit.rlim_cur as u64;
        if limited && used as u64 >= most {
            return Limit::AddressSpace(most);
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
