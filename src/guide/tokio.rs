//! cede and tokio: four recipes, and what does not work.
//!
//! | The program | Recipe |
//! |---|---|
//! | is synchronous, and needs a crate that is built on tokio | [futures of tokio in tasks](#futures-of-tokio-in-tasks) |
//! | is async, and calls a synchronous library | [a synchronous library in async code](#a-synchronous-library-in-async-code) |
//! | is async, on one thread or with a `LocalSet`, and has a part with many tasks that wait | [a run in a `LocalSet`](#a-run-in-a-localset) |
//! | is async, on several threads | [pinned tasks](#pinned-tasks-of-a-runtime-with-several-threads) |
//!
//! The programs of this page run as tests of the member crate `crates`. Its examples `tokio_inside`, `cede_inside_tokio` and
//! `serde_from_async` are longer.
//!
//! # Futures of tokio in tasks
//!
//! The timers and sockets of tokio need a runtime of tokio. It runs on a thread of its own, and one guard around the whole run gives its
//! context to all tasks:
//!
//! ```
//! # #[cfg(feature = "guide")] {
//! use cede::{block_on, join_all, spawn};
//! use std::time::Duration;
//! use tokio::{runtime::Builder, time::sleep};
//!
//! let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
//! let _guard = runtime.enter();
//! let naps = cede::run(|| {
//!     let nap = |n| spawn(move || block_on(sleep(Duration::from_millis(n))).map(|()| n));
//!     join_all([3, 1, 2].map(nap))
//! });
//! let naps: Vec<_> = naps.into_iter().map(|nap| nap.unwrap().unwrap()).collect();
//! assert_eq!(naps, [3, 1, 2]);
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! * The runtime must have a thread of its own. A `current_thread` runtime makes progress only inside of its own `block_on`, which blocks
//!   the thread of the run.
//! * *One guard, around the run.* Guards of several tasks are dropped out of order, and tokio panics. Code that receives a
//!   [`Config`](crate::Config) sets the guard there: [`Config::around_worker`](crate::Config::around_worker).
//! * The channels and locks of tokio need no runtime. They connect tasks of a run, tasks of tokio and plain threads.
//! * `tokio::spawn` starts a task on a thread of tokio. `block_on` of its handle waits for it.
//! * A wake by a thread of tokio costs what every remote wake costs, some microseconds. Sockets of `cede::net` need no second thread.
//!
//! # A synchronous library in async code
//!
//! A [`fiber`](crate::fiber()) runs the library on a stack of its own, inside of the `poll` of its future. Where the library reads, the fiber
//! waits, and the executor goes on. The library reads from a stream of tokio through `SyncIo` (feature `tokio`):
//!
//! ```
//! # #[cfg(feature = "guide")] {
//! use cede::{bridge::SyncIo, fiber};
//! use std::io::{self, BufRead, BufReader};
//! use tokio::io::{AsyncRead, AsyncWriteExt, duplex};
//!
//! /// Any function that takes a `Read` or `BufRead`.
//! fn longest(reader: impl BufRead) -> io::Result<String> {
//!     let lines = reader.lines().collect::<io::Result<Vec<_>>>()?;
//!     Ok(lines.into_iter().max_by_key(String::len).unwrap_or_default())
//! }
//!
//! async fn longest_line(stream: impl AsyncRead + Unpin + 'static) -> io::Result<String> {
//!     fiber(|| longest(BufReader::new(SyncIo::tokio(stream)))).await
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let (mut client, server) = duplex(4); // with room for four bytes, so the fiber waits
//! let send = async move { client.write_all(b"one\nthree\ntwo\n").await }; // and then drops `client`
//! let (sent, line) = tokio::join!(send, longest_line(server));
//! assert_eq!((sent?, line?), ((), "three".to_string()));
//! # Ok::<(), io::Error>(()) })?;
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! `spawn_blocking` needs a thread for each call. `block_in_place` needs a runtime with several threads, and blocks one of them. A fiber
//! needs neither, and its code may use values that are not `Send`. Code that computes for long without a wait blocks the executor, as in any
//! future.
//!
//! # A run in a `LocalSet`
//!
//! A fiber and a run are futures that are not `Send`. They can be awaited in any async function whose future need not be `Send`: inside of
//! the `block_on` of each runtime, in a `current_thread` runtime with `LocalSet`, and as a local task:
//!
//! ```
//! # #[cfg(feature = "guide")] {
//! use cede::{Config, block_on, fiber, spawn, sync::channel::bounded};
//! use std::time::Duration;
//! use tokio::{runtime::Builder, task::{LocalSet, spawn_local}, time::sleep};
//!
//! let runtime = Builder::new_current_thread().enable_all().build()?;
//! LocalSet::new().block_on(&runtime, async {
//!     let task = spawn_local(fiber(|| block_on(sleep(Duration::from_millis(1))).is_ok()));
//!     let run = Config::new().run_async(|| {
//!         let (sender, receiver) = bounded(1);
//!         spawn(move || (1..=3).try_for_each(|n| sender.send(n)));
//!         receiver.iter().sum::<u32>()
//!     });
//!     assert_eq!(run.await.unwrap(), 6);
//!     assert!(task.await.unwrap());
//! });
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Timers and sockets of tokio work inside, because the runtime polls the fiber in its own context. A run that never waits still gives
//! way to the runtime every 64 to 1,024 turns.
//!
//! # Pinned tasks of a runtime with several threads
//!
//! `tokio::spawn` needs a `Send` future, and moves it between threads. A fiber must stay on its thread, so it goes to a pool that keeps each
//! task where it began: `LocalPoolHandle` of tokio-util. Its handle is a `Send` future:
//!
//! ```
//! # #[cfg(feature = "guide")] {
//! use cede::{block_on, fiber};
//! use std::time::Duration;
//! use tokio::{runtime::Builder, time::sleep};
//! use tokio_util::task::LocalPoolHandle;
//!
//! let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
//! let answer = runtime.block_on(async {
//!     let pool = LocalPoolHandle::new(1); // one for the whole program
//!     let handler = async move {
//!         let synchronous = || block_on(sleep(Duration::from_millis(1))).map(|()| 42);
//!         pool.spawn_pinned(move || fiber(synchronous)).await
//!     };
//!     tokio::spawn(handler).await // the handler of a server, which must be `Send`
//! });
//! assert_eq!(answer.unwrap().unwrap(), Ok(42));
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A run with [workers](super::workers) is such a pool, too. It has a thread of its own, and its [`Handle`](crate::task::Handle) spawns from
//! every thread. The handle to the task is a `Send` future:
//!
//! ```
//! # #[cfg(feature = "guide")] {
//! use cede::sync::channel::bounded;
//! use cede::{Config, block_on, task::Handle};
//! use std::{sync::mpsc, thread, time::Duration};
//! use tokio::{runtime::Builder, time::sleep};
//!
//! let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
//! let tokio = runtime.handle().clone();
//! let (stop, stopped) = bounded::<()>(1);
//! let (sender, receiver) = mpsc::channel();
//! let pool_thread = thread::spawn(move || {
//!     let config = Config::new().workers(2).around_worker(move |run| {
//!         let _guard = tokio.enter(); // on the thread of each worker
//!         run();
//!     });
//!     config.run(|| {
//!         sender.send(Handle::current()).unwrap();
//!         stopped.recv().is_err()
//!     })
//! });
//! let pool = receiver.recv().unwrap();
//! let answer = runtime.block_on(async {
//!     let synchronous = || block_on(sleep(Duration::from_millis(1))).map(|()| 42);
//!     let handler = async move { pool.spawn(synchronous).unwrap().await };
//!     tokio::spawn(handler).await
//! });
//! assert_eq!(answer.unwrap().unwrap(), Ok(42));
//! drop(stop); // ends the run
//! assert!(pool_thread.join().unwrap().unwrap());
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A whole run also works on a thread of the runtime that may be blocked: `tokio::task::spawn_blocking(|| cede::run(main))`. Such a thread is
//! in the context of its runtime.
//!
//! # What does not work
//!
//! * *A guard over a wait.* The guard of `Handle::enter` or of a `tracing` span sets a thread-local. If it is alive while a task or a fiber
//!   waits, all code that runs on the thread meanwhile sees it: the other tasks, or the executor and its other futures. Wrap the future
//!   instead: `fiber(f).instrument(span)`. Values of `task_local!` work in the same way:
//!
//! ```
//! # #[cfg(feature = "guide")] {
//! tokio::task_local! { static USER: u32; }
//! let body = || {
//!     cede::block_on(tokio::task::yield_now()).unwrap();
//!     USER.get() // set around each poll
//! };
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! assert_eq!(runtime.block_on(USER.scope(7, cede::fiber(body))), 7);
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! * *`block_on` of a runtime, inside of a fiber.* tokio panics, because the thread is inside of a runtime. Use
//!   [`cede::block_on`](crate::block_on) in fibers and tasks.
//! * *A fiber in `tokio::spawn`* does not compile. The reason is in the [limits](super::async_rust#limits).
#![forbid(unsafe_code)]
