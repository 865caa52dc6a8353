//! The drivers of I/O, and the choice between them.
#![forbid(unsafe_code)]

use std::fmt;

/// The name of the environment variable that replaces [`Driver::Auto`].
const VARIABLE: &str = "CEDE_IO";

/// The interface of the kernel through which a run waits for I/O. Set by [`Config::driver`](crate::Config::driver).
///
/// The types and functions of [`io`](crate::io), [`net`](crate::net) and [`fs`](crate::fs) work with each driver, and return the same
/// values and errors. [`Metrics::io_driver`](crate::observe::Metrics::io_driver) and the first line of a
/// [`dump`](crate::dump()) name the driver that a run uses.
///
/// ```
/// use cede::io::Driver;
/// use std::{io::Write, net};
/// let driver = cede::Config::new().driver(Driver::Epoll).run(|| {
///     let listener = cede::net::TcpListener::bind("127.0.0.1:0")?;
///     let _peer = net::TcpStream::connect(listener.local_addr()?)?;
///     cede::io::wait(&listener, cede::io::Interest::Readable)?; // the first wait chooses
///     Ok::<_, std::io::Error>(cede::metrics().io_driver)
/// }).unwrap()?;
/// assert_eq!(driver, Some(Driver::Epoll));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Driver {
    /// `Uring` if the kernel has io_uring(7) and permits it (Linux 6.1 and later, feature `uring`), and otherwise `Epoll`. Many
    /// containers forbid io_uring by seccomp(2), and some systems by the setting `kernel.io_uring_disabled`.
    /// On Linux 6.18 the queues count as locked memory: an unprivileged process with a low `RLIMIT_MEMLOCK` has few rings, and its
    /// further runs use `Epoll`.
    ///
    /// The choice makes the forbidden call. Where that ends the process (seccomp(2) with `SECCOMP_RET_KILL_PROCESS`, such as
    /// `SystemCallFilter` of systemd without `SystemCallErrorNumber`), choose `Epoll`.
    ///
    /// The environment variable `CEDE_IO` replaces this choice by `Epoll` (`CEDE_IO=epoll`) or `Uring` (`CEDE_IO=uring`). Another
    /// value has no effect.
    #[default]
    Auto,
    /// epoll(7), or poll(2) where there is no epoll: tells when a descriptor is ready, and a system call then transfers the
    /// data. Reads and writes of files run on the pool of [`blocking`](crate::blocking), unless the page cache has the data.
    #[doc(alias = "poll")]
    Epoll,
    /// io_uring(7): the kernel transfers the data of sockets and files itself, and takes the operations of many tasks in one system call.
    /// Where io_uring is not available, each wait for a descriptor fails with an error that says why.
    #[doc(alias = "io_uring")]
    Uring,
}

impl Driver {
    /// Replaces `Auto` by the choice of the environment, if it has one.
    pub(super) fn or_environment(self) -> Driver {
        match self {
            Driver::Auto => std::env::var(VARIABLE).map_or(Driver::Auto, |name| Driver::named(&name)),
            chosen => chosen,
        }
    }

    /// Returns whether the choice can be io_uring.
    #[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
    pub(crate) fn may_be_uring(self) -> bool {
        self.or_environment() != Driver::Epoll
    }

    fn named(name: &str) -> Driver {
        match name {
            "epoll" => Driver::Epoll,
            "uring" => Driver::Uring,
            _ => Driver::Auto,
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::Auto => "auto",
            Driver::Epoll if cfg!(all(target_os = "linux", not(cede_poll_driver))) => "epoll",
            Driver::Epoll => "poll",
            Driver::Uring => "io_uring",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_replaces_auto_only() {
        assert_eq!(Driver::named("uring"), Driver::Uring);
        assert_eq!(Driver::named("epoll"), Driver::Epoll);
        assert_eq!(Driver::named("kqueue"), Driver::Auto);
        assert_eq!(Driver::Epoll.or_environment(), Driver::Epoll);
    }
}
