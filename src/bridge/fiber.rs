//! Stackful code as a future: [`fiber`], [`Builder::fiber`] and [`Builder::fiber_borrowing`].
//!
//! A future that was polled once may be forgotten, and then its stack is never freed. So a fiber in safe code borrows nothing. The form
//! that borrows is unsafe, with a type of its own, since its drop must end the body.

use crate::coroutine::raw::{Event, RawCoroutine, StackOptions, State, drop_catching, throw_from_drop};
use crate::coroutine::{self, Builder, no_stack};
use crate::stack::arena::Kind;
use crate::stack::{Shape, StackError};
use crate::wait::fiber::{FiberHandle, foreign, resume};
use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A future that runs synchronous code on a stack of its own. Created by [`fiber`] and [`Builder::fiber`].
///
/// Nothing runs before the first poll. The code runs inside of `poll`, on the thread of the executor. Where it would block the thread
/// (in [`block_on`](crate::block_on), a receive from a channel, a lock, [`sleep`](crate::time::sleep), or as a run without a ready task),
/// it is suspended, and `poll` returns `Pending`. The output is the return value of the code.
///
/// A `Fiber` stays on its thread: it is neither `Send` nor `Sync`, because its stack may hold references to thread-locals. It is `Unpin`.
///
/// # Drop
///
/// A fiber that has not started drops its closure. One that is suspended is cancelled and resumed once: each of its waits returns
/// [`Cancelled`](crate::task::Cancelled), so the code can clean up and return. A future that is ready at once still gives its output. Code
/// that ignores 1,000 such errors is unwound, once. If that does not end it, its stack is leaked, with a line on stderr. The same happens
/// where it cannot run any more, at the end of its thread.
///
/// # Panics
///
/// `poll` propagates a panic of the code. It panics if the fiber has finished.
pub struct Fiber<R> {
    raw: RawCoroutine<FiberHandle, R>,
}

/// Like [`Fiber`], for code that may borrow. Created by [`Builder::fiber_borrowing`].
///
/// Its drop cannot leak the stack: if the code does not end when it is cancelled and unwound, the process aborts.
pub struct BorrowingFiber<'a, R> {
    raw: RawCoroutine<FiberHandle, R>,
    _borrows: PhantomData<&'a ()>,
}

/// Returns a future that runs `f` on a stack of its own: synchronous code that waits without blocking the thread of the executor. The stack
/// has 256 KiB; [`Builder::fiber`] sets another size.
///
/// Inside of `f`, the waits of the library suspend the fiber: [`block_on`](crate::block_on) for any future, those of
/// [`sync`](crate::sync), [`sleep`](crate::time::sleep), those for a socket, and a whole [`run`](crate::run()). The calls of
/// [`task`](crate::task) belong to a run, and panic as outside of one. What a fiber calls elsewhere that blocks, such as std's channels,
/// blocks the executor.
///
/// # Panics
///
/// Panics if no stack can be allocated.
///
/// ```
/// use cede::{block_on, fiber};
///
/// fn depth_first(n: u32) -> u32 {
///     match n {
///         0 => block_on(std::future::ready(1)).unwrap(), // any future, deep inside of synchronous code
///         n => depth_first(n - 1) + 1,
///     }
/// }
///
/// async fn answer() -> u32 {
///     fiber(|| depth_first(10)).await
/// }
/// assert_eq!(block_on(answer()), Ok(11));
/// ```
#[doc(alias = "spawn_local")]
#[doc(alias = "greenlet")]
#[inline]
#[track_caller]
pub fn fiber<R: 'static>(f: impl FnOnce() -> R + 'static) -> Fiber<R> {
    let options = StackOptions { shape: Shape::fiber_shape(), name: None, clear: false };
    match Fiber::new(options, f) {
        Ok(fiber) => fiber,
        Err(error) => no_stack(&error),
    }
}

impl<R: 'static> Fiber<R> {
    #[inline]
    fn new(options: StackOptions, f: impl FnOnce() -> R + 'static) -> Result<Fiber<R>, StackError> {
        let raw = RawCoroutine::new_static(options, Kind::Fiber, move |_: &FiberHandle| f())?;
        Ok(Fiber { raw })
    }
}

impl Builder {
    /// Creates a [`Fiber`]: a future that runs `f`. The stack has 256 KiB unless [`stack_size`](Self::stack_size) sets another size.
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if a size is out of bounds or no stack can be allocated; the closure is dropped.
    ///
    /// ```
    /// let fiber = cede::Builder::new().name("parser").stack_size(1 << 20).fiber(|| 42)?;
    /// assert_eq!(fiber.name(), Some("parser"));
    /// assert_eq!(cede::block_on(fiber), Ok(42));
    /// # Ok::<(), cede::StackError>(())
    /// ```
    pub fn fiber<R: 'static>(self, f: impl FnOnce() -> R + 'static) -> Result<Fiber<R>, StackError> {
        Fiber::new(self.fiber_options()?, f)
    }

    /// Creates a [`BorrowingFiber`]: a future that runs `f`, which may borrow for `'a`.
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if a size is out of bounds or no stack can be allocated; the closure is dropped.
    ///
    /// # Safety
    ///
    /// Once the future was polled, it must be dropped or finish before `'a` ends: it must not be forgotten, as by
    /// [`mem::forget`](std::mem::forget) or a cycle of `Rc`s. The code inside may rely on a call that returns, such as that of
    /// [`std::thread::scope`]: the threads of such a scope would go on using what the code borrows, after the borrow has ended. The
    /// compiler accepts such a program, because a lifetime may end without a drop. Keep the future in the frame that polls it, or in one
    /// of its futures.
    ///
    /// ```
    /// let mut sum = 0;
    /// let numbers = [1, 2, 3];
    /// // SAFETY: `block_on` owns the future and drops it before it returns.
    /// let fiber = unsafe { cede::Builder::new().fiber_borrowing(|| sum = numbers.iter().sum()) }?;
    /// cede::block_on(fiber).unwrap();
    /// assert_eq!(sum, 6);
    /// # Ok::<(), cede::StackError>(())
    /// ```
    pub unsafe fn fiber_borrowing<'a, R: 'a>(
        self,
        f: impl FnOnce() -> R + 'a,
    ) -> Result<BorrowingFiber<'a, R>, StackError> {
        // SAFETY: the caller does not forget the future, whose drop ends the body, so what the body borrows for `'a` outlives it.
        let raw = unsafe { RawCoroutine::new(self.fiber_options()?, Kind::Fiber, move |_: &FiberHandle| f()) }?;
        Ok(BorrowingFiber { raw, _borrows: PhantomData })
    }

    fn fiber_options(self) -> Result<StackOptions, StackError> {
        if self.is_shaped() {
            self.options()
        } else {
            Ok(StackOptions { shape: Shape::fiber_shape(), ..self.options()? })
        }
    }
}

/// Runs the body until it suspends or ends.
#[inline(always)]
fn poll<R>(raw: &mut RawCoroutine<FiberHandle, R>, waker: &Waker) -> Poll<R> {
    if raw.is_finished() {
        refuse_to_poll(raw);
    }
    match resume(raw, waker) {
        Event::Yielded(()) => Poll::Pending,
        Event::Complete(output) => Poll::Ready(output),
        Event::Panicked(payload) => resume_unwind(payload),
        Event::Message | Event::Unwound => {
            unreachable!("a fiber that was not dropped sends no message and is not unwound")
        }
    }
}

#[cold]
#[track_caller]
fn refuse_to_poll<R>(raw: &RawCoroutine<FiberHandle, R>) -> ! {
    panic!("cannot poll {}: it has finished", raw.label())
}

/// Ends a suspended body: cancels it, which resumes it once. Leaks a body that does not end, or aborts the process if it borrows.
#[cold]
fn cancel<R>(raw: &mut RawCoroutine<FiberHandle, R>, borrows: bool) {
    let mut why = "ignored its cancel, and did not end when it was unwound";
    if raw.can_resume() {
        raw.handle().cancel();
        let thrown = match resume(raw, Waker::noop()) {
            Event::Complete(output) => drop_catching(output),
            Event::Panicked(payload) => Err(payload),
            Event::Unwound => Ok(()),
            Event::Yielded(()) | Event::Message => return give_up(raw, why, borrows),
        };
        if let Err(payload) = thrown {
            throw_from_drop(payload, &raw.label());
        }
        return;
    }
    why = raw.why_not_unwound();
    give_up(raw, why, borrows);
}

#[cold]
fn give_up<R>(raw: &mut RawCoroutine<FiberHandle, R>, why: &str, borrows: bool) {
    if borrows {
        raw.abort(why)
    }
    raw.handle().abandon();
    raw.leak(why);
}

/// Drops the closure of a fiber that has not started. That runs on the fiber's stack, but as a part of the code around: so generators around
/// it must not be suspended from there.
#[cold]
fn discard<R>(raw: &mut RawCoroutine<FiberHandle, R>) {
    if let Err(payload) = foreign(|| raw.end(false)) {
        throw_from_drop(payload, &raw.label());
    }
}

macro_rules! future {
    ($name:ident <$($lifetime:lifetime,)? R>, $borrows:literal) => {
        impl<$($lifetime,)? R> $name<$($lifetime,)? R> {
            /// Returns the name that the builder set.
            pub fn name(&self) -> Option<&str> {
                coroutine::name(&self.raw)
            }

            /// Returns the state of the code: not started, suspended, or finished.
            pub fn state(&self) -> State {
                self.raw.state()
            }

            /// Returns the number of bytes of the stack that were used at most, in whole pages.
            ///
            /// # Errors
            ///
            /// The error of the system call that finds out.
            pub fn stack_high_water(&self) -> std::io::Result<usize> {
                coroutine::stack_high_water(&self.raw)
            }
        }

        /// No reference into a fiber is pinned: its stack never moves.
        impl<$($lifetime,)? R> Unpin for $name<$($lifetime,)? R> {}

        impl<$($lifetime,)? R> Future for $name<$($lifetime,)? R> {
            type Output = R;

            // A call between the switch and the executor's own call would cost a wrong prediction where that ends.
            #[inline(always)]
            #[track_caller]
            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
                poll(&mut self.get_mut().raw, cx.waker())
            }
        }

        impl<$($lifetime,)? R> Drop for $name<$($lifetime,)? R> {
            #[inline]
            fn drop(&mut self) {
                match self.raw.state() {
                    State::Suspended => cancel(&mut self.raw, $borrows),
                    State::Created => discard(&mut self.raw),
                    State::Finished => {}
                }
            }
        }

        impl<$($lifetime,)? R> fmt::Debug for $name<$($lifetime,)? R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.raw.fmt(f)
            }
        }
    };
}

future!(Fiber<R>, false);
future!(BorrowingFiber<'a, R>, true);
