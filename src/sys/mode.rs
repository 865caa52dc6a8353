//! The mode of a descriptor: blocking or non-blocking.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets the mode of the open file that `fd` names. Duplicates of the descriptor share it, also in other processes.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    // SAFETY: `fd` is open for the call, which takes no pointer.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    let new = if nonblocking { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: `fd` is open for the call, and F_SETFL takes a number.
    if new != flags && unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, new) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
