//! The wait of a plain thread for a descriptor, by poll(2).
#![forbid(unsafe_code)]

use super::error::timed_out;
use crate::reactor::Interest;
use crate::sys::poll_fd;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Blocks a plain thread until the descriptor is ready.
pub(super) fn block(
    fd: BorrowedFd<'_>,
    interest: Interest,
    timeout: Option<Duration>,
    deadline: &mut Option<Instant>,
) -> io::Result<()> {
    if deadline.is_none()
        && let Some(timeout) = timeout
    {
        *deadline = Instant::now().checked_add(timeout);
    }
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if poll_fd(fd, interest == Interest::Readable, left)? {
            return Ok(());
        }
        if left == Some(Duration::ZERO) {
            return Err(timed_out());
        }
    }
}
