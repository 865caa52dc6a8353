//! A wait for several descriptors at once.
#![forbid(unsafe_code)]

use super::error::{cancelled, interrupted};
use super::source::Source;
use crate::reactor::Interest;
use crate::sys::{poll_fds, pollfd};
use crate::wait::{WaitSpec, Worker, fiber, now, wait, wait_anywhere_in_poll, worker};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Waits until one of the descriptors is ready or until `deadline`, by the run's clock, or outside of a run by the real one. Returns the
/// index of a ready descriptor, and `None` if the time was up. `sources` is not empty.
#[track_caller]
pub(crate) fn wait_for_any(
    sources: &[(&Source, BorrowedFd<'_>)],
    interest: Interest,
    deadline: Option<Instant>,
) -> io::Result<Option<usize>> {
    let mut polls: Vec<_> = sources.iter().map(|(_, fd)| pollfd(*fd, interest == Interest::Readable)).collect();
    let worker = worker();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        let is_thread = worker.is_none() && fiber::current().is_none();
        // A plain thread waits here.
        let ready = poll_fds(&mut polls, if is_thread { left } else { Some(Duration::ZERO) })?;
        // After an interrupted poll no entry is set.
        if ready && let Some(index) = polls.iter().position(|poll| poll.revents != 0) {
            return Ok(Some(index));
        }
        if left == Some(Duration::ZERO) {
            return Ok(None);
        }
        match worker {
            Some(worker) => suspend(worker, sources, interest, deadline)?,
            None if is_thread => {}
            None => suspend_fiber(sources, interest, deadline)?,
        }
    }
}

/// Suspends the running task until one of the descriptors has an event, until `deadline`, or spuriously. None was ready just now.
#[track_caller]
fn suspend(
    worker: &Worker,
    sources: &[(&Source, BorrowedFd<'_>)],
    interest: Interest,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let mut waiting = Waiting { sources, interest, count: 0 };
    for (source, fd) in sources {
        if !source.begin_wait(*fd, interest)? {
            return Ok(());
        }
        waiting.count += 1;
    }
    // Reports show the descriptor that came last.
    let fd = sources.last().map_or(-1, |(_, fd)| fd.as_raw_fd());
    let spec = WaitSpec { reason: "one of several descriptors", external: true, fd, ..WaitSpec::DEFAULT };
    wait(worker, spec, deadline).map_err(|_| cancelled(worker))
}

/// Suspends the calling fiber, outside of a run, until one of the descriptors is ready, until `deadline`, or spuriously.
#[track_caller]
fn suspend_fiber(
    sources: &[(&Source, BorrowedFd<'_>)],
    interest: Interest,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let fds: Vec<_> = sources.iter().map(|(_, fd)| (*fd, interest == Interest::Readable)).collect();
    let spec = WaitSpec { reason: "one of several descriptors", external: true, ..WaitSpec::DEFAULT };
    wait_anywhere_in_poll(spec, &fds, deadline).map_err(interrupted)
}

/// The first `count` sources, among whose waiters the running task is. Removes it when the wait ends in any way.
struct Waiting<'a> {
    sources: &'a [(&'a Source, BorrowedFd<'a>)],
    interest: Interest,
    count: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.sources[..self.count].iter().for_each(|(source, _)| source.end_wait(self.interest));
    }
}
