//! The way in which a UDP socket sends and receives batches: what its kernel has, and what its route has refused.
#![forbid(unsafe_code)]

use super::sys_batch;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering::Relaxed};

/// The state of `Calls::joining`.
const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

/// The value of `Calls::gso_limit` before the kernel was asked.
const NOT_ASKED: u32 = u32::MAX;

/// The system calls that a socket uses for batches. Each value is only advice or a copy of what the kernel has, so races are harmless.
#[derive(Debug)]
pub(super) struct Calls {
    /// recvmmsg(2) and sendmmsg(2) are missing.
    one_by_one: AtomicBool,
    /// Whether the socket joins datagrams (`UDP_GRO`).
    joining: AtomicU8,
    /// The longest datagrams that the kernel has to divide a message into (`UDP_SEGMENT`); 0 for none.
    gso_limit: AtomicU32,
    /// The error of a receive that came after a datagram, reported by the next call; 0 for none.
    later_error: AtomicI32,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            one_by_one: AtomicBool::new(!cfg!(any(target_os = "linux", target_os = "android"))),
            joining: AtomicU8::new(UNKNOWN),
            gso_limit: AtomicU32::new(NOT_ASKED),
            later_error: AtomicI32::new(0),
        }
    }
}

impl Calls {
    /// Returns the calls of a duplicate of the descriptor.
    pub(super) fn copy(&self) -> Calls {
        Calls {
            one_by_one: AtomicBool::new(self.one_by_one()),
            joining: AtomicU8::new(self.joining.load(Relaxed)),
            gso_limit: AtomicU32::new(self.gso_limit.load(Relaxed)),
            later_error: AtomicI32::new(0),
        }
    }

    pub(super) fn one_by_one(&self) -> bool {
        self.one_by_one.load(Relaxed)
    }

    /// Calls `f`, and a second time if the kernel or a filter of system calls has no call for several messages.
    pub(super) fn with_fallback<T>(&self, mut f: impl FnMut(&Calls) -> io::Result<T>) -> io::Result<T> {
        match f(self) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) && !self.one_by_one() => {
                self.use_one_by_one();
                f(self)
            }
            outcome => outcome,
        }
    }

    /// Does without the calls for several messages.
    pub(super) fn use_one_by_one(&self) {
        self.one_by_one.store(true, Relaxed);
    }

    /// Does without `UDP_SEGMENT`.
    pub(super) fn use_no_gso(&self) {
        self.gso_limit.store(0, Relaxed);
    }

    /// Sets whether the socket joins datagrams. Returns whether it does.
    pub(super) fn set_joining(&self, fd: BorrowedFd<'_>, enabled: bool) -> io::Result<bool> {
        let joins = sys_batch::set_gro(fd, enabled)?;
        self.joining.store(if joins { ON } else { OFF }, Relaxed);
        Ok(joins)
    }

    /// Returns whether the socket joins datagrams. Asks the kernel once: the socket may have come with the option.
    pub(super) fn joins(&self, fd: BorrowedFd<'_>) -> bool {
        let mut joining = self.joining.load(Relaxed);
        if joining == UNKNOWN {
            joining = if sys_batch::gro(fd) { ON } else { OFF };
            self.joining.store(joining, Relaxed);
        }
        joining == ON
    }

    /// Returns whether `set_joining` has enabled joining.
    #[inline]
    pub(super) fn is_known_to_join(&self) -> bool {
        self.joining.load(Relaxed) == ON
    }

    /// Returns the greatest length of datagrams that are sent together; 0 for none.
    pub(super) fn gso_limit(&self, fd: BorrowedFd<'_>) -> usize {
        let mut limit = self.gso_limit.load(Relaxed);
        if limit == NOT_ASKED {
            // A kernel without the option ignores it as part of a message, and would send one long datagram.
            limit = if sys_batch::has_gso(fd) { u32::from(u16::MAX) } else { 0 };
            self.gso_limit.store(limit, Relaxed);
        }
        limit as usize
    }

    pub(super) fn lower_gso_limit(&self, limit: usize) {
        self.gso_limit.fetch_min(u32::try_from(limit).unwrap_or(0), Relaxed);
    }

    pub(super) fn take_later_error(&self) -> Option<io::Error> {
        if self.later_error.load(Relaxed) == 0 {
            return None;
        }
        Some(self.later_error.swap(0, Relaxed)).filter(|code| *code != 0).map(io::Error::from_raw_os_error)
    }

    pub(super) fn keep_later_error(&self, error: Option<io::Error>) {
        if let Some(code) = error.and_then(|error| error.raw_os_error()) {
            self.later_error.store(code, Relaxed);
        }
    }
}
