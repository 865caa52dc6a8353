//! Generators: bodies that yield values, with the whole protocol of Python's generators.
//!
//! The rules are those of Python. Where Python raises an exception, a method returns a value or an error, or panics
//! where its docs say so. Each row of this table has a test in `tests/generator.rs`:
//!
//! | Python | here |
//! |---|---|
//! | `next(g)`, `for x in g` | `Iterator` for `Generator<Y>` |
//! | `g.send(v)`, value of `yield` | [`Generator::send`], result of [`Yielder::yield_`] |
//! | `g.throw(e)` | [`Generator::throw`]; [`Yielder::try_yield`] returns it as [`Interrupt::Thrown`] |
//! | `g.close()`, `GeneratorExit` | [`Generator::close`] or drop; `try_yield` returns [`Interrupt::Closed`] |
//! | `yield from inner` | [`Yielder::yield_from`] |
//! | `return v`, `StopIteration.value` | [`CoroutineState::Complete`], [`Generator::into_return`] |
//! | `inspect.getgeneratorstate(g)` | [`Generator::state`] |
//!
//! `yield_` can return nothing but a sent value. So a body suspended in `yield_` is unwound when the generator is
//! closed or an error is thrown at it. A body that must clean up or continue calls `try_yield`, which returns the
//! interrupt as a value.
#![forbid(unsafe_code)]

mod delegate;
mod error;
mod protocol;
mod read_ahead;
mod results;
mod yield_from;
mod yielder;

use self::delegate::{Bodies, Stop};
use self::protocol::Message;
use crate::coroutine::moved_out::moved_out;
use crate::coroutine::raw::{Event, Payload, RawCoroutine, StackOptions};
use crate::coroutine::{self, Builder, CoroutineState, State, no_stack};
use crate::stack::StackError;
use crate::stack::arena::Kind;
use std::error::Error;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::resume_unwind;

pub use self::error::{CloseError, Interrupt, SendError, ThrowError};
pub use self::read_ahead::ReadAhead;
pub use self::results::Results;
pub use self::yielder::Yielder;

/// A coroutine whose body yields values of type `Y`, receives values of type `S`, and returns an `R`.
///
/// A generator that receives nothing (`S = ()`) is an iterator. The body runs on a stack of its own, so it can yield
/// from any depth of ordinary calls; for a recursion, pass the [`Yielder`] down.
///
/// Dropping a generator [closes](Self::close) it. If the body yields again during this close, it is leaked. If it ends
/// with an error ([`Yielder::rethrow`]), the error is printed on stderr. A generator stays on the thread that created
/// it.
///
/// ```
/// use cede::{Generator, Yielder};
///
/// fn digits(number: u32, y: &Yielder<u32>) {
///     if number >= 10 {
///         digits(number / 10, y);
///     }
///     y.yield_(number % 10);
/// }
/// let generator = Generator::new(|y| digits(2048, y));
/// assert_eq!(generator.collect::<Vec<_>>(), [2, 0, 4, 8]);
/// ```
#[must_use = "the body runs only when it is resumed"]
pub struct Generator<Y: 'static, S: 'static = (), R: 'static = ()> {
    bodies: Bodies<Y, S>,
    /// The body's return value, if iteration reached the end.
    returned: Option<R>,
}

impl<Y: 'static, S: 'static, R: 'static> Generator<Y, S, R> {
    /// Creates a generator with a stack of the default size. The first call of [`next`](Iterator::next) or
    /// [`start`](Self::start) starts the body.
    ///
    /// # Panics
    ///
    /// Panics if no stack can be allocated; see [`try_new`](Self::try_new).
    ///
    /// ```
    /// let mut fibonacci = cede::Generator::new(|y| {
    ///     let (mut a, mut b) = (0u64, 1);
    ///     loop {
    ///         y.yield_(a);
    ///         (a, b) = (b, a + b);
    ///     }
    /// });
    /// assert_eq!(fibonacci.by_ref().take(6).collect::<Vec<_>>(), [0, 1, 1, 2, 3, 5]);
    /// ```
    #[inline]
    #[track_caller]
    pub fn new(body: impl FnOnce(&Yielder<Y, S>) -> R + 'static) -> Self {
        match Self::try_new(body) {
            Ok(generator) => generator,
            Err(error) => no_stack(&error),
        }
    }

    /// Creates a generator with a stack of the default size.
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if no stack can be allocated; the body is dropped.
    #[inline]
    pub fn try_new(body: impl FnOnce(&Yielder<Y, S>) -> R + 'static) -> Result<Self, StackError> {
        Self::with_options(StackOptions::default_shape(), body)
    }

    #[inline]
    fn with_options(
        options: StackOptions,
        body: impl FnOnce(&Yielder<Y, S>) -> R + 'static,
    ) -> Result<Self, StackError> {
        let body = move |yielder: &Yielder<Y, S>| yielder.returning.put(body(yielder));
        let raw = RawCoroutine::new_static(options, Kind::Generator, body)?;
        Ok(Generator { bodies: Bodies::new(raw), returned: None })
    }

    /// Runs the body to its first `yield` or to its end. Returns [`CoroutineState::Yielded`] with the yielded value, or
    /// [`CoroutineState::Complete`] with the return value.
    ///
    /// # Panics
    ///
    /// Panics if the body has already started: [`send`](Self::send) resumes a started body. Also panics if the body
    /// calls [`rethrow`](Yielder::rethrow) during this call. Propagates a panic of the body; the generator is then
    /// finished.
    ///
    /// ```
    /// use cede::{CoroutineState, Generator};
    /// let mut total = Generator::new(|y| {
    ///     let mut sum = 0;
    ///     while sum < 10 {
    ///         sum += y.yield_(sum);
    ///     }
    ///     "enough"
    /// });
    /// assert_eq!(total.start(), CoroutineState::Yielded(0));
    /// assert_eq!(total.send(4)?, CoroutineState::Yielded(4));
    /// assert_eq!(total.send(6)?, CoroutineState::Complete("enough"));
    /// # Ok::<(), cede::SendError<i32>>(())
    /// ```
    #[track_caller]
    pub fn start(&mut self) -> CoroutineState<Y, R> {
        if self.bodies.delegates() {
            panic!("cannot start {}: it has been started", self.bodies.root().label());
        }
        let event = self.bodies.raw.start();
        let stop = self.bodies.follow_event(event);
        step_or_panic(&mut self.bodies, stop)
    }

    /// Sends `value` to the body as the result of its current `yield`, and runs the body to the next `yield` or to its
    /// end. Returns [`CoroutineState::Yielded`] with the yielded value, or [`CoroutineState::Complete`] with the return
    /// value.
    ///
    /// # Errors
    ///
    /// Both errors give the value back. [`SendError::NotStarted`]: the body has not reached a `yield`; call
    /// [`start`](Self::start) first. [`SendError::Finished`]: the body has ended.
    ///
    /// # Panics
    ///
    /// Panics if the body calls [`rethrow`](Yielder::rethrow) during this call. Propagates a panic of the body; the
    /// generator is then finished.
    #[inline(always)]
    #[track_caller]
    pub fn send(&mut self, value: S) -> Result<CoroutineState<Y, R>, SendError<S>> {
        if !self.bodies.raw.is_started() {
            return Err(SendError::NotStarted(value));
        }
        // A yield makes the result at once, and one cold call does the rest: paths that join cost six instructions.
        let rare = match self.bodies.raw.try_resume(value) {
            Ok(Event::Yielded(value)) => return Ok(CoroutineState::Yielded(value)),
            Ok(Event::Complete(())) if !self.bodies.delegates() => {
                return Ok(CoroutineState::Complete(self.bodies.raw.handle().returned()));
            }
            Ok(Event::Complete(())) => Rare::Complete,
            Ok(Event::Panicked(payload)) => Rare::Panicked(payload),
            Ok(Event::Message) => Rare::Message,
            Ok(Event::Unwound) => Rare::Unwound,
            Err(value) => return Err(SendError::Finished(value)),
        };
        Ok(moved_out(&mut self.bodies, |bodies| settle(bodies, rare)))
    }

    /// Throws `error` at the body's current `yield`, and runs the body to the next `yield` or to its end. Returns
    /// [`CoroutineState::Yielded`] with the yielded value, or [`CoroutineState::Complete`] with the return value.
    ///
    /// A body suspended in [`try_yield`](Yielder::try_yield) receives the error as [`Interrupt::Thrown`] and may handle
    /// it. A body suspended in [`yield_`](Yielder::yield_) is unwound. During a `yield_from` the innermost generator
    /// receives the error first.
    ///
    /// # Errors
    ///
    /// Returns the error in a [`ThrowError`] if the body did not handle it: the body was unwound, rethrew the error
    /// with [`rethrow`](Yielder::rethrow), had not started (then it never runs), or had finished. The generator is then
    /// finished.
    ///
    /// # Panics
    ///
    /// Panics if the body calls [`rethrow`](Yielder::rethrow) with [`Interrupt::Closed`]. Propagates a panic of the
    /// body.
    ///
    /// ```
    /// use cede::{CoroutineState, Generator, Interrupt, Yielder};
    /// let mut g = Generator::new(|y: &Yielder<String>| loop {
    ///     match y.try_yield("ready".into()) {
    ///         Ok(()) => {}
    ///         Err(Interrupt::Thrown(error)) => { y.yield_(format!("caught {error}")); }
    ///         Err(Interrupt::Closed) => break,
    ///     }
    /// });
    /// g.next();
    /// assert_eq!(g.throw("trouble").unwrap(), CoroutineState::Yielded("caught trouble".to_string()));
    /// ```
    #[track_caller]
    pub fn throw(&mut self, error: impl Into<Box<dyn Error>>) -> Result<CoroutineState<Y, R>, ThrowError> {
        let stop = self.bodies.deliver(Message::Throw(error.into()), false);
        match step_of(&mut self.bodies, stop) {
            Ok(step) => Ok(step),
            Err(error) => Err(ThrowError(error)),
        }
    }

    /// Asks the body to end. Returns the body's return value, or `None` if the body was unwound, had never started, or
    /// had finished before.
    ///
    /// A body suspended in [`try_yield`](Yielder::try_yield) receives [`Interrupt::Closed`] and may clean up. A body
    /// suspended in [`yield_`](Yielder::yield_) is unwound. During a `yield_from` the innermost generator is closed
    /// first.
    ///
    /// # Errors
    ///
    /// [`CloseError::Ignored`] with the value if the body yielded again: the body is still suspended, and the generator
    /// can be used. [`CloseError::Raised`] if the body ended with an error through [`rethrow`](Yielder::rethrow).
    ///
    /// # Panics
    ///
    /// Propagates a panic of the body.
    ///
    /// ```
    /// use cede::{Generator, Yielder};
    /// let mut g = Generator::new(|y: &Yielder<u32>| {
    ///     let mut n = 0;
    ///     while y.try_yield(n).is_ok() {
    ///         n += 1;
    ///     }
    ///     format!("closed at {n}")
    /// });
    /// g.next();
    /// g.next();
    /// assert_eq!(g.close()?, Some("closed at 1".to_string()));
    /// # Ok::<(), cede::CloseError<u32>>(())
    /// ```
    #[track_caller]
    pub fn close(&mut self) -> Result<Option<R>, CloseError<Y>> {
        if self.is_finished() {
            return Ok(None);
        }
        match self.bodies.deliver(Message::Close, true) {
            Stop::Yielded(value) => Err(CloseError::Ignored(value)),
            Stop::Returned(value) => Ok(Some(value.take())),
            Stop::Unwound => Ok(None),
            Stop::Raised(error) => Err(CloseError::Raised(error)),
            Stop::Panicked(payload) => resume_unwind(payload),
            Stop::Delegate(_) => unreachable!("the bodies handle delegates"),
        }
    }

    /// Returns the body's return value after iteration reached the end. Returns `None` if the body has not returned, or
    /// if another method (`start`, `send`, `throw` or `close`) has returned the value.
    ///
    /// ```
    /// let mut g = cede::Generator::new(|y| { y.yield_('a'); 42 });
    /// assert_eq!(g.by_ref().count(), 1);
    /// assert_eq!(g.into_return(), Some(42));
    /// ```
    pub fn into_return(mut self) -> Option<R> {
        self.returned.take()
    }

    /// Returns the state of the body.
    pub fn state(&self) -> State {
        self.bodies.root().state()
    }

    /// Returns true if the body will not run again: it returned, panicked, was unwound, was dropped before its start, or
    /// was leaked.
    pub fn is_finished(&self) -> bool {
        self.bodies.root().is_finished()
    }

    /// Returns the name that the builder set.
    pub fn name(&self) -> Option<&str> {
        coroutine::name(self.bodies.root())
    }

    /// Returns the high-water mark of the stack in bytes: see
    /// [`Coroutine::stack_high_water`](crate::Coroutine::stack_high_water).
    ///
    /// # Errors
    ///
    /// Returns the error of `mincore(2)`.
    pub fn stack_high_water(&self) -> std::io::Result<usize> {
        coroutine::stack_high_water(self.bodies.root())
    }

    /// Runs the body, or the innermost generator, until the consumer has to know of the stop.
    #[inline(always)]
    fn run_to_stop(&mut self, value: S) -> Stop<Y, S> {
        match self.bodies.raw.resume(value) {
            Event::Yielded(value) => Stop::Yielded(value),
            event => self.bodies.follow_event(event),
        }
    }

    /// Converts the outcome of a resume to that of `next`, and keeps a return value.
    #[inline]
    fn keep_returned(&mut self, state: CoroutineState<Y, R>) -> Option<Y> {
        match state {
            CoroutineState::Yielded(value) => Some(value),
            CoroutineState::Complete(value) => {
                self.returned = Some(value);
                None
            }
        }
    }
}

impl<Y: 'static, R: 'static> Iterator for Generator<Y, (), R> {
    type Item = Y;

    /// Returns the next value that the body yields, or `None` if the body has ended. Keeps the return value for
    /// [`into_return`](Generator::into_return).
    ///
    /// # Panics
    ///
    /// Panics if the body calls [`rethrow`](Yielder::rethrow) during this call. Propagates a panic of the body; the
    /// generator is then finished.
    #[inline(always)]
    fn next(&mut self) -> Option<Y> {
        // As in `send`.
        let rare = match self.bodies.raw.try_resume(()) {
            Ok(Event::Yielded(value)) => return Some(value),
            Ok(Event::Complete(())) if !self.bodies.delegates() => {
                self.returned = Some(self.bodies.raw.handle().returned());
                return None;
            }
            Ok(Event::Complete(())) => Rare::Complete,
            Ok(Event::Panicked(payload)) => Rare::Panicked(payload),
            Ok(Event::Message) => Rare::Message,
            Ok(Event::Unwound) => Rare::Unwound,
            Err(()) => return None,
        };
        let state = moved_out(&mut self.bodies, |bodies| settle(bodies, rare));
        self.keep_returned(state)
    }
}

/// An event other than yielding. It has no room for a yielded value: passed by address, an [`Event`] kept the value of each yield in memory.
enum Rare {
    Complete,
    Panicked(Payload),
    Message,
    Unwound,
}

/// Handles an event other than yielding: continues until a body yields or the generator ends.
#[cold]
#[inline(never)]
fn settle<Y: 'static, S: 'static, R: 'static>(bodies: &mut Bodies<Y, S>, rare: Rare) -> CoroutineState<Y, R> {
    let event = match rare {
        Rare::Complete => Event::Complete(()),
        Rare::Panicked(value) => Event::Panicked(value),
        Rare::Message => Event::Message,
        Rare::Unwound => Event::Unwound,
    };
    let stop = bodies.follow_event(event);
    step_or_panic(bodies, stop)
}

/// Like [`step_of`], for callers that return no error.
#[cold]
fn step_or_panic<Y: 'static, S: 'static, R: 'static>(
    bodies: &mut Bodies<Y, S>,
    stop: Stop<Y, S>,
) -> CoroutineState<Y, R> {
    match step_of(bodies, stop) {
        Ok(step) => step,
        // An error is not a panic payload, so only its text goes into the panic.
        Err(error) => panic!("{} raised: {error}", bodies.root().label()),
    }
}

/// Converts a stop to the outcome of a resume. Returns the error of a body that ended with one.
fn step_of<Y: 'static, S: 'static, R: 'static>(
    bodies: &mut Bodies<Y, S>,
    stop: Stop<Y, S>,
) -> Result<CoroutineState<Y, R>, Box<dyn Error>> {
    match stop {
        Stop::Yielded(value) => Ok(CoroutineState::Yielded(value)),
        Stop::Returned(value) => Ok(CoroutineState::Complete(value.take())),
        Stop::Raised(error) => Err(error),
        Stop::Panicked(payload) => resume_unwind(payload),
        Stop::Unwound => panic!(
            "{} ended without a value: it rethrew Interrupt::Closed or was leaked, and was not being closed",
            bodies.root().label()
        ),
        Stop::Delegate(_) => unreachable!("the bodies handle delegates"),
    }
}

impl<Y: 'static, R: 'static> FusedIterator for Generator<Y, (), R> {}

/// The body is on a stack of its own, and stays there when the generator moves.
impl<Y: 'static, S: 'static, R: 'static> Unpin for Generator<Y, S, R> {}

impl<Y: 'static, S: 'static, R: 'static> fmt::Debug for Generator<Y, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bodies.root().fmt(f)
    }
}

impl Builder {
    /// Creates a [`Generator`].
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if a size is out of bounds or no stack can be allocated; the body is dropped.
    pub fn generator<Y: 'static, S: 'static, R: 'static>(
        self,
        body: impl FnOnce(&Yielder<Y, S>) -> R + 'static,
    ) -> Result<Generator<Y, S, R>, StackError> {
        Generator::with_options(self.options()?, body)
    }
}
