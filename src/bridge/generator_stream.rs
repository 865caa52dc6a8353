//! The values of a `Generator` as a stream of futures-core.
//!
//! `Generator` itself is no `Stream`: it is an `Iterator`, and code that imports the extension traits of both could call neither `map` nor
//! `next`. With the feature on, which any dependency may ask for, such code would not compile any more.
#![forbid(unsafe_code)]

use crate::generator::Generator;
use futures_core::{FusedStream, Stream};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// An async stream of the values that a generator yields. Returned by [`Generator::into_stream`]. Each poll resumes the body and is ready with
/// the next value, as [`next`](Iterator::next) is.
///
/// The body runs inside of the poll, and cannot make it pending. A wait in the body suspends the task of a run that polls. Outside
/// of a run it blocks the thread of the executor, so nothing else of a single-threaded executor makes progress, and a wait for a
/// task of that executor is never over. A long computation between two values delays the executor, too.
///
/// A stream of a generator stays on its thread, as the generator does: `LocalSet` of tokio, `LocalExecutor` of smol and every
/// `block_on` poll it; a spawn that needs `Send` refuses it.
///
/// A panic of the body, and of [`rethrow`](crate::Yielder::rethrow), propagates out of the poll; the stream has then ended.
///
/// ```
/// # #[cfg(feature = "stream")] {
/// use futures_core::Stream;
/// use std::{future::poll_fn, pin::pin};
///
/// async fn sum(stream: impl Stream<Item = u32>) -> u32 {
///     let (mut stream, mut sum) = (pin!(stream), 0);
///     while let Some(n) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
///         sum += n;
///     }
///     sum
/// }
/// let generator = cede::Generator::new(|y| (1..=4).for_each(|n| y.yield_(n)));
/// assert_eq!(cede::block_on(sum(generator.into_stream())), Ok(10));
/// # }
/// ```
pub struct GeneratorStream<Y: 'static, R: 'static = ()> {
    generator: Generator<Y, (), R>,
}

impl<Y: 'static, R: 'static> Generator<Y, (), R> {
    /// Converts the generator into an async stream of its values. Feature `stream`.
    pub fn into_stream(self) -> GeneratorStream<Y, R> {
        GeneratorStream { generator: self }
    }
}

impl<Y: 'static, R: 'static> GeneratorStream<Y, R> {
    /// Returns the generator, whose [`into_return`](Generator::into_return) has the return value.
    pub fn into_inner(self) -> Generator<Y, (), R> {
        self.generator
    }
}

impl<Y: 'static, R: 'static> Stream for GeneratorStream<Y, R> {
    type Item = Y;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Y>> {
        Poll::Ready(self.get_mut().generator.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.generator.size_hint()
    }
}

impl<Y: 'static, R: 'static> FusedStream for GeneratorStream<Y, R> {
    /// Returns true if the body will not run again.
    fn is_terminated(&self) -> bool {
        self.generator.is_finished()
    }
}

impl<Y: 'static, R: 'static> fmt::Debug for GeneratorStream<Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GeneratorStream").field(&self.generator).finish()
    }
}
