//! The size of a memory page.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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
