//! `yield_from`: passes a generator to the consumer's side, as the new innermost frame of the delegation chain.
#![forbid(unsafe_code)]

use super::Generator;
use super::error::Interrupt;
use super::protocol::{Message, unit};
use super::yielder::{Trying, Yielder};
use crate::coroutine::chain::Control;
use crate::coroutine::raw::State;
use std::panic::resume_unwind;

impl<Y: 'static, S: 'static> Yielder<Y, S> {
    /// Yields every value of `inner`, forwards every sent value to it, and returns its return value. Python's
    /// `yield from`.
    ///
    /// A thrown error and a close reach the inner generator first. A panic of its body, or an error that it does not
    /// handle, propagates from this call. An item costs the same, however many generators yield from one another.
    ///
    /// # Panics
    ///
    /// Panics if `inner` has finished and its return value is gone. Also panics if `inner` has started and `S` is not
    /// `()`: the inner body then waits for a value, and there is none to send. Also panics wherever
    /// [`yield_`](Self::yield_) does.
    ///
    /// ```
    /// use cede::{Generator, Yielder};
    /// let outer = Generator::new(|y: &Yielder<u32>| {
    ///     let inner = Generator::new(|y| { y.yield_(1); y.yield_(2); "inner's end" });
    ///     assert_eq!(y.yield_from(inner), "inner's end");
    ///     y.yield_(3);
    /// });
    /// assert_eq!(outer.collect::<Vec<_>>(), [1, 2, 3]);
    /// ```
    ///
    /// A plain iterator receives no values, so only a generator that receives none can yield from it (Python detects
    /// this at run time):
    ///
    /// ```
    /// let g = cede::Generator::new(|y: &cede::Yielder<u32, ()>| y.yield_all([1, 2]));
    /// assert_eq!(g.collect::<Vec<_>>(), [1, 2]);
    /// ```
    /// ```compile_fail,E0599
    /// let g = cede::Generator::new(|y: &cede::Yielder<u32, String>| y.yield_all([1, 2]));
    /// ```
    #[track_caller]
    pub fn yield_from<R: 'static>(&self, inner: Generator<Y, S, R>) -> R {
        match self.delegate(inner) {
            Ok(value) => value,
            Err(interrupt) => self.rethrow(interrupt),
        }
    }

    /// Like [`yield_from`](Self::yield_from), but returns an interrupt, after the inner generator has received it.
    ///
    /// # Errors
    ///
    /// The errors of [`try_yield`](Self::try_yield).
    ///
    /// # Panics
    ///
    /// The panics of [`yield_from`](Self::yield_from).
    #[track_caller]
    pub fn try_yield_from<R: 'static>(&self, inner: Generator<Y, S, R>) -> Result<R, Interrupt> {
        if self.raw_yielder.is_unwinding() {
            return Err(Interrupt::Closed);
        }
        let _trying = Trying::new(&self.trying);
        self.delegate(inner)
    }

    #[track_caller]
    fn delegate<R: 'static>(&self, mut inner: Generator<Y, S, R>) -> Result<R, Interrupt> {
        if inner.state() == State::Finished {
            let label = inner.bodies.root().label();
            return Ok(inner.returned.take().unwrap_or_else(|| {
                panic!("cannot yield from {label}: it has finished, and its return value is gone")
            }));
        }
        assert!(
            inner.state() == State::Created || unit::<S>().is_some(),
            "cannot yield from {} after its start: it waits for a value, and there is none to send",
            inner.bodies.root().label()
        );
        // Check first: after a refusal no delegate may stay in the handle.
        self.raw_yielder.check();
        self.put_message(Message::Delegate(Box::new(inner.bodies)));
        match self.raw_yielder.call() {
            Err(Control::Message) => match self.take_message() {
                Some(Message::Returned(value)) => Ok(value.take()),
                Some(Message::Panicked(payload)) => resume_unwind(payload),
                Some(Message::Throw(error)) => Err(Interrupt::Thrown(error)),
                _ => Err(Interrupt::Closed),
            },
            Err(_) => self.raw_yielder.unwind(),
            Ok(_) => unreachable!("values go to the innermost generator"),
        }
    }
}
