//! Delegation at no cost: the generators that yield from one another form a list, and the owner of the outermost one resumes the
//! innermost one, which is stored in its place.
//!
//! ```text
//! Generator { bodies }                           Bodies::outer is a list of the bodies that wait in yield_from
//!      |
//!      +-> raw: the innermost body, which runs
//!      `-> outer: Bodies { raw: waits, outer: .. Bodies { raw: the generator's own body, outer: None } }
//! ```
//!
//! A body that yields from a generator passes the bodies of that generator out as a message, and the innermost of them takes the place of
//! the body. So the owner's path of a yield looks at one body, whatever yields from what. When the innermost body ends, the body that
//! waits for it takes the place back, and receives the outcome as a message: a return value, a panic, an unhandled error, or the request
//! to close.
#![forbid(unsafe_code)]

use super::protocol::{Message, unit};
use super::yielder::Yielder;
use crate::coroutine::chain::Control;
use crate::coroutine::raw::{Event, Payload, RawCoroutine, drop_catching, throw_from_drop};
use crate::coroutine::returned::Returned;
use crate::report::report;
use std::error::Error;
use std::mem::swap;

/// A body of a generator. Its handle keeps its return value, so that bodies with different types of it can take each other's place.
pub(super) type Body<Y, S> = RawCoroutine<Yielder<Y, S>, ()>;

/// The reason why a body stopped running.
pub(super) enum Stop<Y: 'static, S: 'static> {
    Yielded(Y),
    Delegate(Box<Bodies<Y, S>>),
    Returned(Returned),
    Raised(Box<dyn Error>),
    Panicked(Payload),
    Unwound,
}

/// The bodies of a generator: the body that runs, and the bodies that wait for it in `yield_from`.
pub(super) struct Bodies<Y: 'static, S: 'static> {
    /// The innermost body.
    pub(super) raw: Body<Y, S>,
    /// The body that yields from `raw`, with the bodies around it.
    outer: Option<Box<Bodies<Y, S>>>,
}

/// Combines an event with the message that belongs to it.
fn stop_of<Y: 'static, S: 'static>(raw: &Body<Y, S>, event: Event<Y, ()>) -> Stop<Y, S> {
    match event {
        Event::Yielded(value) => Stop::Yielded(value),
        Event::Message => match raw.handle().take_message() {
            Some(Message::Delegate(bodies)) => match bodies.downcast() {
                Ok(bodies) => Stop::Delegate(bodies),
                Err(_) => unreachable!("a body delegates to bodies with its own types"),
            },
            _ => unreachable!("a body sends nothing but delegates"),
        },
        Event::Unwound => raw.handle().take_raised().map_or(Stop::Unwound, Stop::Raised),
        // A body that caught the unwinding of a thrown error has handled the error.
        Event::Complete(()) => match drop_catching(raw.handle().take_raised()) {
            Ok(()) => Stop::Returned(raw.handle().take_returned()),
            Err(payload) => Stop::Panicked(payload),
        },
        Event::Panicked(payload) => {
            if let Err(second) = drop_catching(raw.handle().take_raised()) {
                std::mem::forget(second);
            }
            Stop::Panicked(payload)
        }
    }
}

/// Delivers a message to a body, as a value or by unwinding, depending on where the body is suspended. Runs the body to
/// its next stop.
fn deliver<Y: 'static, S: 'static>(raw: &mut Body<Y, S>, message: Message) -> Stop<Y, S> {
    let paused = raw.is_started() && !raw.is_finished();
    // A body that has not started is dropped and never runs.
    if !raw.is_started()
        && let Err(payload) = raw.end(false)
    {
        return Stop::Panicked(payload);
    }
    // Only a body in a `try_` form can return an interrupt. The other messages go to a body in `yield_from`, which
    // expects them.
    let by_value = match &message {
        Message::Close | Message::Throw(_) => raw.handle().is_trying(),
        _ => true,
    };
    let error = match message {
        message if paused && by_value && raw.can_resume() => {
            raw.handle().put_message(message);
            let event = raw.resume_with(Control::Message);
            return stop_of(raw, event);
        }
        Message::Throw(error) => Some(error),
        _ => None,
    };
    if paused && raw.can_unwind() {
        // `message` may still hold the error of an earlier throw, which the body caught.
        match error {
            Some(error) => raw.handle().put_message(Message::Raised(error)),
            None => {
                if let Err(payload) = drop_catching(raw.handle().take_message()) {
                    std::mem::forget(payload);
                }
            }
        }
        let event = raw.resume_with(Control::Unwind);
        return stop_of(raw, event);
    }
    // The body can be neither resumed nor unwound.
    if paused {
        raw.leak(raw.why_not_unwound());
    }
    error.map_or(Stop::Unwound, Stop::Raised)
}

impl<Y: 'static, S: 'static> Stop<Y, S> {
    /// Converts the end of an inner body into the message to the body that yields from it.
    fn into_message(self, closing: bool) -> Message {
        match self {
            Stop::Returned(value) if !closing => Message::Returned(value),
            Stop::Returned(value) => drop_catching(value).map_or_else(Message::Panicked, |()| Message::Close),
            Stop::Raised(error) => Message::Throw(error),
            Stop::Panicked(payload) => Message::Panicked(payload),
            _ => Message::Close,
        }
    }
}

impl<Y: 'static, S: 'static> Bodies<Y, S> {
    #[inline]
    pub(super) fn new(raw: Body<Y, S>) -> Self {
        Bodies { raw, outer: None }
    }

    /// Returns the generator's own body, which is the outermost one.
    pub(super) fn root(&self) -> &Body<Y, S> {
        let mut bodies = self;
        while let Some(outer) = &bodies.outer {
            bodies = outer;
        }
        &bodies.raw
    }

    /// Returns whether the generator's own body waits in `yield_from`.
    #[inline]
    pub(super) fn delegates(&self) -> bool {
        self.outer.is_some()
    }

    /// Delivers a message to the innermost body, then continues like [`follow`](Self::follow).
    pub(super) fn deliver(&mut self, message: Message, closing: bool) -> Stop<Y, S> {
        let stop = deliver(&mut self.raw, message);
        self.follow(stop, closing)
    }

    /// Continues after an event of the innermost body.
    pub(super) fn follow_event(&mut self, event: Event<Y, ()>) -> Stop<Y, S> {
        let stop = stop_of(&self.raw, event);
        self.follow(stop, false)
    }

    /// Runs bodies until one of them yields or the outermost one ends. Never returns `Stop::Delegate`.
    fn follow(&mut self, mut stop: Stop<Y, S>, closing: bool) -> Stop<Y, S> {
        loop {
            stop = match stop {
                Stop::Delegate(inner) => self.enter(inner),
                Stop::Yielded(value) => return Stop::Yielded(value),
                ended => {
                    let Some(mut outer) = self.outer.take() else { return ended };
                    swap(self, &mut outer);
                    drop(outer);
                    deliver(&mut self.raw, ended.into_message(closing))
                }
            };
        }
    }

    /// Puts the bodies of a generator inside of the bodies that are here, and runs the innermost one.
    fn enter(&mut self, mut inner: Box<Bodies<Y, S>>) -> Stop<Y, S> {
        swap(self, &mut inner);
        let mut end = &mut self.outer;
        while let Some(outer) = end {
            end = &mut outer.outer;
        }
        *end = Some(inner);
        let event = match unit() {
            Some(unit) if self.raw.is_started() => self.raw.resume(unit),
            _ => self.raw.start(),
        };
        stop_of(&self.raw, event)
    }

    /// Closes the generator, for its drop.
    #[cold]
    fn close_for_good(&mut self) {
        let outcome = match self.deliver(Message::Close, true) {
            Stop::Yielded(value) => {
                self.leak();
                drop_catching(value)
            }
            Stop::Returned(value) => drop_catching(value),
            Stop::Raised(error) => {
                report!("{} raised while it was dropped: {error}", self.raw.label());
                drop_catching(error)
            }
            Stop::Panicked(payload) => Err(payload),
            Stop::Unwound | Stop::Delegate(_) => Ok(()),
        };
        if let Err(payload) = outcome {
            throw_from_drop(payload, &self.raw.label());
        }
    }

    /// Leaks all bodies, the innermost first.
    fn leak(&mut self) {
        while let Some(mut outer) = self.outer.take() {
            self.raw.leak("is yielded from by a generator that is leaked");
            swap(self, &mut outer);
        }
        self.raw.leak("yielded again when it was dropped");
    }
}

impl<Y: 'static, S: 'static> Drop for Bodies<Y, S> {
    #[inline]
    fn drop(&mut self) {
        // A body that has not started has nothing to clean up: the raw coroutine drops it.
        if self.raw.is_started() && !self.raw.is_finished() {
            self.close_for_good();
        }
    }
}
