//! `yield_from` at a constant cost: the generators that yield from one another lie in one chain, and the owner of the
//! outermost resumes the innermost directly.
//!
//! ```text
//! consumer --- send --->  root ........ waits in yield_from
//!      \                    frame 0 ... waits in yield_from
//!       `------------------>frame 1     runs, yields to the consumer
//! ```
//!
//! A body that yields from another hands it out as message; from then on it is a frame of the chain. When the innermost ends,
//! however it ends, that goes as message to the one before it: its value, its panic, the error it did not handle, or the word
//! that all is being closed.

use super::protocol::{Frame, Message, Stop};
use super::yielder::Yielder;
use crate::coroutine::chain::Control;
use crate::coroutine::raw::{Event, RawCoroutine, drop_catching};
use std::any::Any;

/// Reads an event together with the message that belongs to it.
pub(super) fn stop_of<Y, S, R>(raw: &RawCoroutine<Yielder<Y, S>, R>, event: Event<Y, R>) -> Stop<Y, S, R> {
    match event {
        Event::Yielded(value) => Stop::Yielded(value),
        Event::Message => match raw.handle().take_message() {
            Some(Message::Delegate(frame)) => Stop::Delegate(frame),
            _ => unreachable!("a body sends nothing but delegates"),
        },
        Event::Unwound => raw.handle().take_raised().map_or(Stop::Unwound, Stop::Raised),
        // A body that caught the unwinding of a thrown error has handled it.
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

/// Tells a body something, in the way that suits where it waits, and runs it to its next stop.
pub(super) fn deliver<Y, S, R>(raw: &mut RawCoroutine<Yielder<Y, S>, R>, message: Message<Y, S>) -> Stop<Y, S, R> {
    let paused = raw.is_started() && !raw.is_finished();
    if !raw.is_started()
        && let Err(payload) = raw.end(false)
    {
        return Stop::Panicked(payload);
    }
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
        // An error of an earlier throw that the body caught and went on from lies there still.
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
    if paused {
        raw.leak(raw.why_not_unwound());
    }
    error.map_or(Stop::Unwound, Stop::Raised)
}

/// The generators that are yielded from below a root, the innermost last.
pub(super) struct Chain<Y, S> {
    frames: Vec<Box<dyn Frame<Y, S>>>,
}

/// The last stop of whoever ran.
enum Ran<Y, S, R> {
    Root(Stop<Y, S, R>),
    Inner(Stop<Y, S, Box<dyn Any>>),
}

impl<Y, S> Chain<Y, S> {
    pub(super) const fn new() -> Self {
        Chain { frames: Vec::new() }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sends a value to the innermost, which there is.
    #[inline]
    pub(super) fn send(&mut self, value: S) -> Stop<Y, S, Box<dyn Any>> {
        match self.frames.last_mut() {
            Some(innermost) => innermost.send(value),
            None => unreachable!("asked only when the chain is not empty"),
        }
    }

    /// Tells the innermost something, and follows what comes of it.
    pub(super) fn deliver<R>(
        &mut self,
        root: &mut RawCoroutine<Yielder<Y, S>, R>,
        message: Message<Y, S>,
        closing: bool,
    ) -> Stop<Y, S, R> {
        let ran = self.tell_innermost(root, message);
        self.follow(root, ran, closing)
    }

    /// Follows a stop of the root.
    pub(super) fn follow_root<R>(
        &mut self,
        root: &mut RawCoroutine<Yielder<Y, S>, R>,
        stop: Stop<Y, S, R>,
        closing: bool,
    ) -> Stop<Y, S, R> {
        self.follow(root, Ran::Root(stop), closing)
    }

    /// Follows a stop of the innermost.
    pub(super) fn follow_inner<R>(
        &mut self,
        root: &mut RawCoroutine<Yielder<Y, S>, R>,
        stop: Stop<Y, S, Box<dyn Any>>,
        closing: bool,
    ) -> Stop<Y, S, R> {
        self.follow(root, Ran::Inner(stop), closing)
    }

    /// Goes on until somebody yields or the root ends. Never returns `Stop::Delegate`.
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
                    self.tell_innermost(root, stop.into_message(closing))
                }
            };
        }
    }

    fn tell_innermost<R>(&mut self, root: &mut RawCoroutine<Yielder<Y, S>, R>, message: Message<Y, S>) -> Ran<Y, S, R> {
        match self.frames.last_mut() {
            Some(innermost) => Ran::Inner(innermost.deliver(message)),
            None => Ran::Root(deliver(root, message)),
        }
    }

    /// Takes a new innermost in, together with those that it yields from already, and runs the last of them.
    fn enter(&mut self, mut frame: Box<dyn Frame<Y, S>>) -> Stop<Y, S, Box<dyn Any>> {
        let mut inner = frame.take_chain();
        self.frames.push(frame);
        self.frames.append(&mut inner);
        self.frames.last_mut().map_or(Stop::Unwound, |innermost| innermost.enter())
    }

    /// Takes the frames out, for a chain that this one becomes a part of.
    #[inline]
    pub(super) fn take(&mut self) -> Vec<Box<dyn Frame<Y, S>>> {
        std::mem::take(&mut self.frames)
    }

    /// Gives all of them up.
    pub(super) fn leak(&mut self) {
        for frame in self.frames.iter_mut().rev() {
            frame.leak();
        }
        self.frames.clear();
    }
}
