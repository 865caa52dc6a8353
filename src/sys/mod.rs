//! Operating-system services: signal handlers, the self-pipe, and the list of the library's threads. This module does not depend on tasks or workers.

#[cfg(all(feature = "io", target_os = "linux", not(cede_poll_driver)))]
pub(crate) mod eventfd;
#[cfg(feature = "io")]
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod membarrier;
mod page;
#[cfg(all(feature = "io", any(cede_poll_driver, not(target_os = "linux"))))]
pub(crate) mod pipe;
#[cfg(feature = "io")]
mod poll;
pub(crate) mod signals;
#[cfg(feature = "io")]
mod splice;
pub(crate) mod threads;

#[cfg(all(feature = "io", target_os = "linux", not(cede_poll_driver)))]
pub(crate) use self::eventfd::{EventFd as Bell, ring};
pub(crate) use self::page::page_size;
#[cfg(all(feature = "io", any(cede_poll_driver, not(target_os = "linux"))))]
pub(crate) use self::pipe::{PipeBell as Bell, ring};
#[cfg(feature = "io")]
pub(crate) use self::poll::{poll_fd, poll_fds, pollfd};
#[cfg(feature = "io")]
pub(crate) use self::splice::{FileType, file_type, is_nonblocking, sendfile, splice};

/// Without a reactor no queue has a bell.
#[cfg(not(feature = "io"))]
pub(crate) fn ring(_: std::os::fd::RawFd) {}
