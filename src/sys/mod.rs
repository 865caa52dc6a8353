//! Operating-system services: signal handlers, self-pipes, descriptors, and the list of the library's threads. This module does not depend on tasks or workers.

#[cfg(all(feature = "io", target_os = "linux", not(cede_poll_driver)))]
pub(crate) mod eventfd;
#[cfg(feature = "io")]
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod membarrier;
mod mode;
#[cfg(feature = "io")]
mod nowait;
mod page;
#[cfg(all(feature = "io", any(cede_poll_driver, not(target_os = "linux"))))]
pub(crate) mod pipe;
#[cfg(feature = "io")]
mod poll;
#[cfg(feature = "io")]
mod process;
pub(crate) mod self_pipe;
pub(crate) mod signals;
#[cfg(feature = "io")]
mod splice;
pub(crate) mod threads;

#[cfg(all(feature = "io", target_os = "linux", not(cede_poll_driver)))]
pub(crate) use self::eventfd::{EventFd as Bell, ring};
#[cfg(feature = "io")]
pub(crate) use self::mode::set_nonblocking;
#[cfg(feature = "io")]
pub(crate) use self::nowait::{read_nowait, write_nowait};
pub(crate) use self::page::page_size;
#[cfg(all(feature = "io", any(cede_poll_driver, not(target_os = "linux"))))]
pub(crate) use self::pipe::{PipeBell as Bell, ring};
#[cfg(feature = "io")]
pub(crate) use self::poll::{poll_fd, poll_fds, pollfd};
#[cfg(feature = "io")]
pub(crate) use self::process::{pidfd_open, send_signal};
#[cfg(feature = "io")]
pub(crate) use self::splice::{FileType, file_type, is_nonblocking, sendfile, splice};

/// Without a reactor no queue has a bell.
#[cfg(not(feature = "io"))]
pub(crate) fn ring(_: std::os::fd::RawFd) {}

/// Returns `condition`, and tells the compiler that it is nearly always true: the code for the other case is placed out of the way. A
/// branch that is taken costs a nanosecond where there are several in a row.
#[inline(always)]
pub(crate) fn likely(condition: bool) -> bool {
    if !condition {
        unlikely_path();
    }
    condition
}

#[cold]
#[inline]
fn unlikely_path() {}
