//! The protocol between a generator's body and its owner: messages, stops, and a generator as a frame of a delegation chain.
#![forbid(unsafe_code)]

use crate::coroutine::raw::{Payload, drop_catching};
use std::any::Any;
use std::error::Error;

/// What a body and its driver tell each other beside values.
pub(super) enum Message<Y, S> {
    /// From a body: yield from this one.
    Delegate(Box<dyn Frame<Y, S>>),
    /// To a body: you are being closed.
    Close,
    /// To a body: somebody threw this.
    Throw(Box<dyn Error>),
    /// To a body in `yield_from`: the inner generator returned this.
    Returned(Box<dyn Any>),
    /// To a body in `yield_from`: the inner generator panicked.
    Panicked(Payload),
    /// Left behind by a body that unwinds: this is why.
    Raised(Box<dyn Error>),
}

/// Why a body is no longer running.
pub(super) enum Stop<Y, S, R> {
    Yielded(Y),
    Delegate(Box<dyn Frame<Y, S>>),
    Returned(R),
    Raised(Box<dyn Error>),
    Panicked(Payload),
    Unwound,
}

impl<Y, S> Stop<Y, S, Box<dyn Any>> {
    /// What the end of an inner generator means to the one that yields from it.
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

/// A generator that is yielded from, whatever it returns.
pub(super) trait Frame<Y, S> {
    /// Runs it to its next stop, as `next` does.
    fn enter(&mut self) -> Stop<Y, S, Box<dyn Any>>;
    /// Sends a value to the `yield` that it waits in.
    fn send(&mut self, value: S) -> Stop<Y, S, Box<dyn Any>>;
    /// Tells it something.
    fn deliver(&mut self, message: Message<Y, S>) -> Stop<Y, S, Box<dyn Any>>;
    /// The chain that it had before it became a frame of another.
    fn take_chain(&mut self) -> Vec<Box<dyn Frame<Y, S>>>;
    /// Gives it up.
    fn leak(&mut self);
}

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

/// What can be sent to a generator that is not sent anything: the value of `S` if that is `()`.
#[inline]
pub(super) fn unit<S: 'static>() -> Option<S> {
    let mut unit = Some(());
    (&mut unit as &mut dyn Any).downcast_mut::<Option<S>>().and_then(Option::take)
}
