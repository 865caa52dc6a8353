//! The usual stages. Each is a function whose last argument is the target, and the value that it makes.
//!
//! They are plain values and cost no stack: only a [`Sink`](super::Sink) has a body that waits.

use super::{Push, deliver};
use crate::SendError;
use std::fmt;

/// Declares a stage of a function and a target. The function that makes it names the bounds, so that the types of a
/// closure's arguments need not be written.
macro_rules! stage {
    ($(#[$doc:meta])* $make:ident<$($T:ident),*>($f:ident: $F:path) -> $Stage:ident, target of $Item:ident) => {
        #[doc = concat!("The stage that [`", stringify!($make), "`] makes.")]
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
    /// Sends `f(item)` to `target`.
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
    /// If the target was ready and then refused: the item has been mapped and cannot be given back.
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
    /// Sends the items that `keep` accepts to `target`, and drops the others.
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
        // Asked even for an item that will be dropped, so that a source whose target has ended stops.
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
    /// Shows every item to `f` on its way to `target`.
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

/// The stage that [`take`] makes.
#[derive(Debug)]
pub struct Take<P> {
    left: usize,
    target: P,
}

/// Sends the first `n` items to `target` and refuses the rest, so that the source stops.
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

/// The stage that [`batch`] makes.
#[derive(Debug)]
pub struct Batch<T, P> {
    size: usize,
    items: Vec<T>,
    target: P,
}

/// Sends items to `target` in vectors of `size`; the last may be shorter, and goes with [`finish`](Push::finish): dropping the
/// stage instead drops the items that wait in it.
///
/// # Panics
///
/// If `size` is 0.
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
        // Items are only taken while the target is ready, and only a full batch could have ended it.
        if !self.items.is_empty() {
            deliver(&mut self.target, self.items);
        }
        self.target.finish()
    }
}

/// The stage that [`tee`] makes.
#[derive(Debug)]
pub struct Tee<P, Q> {
    first: P,
    second: Q,
}

/// Sends a clone of every item to `first` and the item to `second`. Goes on with one when the other has ended, and is
/// ready until both have. [`finish`](Push::finish) returns both results.
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
        // Both are asked, so that both have started.
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

/// The stage that [`broadcast`] makes.
#[derive(Debug)]
pub struct Broadcast<P> {
    targets: Vec<P>,
}

/// Sends every item to all of `targets` that have not ended; ready until all have. [`finish`](Push::finish) returns their
/// results in order.
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
        // All are asked, so that all have started.
        self.targets.iter_mut().filter_map(|target| target.ready().then_some(())).count() > 0
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        let mut ready = self.targets.iter_mut().filter_map(|target| target.ready().then_some(target)).peekable();
        while let Some(target) = ready.next() {
            if ready.peek().is_none() {
                // The last one gets the item itself.
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

/// The end that [`fold`] makes, and with it [`for_each`] and [`collect`].
pub struct Fold<A, F> {
    value: Option<A>,
    f: F,
}

impl<A: fmt::Debug, F> fmt::Debug for Fold<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold").field("value", &self.value).finish_non_exhaustive()
    }
}

/// An end that folds every item into a value, which [`finish`](Push::finish) returns.
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
    /// Only after `f` has panicked: the value is gone with it.
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
        self.value.expect("fold's function panicked, and the value is gone with it")
    }
}

/// An end that calls `f` with every item.
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

/// An end that collects every item.
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
