//! Detection of fork(2). A child process shares kernel objects with its parent that one of them must not use, and has none of its
//! threads.
//!
//! A handler of pthread_atfork(3) counts, so a check costs one load. A child made by clone(2) itself is not detected, nor is one of
//! vfork(2) and posix_spawn(3), which shares the parent's memory until it calls exec.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// The number of forks between the process that first called `watch` and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The generation of the process in which an object was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u32);

impl Generation {
    /// The generation before any fork.
    pub(crate) const FIRST: Generation = Generation(0);

    /// Returns the generation of this process. Forks count since the first call of [`watch`].
    #[inline]
    pub(crate) fn current() -> Generation {
        Generation(GENERATION.load(Relaxed))
    }

    /// Returns whether this process is a child of the one in which the object was made.
    #[inline]
    pub(crate) fn is_over(self) -> bool {
        self != Generation::current()
    }
}

extern "C" fn count() {
    GENERATION.fetch_add(1, Relaxed);
}

/// Counts forks of this process from now on.
///
/// # Errors
///
/// The error of pthread_atfork(3), if there is no memory.
pub(crate) fn watch() -> io::Result<()> {
    static WATCHES: Mutex<bool> = Mutex::new(false);
    let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
    if !*watches {
        // SAFETY: `count` is async-signal-safe, and stays in memory as long as this library.
        match unsafe { libc::pthread_atfork(None, None, Some(count)) } {
            0 => *watches = true,
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    Ok(())
}
