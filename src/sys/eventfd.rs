//! eventfd(2): the descriptor through which another thread ends the sleep of a worker in its poller.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// An eventfd. Each [`ring`] makes it readable, which an edge-triggered poller reports once.
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: eventfd takes two numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so nothing else owns it.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The descriptor that `ring` takes.
    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes the eventfd unreadable.
    #[cfg(feature = "uring")]
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        // An eventfd that is not readable fails with EAGAIN.
        // SAFETY: `count` is eight writable bytes, and the descriptor is open as long as `self`.
        let _ = unsafe { libc::read(self.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// The descriptor that becomes readable.
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes the eventfd `fd` readable. The caller ensures that `fd` is open during the call:
/// `RemoteQueue::close` waits for threads that ring.
pub(crate) fn ring(fd: RawFd) {
    let one = 1_u64.to_ne_bytes();
    // A full counter fails with EAGAIN: then the descriptor is readable already.
    // SAFETY: `one` is eight readable bytes.
    let _ = unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
}
