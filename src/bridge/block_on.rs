//! `block_on` and `try_block_on`: polls of a future, with a wait after each that returned `Pending`.
//!
//! The future is polled on the caller's stack, with the waker of the task or thread that polls. The poll is user code: it may
//! wait, call `block_on` itself, panic, or suspend a generator around this call, which is then resumed by another task. So
//! nothing of the run is kept over a poll but numbers.
#![forbid(unsafe_code)]

use crate::task::Cancelled;
use crate::wait::{self, Poll, can_suspend, consume_budget, fiber, worker};
use std::fmt;
use std::pin::{Pin, pin};
use std::task::{self, Context};

/// Waits until the future is ready, and returns its output. Suspends the calling task, main included; outside of a run suspends the calling
/// [fiber](crate::fiber()), or blocks the thread. A future that is ready at once returns without a wait.
///
/// The future is polled on the caller's stack. It needs no `Send` and no `'static`, and may borrow from the caller. It may be
/// polled more often than it is woken. Its waker can be used on any thread, and also after the end of the run; no wait allocates
/// memory for it. The poll may wait, too: for a channel, a socket, or by another `block_on`.
///
/// A [`timeout`](crate::timeout), [`scope`](fn@crate::scope) or [`shield`](crate::shield) around the call acts on the wait as on any other.
///
/// Cancel safety: an interrupted call drops the future, as if it had been dropped in async code. Pass `&mut future` or a
/// `Pin<&mut _>` to keep the future, and call `block_on` again. If the waker was used before the cancel took effect, the future
/// is polled once more, and its output wins.
///
/// Reports show the wait as "a future". Another thread may have the waker, so the wait counts as a deadlock only in a
/// [closed world](crate::Config::closed_world), or if the process has no other thread.
///
/// # Errors
///
/// [`Cancelled`] if the future is pending and the task was cancelled, a deadline or scope around the call ended the wait, or the
/// thread is panicking. Never in a plain thread, which cannot be cancelled.
///
/// # Panics
///
/// If the future panics, with the same payload. If the future is pending in a callback or inside
/// [`no_suspend`](crate::no_suspend).
///
/// ```
/// use cede::{block_on, sync::channel::bounded};
/// cede::run(|| {
///     let text = String::from("borrowed");
///     let (sender, receiver) = bounded(1);
///     let mut task = cede::spawn(move || block_on(async { receiver.recv() }).unwrap());
///     block_on(async { sender.send(text.len()) }).unwrap().unwrap();
///     assert_eq!(task.join().unwrap(), Ok(8));
/// });
/// assert_eq!(block_on(std::future::ready(1)), Ok(1)); // in a plain thread
/// ```
///
/// The future can be kept over a deadline:
///
/// ```
/// use std::{pin::pin, time::Duration};
/// # async fn slow() -> u32 {
/// #     use std::sync::atomic::{AtomicBool, Ordering};
/// #     static DONE: AtomicBool = AtomicBool::new(false);
/// #     let mut asked = false;
/// #     std::future::poll_fn(|cx| {
/// #         if DONE.load(Ordering::Acquire) { return std::task::Poll::Ready(7) }
/// #         let waker = cx.waker().clone();
/// #         let answer = move || { std::thread::sleep(Duration::from_millis(50)); DONE.store(true, Ordering::Release); waker.wake() };
/// #         if !std::mem::replace(&mut asked, true) { std::thread::spawn(answer); }
/// #         std::task::Poll::Pending
/// #     }).await
/// # }
/// cede::run(|| {
///     let mut answer = pin!(slow());
///     let first = cede::timeout(Duration::from_millis(1), || cede::block_on(answer.as_mut()));
///     assert!(first.is_err());
///     assert_eq!(cede::block_on(answer), Ok(7));
/// });
/// ```
#[doc(alias = "await")]
#[inline(always)]
#[track_caller]
pub fn block_on<F: IntoFuture>(future: F) -> Result<F::Output, Cancelled> {
    drive(pin!(future.into_future()), true)
}

/// Like [`block_on`], but never blocks a thread: returns the future, not polled, where the calling code cannot be suspended.
///
/// A generator around the call may be suspended during a poll, and be resumed outside of a run. Then a pending future is dropped,
/// and the call returns `Ok(Err(Cancelled))`.
///
/// # Errors
///
/// [`NotSuspendable`] outside of runs and fibers, in a callback, inside [`no_suspend`](crate::no_suspend), and while the thread panics. The
/// inner result has the errors of [`block_on`].
///
/// # Panics
///
/// If the future panics, with the same payload.
///
/// ```
/// use cede::bridge::try_block_on;
/// use std::future::ready;
/// let refused = try_block_on(ready(1)).unwrap_err();
/// assert_eq!(refused.into_inner().into_inner(), 1); // the future, to be awaited in another way
/// cede::run(|| assert_eq!(try_block_on(ready(2)).unwrap(), Ok(2)));
/// ```
#[inline]
#[track_caller]
pub fn try_block_on<F: IntoFuture>(future: F) -> Result<Result<F::Output, Cancelled>, NotSuspendable<F>> {
    let can_wait = match worker() {
        Some(worker) => can_suspend(worker),
        None => fiber::current().is_some_and(|fiber| fiber.may_wait()),
    };
    if !can_wait {
        return Err(NotSuspendable { future });
    }
    Ok(drive(pin!(future.into_future()), false))
}

/// Polls the future until it is ready. `may_block` tells whether a plain thread may be blocked.
#[inline(always)]
#[track_caller]
fn drive<F: Future>(mut future: Pin<&mut F>, may_block: bool) -> Result<F::Output, Cancelled> {
    let (mut waited, mut interrupted) = (false, false);
    loop {
        // Where this code runs is asked before each poll: a generator around it may have been resumed elsewhere.
        // The number of wakes is read before the poll, so a wake during the poll is not lost.
        let poll = match worker() {
            Some(worker) => Poll::begin(worker),
            None => match fiber::current() {
                Some(fiber) => match wait::poll_in_fiber(fiber, future.as_mut())? {
                    task::Poll::Ready(output) => return Ok(output),
                    task::Poll::Pending => continue,
                },
                None => Poll::begin_by_thread(),
            },
        };
        if let task::Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&poll.waker())) {
            if !waited {
                consume_budget();
            }
            return Ok(output);
        }
        if interrupted {
            return Err(Cancelled);
        }
        waited = true;
        interrupted = wait::wait_for_waker(&poll, may_block).is_err();
        // A wake that came before the cancel may have made the future ready: one more poll.
        if interrupted && !poll.was_woken() {
            return Err(Cancelled);
        }
    }
}

/// The error of [`try_block_on`]: the calling code cannot be suspended. Holds the future, which was not polled.
#[derive(thiserror::Error)]
#[error(
    "cannot wait for the future here without blocking the thread: call try_block_on in a task of cede::run, or in a fiber"
)]
pub struct NotSuspendable<F> {
    future: F,
}

impl<F> NotSuspendable<F> {
    /// Returns the future.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F> fmt::Debug for NotSuspendable<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotSuspendable").finish_non_exhaustive()
    }
}
