//! Inside of tokio: a run as a future. The program runs as a test of the member crate `crates`.
//!
//! # Inside of tokio
//!
//! *When:* a program is async, and a part of it is synchronous code that waits: a parser over a stream, a library with callbacks. A
//! [`fiber`](crate::fiber()) or a whole run is a future, and `block_on` inside of it waits for the futures of tokio.
//!
//! ```
//! # #[cfg(feature = "guide")] {
//! use cede::{Config, block_on, join_all, spawn};
//! use std::time::Duration;
//! use tokio::{sync::mpsc, time::sleep};
//!
//! /// Synchronous code with tasks: each waits for a timer of tokio.
//! fn squares(numbers: Vec<u64>) -> Vec<u64> {
//!     let square = |n: u64| spawn(move || block_on(sleep(Duration::from_millis(n))).map(|()| n * n).unwrap_or(0));
//!     join_all(numbers.into_iter().map(square)).into_iter().map(|square| square.expect("no task panics")).collect()
//! }
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let answers = runtime.block_on(async {
//!     let (sender, mut receiver) = mpsc::channel(1);
//!     let run = Config::new().run_async(move || {
//!         for answer in squares(vec![3, 1, 2]) {
//!             block_on(sender.send(answer)).expect("not cancelled").expect("there is a receiver");
//!         }
//!     });
//!     let receive = async move {
//!         let mut answers = Vec::new();
//!         while let Some(answer) = receiver.recv().await {
//!             answers.push(answer);
//!         }
//!         answers
//!     };
//!     let (run, answers) = tokio::join!(run, receive);
//!     run.expect("no deadlock");
//!     answers
//! });
//! assert_eq!(answers, [9, 1, 4]);
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! *Watch for:* a run and a fiber stay on their thread, so neither is `Send`: `block_on` and `LocalSet` take them, `tokio::spawn` does not.
//! The page on [tokio](mod@super::super::tokio) has the pinned tasks of a runtime with several threads.
#![forbid(unsafe_code)]
