//! cede and async Rust: futures in tasks, runtimes of tokio, readers, writers and streams, cancels, wakers, and limits.
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
//! The tests of the member crate `crates` run this program.
//!
//! # Readers and writers of async Rust
//!
//! A synchronous library that takes a `Read`, `BufRead`, `Write` or `Seek` works over an async stream, unchanged: `bridge::SyncIo` waits for the
//! stream in each call. `SyncIo::tokio` (feature `tokio`) takes the traits of tokio, and `SyncIo::futures_io` (feature `futures-io`) those of
//! futures-io, which smol and async-std have.
//!
//! ```
//! # #[cfg(feature = "tokio")] {
//! use cede::bridge::SyncIo;
//! use std::io::{self, BufRead, BufReader, Read, Write};
//!
//! /// Any protocol over a synchronous stream.
//! fn greet(mut stream: impl Read + Write) -> io::Result<String> {
//!     stream.write_all(b"hello\n")?;
//!     let mut answer = String::new();
//!     BufReader::new(stream).read_line(&mut answer)?;
//!     Ok(answer)
//! }
//! # fn connect() -> impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {
//! #     use std::{pin::Pin, task::{Context, Poll}};
//! #     struct Peer { heard: Vec<u8>, asked: bool }
//! #     impl tokio::io::AsyncRead for Peer {
//! #         fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> {
//! #             if !std::mem::replace(&mut self.asked, true) { cx.waker().wake_by_ref(); return Poll::Pending }
//! #             buffer.put_slice(&std::mem::take(&mut self.heard));
//! #             Poll::Ready(Ok(()))
//! #         }
//! #     }
//! #     impl tokio::io::AsyncWrite for Peer {
//! #         fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
//! #             self.heard.extend(bytes);
//! #             Poll::Ready(Ok(bytes.len()))
//! #         }
//! #         fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Ready(Ok(())) }
//! #         fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Ready(Ok(())) }
//! #     }
//! #     Peer { heard: Vec::new(), asked: false }
//! # }
//! cede::run(|| {
//!     let stream = connect(); // such as a `TcpStream` of tokio
//!     let mut task = cede::spawn(move || greet(SyncIo::tokio(stream)));
//!     assert_eq!(task.join().unwrap()?, "hello\n");
//!     Ok::<_, io::Error>(())
//! }).unwrap();
//! # }
//! ```
//!
//! A cancel or a deadline ends a call with an `io::Error` of kind `Other` or `TimedOut`, whose source is
//! [`Cancelled`](crate::task::Cancelled). That call has taken and sent no byte, and the stream can be used. As with any error, `read_exact`
//! and `write_all`, which are several calls, do not tell how far they got. The tests of `crates` run serde_json, flate2, tar, csv, quick-xml,
//! zip, tungstenite, rustls and postgres-protocol over streams of tokio in this way.
//!
//! # Streams
//!
//! With the feature `stream`, `bridge::BlockingIter` iterates over an async stream, and a [`Generator`](crate::Generator) is a stream
//! itself:
//!
//! ```
//! # #[cfg(feature = "stream")] {
//! use cede::{Generator, bridge::BlockingIter, task::Cancelled};
//! use futures_core::Stream;
//!
//! fn numbers() -> impl Stream<Item = u32> + Unpin {
//!     Generator::new(|y| (1..=3).for_each(|n| y.yield_(n)))
//! }
//! fn sum(stream: impl Stream<Item = u32> + Unpin) -> Result<u32, Cancelled> {
//!     let mut sum = 0;
//!     for n in BlockingIter::new(stream) {
//!         sum += n?; // a cancel comes in place of an item, and no item is lost
//!     }
//!     Ok(sum)
//! }
//! assert_eq!(cede::run(|| sum(numbers())), Ok(6));
//! # }
//! ```
//!
//! The body of a generator runs inside of the poll. A wait in the body suspends the task of a run that polls, and outside of a run blocks
//! the executor's thread.
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
