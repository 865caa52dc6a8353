//! Stackful code as an async stream: [`stream`] and [`Builder::stream`].
#![forbid(unsafe_code)]

use super::Fiber;
use crate::coroutine::{Builder, State, no_stack};
use crate::stack::StackError;
use crate::wait::{fiber, worker};
use futures_core::Stream;
use futures_core::stream::FusedStream;
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The item on its way from the code to the consumer.
struct Slot<T> {
    item: Cell<Option<T>>,
    /// The number of the fiber that runs the code; 0 before it starts.
    fiber: Cell<u64>,
}

/// The code's side of a [`FiberStream`]: hands items to the consumer. Passed to the closure of [`stream`].
pub struct Emitter<T> {
    slot: Rc<Slot<T>>,
}

/// The error of [`Emitter::emit`]: the stream was dropped, or the thread is panicking. Holds the item, which was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot emit the item: the stream was dropped, or the thread is panicking")]
pub struct EmitError<T>(pub T);

impl<T> fmt::Debug for EmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitError").finish_non_exhaustive()
    }
}

/// A [`Stream`] whose items come from synchronous code on a stack of its own. Created by [`stream`] and [`Builder::stream`].
///
/// The code runs inside of `poll_next`, up to its next item or its next wait, and ends the stream by its return. After the end, `poll_next`
/// returns `None`. For the drop and for panics see [`Fiber`].
pub struct FiberStream<T> {
    fiber: Fiber<()>,
    slot: Rc<Slot<T>>,
}

/// Returns an async stream of the items that `f` emits: a generator whose code can wait. The stack has 256 KiB.
///
/// The waits of `f` are those of a [`fiber`](crate::fiber()). A generator that never waits is a stream itself, and cheaper.
///
/// # Panics
///
/// Panics if no stack can be allocated.
///
/// ```
/// use cede::{block_on, bridge::{BlockingIter, stream}};
///
/// async fn page(n: u32) -> Vec<u32> {
///     vec![n, n + 1]
/// }
///
/// let numbers = stream(|emitter| {
///     for n in [1, 10] {
///         for item in block_on(page(n)).unwrap_or_default() {
///             if emitter.emit(item).is_err() {
///                 return; // the stream was dropped
///             }
///         }
///     }
/// });
/// // `while let Some(item) = numbers.next().await` in async code
/// let items: Result<Vec<_>, _> = BlockingIter::new(numbers).collect();
/// assert_eq!(items, Ok(vec![1, 2, 10, 11]));
/// ```
#[doc(alias = "async_stream")]
#[track_caller]
pub fn stream<T: 'static>(f: impl FnOnce(&Emitter<T>) + 'static) -> FiberStream<T> {
    match Builder::new().stream(f) {
        Ok(stream) => stream,
        Err(error) => no_stack(&error),
    }
}

impl Builder {
    /// Creates a [`FiberStream`]: an async stream of the items that `f` emits. The stack has 256 KiB unless
    /// [`stack_size`](Self::stack_size) sets another size.
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if a size is out of bounds or no stack can be allocated; the closure is dropped.
    pub fn stream<T: 'static>(self, f: impl FnOnce(&Emitter<T>) + 'static) -> Result<FiberStream<T>, StackError> {
        let slot = Rc::new(Slot { item: Cell::new(None), fiber: Cell::new(0) });
        let emitter = Emitter { slot: Rc::clone(&slot) };
        let fiber = self.fiber(move || {
            emitter.slot.fiber.set(fiber::current().map_or(0, |fiber| fiber.number()));
            f(&emitter);
        })?;
        Ok(FiberStream { fiber, slot })
    }
}

impl<T> Emitter<T> {
    /// Hands an item to the consumer, and suspends the code until the next item is wanted.
    ///
    /// # Errors
    ///
    /// [`EmitError`] with the item if the stream was dropped, or if the thread is panicking.
    ///
    /// # Panics
    ///
    /// Panics in code that does not run directly in this stream: in another fiber, and in a task of a run inside of the stream. Panics inside
    /// [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn emit(&self, item: T) -> Result<(), EmitError<T>> {
        let own = fiber::current().filter(|fiber| fiber.number() == self.slot.fiber.get() && worker().is_none());
        let Some(fiber) = own else {
            panic!(
                "cannot emit here: only the stream's own code can, outside of runs and other fibers; send it the item through a channel"
            );
        };
        if !fiber.can_suspend() {
            if fiber.is_cancelled() {
                fiber.refuse();
            }
            return Err(EmitError(item));
        }
        self.slot.item.set(Some(item));
        fiber.suspend();
        Ok(())
    }
}

impl<T> Stream for FiberStream<T> {
    type Item = T;

    #[inline]
    #[track_caller]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        if this.is_terminated() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.fiber).poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => match this.slot.item.take() {
                Some(item) => Poll::Ready(Some(item)),
                None => Poll::Pending,
            },
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.is_terminated().then_some(0))
    }
}

impl<T> FusedStream for FiberStream<T> {
    fn is_terminated(&self) -> bool {
        self.fiber.state() == State::Finished
    }
}

impl<T> FiberStream<T> {
    /// Returns the name that the builder set.
    pub fn name(&self) -> Option<&str> {
        self.fiber.name()
    }
}

impl<T> fmt::Debug for FiberStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FiberStream").field(&self.fiber).finish()
    }
}

impl<T> fmt::Debug for Emitter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").finish_non_exhaustive()
    }
}
