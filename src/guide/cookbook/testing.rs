//! Tests: code with times under a paused clock, and order-dependent bugs by seeds.
//!
//! # A test with a paused clock
//!
//! *When:* code with timeouts, intervals or delays is tested. The clock jumps to the next deadline when all tasks wait, so an hour takes
//! no time, and the times are exact.
//!
//! ```
//! use cede::sync::channel::{self, Receiver, RecvTimeoutError, Sender};
//! use cede::time::{advance, now, sleep};
//! use std::time::Duration;
//!
//! /// Passes the last of several messages on when none has come for `quiet`.
//! fn debounce<T>(input: Receiver<T>, output: Sender<T>, quiet: Duration) {
//!     while let Ok(mut last) = input.recv() {
//!         loop {
//!             match input.recv_timeout(quiet) {
//!                 Ok(next) => last = next,
//!                 Err(RecvTimeoutError::Cancelled) => return,
//!                 Err(_) => break,
//!             }
//!         }
//!         if output.send(last).is_err() {
//!             return;
//!         }
//!     }
//! }
//!
//! // #[test]
//! fn debounce_passes_the_last_of_a_burst() {
//!     let test = || {
//!         let (keys, input) = channel::unbounded();
//!         let (output, words) = channel::unbounded();
//!         cede::spawn(move || debounce(input, output, Duration::from_secs(1)));
//!         let start = now();
//!         for word in ["c", "ce", "cede"] {
//!             keys.send(word).unwrap();
//!             sleep(Duration::from_millis(900)).unwrap();
//!         }
//!         assert!(words.is_empty());
//!         assert_eq!(words.recv(), Ok("cede"));
//!         assert_eq!(now() - start, Duration::from_millis(2800)); // one second after the last key
//!         keys.send("again").unwrap();
//!         cede::yield_now(); // the task receives it
//!         advance(Duration::from_secs(1)).unwrap(); // an explicit jump
//!         assert_eq!(words.recv(), Ok("again"));
//!     };
//!     cede::Config::new().paused_clock(true).run(test).unwrap();
//! }
//! # debounce_passes_the_last_of_a_burst();
//! ```
//!
//! *Watch for:* code under test must ask [`time::now`](crate::time::now()) for the time, not `Instant::now`. A paused clock does not wait
//! for sockets and other threads: it jumps ahead of them.
//!
//! # A test with seeds
//!
//! *When:* tasks share state, and the result must not depend on their order. [`Config::seed`](crate::Config::seed) shuffles the turns, and
//! the same seed repeats the same run. A failing run prints its seed.
//!
//! ```
//! use cede::sync::Mutex;
//! use std::cell::Cell;
//!
//! /// Two transfers from one account. Returns the balance.
//! fn transfers(withdraw: impl Fn(&Cell<i32>, &Mutex<()>), seed: u64) -> i32 {
//!     let (balance, lock) = (Cell::new(100), Mutex::new(()));
//!     let test = || {
//!         cede::scope(|s| {
//!             for _ in 0..2 {
//!                 s.spawn(|| {
//!                     cede::yield_now();
//!                     withdraw(&balance, &lock);
//!                 });
//!             }
//!         })
//!         .unwrap();
//!     };
//!     cede::Config::new().seed(seed).run(test).unwrap();
//!     balance.get()
//! }
//!
//! fn write_log() {
//!     cede::yield_now(); // a wait
//! }
//!
//! let wrong = |balance: &Cell<i32>, _: &Mutex<()>| {
//!     if balance.get() >= 60 {
//!         write_log(); // between the check and the change, the other task may run
//!         balance.set(balance.get() - 60);
//!     }
//! };
//! let locked = |balance: &Cell<i32>, lock: &Mutex<()>| {
//!     let _guard = lock.lock().unwrap();
//!     wrong(balance, lock);
//! };
//!
//! // #[test]
//! let found = (0..100).find(|seed| transfers(wrong, *seed) < 0).expect("a seed shows the bug");
//! assert_eq!(transfers(wrong, found), transfers(wrong, found)); // and repeats it
//! assert!((0..100).all(|seed| transfers(locked, seed) == 40));
//! ```
//!
//! *Watch for:* a bug that needs several turns in one certain order. [`Config::explore`](crate::Config::explore) searches for it: it also lets
//! other tasks run before each operation that may wait. The order of threads is not a part of the seed: with
//! [several workers](super::super::workers) a run has no seed, and the same program with one worker has one.
