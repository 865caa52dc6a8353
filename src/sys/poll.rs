//! poll(2), for plain threads and for the reactor of systems without epoll(7).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Blocks the thread until `fd` is readable or writable, or has an error, for at most `timeout`. Returns false if the time was up, or if
/// a signal interrupted the wait.
pub(crate) fn poll_fd(fd: BorrowedFd<'_>, readable: bool, timeout: Option<Duration>) -> io::Result<bool> {
    let mut poll = [entry(fd.as_raw_fd(), readable)];
    Ok(poll_all(&mut poll, timeout)? > 0)
}

/// Like [`poll_fd`], for several descriptors. Returns the index of the first that is ready.
pub(crate) fn poll_fds(fds: &[BorrowedFd<'_>], readable: bool, timeout: Option<Duration>) -> io::Result<Option<usize>> {
    let mut polls: Vec<_> = fds.iter().map(|fd| entry(fd.as_raw_fd(), readable)).collect();
    poll_all(&mut polls, timeout)?;
    Ok(polls.iter().position(|poll| poll.revents != 0))
}

fn entry(fd: RawFd, readable: bool) -> libc::pollfd {
    let events = if readable { libc::POLLIN | libc::POLLPRI } else { libc::POLLOUT };
    libc::pollfd { fd, events, revents: 0 }
}

/// Returns the number of ready descriptors; 0 if the time was up, and if a signal interrupted the wait.
pub(crate) fn poll_all(polls: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let millis =
        timeout.map_or(-1, |timeout| timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX));
    // SAFETY: `polls` is borrowed mutably for the call, and its length is given.
    match unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, millis) } {
        -1 => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) }
        }
        count => Ok(usize::try_from(count).unwrap_or(0)),
    }
}
