//! The messages between a generator's body and its owner.
#![forbid(unsafe_code)]

use crate::coroutine::raw::Payload;
use crate::coroutine::returned::Returned;
use std::any::Any;
use std::error::Error;

/// A message between a body and its owner, passed with `Control::Message`.
pub(super) enum Message {
    /// From a body: yield from these [`Bodies`](super::delegate::Bodies). Type-erased, because they hold yielders, and yielders
    /// hold messages.
    Delegate(Box<dyn Any>),
    /// To a body: the generator is being closed.
    Close,
    /// To a body: this error was thrown.
    Throw(Box<dyn Error>),
    /// To a body in `yield_from`: the inner generator returned this value.
    Returned(Returned),
    /// To a body in `yield_from`: the inner generator panicked.
    Panicked(Payload),
    /// From a body that unwinds: the error that it ends with.
    Raised(Box<dyn Error>),
}

/// Returns the value of `S` if `S` is `()`: the value to send to a generator that receives nothing.
#[inline]
pub(super) fn unit<S: 'static>() -> Option<S> {
    let mut unit = Some(());
    (&mut unit as &mut dyn Any).downcast_mut::<Option<S>>().and_then(Option::take)
}
