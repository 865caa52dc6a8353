//! cede and async Rust: futures in tasks, runtimes of tokio, cancels, wakers, and limits.
//!
//! # Futures in tasks
//!
//! [`block_on`](crate::block_on) waits for a future inside of any function. In a task it suspends the task, and in a plain thread it blocks
//! the thread. No caller needs an `async`. Here a recursive interpreter asks an async database deep inside:
//!
//! ```
//! use cede::{block_on, task::Cancelled};
//!
//! enum Expression {
//!     Value(u32),
//!     Lookup(u32),
//!     Sum(Vec<Expression>),
//! }
//!
//! # fn task_of_a_database(question: u32) -> impl Future<Output = u32> {
//! #     let mut asked = None;
//! #     std::future::poll_fn(move |cx| {
//! #         let answer = asked.get_or_insert_with(|| {
//! #             let waker = cx.waker().clone();
//! #             std::thread::spawn(move || { waker.wake(); question * 10 })
//! #         });
//! #         if !answer.is_finished() { cx.waker().wake_by_ref(); return std::task::Poll::Pending }
//! #         std::task::Poll::Ready(asked.take().unwrap().join().unwrap())
//! #     })
//! # }
//! async fn lookup(key: u32) -> u32 {
//!     task_of_a_database(key).await
//! }
//!
//! fn evaluate(expression: &Expression) -> Result<u32, Cancelled> {
//!     match expression {
//!         Expression::Value(n) => Ok(*n),
//!         Expression::Lookup(key) => block_on(lookup(*key)),
//!         Expression::Sum(all) => all.iter().map(evaluate).sum(),
//!     }
//! }
//!
//! cede::run(|| {
//!     use Expression::{Lookup, Sum, Value};
//!     let mut tasks = [1, 2].map(|key| cede::spawn(move || evaluate(&Sum(vec![Value(1), Sum(vec![Lookup(key), Lookup(3)])]))));
//!     assert_eq!(tasks.each_mut().map(|task| task.join().unwrap()), [Ok(41), Ok(51)]);
//! });
//! ```
//!
//! The body of a generator belongs to the task that resumes it. If the generator is suspended during a poll and resumed by another task,
//! the future is polled again there, with the waker of that task.
//!
//! Code that must also work with an executor alone asks [`context`](crate::bridge::context), or calls
//! [`try_block_on`](crate::bridge::try_block_on), which never blocks a thread and gives the future back.
//!
//! # Several futures at once
//!
//! The wait is for one future. Either join futures as in async code (`join!` and `select!` of tokio or futures work inside of an `async`
//! block), or give each its own task:
//!
//! ```
//! use cede::{block_on, join_all, spawn};
//! cede::run(|| {
//!     let results = join_all((0..3).map(|n| spawn(move || block_on(async move { n * n }))));
//!     assert_eq!(results.into_iter().map(|n| n.unwrap().unwrap()).sum::<u32>(), 5);
//! });
//! ```
//!
//! # Cancels and deadlines
//!
//! A cancel, a [`timeout`](crate::timeout) or a [`scope`](fn@crate::scope) ends the wait as any other wait: `block_on` returns
//! [`Cancelled`](crate::task::Cancelled), and the future is dropped. Async code calls the drop a cancel, so a future that is cancel-safe
//! there is so here. To go on with the future after a deadline, pass a pinned reference: `block_on(future.as_mut())`.
//!
//! A [`shield`](crate::shield) around the call lets a future end that must not be dropped half-way.
//!
//! # tokio inside of a run
//!
//! The timers and sockets of tokio need a runtime of tokio. It runs on threads of its own, and one guard around the whole run gives its
//! context to all tasks:
//!
//! ```ignore
//! let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
//! let _guard = runtime.enter();
//! cede::run(|| {
//!     cede::block_on(tokio::time::sleep(Duration::from_millis(5)))?;
//!     let stream = cede::block_on(tokio::net::TcpStream::connect(address))??;
//!     let page = cede::block_on(tokio::spawn(fetch(url)))?; // a task on a thread of tokio
//!     ..
//! })
//! ```
//!
//! * The runtime must have a thread of its own. A `current_thread` runtime makes progress only inside of its own `block_on`, which blocks
//!   the thread of the run.
//! * *One guard, around the run.* Guards of several tasks are dropped out of order, and tokio panics.
//! * The channels and locks of tokio need no runtime. They connect tasks of a run, tasks of tokio and plain threads.
//! * A wake by a thread of tokio costs what every remote wake costs, some microseconds. Sockets of [`net`](crate::net) need no
//!   second thread.
//!
//! A synchronous library reads from an async stream through an adapter:
//!
//! ```ignore
//! struct SyncReader<R>(R);
//!
//! impl<R: tokio::io::AsyncRead + Unpin> std::io::Read for SyncReader<R> {
//!     fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
//!         cede::block_on(self.0.read(buffer)).map_err(std::io::Error::other)? // never `Interrupted`, which std retries
//!     }
//! }
//! ```
//!
//! The tests of the member crate `crates` run both programs.
//!
//! # A run inside of async code
//!
//! [`run`](crate::run) blocks its thread until main has returned. In async code call it on a thread that may be blocked:
//! `tokio::task::spawn_blocking(|| cede::run(main))`. Its tasks then await futures as above, because such a thread is in the context of
//! its runtime.
//!
//! # Wakers
//!
//! The waker of a task is the address of a cell that is never freed. A wait allocates nothing, and a clone counts nothing. The cells
//! of ended tasks go to later tasks, so a process keeps as many cells as it had tasks that waited for futures at the same time.
//! A waker may be used on any thread and at any time. A late use wakes a task spuriously, which every wait of cede tolerates, and
//! which `Future` allows.
//!
//! A wake during the poll is kept, also if the poll itself waits. A future that wakes itself in each poll gives the other tasks a turn
//! between two polls.
//!
//! A run cannot know where its wakers are. So a task that waits for a future without a waker anywhere is not a deadlock, but a stall, which
//! is reported after [some time](crate::Config::report_stall). In a [closed world](crate::Config::closed_world) it is a deadlock.
//!
//! # Limits
//!
//! * *The future is polled on the stack of the task.* Large futures need space there, most of all without optimization: set
//!   [`Config::stack_size`](crate::Config::stack_size), or box the future.
//! * *A guard over a wait stays with the thread.* Of `tracing`, use `.instrument(span)` around the future instead of `span.enter()` around
//!   the wait. The thread-locals of tokio (`task_local!` too) belong to the thread, not to the task of the run.
//! * *A poll in a callback or inside [`no_suspend`](crate::no_suspend)* works if the future is ready. Otherwise `block_on` panics.
#![forbid(unsafe_code)]
