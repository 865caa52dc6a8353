//! Detection of fork(2). A child process shares kernel objects with its parent that one of them must not use, and has none of its
//! threads.
//!
//! A handler of pthread_atfork(3) counts, so a check costs one load. A child made by clone(2) itself is not detected, nor is one of
//! vfork(2) and posix_spawn(3), which shares the parent's memory until it calls exec.

use std::io;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32};

/// The number of forks between the process that first called `watch` and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The generation of the process in which an object was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u32);

impl Generation {
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
    static WATCHES: AtomicBool = AtomicBool::new(false);
    // Two threads may both install the handler: generations then differ by 2. A lock could be taken during a fork.
    if !WATCHES.load(Relaxed) {
        // SAFETY: `count` is async-signal-safe, and stays in memory as long as this library.
        match unsafe { libc::pthread_atfork(None, None, Some(count)) } {
            0 => WATCHES.store(true, Relaxed),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    Ok(())
}

/// A value that each process makes anew: a child never sees that of its parent, whose lock another thread may have held during the fork.
/// The values are never freed.
pub(crate) struct PerProcess<T: 'static> {
    make: fn() -> T,
    current: AtomicPtr<(Generation, T)>,
}

impl<T: Send + Sync> PerProcess<T> {
    /// Makes the place for a value that the first [`get`](Self::get) of a process makes.
    pub(crate) const fn new(make: fn() -> T) -> PerProcess<T> {
        PerProcess { make, current: AtomicPtr::new(null_mut()) }
    }

    /// Returns the value of this process. Forks count if the caller has called [`watch`] before.
    pub(crate) fn get(&'static self) -> &'static T {
        let current = self.current.load(Acquire);
        // SAFETY: `make_anew` stores only pointers of leaked boxes, and the acquire load sees what it wrote.
        match unsafe { current.as_ref() } {
            Some((made_in, value)) if !made_in.is_over() => value,
            _ => self.make_anew(current),
        }
    }

    #[cold]
    fn make_anew(&'static self, former: *mut (Generation, T)) -> &'static T {
        let new = Box::into_raw(Box::new((Generation::current(), (self.make)())));
        match self.current.compare_exchange(former, new, AcqRel, Acquire) {
            // SAFETY: `new` is a box that is never freed from here on.
            Ok(_) => unsafe { &(*new).1 },
            Err(other) => {
                // SAFETY: `new` comes from `Box::into_raw` above and was not published.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: another thread of this process has just stored `other`, by this function.
                unsafe { &(*other).1 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn value_is_made_once_per_process() {
        static VALUE: PerProcess<Mutex<u32>> = PerProcess::new(|| Mutex::new(7));
        watch().unwrap();
        let _locked = VALUE.get().lock().unwrap();
        assert!(VALUE.get().try_lock().is_err());
        // SAFETY: the child makes one allocation and exits.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // The lock of the parent is taken in the child, and that of the child is not.
            let mine = VALUE.get().try_lock().map_or(0, |value| *value);
            // SAFETY: the child runs nothing more.
            unsafe { libc::_exit(i32::try_from(mine).unwrap_or(1)) }
        }
        let mut status = 0;
        // SAFETY: `status` is writable for the call.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert!(VALUE.get().try_lock().is_err());
    }
}
