//! Processes and signals: children, their output, time limits, the end of a program by Ctrl-C and SIGTERM.
//!
//! # Children and their output
//!
//! [`Command`] has the methods of `std`. Its waits suspend the task, so several children run at once:
//!
//! ```
//! use cede::process::Command;
//! cede::run(|| {
//!     let squares = (1..=4).map(|n| cede::spawn(move || Command::new("expr").args([&n.to_string(), "*", "3"]).output()));
//!     let outputs = cede::join_all(squares.collect::<Vec<_>>());
//!     let text: String = outputs.into_iter().map(|output| String::from_utf8(output.unwrap().unwrap().stdout).unwrap()).collect();
//!     assert_eq!(text, "3\n6\n9\n12\n");
//! });
//! ```
//!
//! [`Child::wait_with_output`] reads stdout and stderr at the same time. A task that reads them itself needs a second task for the other
//! pipe, because a child that finds one pipe full waits: `scope` makes one that borrows.
//!
//! # Time limits
//!
//! A deadline or a cancel ends a wait, and not the child. A later wait loses nothing of its output and its status:
//!
//! ```
//! use cede::process::{Command, Stdio};
//! use cede::signal::SignalKind;
//! use cede::timeout;
//! use std::time::Duration;
//! cede::run(|| {
//!     let mut sh = Command::new("sh");
//!     sh.args(["-c", "echo begun; exec sleep 60"]).stdout(Stdio::piped()).kill_on_drop(true);
//!     let mut child = sh.spawn()?;
//!     assert!(timeout(Duration::from_millis(200), || child.wait_with_output()).is_err());
//!     child.send_signal(SignalKind::terminate())?; // a request, which the child may handle
//!     let output = timeout(Duration::from_secs(10), || child.wait_with_output()).unwrap_or_else(|late| late.into_value())?;
//!     assert_eq!(output.stdout, b"begun\n");
//!     assert!(!output.status.success());
//!     Ok::<(), std::io::Error>(()) // a child that still runs is killed by the drop
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A signal reaches one process. Children of the child keep running, and keep the pipes open that they inherited: a shell should `exec` its
//! last command.
//!
//! # The end of a program
//!
//! [`Config::cancel_on_ctrl_c`] suits a program with one run: the first Ctrl-C cancels main, whose scopes pass the cancel on, and the
//! second ends the process. For an order of its own, a task waits for [`signal::on`] or [`signal::ctrl_c`]. The example `http_server` stops
//! by SIGTERM: it accepts no more, answers the requests that have begun, and cancels the rest after a grace period.
//!
//! # Limits
//!
//! * The start of a program blocks the thread until the program has been loaded, about a millisecond.
//! * Without pidfd_open(2) (Linux before 5.3, some sandboxes, other systems) a listener to SIGCHLD tells the end of a child. Each waiting
//!   task then takes two descriptors, and each end of a child wakes all of them.
//! * A child that is dropped before its end may remain a zombie until the next start or end of a child: see [`process`](crate::process).
//!
//! [`Command`]: crate::process::Command
//! [`Child::wait_with_output`]: crate::process::Child::wait_with_output
//! [`Config::cancel_on_ctrl_c`]: crate::Config::cancel_on_ctrl_c
//! [`signal::on`]: crate::signal::on
//! [`signal::ctrl_c`]: crate::signal::ctrl_c
