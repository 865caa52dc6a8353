//! The wait of a plain thread for a descriptor, by poll(2), and that of a fiber outside of a run.
#![forbid(unsafe_code)]

use super::error::{interrupted, timed_out};
use crate::reactor::Interest;
use crate::sys::poll_fd;
use crate::wait::{WaitSpec, fiber, wait_anywhere_in_poll};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Blocks a plain thread until the descriptor is ready, or suspends the fiber that calls.
#[track_caller]
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
        if fiber::current().is_some() {
            // May end by a spurious wakeup, so poll(2) decides without a wait.
            let wait = WaitSpec { reason: "I/O", external: true, ..WaitSpec::DEFAULT };
            wait_anywhere_in_poll(wait, &[(fd, interest == Interest::Readable)], *deadline).map_err(interrupted)?;
            if poll_fd(fd, interest == Interest::Readable, Some(Duration::ZERO))? {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(timed_out());
            }
            continue;
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if poll_fd(fd, interest == Interest::Readable, left)? {
            return Ok(());
        }
        if left == Some(Duration::ZERO) {
            return Err(timed_out());
        }
    }
}
