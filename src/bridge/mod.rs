//! Futures in synchronous code: [`block_on`] waits for a future and suspends the calling task instead of its thread.
//!
//! Any function of a task can wait for a future, also deep inside of code that knows nothing of async Rust. The other tasks of the
//! run go on. Outside of a run `block_on` blocks the thread.
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
//! cede is no executor of another library: a future of tokio needs a runtime of tokio, which the [guide](crate::guide::async_rust)
//! describes, with cancels, wakers and limits.

mod block_on;
mod context;
mod fiber;

pub use self::block_on::{NotSuspendable, block_on, try_block_on};
pub use self::context::{Context, context};
pub use self::fiber::{BorrowingFiber, Fiber, fiber};
