//! Waiting for descriptors: sockets, pipes, standard streams, and anything else that the kernel can watch.
//!
//! In a task a wait suspends the task, and the run continues with the other tasks. In a plain thread the same calls
//! block the thread, by poll(2). The types in [`net`](crate::net) are made of this module; [`Async`] makes a descriptor
//! of your own wait in the same way, and [`wait`] waits once. [`stdin`], [`stdout`] and [`stderr`] are the standard streams,
//! and [`pipe`] makes a pipe.
//!
//! # Drivers
//!
//! A run waits by io_uring(7) on Linux, where the kernel has it and permits it, and otherwise by epoll(7). Other systems have poll(2).
//! [`Config::driver`](crate::Config::driver) chooses, and so does the environment variable `CEDE_IO`: see [`Driver`]. Calls return the
//! same values and errors with each driver. Two things differ: the time that calls take, and which calls on files a cancel can end (see
//! [`fs`](crate::fs)).
//!
//! # Errors of a wait
//!
//! If a cancel, a deadline or a timeout ends a wait, the wait returns an [`io::Error`](std::io::Error) whose source is
//! [`Cancelled`](crate::task::Cancelled), and for which [`is_cancelled`] is true. After a deadline or a timeout its
//! kind is [`TimedOut`](std::io::ErrorKind::TimedOut). No wait returns `WouldBlock` or `Interrupted`. (On
//! `Interrupted`, functions of `std` such as `read_exact` would try again.)
//!
//! Cancel safety: a wait takes no data. A call that ended by a cancel has read or written nothing, and can be repeated,
//! except where its docs say otherwise, as those of `write_all` and `copy` do.

pub(crate) mod any;
mod async_fd;
pub(crate) mod buffer;
mod buffered;
pub(crate) mod child_stdio;
mod copy;
pub(crate) mod error;
mod kernel_copy;
pub(crate) mod known;
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
pub(crate) mod operation;
#[cfg(not(all(feature = "uring", target_os = "linux", not(cede_poll_driver))))]
#[path = "no_operation.rs"]
pub(crate) mod operation;
pub(crate) mod pipe;
mod plain_thread;
mod ready;
pub(crate) mod source;
mod stdin;
mod stdio;
mod stdout;
pub(crate) mod stream;
mod suspendable;
pub(crate) mod way;
mod write;

pub use self::async_fd::{Async, wait};
pub use self::buffered::Buffered;
pub use self::copy::{CopiedBoth, HalfClose, copy, copy_both};
pub use self::error::is_cancelled;
pub use self::pipe::{PipeReader, PipeWriter, pipe};
pub use self::ready::{ReadyCase, readable, writable};
pub use self::stdin::{Stdin, StdinLines, stdin};
pub use self::stdout::{Stderr, Stdout, stderr, stdout};
pub use self::stream::Stream;
pub use self::write::{Partial, write_all};
pub use crate::reactor::{Driver, Interest};
