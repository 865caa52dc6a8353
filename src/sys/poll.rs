//! poll(2), for plain threads and for the reactor of systems without epoll(7).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Blocks the thread until `fd` is readable or writable, or has an error, for at most `timeout`. Returns false if the time was up, or if
/// a signal interrupted the wait.
pub(crate) fn poll_fd(fd: BorrowedFd<'_>, readable: bool, timeout: Option<Duration>) -> io::Result<bool> {
    poll_fds(&mut [pollfd(fd, readable)], timeout)
}

/// The entry of a descriptor for [`poll_fds`].
pub(crate) fn pollfd(fd: BorrowedFd<'_>, readable: bool) -> libc::pollfd {
    let events = if readable { libc::POLLIN | libc::POLLPRI } else { libc::POLLOUT };
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// Like [`poll_fd`], for several descriptors, of which one suffices.
pub(crate) fn poll_fds(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<bool> {
    let millis =
        timeout.map_or(-1, |timeout| timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX));
    // SAFETY: the entries are valid for the call.
    match unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, millis) } {
        -1 => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
        }
        count => Ok(count > 0),
    }
}
