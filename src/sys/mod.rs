//! Operating-system services: signal handlers, the self-pipe, and the list of the library's threads. This module does not depend on tasks or workers.

#[cfg(all(feature = "io", target_os = "linux", not(cede_poll_driver)))]
pub(crate) mod eventfd;
pub(crate) mod fork;
pub(crate) mod membarrier;
mod page;
#[cfg(all(feature = "io", any(cede_poll_driver, not(target_os = "linux"))))]
pub(crate) mod pipe;
#[cfg(feature = "io")]
mod poll;
pub(crate) mod signals;
pub(crate) mod threads;

#[cfg(all(feature = "io", target_os = "linux", not(cede_poll_driver)))]
pub(crate) use self::eventfd::ring;
pub(crate) use self::page::page_size;
#[cfg(all(feature = "io", any(cede_poll_driver, not(target_os = "linux"))))]
pub(crate) use self::pipe::ring;
#[cfg(feature = "io")]
pub(crate) use self::poll::{poll_fd, poll_fds, pollfd};

/// Without a reactor no queue has a bell.
#[cfg(not(feature = "io"))]
pub(crate) fn ring(_: std::os::fd::RawFd) {}
