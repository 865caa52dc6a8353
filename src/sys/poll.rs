//! poll(2) on one descriptor, for plain threads.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Blocks the thread until `fd` is readable or writable, or has an error, for at most `timeout`. Returns false if the time was up, or if
/// a signal interrupted the wait.
pub(crate) fn poll_fd(fd: BorrowedFd<'_>, readable: bool, timeout: Option<Duration>) -> io::Result<bool> {
    let events = if readable { libc::POLLIN | libc::POLLPRI } else { libc::POLLOUT };
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let millis =
        timeout.map_or(-1, |timeout| timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX));
    // SAFETY: one entry, which is valid for the call.
    match unsafe { libc::poll(&raw mut poll, 1, millis) } {
        -1 => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
        }
        count => Ok(count > 0),
    }
}
