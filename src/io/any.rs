//! A wait for several descriptors at once.
#![forbid(unsafe_code)]

use super::error::cancelled;
use super::source::{Source, Waiting};
use crate::reactor::Interest;
use crate::sys::poll_fds;
use crate::wait::{WaitSpec, wait, worker};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Waits until one of the descriptors is ready or until `deadline`, by the run's clock, or in a plain thread by the real one. Returns the
/// index of a ready descriptor, and `None` if the time was up. `sources` is not empty.
#[track_caller]
pub(crate) fn wait_for_any(
    sources: &[(&Source, BorrowedFd<'_>)],
    interest: Interest,
    deadline: Option<Instant>,
) -> io::Result<Option<usize>> {
    let fds: Vec<_> = sources.iter().map(|(_, fd)| *fd).collect();
    let readable = interest == Interest::Readable;
    let Some(worker) = worker() else { return block(&fds, readable, deadline) };
    loop {
        if let Some(index) = poll_fds(&fds, readable, Some(Duration::ZERO))? {
            return Ok(Some(index));
        }
        if deadline.is_some_and(|deadline| deadline <= worker.clock.now()) {
            return Ok(None);
        }
        let reactor = worker.reactor()?;
        let waiter = worker.io_waiter();
        let mut waiting = Vec::with_capacity(sources.len());
        for (source, fd) in sources {
            let token = source.expect_event(worker, reactor, *fd, interest)?;
            reactor.add_waiter(token, interest, waiter);
            waiting.push(Waiting { reactor, token, interest, waiter });
        }
        // Reports show the attempt that began last.
        let fd = fds.last().map_or(-1, AsRawFd::as_raw_fd);
        let spec = WaitSpec { reason: "one of several descriptors", external: true, fd, ..WaitSpec::DEFAULT };
        let outcome = wait(worker, spec, deadline);
        drop(waiting);
        if outcome.is_err() {
            return Err(cancelled(worker));
        }
    }
}

/// Blocks a plain thread.
fn block(fds: &[BorrowedFd<'_>], readable: bool, deadline: Option<Instant>) -> io::Result<Option<usize>> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let ready = poll_fds(fds, readable, left)?;
        if ready.is_some() || left == Some(Duration::ZERO) {
            return Ok(ready);
        }
    }
}
