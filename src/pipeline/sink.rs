//! A consumer that is pushed to.

use super::Push;
use super::inbox::Inbox;
use crate::SendError;
use crate::coroutine::raw::{Event, RawCoroutine, StackOptions};
use crate::coroutine::{self, Builder, State, no_stack};
use crate::stack::StackError;
use crate::stack::arena::Kind;
use std::fmt;
use std::panic::resume_unwind;
use std::thread::panicking;

/// A consumer with a body of its own: what is sent to it comes out of its [`Inbox`].
///
/// The body starts with the first `send` or `finish` (Python's "call `next()` before the first `send()`" cannot be
/// forgotten). It lives on the thread that made it.
///
/// Dropping a sink ends its input and lets the body finish, so that what it holds back is not lost; a panic of the body
/// goes on. Only while the thread is panicking is the body unwound instead.
///
/// ```
/// use cede::{Inbox, Sink};
///
/// let mut grep = Sink::new(|inbox: &Inbox<&str>| {
///     let mut hits = 0;
///     for line in inbox {
///         if line.contains("python") {
///             println!("{line}");
///             hits += 1;
///         }
///     }
///     hits
/// });
/// grep.send("a python")?;
/// grep.send("a snake")?;
/// assert_eq!(grep.finish(), 1);
/// # Ok::<(), cede::SendError<&str>>(())
/// ```
pub struct Sink<T: 'static, R: 'static = ()> {
    raw: RawCoroutine<Inbox<T>, R>,
    returned: Option<R>,
}

impl<T: 'static, R: 'static> Sink<T, R> {
    /// Makes a sink with a stack of the default size. The body runs nothing yet.
    ///
    /// # Panics
    ///
    /// If there is no stack to be had; see [`try_new`](Self::try_new).
    #[inline]
    #[track_caller]
    pub fn new(body: impl FnOnce(&Inbox<T>) -> R + 'static) -> Self {
        match Self::try_new(body) {
            Ok(sink) => sink,
            Err(error) => no_stack(&error),
        }
    }

    /// Makes a sink with a stack of the default size.
    ///
    /// # Errors
    ///
    /// [`StackError`] when there is no stack to be had; the body is dropped.
    #[inline]
    pub fn try_new(body: impl FnOnce(&Inbox<T>) -> R + 'static) -> Result<Self, StackError> {
        Self::with_options(StackOptions::default_shape(), body)
    }

    #[inline]
    fn with_options(options: StackOptions, body: impl FnOnce(&Inbox<T>) -> R + 'static) -> Result<Self, StackError> {
        Ok(Sink { raw: RawCoroutine::new_static(options, Kind::Sink, body)?, returned: None })
    }

    /// Hands over an item, and returns when the body asks for the next one, or has ended: `Ok` also if it ended over this
    /// item, which [`is_finished`](Self::is_finished) tells.
    ///
    /// # Errors
    ///
    /// [`SendError::Finished`] with the item when the body has returned without taking it.
    ///
    /// # Panics
    ///
    /// A panic of the body comes out here, and the sink is finished.
    #[inline]
    #[track_caller]
    pub fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        if self.raw.is_finished() {
            return Err(SendError::Finished(item));
        }
        self.raw.handle().put(item);
        self.run();
        match self.raw.handle().take_back() {
            None => Ok(()),
            Some(item) => Err(SendError::Finished(item)),
        }
    }

    /// Whether the body waits for an item. Starts it if need be.
    pub fn ready(&mut self) -> bool {
        if self.raw.state() == State::Created {
            self.run();
        }
        !self.raw.is_finished()
    }

    /// Ends the input, lets the body finish, and returns what it returned.
    ///
    /// # Panics
    ///
    /// A panic of the body comes out here. If one came out of an earlier `send` there is no result, and this panics too.
    #[track_caller]
    pub fn finish(mut self) -> R {
        self.end();
        match self.returned.take() {
            Some(value) => value,
            None => panic!("cannot finish {}: it has panicked", self.raw.label()),
        }
    }

    /// Whether the body has returned or panicked, so that it takes no more.
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }

    /// Where the body stands.
    pub fn state(&self) -> State {
        self.raw.state()
    }

    /// The name that the builder gave.
    pub fn name(&self) -> Option<&str> {
        coroutine::name(&self.raw)
    }

    /// How deep the stack has been, in bytes, in whole pages: see
    /// [`Coroutine::stack_high_water`](crate::Coroutine::stack_high_water).
    ///
    /// # Errors
    ///
    /// What `mincore(2)` said.
    pub fn stack_high_water(&self) -> std::io::Result<usize> {
        coroutine::stack_high_water(&self.raw)
    }

    /// Runs the body until it asks for an item that is not there, or returns.
    #[inline(always)]
    fn run(&mut self) {
        match self.raw.resume(()) {
            Event::Yielded(()) => {}
            Event::Complete(value) => self.returned = Some(value),
            Event::Panicked(payload) => resume_unwind(payload),
            Event::Message | Event::Unwound => unreachable!("a sink sends no message and was not told to unwind"),
        }
    }

    /// Ends the input and lets the body finish. It cannot suspend any more: a closed inbox returns at once.
    fn end(&mut self) {
        if !self.raw.is_finished() {
            self.raw.handle().close();
            self.run();
        }
    }
}

impl<T: 'static, R: 'static> Push<T> for Sink<T, R> {
    type Output = R;

    fn ready(&mut self) -> bool {
        Sink::ready(self)
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        Sink::send(self, item)
    }

    fn finish(self) -> R {
        Sink::finish(self)
    }
}

/// Sends every item.
///
/// # Panics
///
/// If the body ends before the items do: there is no way to give an item back here. [`Push::feed`] has one.
impl<T: 'static, R: 'static> Extend<T> for Sink<T, R> {
    #[track_caller]
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        if let Err(error) = self.feed(items) {
            panic!("cannot extend {}: {error}", self.raw.label());
        }
    }
}

impl<T: 'static, R: 'static> Drop for Sink<T, R> {
    #[inline]
    fn drop(&mut self) {
        // A body that has not started has received nothing: the raw coroutine drops it. While panicking the raw
        // coroutine unwinds it; at the end of the thread, and where that is impossible, the raw coroutine leaks it.
        if self.raw.state() == State::Suspended && !panicking() && self.raw.can_resume() {
            self.end();
        }
    }
}

impl<T: 'static, R: 'static> fmt::Debug for Sink<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl Builder {
    /// Makes a [`Sink`].
    ///
    /// # Errors
    ///
    /// [`StackError`] when a size is out of bounds or there is no stack to be had; the body is dropped.
    pub fn sink<T: 'static, R: 'static>(
        self,
        body: impl FnOnce(&Inbox<T>) -> R + 'static,
    ) -> Result<Sink<T, R>, StackError> {
        Sink::with_options(self.options()?, body)
    }
}
