//! Files and processes: copying a tree of files, child processes with pipes, Ctrl-C.
//!
//! # Copying a tree of files
//!
//! *When:* many files are read or written, and the other tasks must go on. `cede::fs` has the names of `std::fs`. The files of a tree are
//! independent, so a scope copies several at a time.
//!
//! ```
//! use cede::sync::Semaphore;
//! use cede::{fs, task::Scope};
//! use std::io;
//! use std::path::Path;
//!
//! /// Makes the folders in order, and spawns a task for each file.
//! fn copy_tree<'s>(s: &'s Scope<'s, '_>, from: &Path, to: &Path, limit: &'s Semaphore, failed: &'s dyn Fn(io::Error)) -> io::Result<()> {
//!     fs::create_dir(to)?;
//!     for entry in fs::read_dir(from)? {
//!         let entry = entry?;
//!         let (from, to) = (entry.path(), to.join(entry.file_name()));
//!         if entry.file_type()?.is_dir() {
//!             copy_tree(s, &from, &to, limit, failed)?;
//!         } else {
//!             s.spawn(move || {
//!                 let Ok(_permit) = limit.acquire() else { return };
//!                 if let Err(error) = fs::copy(&from, &to) {
//!                     failed(error);
//!                 }
//!             });
//!         }
//!     }
//!     Ok(())
//! }
//!
//! let copy = std::env::temp_dir().join(format!("cede-copy-{}", std::process::id()));
//! let limit = Semaphore::new(16); // files at a time
//! let errors = std::cell::RefCell::new(Vec::new());
//! let failed = |error| errors.borrow_mut().push(error);
//! cede::run(|| cede::scope(|s| copy_tree(s, Path::new("src/guide"), &copy, &limit, &failed)).unwrap())?;
//! assert!(errors.borrow().is_empty(), "{errors:?}");
//! let recipe = Path::new("cookbook/files_and_processes.rs");
//! assert_eq!(std::fs::read(copy.join(recipe))?, std::fs::read(Path::new("src/guide").join(recipe))?);
//! std::fs::remove_dir_all(&copy)?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! *Watch for:* the number of open files. Without the limit, a large tree opens a file for each task. For one large file, or from a file to
//! a socket, [`io::copy`](crate::io::copy) lets the kernel copy.
//!
//! # Child processes with pipes
//!
//! *When:* a program is written to and read from. A child that finds its output pipe full stops reading, so one task writes and another
//! one reads. The stdin of a child may be the stdout of another, as in a shell.
//!
//! ```
//! use cede::process::{Command, Stdio};
//! use std::io::{self, BufRead, BufReader, Write};
//!
//! cede::run(|| {
//!     let mut sort = Command::new("sort").arg("-n").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//!     let numbers = sort.stdout.take().expect("stdout is a pipe");
//!     let mut uniq = Command::new("uniq").stdin(numbers).stdout(Stdio::piped()).spawn()?; // sort -n | uniq
//!     let mut input = sort.stdin.take().expect("stdin is a pipe");
//!     let output = BufReader::new(uniq.stdout.take().expect("stdout is a pipe"));
//!     let lines = cede::scope(|s| {
//!         let mut writer = s.spawn(move || {
//!             for n in (0..20_000).rev() {
//!                 writeln!(input, "{}", n / 2)?;
//!             }
//!             input.flush() // the drop of `input` is the end of the input
//!         });
//!         let lines = output.lines().collect::<io::Result<Vec<_>>>()?;
//!         writer.join().expect("the writer does not panic")?;
//!         Ok::<_, io::Error>(lines)
//!     })
//!     .unwrap()?;
//!     assert!(sort.wait()?.success() && uniq.wait()?.success());
//!     assert_eq!(lines.len(), 10_000);
//!     assert_eq!(lines[9_999], "9999");
//!     Ok::<(), io::Error>(())
//! })?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! *Watch for:* `writeln!` makes a system call for each line here; put a `BufWriter` around the pipe if there are many. For output alone,
//! [`Command::output`](crate::process::Command::output) and
//! [`Child::wait_with_output`](crate::process::Child::wait_with_output) read both pipes at once.
//!
//! # Ctrl-C
//!
//! *When:* a program saves its state at the first Ctrl-C, and ends at once at the second.
//! [`cancel_on_ctrl_c`](crate::Config::cancel_on_ctrl_c) cancels main: its waits return errors, and a scope passes the cancel on to its
//! tasks.
//!
//! ```
//! use cede::time::sleep;
//! use std::cell::Cell;
//! use std::time::Duration;
//!
//! let (steps, saved) = (Cell::new(0), Cell::new(false));
//! # let press_ctrl_c = || std::process::Command::new("sh").args(["-c", &format!("kill -INT {}", std::process::id())]).status();
//! cede::Config::new().cancel_on_ctrl_c(true).run(|| {
//!     cede::scope(|s| {
//!         s.spawn(|| {
//!             while sleep(Duration::from_millis(1)).is_ok() {
//!                 steps.set(steps.get() + 1);
//!                 # if steps.get() == 3 { press_ctrl_c().unwrap(); } // as the user does
//!             }
//!             // A shield keeps the cancel from the waits of the clean-up.
//!             cede::shield(|| {
//!                 if sleep(Duration::from_millis(1)).is_ok() {
//!                     saved.set(true);
//!                 }
//!             });
//!         });
//!     })
//!     .unwrap();
//!     let why = cede::task::cancelled().expect("only Ctrl-C ends the work");
//!     assert_eq!(why.reason(), Some("Ctrl-C"));
//! })?;
//! assert!(steps.get() >= 3 && saved.get());
//! # Ok::<(), cede::RunError<()>>(())
//! ```
//!
//! *Watch for:* a task that computes without a wait or a [`check`](crate::task::check) does not see the cancel. Other signals, such as
//! SIGTERM, come from [`signal::on`](crate::signal::on); the page on [processes](super::super::processes) has both.
