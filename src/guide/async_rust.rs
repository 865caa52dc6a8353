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
//! # Fibers: stackful code as a future
//!
//! [`fiber`](crate::fiber()) returns a future that runs synchronous code on a stack of its own. An async function calls synchronous code in this
//! way, and that code calls async functions again, by `block_on`, at any depth:
//!
//! ```
//! use cede::{block_on, fiber, sync::channel::{Receiver, bounded}};
//!
//! async fn price(item: u32) -> u32 {
//!     item * 10
//! }
//!
//! /// Synchronous. Waits for the channel inside of an iterator, and for a future.
//! fn total(items: Receiver<u32>) -> u32 {
//!     items.iter().map(|item| block_on(price(item)).expect("the fiber is not dropped")).sum()
//! }
//!
//! async fn shop() -> u32 {
//!     let (sender, items) = bounded(1);
//!     std::thread::spawn(move || (1..=3).try_for_each(|item| sender.send(item)));
//!     fiber(move || total(items)).await
//! }
//! assert_eq!(block_on(shop()), Ok(60)); // any executor, here that of a plain thread
//! ```
//!
//! The code runs inside of `poll`, on the thread of the executor. Where it would block the thread, the fiber is suspended and the
//! executor goes on: in `block_on`, in the waits of [`sync`](crate::sync), in [`sleep`](crate::time::sleep), in those of sockets, pipes and
//! signals, and in a [`run`](crate::run()) without a ready task. [`yield_now`](crate::yield_now) gives way to the executor. Fibers nest: the inner
//! one suspends to the outer one. `examples/sync_over_async` is a longer program.
//!
//! The stack has 256 KiB, because futures are polled on it. [`Builder::fiber`](crate::Builder::fiber) sets another size, and a name.
//!
//! # A run as a future
//!
//! A fiber has no tasks: [`spawn`](crate::spawn()), [`timeout`](crate::timeout) and [`scope`](fn@crate::scope) belong to a run. A fiber may open a
//! run. [`Config::run_async`](crate::Config::run_async) is a shorter way to write this:
//!
//! ```
//! use cede::{Config, join_all, spawn, time::sleep};
//! use std::time::Duration;
//!
//! async fn service() -> u32 {
//!     let run = Config::new().run_async(|| {
//!         let tasks = (1..=3).map(|n| spawn(move || sleep(Duration::from_millis(n)).map(|()| 2 * n as u32)));
//!         join_all(tasks).into_iter().map(|task| task.unwrap().unwrap()).sum()
//!     });
//!     run.await.expect("no deadlock")
//! }
//! assert_eq!(cede::block_on(service()), Ok(12));
//! ```
//!
//! While tasks are ready, the run goes on inside of `poll`, and gives way to the executor every 64 to 1,024 turns. The switches between its
//! tasks cost what they cost in any run. Its deadlines and sockets need nothing of the executor: a timer thread and a poll thread of the
//! library wake it, one of each in a process.
//!
//! # Drop and cancel
//!
//! A fiber that is dropped while it waits is cancelled, and its code runs once more: each wait returns an error, so the code can clean up and
//! return.
//!
//! ```
//! use cede::{block_on, fiber};
//! use std::{cell::Cell, future::pending, pin::Pin, rc::Rc, task::{Context, Waker}};
//!
//! let outcome = Rc::new(Cell::new(None));
//! let seen = Rc::clone(&outcome);
//! let mut waiting = fiber(move || outcome.set(Some(block_on(pending::<()>()))));
//! assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop())).is_pending());
//! drop(waiting);
//! assert_eq!(seen.get(), Some(Err(cede::task::Cancelled)));
//! ```
//!
//! So `select!` and `timeout` of tokio and futures end synchronous code in order. Nothing is unwound, unless the code ignores 1,000 such
//! errors: see [`Fiber`](crate::bridge::Fiber). Clean-up during the drop cannot wait.
//!
//! The drop of a run cancels main, and finishes the run before it returns. Clean-up of its tasks may wait, but then the thread is blocked, up
//! to the grace period. To let the executor go on, cancel the run by its [`Canceller`](crate::Canceller), from any thread, and await it:
//!
//! ```
//! use cede::{Config, shield, time::sleep};
//! use std::time::Duration;
//!
//! let run = Config::new().run_async(|| {
//!     let late = sleep(Duration::from_secs(3600));
//!     shield(|| sleep(Duration::from_millis(1))).expect("a shielded sleep"); // clean-up that waits
//!     late.is_err()
//! });
//! let canceller = run.canceller();
//! std::thread::spawn(move || canceller.cancel());
//! assert_eq!(cede::block_on(async { run.await.unwrap() }), Ok(true));
//! ```
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
//! With the feature `stream`, `bridge::BlockingIter` iterates over an async stream. `bridge::stream` makes a stream of code that waits, and
//! `Generator::into_stream` one of a generator that does not:
//!
//! ```
//! # #[cfg(feature = "stream")] {
//! use cede::{Generator, bridge::BlockingIter, task::Cancelled};
//! use futures_core::Stream;
//!
//! fn numbers() -> impl Stream<Item = u32> + Unpin {
//!     Generator::new(|y| (1..=3).for_each(|n| y.yield_(n))).into_stream()
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
//! The body of a generator runs inside of the poll. A wait in the body suspends the task of a run that polls, and outside of a run and
//! of a fiber blocks the executor's thread.
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
//! * *The future is polled on the stack of the task or fiber.* Large futures need space there, most of all without optimization: set
//!   [`Config::stack_size`](crate::Config::stack_size), or box the future.
//! * *A guard over a wait stays with the thread.* A guard of a `tracing` span, or of `Handle::enter` of tokio, sets a thread-local. All code that
//!   runs on the thread during the wait sees it: other tasks, or the executor. Use `.instrument(span)` around the future or the fiber instead.
//! * *`errno` is not saved over a wait.* Read it before.
//! * *A poll in a callback or inside [`no_suspend`](crate::no_suspend)* works if the future is ready. Otherwise `block_on` panics.
//! * *A fiber and a run never change threads.* Their futures are not `Send`. Compiled code keeps addresses of thread-locals on the stack,
//!   and safe code keeps references to them there. On another thread, both would point to the variables of the first thread, or into freed
//!   memory. A type cannot tell what is on a stack, so it does not help if the closure is `Send`. Runtimes with several threads run a fiber as
//!   a [pinned task](super::tokio#pinned-tasks-of-a-runtime-with-several-threads).
//! * *A fiber in safe code borrows nothing.* A future that waits may be forgotten ([`mem::forget`](std::mem::forget)), and then the borrow ends
//!   although the stack does not. A thread of a [`std::thread::scope`] that the code had opened would go on using what was borrowed.
//!   [`Builder::fiber_borrowing`](crate::Builder::fiber_borrowing) is the unsafe form.
//! * *The drop of a run may block its thread*, for its grace period and the time after it: see [above](#drop-and-cancel).
//! * *Tasks of another run cannot be joined.* Inside of a fiber, the run around the fiber is hidden, and outside of the fiber the run in it. A
//!   `join` that would have to wait for such a task panics. `cancel` works, and channels connect both sides.
//! * *Some calls block the executor in a fiber outside of a run*: [`unblock`](crate::blocking::unblock), the functions of `fs`, `io::stdin`,
//!   `stdout` and `stderr`, and `wait` and `output` of a child process. In a run as a future they suspend their task. A detached call
//!   ([`unblock_detached`](crate::blocking::unblock_detached)) suspends the fiber that joins it.
//!
//! # Sockets in fibers
//!
//! Sockets also work in a fiber outside of a run, lookups of names included: the poll thread watches each socket for which a fiber waits.
//! A run as a future has a driver of its own, and while the run sleeps, the poll thread watches the driver. Each event that ends such a sleep
//! wakes two threads instead of one. The worst case is a client with one connection, which sleeps for each message:
//!
//! | 64 bytes over loopback to a thread and back, us | fastest round of four runs | medians of the quietest run |
//! |---|---|---|
//! | from a thread, sockets of std | 13.4 | 13.7 |
//! | from a run: epoll, io_uring | 14.5, 14.9 | 14.9, 15.4 |
//! | from a run as a future: epoll, io_uring | 17.6, 15.6 | 31.8, 20.0 |
//! | from a fiber outside of a run | 17.1 | 28.2 |
//!
//! The command is `cargo run --release -p cede-benches --bin fibers`, here on two busy cores of x86_64. The executor is
//! [`block_on`](crate::block_on) in a plain thread. Many connections belong into a run: each wait of a fiber outside of a run adds an entry to the
//! list that the poll thread passes to poll(2).
#![forbid(unsafe_code)]
