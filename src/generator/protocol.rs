//! The protocol between a generator's body and its owner: messages, stops, and the frames of a delegation chain.
#![forbid(unsafe_code)]

use crate::coroutine::raw::{Payload, drop_catching};
use std::any::Any;
use std::error::Error;

/// A message between a body and its owner, passed with `Control::Message`.
pub(super) enum Message<Y, S> {
    /// From a body: yield from this generator.
    Delegate(Box<dyn Frame<Y, S>>),
    /// To a body: the generator is being closed.
    Close,
    /// To a body: this error was thrown.
    Throw(Box<dyn Error>),
    /// To a body in `yield_from`: the inner generator returned this value.
    Returned(Box<dyn Any>),
    /// To a body in `yield_from`: the inner generator panicked.
    Panicked(Payload),
    /// From a body that unwinds: the error that it ends with.
    Raised(Box<dyn Error>),
}

/// The reason why a body stopped running.
pub(super) enum Stop<Y, S, R> {
    Yielded(Y),
    Delegate(Box<dyn Frame<Y, S>>),
    Returned(R),
    Raised(Box<dyn Error>),
    Panicked(Payload),
    Unwound,
}

impl<Y, S> Stop<Y, S, Box<dyn Any>> {
    /// Converts the end of an inner generator into the message to the generator that yields from it.
    #[inline]
    pub(super) fn into_message(self, closing: bool) -> Message<Y, S> {
        match self {
            Stop::Returned(value) if !closing => Message::Returned(value),
            Stop::Returned(value) => drop_catching(value).map_or_else(Message::Panicked, |()| Message::Close),
            Stop::Raised(error) => Message::Throw(error),
            Stop::Panicked(payload) => Message::Panicked(payload),
            _ => Message::Close,
        }
    }
}

/// A generator that another one yields from. Type-erased: the chain does not know its return type.
pub(super) trait Frame<Y, S> {
    /// Runs the body to its next stop, as `next` does.
    fn enter(&mut self) -> Stop<Y, S, Box<dyn Any>>;
    /// Sends a value to the body's current `yield`. Returns the next value of the body, or `None` for another stop, which
    /// [`stopped`](Self::stopped) then returns: an `Option` is returned in registers where a `Stop` would be in memory.
    fn send(&mut self, value: S) -> Option<Y>;
    /// Takes the stop for which `send` returned `None`.
    fn stopped(&mut self) -> Stop<Y, S, Box<dyn Any>>;
    /// Delivers a message to the body.
    fn deliver(&mut self, message: Message<Y, S>) -> Stop<Y, S, Box<dyn Any>>;
    /// Takes the frames that this generator already delegates to, so that they follow it into another chain.
    fn take_chain(&mut self) -> Vec<Box<dyn Frame<Y, S>>>;
    /// Leaks the body.
    fn leak(&mut self);
}

/// Boxes the return value of a stop, which erases its type.
#[inline]
pub(super) fn boxed<Y, S, R: 'static>(stop: Stop<Y, S, R>) -> Stop<Y, S, Box<dyn Any>> {
    match stop {
        Stop::Yielded(value) => Stop::Yielded(value),
        Stop::Delegate(frame) => Stop::Delegate(frame),
        Stop::Returned(value) => Stop::Returned(Box::new(value)),
        Stop::Raised(error) => Stop::Raised(error),
        Stop::Panicked(payload) => Stop::Panicked(payload),
        Stop::Unwound => Stop::Unwound,
    }
}

/// Returns the value of `S` if `S` is `()`: the value to send to a generator that receives nothing.
#[inline]
pub(super) fn unit<S: 'static>() -> Option<S> {
    let mut unit = Some(());
    (&mut unit as &mut dyn Any).downcast_mut::<Option<S>>().and_then(Option::take)
}
