//! Child processes, with the names and methods of [`std::process`], whose waits suspend the task instead of the thread.
//!
//! [`Command`] starts a program. [`Child::wait`] waits for its end, and [`ChildStdin`], [`ChildStdout`] and [`ChildStderr`] are pipes
//! whose reads and writes wait. In a plain thread the same calls block the thread.
//!
//! A wait for a child is a wait for I/O: it can be cancelled and timed out (see the [module docs of `io`](crate::io)), and it can be
//! repeated afterwards. On Linux, the kernel tells the end of a child by a descriptor (pidfd_open(2)). Elsewhere, and where a sandbox or
//! an old kernel refuses it, SIGCHLD does, through a listener of [`signal`](crate::signal).
//!
//! # Children that are not waited for
//!
//! A child whose [`Child`] was dropped continues to run, as in `std`, unless [`Command::kill_on_drop`] was set. When it ends, the kernel
//! keeps its exit status until its parent asks for it: the child is a zombie. In `std` it remains one until the parent ends. Here, each
//! later start, end and drop of a child of this process also collects the statuses of up to 64 such children. So the zombies do not add
//! up in a program that keeps starting children. If it starts no more, the last ones remain until the program ends.
//!
//! # Inheritance
//!
//! A child inherits no descriptor of the library and none that `std` opens, no blocked signal, and no ignored signal that the parent did
//! not ignore itself. The start of a program blocks the thread until the program has been loaded, about a millisecond.
//!
//! ```
//! use cede::process::Command;
//! let output = cede::run(|| Command::new("echo").arg("hello").output())?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"hello\n");
//! # Ok::<(), std::io::Error>(())
//! ```

mod child;
mod command;
mod exit;
mod orphans;
mod pre_exec;

pub use self::child::Child;
pub use self::command::Command;
#[doc(hidden)]
pub use self::exit::refuse_pidfd;
pub use crate::io::child_stdio::{ChildStderr, ChildStdin, ChildStdout};
pub use std::process::{ExitCode, ExitStatus, Output, Stdio};
