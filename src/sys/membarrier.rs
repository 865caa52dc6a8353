//! A pair of fences of which one is free.
//!
//! Two threads each write one thing and then read the other's; at least one of them must see the other's write. That takes a
//! full fence between write and read on both sides, 5 ns each. Where one side does it all the time and the other hardly ever,
//! the other can pay for both: membarrier(2) returns when every running thread of the process has passed a full fence, so
//! wherever that was in the first thread, its write before it is visible now, and its reads after it see what was written
//! before the call. The first thread has to keep the order only against the compiler.

use std::sync::atomic::{AtomicU8, Ordering, compiler_fence};

/// Between write and read of the side that does it all the time.
#[inline(always)]
pub(crate) fn asymmetric_light() {
    compiler_fence(Ordering::SeqCst);
}

/// The fence of the other side, between its write and its read. Returns false if the kernel refuses the call, although it granted it before:
/// a seccomp filter was installed since. Then [`is_available`] returns false from now on.
#[cold]
pub(crate) fn asymmetric_heavy() -> bool {
    // In a child of fork the registration may be gone.
    let again = || membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED);
    let is_done = membarrier(PRIVATE_EXPEDITED) || again();
    if !is_done && !cfg!(test) {
        KNOWN.store(1, Ordering::Relaxed);
    }
    is_done
}

#[cfg(test)]
thread_local! {
    /// This thread's membarrier(2) is refused, as by a sandbox.
    pub(crate) static REFUSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the kernel can do it: 0 for not known, 1 for no, 2 for yes.
static KNOWN: AtomicU8 = AtomicU8::new(0);

/// Whether the kernel can do it. Asked once: with other threads running the first answer takes some milliseconds.
pub(crate) fn is_available() -> bool {
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let there = membarrier(REGISTER_PRIVATE_EXPEDITED);
            KNOWN.store(1 + u8::from(there), Ordering::Relaxed);
            there
        }
        known => known == 2,
    }
}

/// Commands, from linux/membarrier.h.
const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

#[cfg(target_os = "linux")]
fn membarrier(command: libc::c_int) -> bool {
    #[cfg(test)]
    if REFUSED.get() {
        return false;
    }
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn membarrier(_command: libc::c_int) -> bool {
    false
}
