//! The wait for the end of a child: by its descriptor, or by SIGCHLD.
#![forbid(unsafe_code)]

use crate::io::Async;
use crate::signal::{SignalKind, Signals, on};
use crate::sys::pidfd_open;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Set by tests: no descriptor of a process is opened, as where the kernel refuses them.
static IS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Makes waits of this process behave as on a kernel that refuses pidfd_open(2). For tests.
#[doc(hidden)]
pub fn refuse_pidfd(refuse: bool) {
    IS_REFUSED.store(refuse, Relaxed);
}

/// The event that tells the end of a child.
#[derive(Debug)]
pub(super) enum Exit {
    /// The descriptor of the child, readable when it has ended.
    Pidfd(Async<OwnedFd>),
    /// SIGCHLD, which tells that some child has ended.
    Signals(Signals),
}

impl Exit {
    /// Opens the event of a child that has not been waited for.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub(super) fn of(child: &Child) -> io::Result<Exit> {
        let opened = if IS_REFUSED.load(Relaxed) { Err(ErrorKind::Unsupported.into()) } else { pidfd_open(child.id()) };
        match opened {
            Ok(fd) => Ok(Exit::Pidfd(Async::new(fd))),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Err(error),
            // The kernel is older than 5.3, a sandbox refuses the call, or the system has none.
            Err(_) => on(SignalKind::child()).map(Exit::Signals),
        }
    }

    /// Waits until `child` has ended.
    #[track_caller]
    pub(super) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let mut status = || child.try_wait()?.ok_or_else(|| ErrorKind::WouldBlock.into());
        match self {
            Exit::Pidfd(fd) => fd.read_with(|_| status()),
            // The listener exists since before the first look at the child, so no signal is missed.
            Exit::Signals(signals) => loop {
                match status() {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => signals.recv()?,
                    outcome => return outcome,
                }
            },
        }
    }
}
