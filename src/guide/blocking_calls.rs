//! Blocking calls stop the run: the calls, their replacements, and how to find them.
//!
//! All tasks of a run share one thread. A call that blocks the thread stops every task, every timer and every deadline of the run
//! until it returns:
//!
//! ```
//! use std::cell::Cell;
//! use std::rc::Rc;
//! use std::time::Duration;
//! cede::run(|| {
//!     let ticks = Rc::new(Cell::new(0));
//!     let counter = Rc::clone(&ticks);
//!     cede::spawn(move || {
//!         while cede::time::sleep(Duration::from_millis(1)).is_ok() {
//!             counter.set(counter.get() + 1);
//!         }
//!     });
//!     cede::yield_now();
//!     std::thread::sleep(Duration::from_millis(30)); // blocks the thread
//!     assert_eq!(ticks.get(), 0);
//!     while ticks.get() < 3 {
//!         cede::time::sleep(Duration::from_millis(5))?; // suspends the task
//!     }
//!     Ok::<(), cede::task::Cancelled>(())
//! })?;
//! # Ok::<(), cede::task::Cancelled>(())
//! ```
//!
//! # Replacements
//!
//! | blocks the thread | suspends the task |
//! |---|---|
//! | `std::thread::sleep` | [`time::sleep`] |
//! | a `std::sync` lock that a task holds while it waits; `Condvar`, `Barrier` | the same names in [`sync`] |
//! | `std::sync::mpsc`, crossbeam-channel | [`sync::channel`] |
//! | `std::net`, `std::os::unix::net` | `cede::net` |
//! | `std::fs` | `cede::fs` |
//! | `std::io::{stdin, stdout, stderr}`, `println!` to a pipe or terminal that may be full | the same names in `cede::io` |
//! | `std::process`, `std::io::pipe` | `cede::process`, `cede::io::pipe` |
//! | `to_socket_addrs`, `JoinHandle::join` of a thread | the same call in [`unblock`] |
//! | a database or C library without a non-blocking interface | its calls in [`unblock`] |
//! | a long computation | [`yield_now`] every millisecond, or the computation in [`unblock`] |
//!
//! # Locks of std
//!
//! A lock of std that no task holds during a wait is harmless: it is free whenever another task runs. Held during a wait it deadlocks
//! the run: the next `lock` blocks the thread that would have to unlock. A lock of [`sync`] suspends the second task instead.
//!
//! ```
//! use std::rc::Rc;
//! use std::sync::Mutex;
//! cede::run(|| {
//!     let shared = Rc::new(Mutex::new(0));
//!     let other = Rc::clone(&shared);
//!     let guard = shared.lock().unwrap();
//!     let mut second = cede::spawn(move || other.try_lock().is_err()); // `lock` would never return
//!     cede::yield_now(); // a wait while the guard is alive
//!     drop(guard);
//!     assert!(second.join().unwrap());
//! });
//! ```
//!
//! The same holds for a channel of std: `recv` blocks the thread on which the sender would have to run.
//!
//! # Files and standard streams
//!
//! `cede::fs` has the names of `std::fs`, and the other tasks go on while a call waits. A read of a file returns at once if the page cache
//! has the data. Otherwise, with io_uring the kernel reads and writes open files by itself; all else is a call on the pool. So files are
//! read at the same time by one task each:
//!
//! ```
//! # #[cfg(feature = "io")] {
//! cede::run(|| {
//!     let mut readers = Vec::new();
//!     for entry in cede::fs::read_dir("src/guide/cookbook")? {
//!         let path = entry?.path();
//!         readers.push(cede::spawn(move || cede::fs::read_to_string(path)));
//!     }
//!     for text in cede::join_all(readers) {
//!         assert!(text.unwrap()?.starts_with("//! "));
//!     }
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A cancel or a deadline does not end a call on the pool before the system call has ended: the call borrows its buffer or path, as
//! [`unblock`] does. The task's next wait reports the cancel. With io_uring, a cancel ends a read or write that the device has not begun. A
//! FIFO or a device that may never answer is no case for `fs`.
//!
//! `cede::io::stdin()` waits for a terminal, a pipe, a socket or a file, and can be cancelled and timed out. It leaves the mode of the
//! descriptor as it is, because other processes share it:
//!
//! ```no_run
//! # #[cfg(feature = "io")] {
//! use std::io::Write;
//! use std::time::Duration;
//! cede::run(|| {
//!     let mut answer = String::new();
//!     write!(cede::io::stdout(), "continue? ")?;
//!     let asked = cede::timeout(Duration::from_secs(10), || cede::io::stdin().read_line(&mut answer));
//!     match asked {
//!         Ok(Ok(_)) if answer.trim() == "yes" => writeln!(cede::io::stdout(), "continued"),
//!         Ok(Err(error)) => Err(error),
//!         Ok(Ok(_)) | Err(_) => writeln!(cede::io::stdout(), "stopped"),
//!     }
//! })?;
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Data that arrives after a cancelled read is kept for the next one. The output streams have no buffer: `writeln!` writes a line as a whole,
//! also if the task waits in the middle.
//!
//! # Names, and the rest: `unblock`
//!
//! [`unblock`] runs a call on a thread of a pool. The calling task waits, and the call may borrow from it:
//!
//! ```
//! use cede::blocking::unblock;
//! use std::net::ToSocketAddrs;
//! cede::run(|| {
//!     let numbers: Vec<u64> = (1..=1_000_000).collect();
//!     let sum: u64 = unblock(|| numbers.iter().sum()); // borrows `numbers`
//!     assert_eq!(sum, 500_000_500_000);
//!     let addresses: Vec<_> = unblock(|| ("localhost", 80).to_socket_addrs())?.collect();
//!     assert!(addresses.iter().all(|address| address.ip().is_loopback()));
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A call through the pool takes some microseconds longer than the call itself. A cancel does not end the wait of `unblock`: use
//! [`unblock_detached`] for a call that may never return, such as a wait for a lock of another process.
//!
//! # Find a blocking call
//!
//! [`Config::report_slow_turns`] reports each turn that lasts too long, while it lasts, with the stack of the task. Use it in tests
//! and in production: a watchdog thread looks at the run, and the tasks do no more work.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//! let reports = Arc::new(Mutex::new(Vec::new()));
//! let sink = Arc::clone(&reports);
//! cede::Config::new()
//!     .report_slow_turns(Duration::from_millis(20))
//!     .on_slow_turn(move |slow| sink.lock().unwrap().push(slow.to_string())) // without it: a report on stderr
//!     .run(|| {
//!         let task = cede::Builder::new().name("loader").spawn(|| std::thread::sleep(Duration::from_millis(300)));
//!         task.unwrap().join().unwrap();
//!     })?;
//! let reports = reports.lock().unwrap();
//! assert!(reports[0].starts_with("task 'loader'"));
//! # if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
//! assert!(reports[0].contains("sleep"), "the stack names the function that blocks");
//! # }
//! # Ok::<(), cede::RunError<()>>(())
//! ```
//!
//! A process that hangs now: [`Config::dump_on_signal`] also reports the running task and its stack, if one turn delays the dump for
//! more than a second.
//!
//! [`time::sleep`]: crate::time::sleep
//! [`sync`]: crate::sync
//! [`sync::channel`]: crate::sync::channel
//! [`unblock`]: crate::blocking::unblock
//! [`unblock_detached`]: crate::blocking::unblock_detached
//! [`yield_now`]: crate::yield_now
//! [`Config::report_slow_turns`]: crate::Config::report_slow_turns
//! [`Config::dump_on_signal`]: crate::Config::dump_on_signal
