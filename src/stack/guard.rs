//! Guards: the pages below a stack that fault when they are touched.
//!
//! Linux 6.13 has guards that are marks in the page table (`MADV_GUARD_INSTALL`): a million of them fit into one mapping.
//! `mprotect` splits the mapping at every guard, two mappings a stack, and ends at `vm.max_map_count` with some 32,700.
//!
//! The answer of the system call proves nothing: qemu's user mode returns 0 and does nothing. So a slab's first guard is
//! tried: a `write(2)` from it must fail with EFAULT. Where it does not, and where the call fails (memory locked by
//! `mlockall` gives EINVAL), `mprotect` does the work. `--cfg cede_mprotect_guard` forces that.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// How the pages below a stack are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL` (Linux 6.13): the guard is a mark in the page table and costs no mapping.
    Install,
    /// `mprotect`: every guard splits its mapping, so `vm.max_map_count` bounds the number of stacks (about 32,700).
    Mprotect,
}

/// Set once installing has been seen to fail or to do nothing: from then on `mprotect` is used.
static INSTALL_IS_NO_USE: AtomicBool = AtomicBool::new(cfg!(any(cede_mprotect_guard, not(target_os = "linux"))));

/// The kind that the next guard will be of.
pub(crate) fn kind() -> GuardKind {
    if INSTALL_IS_NO_USE.load(Relaxed) { GuardKind::Mprotect } else { GuardKind::Install }
}

/// Makes guards of `count` ranges of `len` bytes, the first at `start`, one every `stride` bytes; tries the first of them
/// when `prove` is set. Returns how many now stand: fewer than `count` only where the system refused the next one.
///
/// # Errors
/// What the system said when not even the first could be made.
///
/// # Safety
/// The ranges are page-aligned, lie in one private anonymous mapping that the caller owns, and nobody uses them.
pub(crate) unsafe fn protect(start: usize, len: usize, stride: usize, count: usize, prove: bool) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    if kind() == GuardKind::Install {
        // SAFETY: as the caller's.
        let made = unsafe { install::many(start, len, stride, count) };
        match if made == 0 {
            Some(false)
        } else if prove {
            faults(start)
        } else {
            Some(true)
        } {
            Some(true) => return Ok(made),
            Some(false) => INSTALL_IS_NO_USE.store(true, Relaxed),
            // It could not be tried (no descriptor to be had): mprotect for these, and another try for the next slab.
            None => {}
        }
        // A mark left behind is harmless: mprotect covers it.
    }
    let _ = prove;
    for i in 0..count {
        // SAFETY: the caller owns the range, and nobody uses it.
        if unsafe { libc::mprotect((start + i * stride) as *mut _, len, libc::PROT_NONE) } != 0 {
            return if i == 0 { Err(io::Error::last_os_error()) } else { Ok(i) };
        }
    }
    Ok(count)
}

/// Whether the kernel, asked to read one byte at `address` on our behalf, answers EFAULT. `None` if it could not be asked.
#[cfg(target_os = "linux")]
fn faults(address: usize) -> Option<bool> {
    let mut pipe = [0; 2];
    // SAFETY: pipe2 writes two descriptors; write copies from `address` or fails, it does not touch our memory; the
    // descriptors are ours to close.
    unsafe {
        if libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return None;
        }
        let wrote = libc::write(pipe[1], address as *const _, 1);
        let fault = wrote == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT);
        libc::close(pipe[0]);
        libc::close(pipe[1]);
        Some(fault)
    }
}

#[cfg(target_os = "linux")]
mod install {
    use crate::arch::valgrind::is_running;

    const MADV_GUARD_INSTALL: libc::c_int = 102;
    /// The kernel takes up to 1,024; half of that keeps the list on our own stack at 8 KiB.
    const BATCH: usize = 512;

    /// Installs guards from the first on; returns how many of them the system says it made.
    ///
    /// # Safety
    /// As `protect`.
    pub(super) unsafe fn many(start: usize, len: usize, stride: usize, count: usize) -> usize {
        let mut made = 0;
        while made < count {
            let batch = (count - made).min(BATCH);
            let first = start + made * stride;
            // SAFETY: as the caller's. A batch of one is not worth a descriptor of the process, and Valgrind does not know
            // the call for a batch: it would warn of it each time.
            let done = if batch > 1 && !is_running() { unsafe { batched(first, len, stride, batch) } } else { 0 };
            made += done;
            if done == batch {
                continue;
            }
            // SAFETY: as the caller's.
            if unsafe { libc::madvise((start + made * stride) as *mut _, len, MADV_GUARD_INSTALL) } != 0 {
                break;
            }
            made += 1;
        }
        made
    }

    /// One call for many guards: about half the cost of a call each. Returns how many were made; 0 where the kernel does
    /// not let a process advise itself (before 6.13).
    ///
    /// # Safety
    /// As `protect`.
    unsafe fn batched(start: usize, len: usize, stride: usize, count: usize) -> usize {
        let ranges: [libc::iovec; BATCH] = std::array::from_fn(|i| libc::iovec {
            iov_base: (start + i.min(count - 1) * stride) as *mut _,
            iov_len: len,
        });
        // SAFETY: the descriptor is opened and closed here; the ranges are the caller's to protect, and `count` of them
        // are described. The process is asked for anew each time, so a forked child advises itself.
        let bytes = unsafe {
            let me = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
            if me < 0 {
                return 0;
            }
            let bytes = libc::syscall(libc::SYS_process_madvise, me, ranges.as_ptr(), count, MADV_GUARD_INSTALL, 0);
            libc::close(me as libc::c_int);
            bytes
        };
        usize::try_from(bytes).map_or(0, |bytes| bytes / len)
    }
}
