//! Reading ahead: an iterator that lets the body produce several items in a switch.
#![forbid(unsafe_code)]

use super::Generator;
use super::delegate::Stop;
use super::error::CloseError;
use crate::coroutine::ahead::{Reader, Slots};
use crate::coroutine::chain::Head;
use crate::coroutine::raw::is_forced_unwind;
use crate::report::report;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::resume_unwind;

/// An iterator over the items of a generator whose body runs ahead. [`Generator::read_ahead`] returns it.
///
/// Dropping it drops the items that were not consumed, and then closes the generator.
#[must_use = "the body runs only when an item is asked for"]
pub struct ReadAhead<Y: 'static, R: 'static = ()> {
    // Dropped in this order: items in the order in which they were produced, then the body.
    reader: Reader<Y>,
    /// The end of the body, if it came ahead: held back until the items in the buffer are consumed.
    stop: Option<Stop<Y, ()>>,
    generator: Generator<Y, (), R>,
}

impl<Y: 'static, R: 'static> Generator<Y, (), R> {
    /// Converts the generator into an iterator that runs the body up to `n` items ahead, so that one switch of stacks
    /// carries `n` items. With an `n` of 32 an item takes about half of the time, if the body and the consumer do little with it
    /// (`cargo run --release -p cede-benches`).
    ///
    /// When the consumer asks for an item and there is none, the body runs until it has yielded `n` items or ends. A
    /// yield returns at once while there is room. With an `n` of 0 or 1 no item is produced ahead. The items
    /// need memory for `n` values, which is allocated here.
    ///
    /// The items and their order are those of the generator, but the body's side effects happen earlier:
    ///
    /// * The body may have produced items that the consumer never asks for. Dropping or closing the iterator drops
    ///   them.
    /// * A return value, a panic of the body and an error that it rethrows reach the consumer after all items that the
    ///   body yielded before. Dropping the iterator first drops them too.
    /// * A destructor that yields while a panic unwinds the body succeeds while there is room. Without room it aborts the
    ///   process, as always.
    /// * A wait in the body, for example for a message of another task, holds up the items that are already produced.
    ///
    /// A generator that the body yields from with [`yield_from`](crate::Yielder::yield_from) does not run ahead: each of its items
    /// takes a switch. A forced unwind of a task is never delayed. Only a generator that receives no values can be read
    /// ahead, because a yield that returns at once has no value to return.
    ///
    /// # Panics
    ///
    /// Panics if memory for `n` items exceeds the address space.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// let produced = Rc::new(Cell::new(0));
    /// let count = Rc::clone(&produced);
    /// let numbers = cede::Generator::new(move |y| {
    ///     for n in 1.. {
    ///         count.set(n);
    ///         y.yield_(n);
    ///     }
    /// });
    /// let mut numbers = numbers.read_ahead(8);
    /// assert_eq!((numbers.next(), produced.get()), (Some(1), 8));
    /// assert_eq!((numbers.next(), produced.get()), (Some(2), 8));
    /// ```
    #[doc(alias = "buffered")]
    #[doc(alias = "prefetch")]
    #[doc(alias = "batch")]
    pub fn read_ahead(self, n: usize) -> ReadAhead<Y, R> {
        ReadAhead { reader: Reader::new(n), stop: None, generator: self }
    }
}

impl<Y: 'static, R: 'static> ReadAhead<Y, R> {
    /// Drops the items that were not consumed, and asks the body to end. Returns the body's return value, or `None` if
    /// the body was unwound, had never started, or had finished before.
    ///
    /// # Errors
    ///
    /// The errors of [`Generator::close`]. After [`CloseError::Ignored`] the iteration can continue.
    ///
    /// # Panics
    ///
    /// Propagates a panic of the body, also one that happened ahead.
    ///
    /// ```
    /// let mut g = cede::Generator::new(|y| { y.yield_(1); y.yield_(2); "the end" }).read_ahead(8);
    /// assert_eq!(g.next(), Some(1));
    /// assert_eq!(g.close()?, Some("the end"));
    /// # Ok::<(), cede::CloseError<i32>>(())
    /// ```
    #[track_caller]
    pub fn close(&mut self) -> Result<Option<R>, CloseError<Y>> {
        self.reader.clear();
        match self.stop.take() {
            None => self.generator.close(),
            Some(Stop::Returned(value)) => Ok(Some(value.take())),
            Some(Stop::Raised(error)) => Err(CloseError::Raised(error)),
            Some(Stop::Panicked(payload)) => resume_unwind(payload),
            Some(Stop::Unwound | Stop::Delegate(_) | Stop::Yielded(_)) => Ok(None),
        }
    }

    /// Returns the body's return value after iteration reached the end, like [`Generator::into_return`].
    ///
    /// ```
    /// let mut g = cede::Generator::new(|y| { y.yield_('a'); 42 }).read_ahead(4);
    /// assert_eq!(g.by_ref().count(), 1);
    /// assert_eq!(g.into_return(), Some(42));
    /// ```
    pub fn into_return(mut self) -> Option<R> {
        self.generator.returned.take()
    }

    /// Returns the next item when the buffer is empty: runs the body ahead, until the buffer is full and the body yields
    /// one more item, or until the body stops for another reason.
    #[inline(never)]
    fn refill(&mut self) -> Option<Y> {
        if self.stop.is_some() || self.generator.is_finished() {
            return self.finish();
        }
        let stop = self.reader.fill(&mut self.generator, Self::yielder, |generator| generator.run_to_stop(()));
        match (self.reader.take(), stop) {
            (None, Stop::Yielded(item)) => Some(item),
            (Some(first), Stop::Yielded(item)) => {
                if self.reader.push(item).is_err() {
                    unreachable!("the last slot is left free");
                }
                Some(first)
            }
            (first, stop) => self.stopped(first, stop),
        }
    }

    /// Returns the body's side.
    fn yielder(generator: &Generator<Y, (), R>) -> (&Head, &Slots<Y>) {
        let yielder = generator.bodies.root().handle();
        (yielder.raw_yielder.head(), &yielder.slots)
    }

    /// Handles a stop other than a yield, after the items that the body has yielded before.
    #[cold]
    fn stopped(&mut self, first: Option<Y>, stop: Stop<Y, ()>) -> Option<Y> {
        self.stop = Some(stop);
        let forced = matches!(&self.stop, Some(Stop::Panicked(payload)) if is_forced_unwind(payload));
        if first.is_none() || forced { self.finish() } else { first }
    }

    /// Reports the stop that was held back until all items were consumed, once.
    #[cold]
    fn finish(&mut self) -> Option<Y> {
        let state = self.stop.take().map(|stop| super::step_or_panic(&mut self.generator.bodies, stop))?;
        self.generator.keep_returned(state)
    }
}

impl<Y: 'static, R: 'static> Iterator for ReadAhead<Y, R> {
    type Item = Y;

    /// Returns the next item, or `None` if the body has ended and all its items have been consumed. Keeps the return
    /// value for [`into_return`](ReadAhead::into_return).
    ///
    /// # Panics
    ///
    /// The panics of [`Generator`]'s `next`, after the items that the body yielded before.
    #[inline(always)]
    fn next(&mut self) -> Option<Y> {
        match self.reader.take() {
            Some(item) => Some(item),
            None => self.refill(),
        }
    }

    /// Returns the number of items that the body has produced ahead as the lower bound.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let known = self.reader.len();
        (known, self.generator.is_finished().then_some(known))
    }
}

impl<Y: 'static, R: 'static> FusedIterator for ReadAhead<Y, R> {}

/// The body is on a stack of its own, and stays there when the iterator moves.
impl<Y: 'static, R: 'static> Unpin for ReadAhead<Y, R> {}

impl<Y: 'static, R: 'static> Drop for ReadAhead<Y, R> {
    fn drop(&mut self) {
        if let Some(Stop::Raised(error)) = &self.stop {
            report!(
                "{} raised ahead of its consumer, which then dropped it: {error}",
                self.generator.bodies.root().label()
            );
        }
    }
}

impl<Y: 'static, R: 'static> fmt::Debug for ReadAhead<Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let produced = self.size_hint().0;
        f.debug_struct("ReadAhead").field("generator", &self.generator).field("produced", &produced).finish()
    }
}
