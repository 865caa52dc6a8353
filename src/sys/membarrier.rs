//! Asymmetric fences by membarrier(2): a free light fence, and a heavy fence that pays for both sides.
//!
//! Two threads each write their own variable and then read the other thread's; at least one of them must see the other's
//! write. That normally takes a full fence between write and read on both sides, 5 ns each. If one side runs often and the other
//! rarely, the rare side can pay for both: membarrier(2) returns after every running thread of the process has passed a full
//! fence. Wherever the fence falls in the frequent thread, the writes before the fence are visible to the caller now, and the
//! reads after it see the caller's earlier writes. So the frequent side needs only a compiler fence.

use std::sync::atomic::{AtomicU8, Ordering, compiler_fence};

/// The light fence of the frequent side, between its write and its read.
#[inline(always)]
pub(crate) fn asymmetric_light() {
    compiler_fence(Ordering::SeqCst);
}

/// The heavy fence of the rare side, between its write and its read. Returns false if the kernel refuses the call,
/// although it granted it before: a seccomp filter was installed since. Then [`is_available`] returns false from now
/// on.
#[cold]
pub(crate) fn asymmetric_heavy() -> bool {
    // A child process after fork may have lost the registration.
    let again = || membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED);
    let is_done = membarrier(PRIVATE_EXPEDITED) || again();
    if !is_done && !cfg!(test) {
        KNOWN.store(1, Ordering::Relaxed);
    }
    is_done
}

#[cfg(test)]
thread_local! {
    /// Makes membarrier(2) fail in this thread, as a sandbox does.
    pub(crate) static REFUSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the kernel grants membarrier(2): 0 for unknown, 1 for no, 2 for yes.
static KNOWN: AtomicU8 = AtomicU8::new(0);

/// Returns whether the kernel grants membarrier(2). Asks the kernel once: while other threads run, the registration takes some
/// milliseconds.
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
    // SAFETY: membarrier(2) takes integers only, and touches no memory of the caller.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn membarrier(_command: libc::c_int) -> bool {
    false
}
