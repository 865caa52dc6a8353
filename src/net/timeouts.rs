//! The timeouts of a socket.
#![forbid(unsafe_code)]

use crate::reactor::Interest;
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The value of a timeout that is not set, in nanoseconds. A timeout is at least 1.
const NONE: u64 = 0;

/// The timeouts of reads and of writes. They belong to one value of a socket, and not to the socket in the kernel.
#[derive(Debug)]
pub(super) struct Timeouts {
    read: AtomicU64,
    write: AtomicU64,
}

impl Timeouts {
    pub(super) fn none() -> Timeouts {
        Timeouts { read: AtomicU64::new(NONE), write: AtomicU64::new(NONE) }
    }

    /// Returns the timeouts that a socket has in the kernel.
    pub(super) fn of_kernel(socket: &impl AsFd) -> Timeouts {
        let (options, timeouts) = (SockRef::from(socket), Timeouts::none());
        // An error means that the descriptor is no socket. Its first use reports that.
        timeouts.store(Interest::Readable, options.read_timeout().ok().flatten());
        timeouts.store(Interest::Writable, options.write_timeout().ok().flatten());
        timeouts
    }

    /// Sets the timeouts in the kernel.
    pub(super) fn set_in_kernel(&self, socket: &impl AsFd) {
        let options = SockRef::from(socket);
        // The kernel has microseconds, and takes 0 for no timeout.
        let timeout = |interest| self.get(interest).map(|timeout| timeout.max(Duration::from_micros(1)));
        // An error means that the descriptor is no socket, or on Apple's systems that both sides have ended.
        let _ = options.set_read_timeout(timeout(Interest::Readable));
        let _ = options.set_write_timeout(timeout(Interest::Writable));
    }

    pub(super) fn copy(&self) -> Timeouts {
        Timeouts { read: self.read.load(Relaxed).into(), write: self.write.load(Relaxed).into() }
    }

    fn cell(&self, interest: Interest) -> &AtomicU64 {
        match interest {
            Interest::Readable => &self.read,
            Interest::Writable => &self.write,
        }
    }

    #[inline]
    pub(super) fn get(&self, interest: Interest) -> Option<Duration> {
        Some(self.cell(interest).load(Relaxed)).filter(|nanos| *nanos != NONE).map(Duration::from_nanos)
    }

    /// Like `std`, refuses a timeout of zero.
    pub(super) fn set(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a timeout of zero is no timeout: use None"));
        }
        self.store(interest, timeout);
        Ok(())
    }

    fn store(&self, interest: Interest, timeout: Option<Duration>) {
        // Beyond 584 years a timeout is none.
        let nanos = timeout.and_then(|timeout| u64::try_from(timeout.as_nanos()).ok()).unwrap_or(NONE);
        self.cell(interest).store(nanos, Relaxed);
    }
}
