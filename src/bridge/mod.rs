//! Futures in synchronous code: [`block_on`] waits for a future and suspends the calling task instead of its thread. And synchronous code as a
//! future: [`fiber()`].
//!
//! Any function of a task can wait for a future, also deep inside of code that knows nothing of async Rust. The other tasks of the
//! run go on. In a fiber outside of a run `block_on` suspends the fiber, and elsewhere it blocks the thread.
//!
//! ```
//! # use std::{future::Future, task::Poll, time::Duration};
//! # async fn ask(n: u32) -> u32 {
//! #     let mut asked = false;
//! #     std::future::poll_fn(|cx| {
//! #         if asked { return Poll::Ready(()) }
//! #         asked = true;
//! #         let waker = cx.waker().clone();
//! #         std::thread::spawn(move || { std::thread::sleep(Duration::from_millis(1)); waker.wake() });
//! #         Poll::Pending
//! #     }).await;
//! #     n * 2
//! # }
//! fn sum(numbers: &[u32]) -> Result<u32, cede::task::Cancelled> {
//!     let mut sum = 0;
//!     for &n in numbers {
//!         sum += cede::block_on(ask(n))?; // an async function
//!     }
//!     Ok(sum)
//! }
//!
//! cede::run(|| {
//!     let mut tasks: Vec<_> = (0..3).map(|n| cede::spawn(move || sum(&[n, n + 1]))).collect();
//!     let sums: Vec<_> = tasks.iter_mut().map(|task| task.join().unwrap()).collect();
//!     assert_eq!(sums, [Ok(2), Ok(6), Ok(10)]);
//! });
//! ```
//!
//! [`fiber`] is the other direction: a future that runs synchronous code on a stack of its own, and suspends it where it would block the
//! thread. [`Config::run_async`](crate::Config::run_async) does so for a whole run.
//!
//! Three features connect other types of async Rust: `SyncIo` (features `tokio` and `futures-io`) is a synchronous reader and writer over
//! an async one, `BlockingIter` (feature `stream`) is an iterator over an async stream, and with the same feature `stream` and
//! `Generator::into_stream` are async streams of stackful code.
//!
//! cede is no executor of another library: a future of tokio needs a runtime of tokio, which the [guide](crate::guide::tokio)
//! describes. Its page on [async Rust](crate::guide::async_rust) has cancels, wakers and limits.

mod block_on;
#[cfg(feature = "stream")]
mod blocking_iter;
mod context;
mod fiber;
#[cfg(feature = "stream")]
mod generator_stream;
#[cfg(feature = "stream")]
mod stream;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
mod sync_io;

pub use self::block_on::{NotSuspendable, block_on, try_block_on};
#[cfg(feature = "stream")]
pub use self::blocking_iter::BlockingIter;
pub use self::context::{Context, context};
pub use self::fiber::{BorrowingFiber, Fiber, fiber};
#[cfg(feature = "stream")]
pub use self::generator_stream::GeneratorStream;
#[cfg(feature = "stream")]
pub use self::stream::{EmitError, Emitter, FiberStream, stream};
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub use self::sync_io::{FuturesIo, SyncIo, Tokio};
