//! The items of a body that may fail, as results.
#![forbid(unsafe_code)]

use super::Generator;
use std::fmt;
use std::iter::FusedIterator;

/// An iterator over the items of a generator whose body may fail: the items as `Ok`, and then the error of the body as `Err`, if it returned
/// one. [`Generator::into_results`] returns it.
///
/// Dropping it closes the generator. An error that the body returns then is dropped.
#[must_use = "the body runs only when an item is asked for"]
pub struct Results<T: 'static, E: 'static> {
    /// `None` after the end of the body.
    generator: Option<Generator<T, (), Result<(), E>>>,
}

impl<T: 'static, E: 'static> Generator<T, (), Result<(), E>> {
    /// Converts the generator of a body that may fail into an iterator of results. The error of the body is the last item. As an iterator of its
    /// own, a generator only ends, and keeps the error for [`into_return`](Generator::into_return).
    ///
    /// So `?` in the body and `?` at the consumer are all that an error needs, and `collect` gives a `Result`.
    ///
    /// ```
    /// use cede::{Generator, Yielder};
    /// use std::num::ParseIntError;
    ///
    /// fn numbers(text: &'static str) -> impl Iterator<Item = Result<i32, ParseIntError>> {
    ///     let body = move |y: &Yielder<i32>| {
    ///         for word in text.split(' ') {
    ///             y.yield_(word.parse()?);
    ///         }
    ///         Ok(())
    ///     };
    ///     Generator::new(body).into_results()
    /// }
    /// assert_eq!(numbers("1 2 3").collect::<Result<Vec<_>, _>>(), Ok(vec![1, 2, 3]));
    /// let items: Vec<_> = numbers("1 x 3").collect();
    /// assert!(matches!(items[..], [Ok(1), Err(_)])); // the body ended with its error
    /// ```
    #[doc(alias = "try_stream")]
    pub fn into_results(self) -> Results<T, E> {
        Results { generator: Some(self) }
    }
}

impl<T: 'static, E: 'static> Iterator for Results<T, E> {
    type Item = Result<T, E>;

    /// Returns the next item; after the last one, the error of the body, once.
    ///
    /// # Panics
    ///
    /// The panics of a [`Generator`]'s `next`.
    fn next(&mut self) -> Option<Result<T, E>> {
        match self.generator.as_mut()?.next() {
            Some(item) => Some(Ok(item)),
            None => self.generator.take()?.into_return()?.err().map(Err),
        }
    }
}

impl<T: 'static, E: 'static> FusedIterator for Results<T, E> {}

impl<T: 'static, E: 'static> fmt::Debug for Results<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Results").field(&self.generator).finish()
    }
}
