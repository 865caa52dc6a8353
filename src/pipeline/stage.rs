//! The usual stages of a pipeline: functions whose last argument is the target, and the types that they return.
//!
//! Stages are plain values and need no stack: only a [`Sink`](super::Sink) has a body that waits.

use super::push::{Push, deliver};
use crate::SendError;
use std::fmt;

/// Declares a stage with a function and a target. The constructor states the closure's bounds, so that callers need not
/// write the argument types of a closure.
macro_rules! stage {
    ($(#[$doc:meta])* $make:ident<$($T:ident),*>($f:ident: $F:path) -> $Stage:ident, target of $Item:ident) => {
        #[doc = concat!("The stage that [`", stringify!($make), "`] returns.")]
        pub struct $Stage<F, P> {
            f: F,
            target: P,
        }

        impl<F, P: fmt::Debug> fmt::Debug for $Stage<F, P> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Stage)).field("target", &self.target).finish_non_exhaustive()
            }
        }

        $(#[$doc])*
        pub fn $make<$($T,)* F: $F, P: Push<$Item>>($f: F, target: P) -> $Stage<F, P> {
            $Stage { f: $f, target }
        }
    };
}

stage! {
    /// Creates a stage that sends `f(item)` to `target`.
    ///
    /// ```
    /// use cede::pipeline::{self, Push};
    /// let mut lengths = pipeline::map(str::len, pipeline::collect::<Vec<usize>, _>());
    /// lengths.feed(["a", "bcd"])?;
    /// assert_eq!(lengths.finish(), [1, 3]);
    /// # Ok::<(), cede::SendError<&str>>(())
    /// ```
    map<A, B>(f: FnMut(A) -> B) -> Map, target of B
}

impl<A, B, F: FnMut(A) -> B, P: Push<B>> Push<A> for Map<F, P> {
    type Output = P::Output;

    fn ready(&mut self) -> bool {
        self.target.ready()
    }

    /// # Panics
    ///
    /// Panics if the target was ready and then refused the item: a mapped item cannot be given back.
    fn send(&mut self, item: A) -> Result<(), SendError<A>> {
        if !self.target.ready() {
            return Err(SendError::Finished(item));
        }
        deliver(&mut self.target, (self.f)(item));
        Ok(())
    }

    fn finish(self) -> P::Output {
        self.target.finish()
    }
}

stage! {
    /// Creates a stage that sends the items that `keep` accepts to `target`, and drops the rest.
    ///
    /// ```
    /// use cede::pipeline::{self, Push};
    /// let mut even = pipeline::filter(|n| n % 2 == 0, pipeline::collect::<Vec<i32>, _>());
    /// even.feed([1, 2, 3, 4])?;
    /// assert_eq!(even.finish(), [2, 4]);
    /// # Ok::<(), cede::SendError<i32>>(())
    /// ```
    filter<T>(keep: FnMut(&T) -> bool) -> Filter, target of T
}

impl<T, F: FnMut(&T) -> bool, P: Push<T>> Push<T> for Filter<F, P> {
    type Output = P::Output;

    fn ready(&mut self) -> bool {
        self.target.ready()
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        // Check the target even for an item that will be dropped, so that a source stops when the target has ended.
        if !self.target.ready() {
            return Err(SendError::Finished(item));
        }
        if (self.f)(&item) { self.target.send(item) } else { Ok(()) }
    }

    fn finish(self) -> P::Output {
        self.target.finish()
    }
}

stage! {
    /// Creates a stage that calls `f` with every item, then sends the item to `target`.
    ///
    /// ```
    /// use cede::pipeline::{self, Push};
    /// let mut seen = 0;
    /// let mut counted = pipeline::inspect(|_: &char| seen += 1, pipeline::for_each(drop));
    /// counted.feed("abc".chars())?;
    /// counted.finish();
    /// assert_eq!(seen, 3);
    /// # Ok::<(), cede::SendError<char>>(())
    /// ```
    inspect<T>(f: FnMut(&T)) -> Inspect, target of T
}

impl<T, F: FnMut(&T), P: Push<T>> Push<T> for Inspect<F, P> {
    type Output = P::Output;

    fn ready(&mut self) -> bool {
        self.target.ready()
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        if !self.target.ready() {
            return Err(SendError::Finished(item));
        }
        (self.f)(&item);
        self.target.send(item)
    }

    fn finish(self) -> P::Output {
        self.target.finish()
    }
}

/// The stage that [`take`] returns.
#[derive(Debug)]
#[must_use = "a stage does nothing until an item is pushed"]
pub struct Take<P> {
    left: usize,
    target: P,
}

/// Creates a stage that sends the first `n` items to `target` and refuses the rest, so that the source stops.
///
/// ```
/// use cede::pipeline::{self, Push};
/// let mut head = pipeline::take(2, pipeline::collect::<Vec<u32>, _>());
/// assert_eq!(head.feed(1..).unwrap_err().into_inner(), 3);
/// assert_eq!(head.finish(), [1, 2]);
/// ```
pub fn take<P>(n: usize, target: P) -> Take<P> {
    Take { left: n, target }
}

impl<T, P: Push<T>> Push<T> for Take<P> {
    type Output = P::Output;

    fn ready(&mut self) -> bool {
        self.left > 0 && self.target.ready()
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        if self.left == 0 {
            return Err(SendError::Finished(item));
        }
        self.target.send(item)?;
        self.left -= 1;
        Ok(())
    }

    fn finish(self) -> P::Output {
        self.target.finish()
    }
}

/// The stage that [`batch`] returns.
#[derive(Debug)]
#[must_use = "a stage does nothing until an item is pushed"]
pub struct Batch<T, P> {
    size: usize,
    items: Vec<T>,
    target: P,
}

/// Creates a stage that sends items to `target` in vectors of `size`. [`finish`](Push::finish) sends the last vector,
/// which may be shorter. Dropping the stage without `finish` drops its buffered items.
///
/// # Panics
///
/// Panics if `size` is 0.
///
/// ```
/// use cede::pipeline::{self, Push};
/// let mut pairs = pipeline::batch(2, pipeline::collect::<Vec<Vec<u32>>, _>());
/// pairs.feed(1..=5)?;
/// assert_eq!(pairs.finish(), [vec![1, 2], vec![3, 4], vec![5]]);
/// # Ok::<(), cede::SendError<u32>>(())
/// ```
#[track_caller]
pub fn batch<T, P>(size: usize, target: P) -> Batch<T, P> {
    assert!(size > 0, "a batch of 0 items would never be sent");
    Batch { size, items: Vec::new(), target }
}

impl<T, P: Push<Vec<T>>> Push<T> for Batch<T, P> {
    type Output = P::Output;

    fn ready(&mut self) -> bool {
        self.target.ready()
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        if !self.target.ready() {
            return Err(SendError::Finished(item));
        }
        self.items.push(item);
        if self.items.len() == self.size {
            deliver(&mut self.target, std::mem::take(&mut self.items));
        }
        Ok(())
    }

    fn finish(mut self) -> P::Output {
        // The target is still ready: items are accepted only while it is, and only a full batch could have ended it.
        if !self.items.is_empty() {
            deliver(&mut self.target, self.items);
        }
        self.target.finish()
    }
}

/// The stage that [`tee`] returns.
#[derive(Debug)]
#[must_use = "a stage does nothing until an item is pushed"]
pub struct Tee<P, Q> {
    first: P,
    second: Q,
}

/// Creates a stage that sends a clone of every item to `first` and the item to `second`. The stage continues with one
/// target when the other has ended, and is ready until both have ended. [`finish`](Push::finish) returns both results.
///
/// ```
/// use cede::pipeline::{self, Push};
/// let mut both = pipeline::tee(pipeline::take(1, pipeline::collect::<Vec<u32>, _>()), pipeline::fold(0, |sum, n| sum + n));
/// both.feed([1, 2, 3])?;
/// assert_eq!(both.finish(), (vec![1], 6));
/// # Ok::<(), cede::SendError<u32>>(())
/// ```
pub fn tee<P, Q>(first: P, second: Q) -> Tee<P, Q> {
    Tee { first, second }
}

impl<T: Clone, P: Push<T>, Q: Push<T>> Push<T> for Tee<P, Q> {
    type Output = (P::Output, Q::Output);

    fn ready(&mut self) -> bool {
        // Check both, so that both start.
        let first = self.first.ready();
        self.second.ready() || first
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        match (self.first.ready(), self.second.ready()) {
            (true, true) => {
                deliver(&mut self.first, item.clone());
                self.second.send(item)
            }
            (true, false) => self.first.send(item),
            (false, _) => self.second.send(item),
        }
    }

    fn finish(self) -> Self::Output {
        (self.first.finish(), self.second.finish())
    }
}

/// The stage that [`broadcast`] returns.
#[derive(Debug)]
#[must_use = "a stage does nothing until an item is pushed"]
pub struct Broadcast<P> {
    targets: Vec<P>,
}

/// Creates a stage that sends every item to all `targets` that have not ended. The stage is ready until all have ended.
/// [`finish`](Push::finish) returns their results in order.
///
/// ```
/// use cede::pipeline::{self, Push};
/// let mut all = pipeline::broadcast((1..=3).map(|n| pipeline::take(n, pipeline::collect::<Vec<u32>, _>())));
/// assert!(all.feed(1..).is_err());
/// assert_eq!(all.finish(), [vec![1], vec![1, 2], vec![1, 2, 3]]);
/// ```
pub fn broadcast<P>(targets: impl IntoIterator<Item = P>) -> Broadcast<P> {
    Broadcast { targets: targets.into_iter().collect() }
}

impl<T: Clone, P: Push<T>> Push<T> for Broadcast<P> {
    type Output = Vec<P::Output>;

    fn ready(&mut self) -> bool {
        // Check all, so that all start.
        self.targets.iter_mut().filter_map(|target| target.ready().then_some(())).count() > 0
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        let mut ready = self.targets.iter_mut().filter_map(|target| target.ready().then_some(target)).peekable();
        while let Some(target) = ready.next() {
            if ready.peek().is_none() {
                // The last target gets the item itself.
                return target.send(item);
            }
            deliver(target, item.clone());
        }
        Err(SendError::Finished(item))
    }

    fn finish(self) -> Self::Output {
        self.targets.into_iter().map(Push::finish).collect()
    }
}

/// The end of a pipeline that [`fold`], [`for_each`] and [`collect`] return.
#[must_use = "a stage does nothing until an item is pushed"]
pub struct Fold<A, F> {
    value: Option<A>,
    f: F,
}

impl<A: fmt::Debug, F> fmt::Debug for Fold<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").field("value", &self.value).finish_non_exhaustive()
    }
}

/// Creates an end of a pipeline that folds every item into a value. [`finish`](Push::finish) returns the value.
///
/// ```
/// use cede::pipeline::{self, Push};
/// let mut sum = pipeline::fold(0, |sum, n: i32| sum + n);
/// sum.feed([1, 2, 3])?;
/// assert_eq!(sum.finish(), 6);
/// # Ok::<(), cede::SendError<i32>>(())
/// ```
pub fn fold<A, T, F: FnMut(A, T) -> A>(initial: A, f: F) -> Fold<A, F> {
    Fold { value: Some(initial), f }
}

impl<A, T, F: FnMut(A, T) -> A> Push<T> for Fold<A, F> {
    type Output = A;

    fn ready(&mut self) -> bool {
        self.value.is_some()
    }

    /// # Errors
    ///
    /// Returns [`SendError::Finished`] after `f` has panicked, because the panic destroyed the value.
    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        match self.value.take() {
            Some(value) => {
                self.value = Some((self.f)(value, item));
                Ok(())
            }
            None => Err(SendError::Finished(item)),
        }
    }

    fn finish(self) -> A {
        self.value.expect("cannot finish a fold whose function panicked: the value is gone")
    }
}

/// Creates an end of a pipeline that calls `f` with every item.
///
/// ```
/// use cede::pipeline::{self, Push};
/// let mut seen = Vec::new();
/// let mut end = pipeline::for_each(|n| seen.push(n));
/// end.feed([1, 2])?;
/// # drop(end);
/// assert_eq!(seen, [1, 2]);
/// # Ok::<(), cede::SendError<i32>>(())
/// ```
pub fn for_each<T>(mut f: impl FnMut(T)) -> impl Push<T, Output = ()> {
    fold((), move |(), item| f(item))
}

/// Creates an end of a pipeline that collects every item.
///
/// ```
/// use cede::pipeline::{self, Push};
/// let mut text = pipeline::collect::<String, _>();
/// text.feed(["a", "b"])?;
/// assert_eq!(text.finish(), "ab");
/// # Ok::<(), cede::SendError<&str>>(())
/// ```
pub fn collect<C: Default + Extend<T>, T>() -> impl Push<T, Output = C> {
    fold(C::default(), |mut all: C, item| {
        all.extend([item]);
        all
    })
}
