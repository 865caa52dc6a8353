//! `BlockingIter`: the items of an async stream, one wait for each.
#![forbid(unsafe_code)]

use super::block_on;
use crate::task::Cancelled;
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;

/// An iterator over the items of an async stream. Feature `stream`.
///
/// [`next`](Iterator::next) waits for the next item by [`block_on`]: it suspends the calling task, and blocks the thread
/// outside of a run. An item is `Ok`, and a wait that was ended by a cancel, a deadline or a scope gives `Err(Cancelled)` in place of an
/// item. So `for item in iter { let item = item?; .. }` ends at a cancel, and `collect::<Result<Vec<_>, _>>()` does, too. An
/// adapter that skips errors, such as `flatten`, does not end in a cancelled task.
///
/// The stream must be [`Unpin`]: `Box::pin(stream)` makes it so. `&mut stream` is a stream, too.
///
/// Cancel safety: no item is lost. After `Err(Cancelled)` the next call goes on with the stream, and so does
/// [`into_inner`](Self::into_inner) in async code.
///
/// A call after the end (`None`) polls the stream again. Most streams do not permit it: see [`Iterator::fuse`].
///
/// ```
/// # #[cfg(feature = "stream")] {
/// use cede::{Generator, bridge::BlockingIter, task::Cancelled};
/// cede::run(|| {
///     // A stream: a generator, or a stream of any async library.
///     let stream = Generator::new(|y| (1..=3).for_each(|n| y.yield_(n))).into_stream();
///     let sum = BlockingIter::new(stream).sum::<Result<u32, Cancelled>>()?;
///     assert_eq!(sum, 6);
///     Ok::<_, Cancelled>(())
/// }).unwrap();
/// # }
/// ```
#[derive(Debug)]
#[doc(alias = "block_on_stream")]
#[doc(alias = "BlockingStream")]
#[must_use = "an iterator polls its stream only in calls of next"]
pub struct BlockingIter<S> {
    stream: S,
}

impl<S: Stream + Unpin> BlockingIter<S> {
    /// Wraps a stream.
    pub fn new(stream: S) -> BlockingIter<S> {
        BlockingIter { stream }
    }
}

impl<S> BlockingIter<S> {
    /// Returns the stream, with all items that were not returned.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Returns a reference to the stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns a mutable reference to the stream, for example to add to a set of futures between two items.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: Stream + Unpin> Iterator for BlockingIter<S> {
    type Item = Result<S::Item, Cancelled>;

    /// Waits for the next item. Returns `None` at the end of the stream, and `Err` if the wait was cancelled.
    ///
    /// # Panics
    ///
    /// If the stream panics, and if it is pending in a callback or inside [`no_suspend`](crate::no_suspend).
    #[inline]
    #[track_caller]
    fn next(&mut self) -> Option<Result<S::Item, Cancelled>> {
        block_on(poll_fn(|cx| Pin::new(&mut self.stream).poll_next(cx))).transpose()
    }

    /// Returns the lower bound of the stream. There is no upper one, because a cancelled wait gives an item more.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.stream.size_hint().0, None)
    }
}
