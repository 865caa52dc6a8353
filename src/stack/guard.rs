//! Guard pages: the pages below a stack, which fault on any access and so detect a stack overflow.
//!
//! Linux 6.13 and later can mark guard pages in the page table (`MADV_GUARD_INSTALL`). One mapping can contain a
//! million of these marks. `mprotect` splits the mapping at every guard, so each stack needs two mappings, and
//! `vm.max_map_count` limits the number of stacks to about 32,700.
//!
//! The result of the system call proves nothing: qemu's user mode returns 0 and does nothing. So the first guard of
//! each slab is tested: a `write(2)` from it must fail with EFAULT. If the test or the call fails (EINVAL for memory
//! locked by `mlockall`), `mprotect` is used instead. `--cfg cede_mprotect_guard` forces `mprotect`.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The kind of protection of the guard pages below a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL` (Linux 6.13): a guard is a mark in the page table and needs no mapping.
    Install,
    /// `mprotect`: every guard splits its mapping, so `vm.max_map_count` limits the number of stacks (about 32,700).
    Mprotect,
}

/// Set when `MADV_GUARD_INSTALL` failed or had no effect. All later guards use `mprotect`.
static INSTALL_IS_NO_USE: AtomicBool = AtomicBool::new(cfg!(any(cede_mprotect_guard, not(target_os = "linux"))));

/// Returns the kind of the next guard.
pub(crate) fn kind() -> GuardKind {
    if INSTALL_IS_NO_USE.load(Relaxed) { GuardKind::Mprotect } else { GuardKind::Install }
}

/// Makes `count` guards of `len` bytes: the first at `start`, each further one `stride` bytes above the previous. Tests
/// the first guard if `prove` is set. Returns the number of guards made, which is less than `count` only if the system
/// refused the next one.
///
/// # Errors
///
/// The error of the system if it refused the first guard.
///
/// # Safety
///
/// The ranges are page-aligned and unused, and are part of one private anonymous mapping that the caller owns.
pub(crate) unsafe fn protect(start: usize, len: usize, stride: usize, count: usize, prove: bool) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    if kind() == GuardKind::Install {
        // SAFETY: the caller ensures the conditions of this function, which are those of `install::many`.
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
            // The test was not possible (no file descriptor left): use mprotect for these guards, and test again in the
            // next slab.
            None => {}
        }
        // Marks that were already installed are harmless: mprotect covers them.
    }
    let _ = prove;
    for i in 0..count {
        // SAFETY: the caller owns the range, which is unused (conditions of this function).
        if unsafe { libc::mprotect((start + i * stride) as *mut _, len, libc::PROT_NONE) } != 0 {
            return if i == 0 { Err(io::Error::last_os_error()) } else { Ok(i) };
        }
    }
    Ok(count)
}

/// Returns true if the kernel fails with EFAULT when it reads one byte at `address` for this process. Returns `None` if
/// the test was not possible.
#[cfg(target_os = "linux")]
fn faults(address: usize) -> Option<bool> {
    let mut pipe = [0; 2];
    // SAFETY: pipe2 writes two descriptors, which only this function uses and closes. write copies from `address` or
    // fails, and changes no memory of this process.
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
    /// The largest number of guards in one call. The kernel accepts 1,024. The list is on the caller's stack, which may be
    /// that of a task with 16 KiB, so it has at most 2 KiB.
    const BATCH: usize = 128;

    /// Installs guards in order. Returns the number of guards that the system reports as made.
    ///
    /// # Safety
    ///
    /// The conditions of [`protect`](super::protect).
    pub(super) unsafe fn many(start: usize, len: usize, stride: usize, count: usize) -> usize {
        let mut made = 0;
        while made < count {
            let batch = (count - made).min(BATCH);
            let first = start + made * stride;
            // A batch of one is not worth opening a descriptor of the process. Valgrind does not know the call for a
            // batch and would print a warning each time.
            // SAFETY: the caller ensures the conditions of `protect` for all ranges, and `batched` covers a part of
            // them.
            let done = if batch > 1 && !is_running() { unsafe { batched(first, len, stride, batch) } } else { 0 };
            made += done;
            if done == batch {
                continue;
            }
            // SAFETY: the caller owns the range, which is unused (conditions of `protect`).
            if unsafe { libc::madvise((start + made * stride) as *mut _, len, MADV_GUARD_INSTALL) } != 0 {
                break;
            }
            made += 1;
        }
        made
    }

    /// Installs many guards with one call, at about half the cost of separate calls. Returns the number of guards made,
    /// which is 0 on kernels that do not let a process advise itself (before 6.13).
    ///
    /// # Safety
    ///
    /// The conditions of [`protect`](super::protect).
    unsafe fn batched(start: usize, len: usize, stride: usize, count: usize) -> usize {
        let mut ranges = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        for (number, range) in ranges[..count].iter_mut().enumerate() {
            *range = libc::iovec { iov_base: (start + number * stride) as *mut _, iov_len: len };
        }
        // The descriptor is opened for each call, so that a forked child advises itself and not its parent.
        // SAFETY: only this function uses the descriptor. The caller owns the ranges, which are unused (conditions of
        // `protect`), and `ranges` lists at least `count` of them.
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
