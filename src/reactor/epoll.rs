//! The poller of Linux: epoll(7), edge-triggered.

use super::interest::{Interest, readiness};
use crate::sys::eventfd::EventFd;
use std::cell::{Ref, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The largest number of events that one call takes. More are taken by the next call.
pub(super) const BATCH: usize = 1024;

/// The token of the bell. No slot has it: the index would be 2^32 - 1.
const BELL: u64 = u64::MAX;

/// The events of a registration: both directions, edge-triggered.
const EVENTS: libc::c_int = libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;

/// An event of a registration.
#[repr(transparent)]
pub(super) struct Event(libc::epoll_event);

impl Event {
    /// The token of the registration. That of the bell names no slot.
    #[inline]
    pub(super) fn token(&self) -> u64 {
        self.0.u64
    }

    /// The readiness bits.
    #[inline]
    pub(super) fn readiness(&self) -> u8 {
        readiness_of(self.0.events as libc::c_int)
    }
}

/// An epoll instance with its bell.
pub(super) struct Epoll {
    fd: OwnedFd,
    bell: EventFd,
    events: RefCell<Vec<Event>>,
}

impl Epoll {
    /// The first wait after a registration reports the readiness that the descriptor has then.
    pub(super) const REPORTS_NEW: bool = true;

    /// The cost of a wait for `_waiting` tasks, in that of a wait for a few.
    pub(super) fn cost(_waiting: usize) -> u64 {
        1
    }

    pub(super) fn new() -> io::Result<Epoll> {
        // SAFETY: epoll_create1 takes a number.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd, bell: EventFd::new()?, events: RefCell::new(Vec::with_capacity(BATCH)) })
    }

    /// Lets the bell end a wait. Not called if another poller watches it.
    pub(super) fn watch_bell(&self) -> io::Result<()> {
        // Edge-triggered, so each ring is one event, and the counter is never read.
        self.control(libc::EPOLL_CTL_ADD, self.bell.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, BELL)
    }

    /// The descriptor of the instance, which is readable while there are events.
    pub(super) fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    pub(super) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, events: libc::c_int, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` is valid for the call; the kernel checks both descriptors.
        match unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Registers a descriptor for both directions. The first wait reports its present readiness.
    pub(super) fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        match self.control(libc::EPOLL_CTL_ADD, fd, EVENTS, token) {
            // The descriptor has an earlier registration, which the new token replaces.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd, EVENTS, token)
            }
            result => result,
        }
    }

    /// Returns whether the file that `fd` names now is registered under this number. If so, gives the registration `token`, and the
    /// next wait reports the present readiness again.
    pub(super) fn take_over(&self, fd: RawFd, token: u64) -> bool {
        self.control(libc::EPOLL_CTL_MOD, fd, EVENTS, token).is_ok()
    }

    /// Ends the registration of a descriptor. Without effect if it has none.
    pub(super) fn remove(&self, fd: RawFd) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    /// Waits for at most `timeout`, and returns the events. The registrations tell the kernel what is wanted.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        _wanted: impl FnOnce(&mut dyn FnMut(RawFd, u64, &[Interest])),
    ) -> Ref<'_, [Event]> {
        let mut events = self.events.borrow_mut();
        let count = self.wait_into(&mut events, timeout);
        // SAFETY: the kernel has written `count` events, at most `BATCH`, which is the capacity.
        unsafe { events.set_len(count) };
        drop(events);
        Ref::map(self.events.borrow(), Vec::as_slice)
    }

    /// Returns the number of events; 0 for none, and if a signal interrupted the wait.
    fn wait_into(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> usize {
        events.clear();
        let (fd, place) = (self.fd.as_raw_fd(), events.as_mut_ptr().cast::<libc::epoll_event>());
        let count = match timeout {
            // SAFETY: `place` has room for `BATCH` events.
            None => unsafe { libc::epoll_wait(fd, place, BATCH as libc::c_int, -1) },
            // SAFETY: as above.
            Some(Duration::ZERO) => unsafe { libc::epoll_wait(fd, place, BATCH as libc::c_int, 0) },
            Some(timeout) => wait_precisely(fd, place, timeout),
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            // Any other error is a defect of this file: the descriptor and the buffer are ours.
            assert!(error.kind() == io::ErrorKind::Interrupted, "epoll_wait failed: {error}");
        }
        usize::try_from(count).unwrap_or(0)
    }
}

/// Waits with a timeout in nanoseconds, by epoll_pwait2(2). Kernels before 5.11 have only milliseconds, which are rounded up.
fn wait_precisely(fd: RawFd, place: *mut libc::epoll_event, timeout: Duration) -> libc::c_int {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos() as _,
    };
    let no_mask: *const libc::sigset_t = std::ptr::null();
    // SAFETY: `place` has room for `BATCH` events, `time` is valid for the call, and there is no mask.
    let count = unsafe {
        libc::syscall(libc::SYS_epoll_pwait2, fd, place, BATCH as libc::c_int, &raw const time, no_mask, 8_usize)
    };
    // Sandboxes that do not know the call refuse it with EPERM, which epoll_wait(2) never returns.
    if count < 0 && matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
        let millis = timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX);
        // SAFETY: `place` has room for `BATCH` events.
        return unsafe { libc::epoll_wait(fd, place, BATCH as libc::c_int, millis) };
    }
    count as libc::c_int
}

#[inline]
fn readiness_of(bits: libc::c_int) -> u8 {
    let if_any = |events: libc::c_int, bit: u8| if bits & events != 0 { bit } else { 0 };
    if_any(libc::EPOLLIN, readiness::READ)
        // A read stops at the mark of urgent data, so a short one does not prove that it took all.
        | if_any(libc::EPOLLPRI, readiness::READ | readiness::READ_END)
        | if_any(libc::EPOLLOUT, readiness::WRITE)
        | if_any(libc::EPOLLRDHUP, readiness::READ | readiness::READ_END)
        // An error or a hang-up ends waits in both directions: the call reports it.
        | if_any(libc::EPOLLHUP | libc::EPOLLERR, readiness::READ | readiness::WRITE | readiness::READ_END | readiness::WRITE_END)
}
