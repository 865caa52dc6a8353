//! The poller of Unix systems without epoll(7), and of Linux with `--cfg cede_poll_driver`: poll(2), level-triggered.
//!
//! A wait asks only for the directions that have waiters. For these the slot believes that a call would fail, so an event that was reported
//! once is not reported again while no task waits for it, as with an edge-triggered poller. An event that is not asked for is not lost: the
//! kernel reports the state, not the change. The price is that each wait passes all watched directions to the kernel.
#![forbid(unsafe_code)]

use super::interest::{Interest, readiness};
use crate::sys::pipe::PipeBell;
use crate::sys::poll_fds;
use std::cell::{Ref, RefCell};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// An event of a descriptor.
pub(super) struct Event {
    token: u64,
    readiness: u8,
}

impl Event {
    /// The token of the descriptor.
    pub(super) fn token(&self) -> u64 {
        self.token
    }

    /// The readiness bits.
    pub(super) fn readiness(&self) -> u8 {
        self.readiness
    }
}

/// The number of events at which a call may have left some. No call does.
pub(super) const BATCH: usize = usize::MAX;

/// A poller with its bell.
pub(super) struct Poll {
    bell: PipeBell,
    /// The arguments of poll(2), the bell first, and the tokens of the rest. Kept for their memory.
    polls: RefCell<(Vec<libc::pollfd>, Vec<u64>)>,
    events: RefCell<Vec<Event>>,
}

impl Poll {
    /// A wait reports nothing that no task waits for.
    pub(super) const REPORTS_NEW: bool = false;

    /// The cost of a wait for `waiting` tasks, in that of a wait for a few: the kernel looks at each descriptor.
    pub(super) fn cost(waiting: usize) -> u64 {
        1 + waiting as u64 / 32
    }

    pub(super) fn new() -> io::Result<Poll> {
        Ok(Poll { bell: PipeBell::new()?, polls: RefCell::default(), events: RefCell::default() })
    }

    /// Lets the bell end a wait: it always does.
    pub(super) fn watch_bell(&self) -> io::Result<()> {
        Ok(())
    }

    /// A descriptor that is readable while there are events: none.
    pub(super) fn descriptor(&self) -> RawFd {
        -1
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    pub(super) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Registers a descriptor. The kernel learns of it at the first wait.
    pub(super) fn add(&self, _fd: RawFd, _token: u64) -> io::Result<()> {
        Ok(())
    }

    /// Returns whether the descriptor's registration may get another token: always, since waits name descriptors by their numbers.
    pub(super) fn take_over(&self, _fd: RawFd, _token: u64) -> bool {
        true
    }

    /// Ends the registration of a descriptor.
    pub(super) fn remove(&self, _fd: RawFd) {}

    /// Waits for at most `timeout`, and returns the events. `wanted` calls its argument with each descriptor that has waiters, its token,
    /// and the directions.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        wanted: impl FnOnce(&mut dyn FnMut(RawFd, u64, &[Interest])),
    ) -> Ref<'_, [Event]> {
        self.events.borrow_mut().clear();
        self.wait_into(timeout, wanted);
        Ref::map(self.events.borrow(), Vec::as_slice)
    }

    fn wait_into(&self, timeout: Option<Duration>, wanted: impl FnOnce(&mut dyn FnMut(RawFd, u64, &[Interest]))) {
        let mut polls = self.polls.borrow_mut();
        let (polls, tokens) = &mut *polls;
        polls.clear();
        tokens.clear();
        polls.push(libc::pollfd { fd: self.bell.reader().as_raw_fd(), events: libc::POLLIN, revents: 0 });
        wanted(&mut |fd, token, interests| {
            let events = interests.iter().fold(0, |events, interest| events | events_of(*interest));
            polls.push(libc::pollfd { fd, events, revents: 0 });
            tokens.push(token);
        });
        match poll_fds(polls, timeout) {
            Ok(false) => return,
            Ok(true) => {}
            // The kernel has no memory: no event is lost, so the next wait tries again.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EAGAIN)) => {
                std::thread::sleep(Duration::from_millis(1));
                return;
            }
            // RLIMIT_NOFILE was lowered below the number of descriptors that are open.
            Err(error) => panic!("poll(2) failed for {} descriptors: {error}", polls.len()),
        }
        if polls[0].revents != 0 {
            self.bell.clear();
        }
        let mut events = self.events.borrow_mut();
        for (poll, token) in polls[1..].iter().zip(tokens) {
            if poll.revents != 0 {
                events.push(Event { token: *token, readiness: readiness_of(poll.revents) });
            }
        }
    }
}

fn events_of(interest: Interest) -> libc::c_short {
    match interest {
        Interest::Readable => libc::POLLIN | libc::POLLPRI,
        Interest::Writable => libc::POLLOUT,
    }
}

fn readiness_of(bits: libc::c_short) -> u8 {
    let if_any = |events: libc::c_short, bit: u8| if bits & events != 0 { bit } else { 0 };
    if_any(libc::POLLIN, readiness::READ)
        // A read stops at the mark of urgent data, so a short one does not prove that it took all.
        | if_any(libc::POLLPRI, readiness::READ | readiness::READ_END)
        | if_any(libc::POLLOUT, readiness::WRITE)
        // An error or a hang-up ends waits in both directions: the call reports it.
        | if_any(
            libc::POLLHUP | libc::POLLERR | libc::POLLNVAL,
            readiness::READ | readiness::WRITE | readiness::READ_END | readiness::WRITE_END,
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{poll_fd, ring};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn events(poll: &Poll, fd: RawFd, interests: &[Interest]) -> Vec<(u64, u8)> {
        let events = poll.wait(Some(Duration::ZERO), |ask| ask(fd, 5, interests));
        events.iter().map(|event| (event.token(), event.readiness())).collect()
    }

    #[test]
    fn only_wanted_directions_are_reported() {
        let poll = Poll::new().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        let fd = there.as_raw_fd();
        assert_eq!(events(&poll, fd, &[Interest::Readable]), []);
        assert_eq!(events(&poll, fd, &[Interest::Writable]), [(5, readiness::WRITE)]);
        here.write_all(b"x").unwrap();
        assert_eq!(events(&poll, fd, &[Interest::Writable]), [(5, readiness::WRITE)]);
        // The state is reported, not the change.
        for _ in 0..2 {
            assert_eq!(events(&poll, fd, &[Interest::Readable]), [(5, readiness::READ)]);
        }
        drop(here);
        let all = readiness::READ | readiness::WRITE | readiness::READ_END | readiness::WRITE_END;
        assert_eq!(events(&poll, fd, &[Interest::Readable]), [(5, all)]);
    }

    #[test]
    fn bell_ends_one_wait() {
        let poll = Poll::new().unwrap();
        (0..100).for_each(|_| ring(poll.bell()));
        // Without a limit: the bell ends the wait.
        assert!(poll.wait(None, |_| ()).is_empty());
        assert!(!poll_fd(poll.bell.reader(), true, Some(Duration::ZERO)).unwrap());
    }
}
