//! Delegation at a constant cost: the generators that yield from one another form a chain, and the owner of the
//! outermost generator resumes the innermost one directly.
//!
//! ```text
//! consumer --- send --->  root ........ waits in yield_from
//!      \                    frame 0 ... waits in yield_from
//!       `------------------>frame 1     runs, yields to the consumer
//! ```
//!
//! A body that yields from a generator passes that generator out as a message, and the generator becomes a frame of the
//! chain. When the innermost generator ends, the frame before it receives the outcome as a message: a return value, a
//! panic, an unhandled error, or the request to close.

use super::protocol::{Frame, Message, Stop};
use super::yielder::Yielder;
use crate::coroutine::chain::Control;
use crate::coroutine::raw::{Event, RawCoroutine, drop_catching};
use std::any::Any;

/// Combines an event with the message that belongs to it.
pub(super) fn stop_of<Y, S, R>(raw: &RawCoroutine<Yielder<Y, S>, R>, event: Event<Y, R>) -> Stop<Y, S, R> {
    match event {
        Event::Yielded(value) => Stop::Yielded(value),
        Event::Message => match raw.handle().take_message() {
            Some(Message::Delegate(frame)) => Stop::Delegate(frame),
            _ => unreachable!("a body sends nothing but delegates"),
        },
        Event::Unwound => raw.handle().take_raised().map_or(Stop::Unwound, Stop::Raised),
        // A body that caught the unwinding of a thrown error has handled the error.
        Event::Complete(value) => match drop_catching(raw.handle().take_raised()) {
            Ok(()) => Stop::Returned(value),
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
pub(super) fn deliver<Y, S, R>(raw: &mut RawCoroutine<Yielder<Y, S>, R>, message: Message<Y, S>) -> Stop<Y, S, R> {
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

/// The generators that a root delegates to, the innermost last.
pub(super) struct Chain<Y, S> {
    frames: Vec<Box<dyn Frame<Y, S>>>,
}

/// The last stop, with the side that ran: the root or the innermost generator.
enum Ran<Y, S, R> {
    Root(Stop<Y, S, R>),
    Inner(Stop<Y, S, Box<dyn Any>>),
}

impl<Y, S> Chain<Y, S> {
    pub(super) const fn new() -> Self {
        Chain { frames: Vec::new() }
    }

    /// Returns the innermost generator, or `None` if the root itself runs.
    #[inline(always)]
    pub(super) fn innermost(&mut self) -> Option<&mut dyn Frame<Y, S>> {
        match self.frames.last_mut() {
            Some(innermost) => Some(&mut **innermost),
            None => None,
        }
    }

    /// Delivers a message to the innermost generator, then continues like [`follow`](Self::follow).
    pub(super) fn deliver<R>(
        &mut self,
        root: &mut RawCoroutine<Yielder<Y, S>, R>,
        message: Message<Y, S>,
        closing: bool,
    ) -> Stop<Y, S, R> {
        let ran = self.deliver_to_innermost(root, message);
        self.follow(root, ran, closing)
    }

    /// Continues after a stop of the root.
    pub(super) fn follow_root<R>(
        &mut self,
        root: &mut RawCoroutine<Yielder<Y, S>, R>,
        stop: Stop<Y, S, R>,
        closing: bool,
    ) -> Stop<Y, S, R> {
        self.follow(root, Ran::Root(stop), closing)
    }

    /// Continues after a stop of the innermost generator, for which its `send` returned `None`.
    pub(super) fn follow_inner<R>(&mut self, root: &mut RawCoroutine<Yielder<Y, S>, R>) -> Stop<Y, S, R> {
        let stop = self.innermost().map_or(Stop::Unwound, |innermost| innermost.stopped());
        self.follow(root, Ran::Inner(stop), false)
    }

    /// Runs bodies until one of them yields or the root ends. Never returns `Stop::Delegate`.
    fn follow<R>(
        &mut self,
        root: &mut RawCoroutine<Yielder<Y, S>, R>,
        mut ran: Ran<Y, S, R>,
        closing: bool,
    ) -> Stop<Y, S, R> {
        loop {
            ran = match ran {
                Ran::Root(Stop::Delegate(frame)) | Ran::Inner(Stop::Delegate(frame)) => Ran::Inner(self.enter(frame)),
                Ran::Root(stop) => return stop,
                Ran::Inner(Stop::Yielded(value)) => return Stop::Yielded(value),
                Ran::Inner(stop) => {
                    self.frames.pop();
                    self.deliver_to_innermost(root, stop.into_message(closing))
                }
            };
        }
    }

    fn deliver_to_innermost<R>(
        &mut self,
        root: &mut RawCoroutine<Yielder<Y, S>, R>,
        message: Message<Y, S>,
    ) -> Ran<Y, S, R> {
        match self.frames.last_mut() {
            Some(innermost) => Ran::Inner(innermost.deliver(message)),
            None => Ran::Root(deliver(root, message)),
        }
    }

    /// Adds a new innermost generator, with the generators that it already delegates to, and runs the last of them.
    fn enter(&mut self, mut frame: Box<dyn Frame<Y, S>>) -> Stop<Y, S, Box<dyn Any>> {
        let mut inner = frame.take_chain();
        self.frames.push(frame);
        self.frames.append(&mut inner);
        self.frames.last_mut().map_or(Stop::Unwound, |innermost| innermost.enter())
    }

    /// Takes the frames out, for the chain that this one becomes a part of.
    #[inline]
    pub(super) fn take(&mut self) -> Vec<Box<dyn Frame<Y, S>>> {
        std::mem::take(&mut self.frames)
    }

    /// Leaks all frames, the innermost first.
    pub(super) fn leak(&mut self) {
        for frame in self.frames.iter_mut().rev() {
            frame.leak();
        }
        self.frames.clear();
    }
}
