//! Sinks: consumers to which a source pushes items.

use super::inbox::Inbox;
use super::push::Push;
use crate::SendError;
use crate::coroutine::raw::{Event, RawCoroutine, StackOptions};
use crate::coroutine::{self, Builder, State, no_stack};
use crate::stack::StackError;
use crate::stack::arena::Kind;
use std::fmt;
use std::panic::resume_unwind;
use std::thread::panicking;

/// A consumer with a body of its own, which receives the sent items from its [`Inbox`].
///
/// The first `send`, `ready` or `finish` starts the body, so Python's "call `next()` before the first `send()`" cannot
/// be forgotten. A sink stays on the thread that created it.
///
/// Dropping a sink ends its input and lets the body finish, so that no buffered item is lost. A panic of the body
/// propagates from the drop. If the thread is panicking, the drop unwinds the body instead. A body that has not started
/// is dropped and never runs.
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
#[must_use = "the body runs only when an item is sent"]
pub struct Sink<T: 'static, R: 'static = ()> {
    raw: RawCoroutine<Inbox<T>, R>,
    returned: Option<R>,
}

impl<T: 'static, R: 'static> Sink<T, R> {
    /// Creates a sink with a stack of the default size. The body does not start yet.
    ///
    /// # Panics
    ///
    /// Panics if no stack can be allocated; see [`try_new`](Self::try_new).
    #[inline]
    #[track_caller]
    pub fn new(body: impl FnOnce(&Inbox<T>) -> R + 'static) -> Self {
        match Self::try_new(body) {
            Ok(sink) => sink,
            Err(error) => no_stack(&error),
        }
    }

    /// Creates a sink with a stack of the default size.
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if no stack can be allocated; the body is dropped.
    #[inline]
    pub fn try_new(body: impl FnOnce(&Inbox<T>) -> R + 'static) -> Result<Self, StackError> {
        Self::with_options(StackOptions::default_shape(), body)
    }

    #[inline]
    fn with_options(options: StackOptions, body: impl FnOnce(&Inbox<T>) -> R + 'static) -> Result<Self, StackError> {
        Ok(Sink { raw: RawCoroutine::new_static(options, Kind::Sink, body)?, returned: None })
    }

    /// Sends an item. Returns when the body waits for the next item or has ended. Returns `Ok` in both cases if the
    /// body took the item; [`is_finished`](Self::is_finished) tells the two cases apart.
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Finished`] with the item if the body has ended without taking it.
    ///
    /// # Panics
    ///
    /// Propagates a panic of the body; the sink is then finished.
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

    /// Returns true if the body waits for an item. Starts the body if it has not started.
    ///
    /// # Panics
    ///
    /// Propagates a panic of the body.
    pub fn ready(&mut self) -> bool {
        if self.raw.state() == State::Created {
            self.run();
        }
        !self.raw.is_finished()
    }

    /// Ends the input, lets the body finish, and returns its return value.
    ///
    /// # Panics
    ///
    /// Propagates a panic of the body. Also panics if the body panicked in an earlier `send` or `ready`, because
    /// there is no return value.
    #[track_caller]
    pub fn finish(mut self) -> R {
        self.end();
        match self.returned.take() {
            Some(value) => value,
            None => panic!("cannot finish {}: it has panicked", self.raw.label()),
        }
    }

    /// Returns true if the body has returned or panicked, so that it accepts no more items.
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }

    /// Returns the state of the body.
    pub fn state(&self) -> State {
        self.raw.state()
    }

    /// Returns the name that the builder set.
    pub fn name(&self) -> Option<&str> {
        coroutine::name(&self.raw)
    }

    /// Returns the high-water mark of the stack in bytes: see
    /// [`Coroutine::stack_high_water`](crate::Coroutine::stack_high_water).
    ///
    /// # Errors
    ///
    /// Returns the error of `mincore(2)`.
    pub fn stack_high_water(&self) -> std::io::Result<usize> {
        coroutine::stack_high_water(&self.raw)
    }

    /// Runs the body until it waits for an item or returns.
    #[inline(always)]
    fn run(&mut self) {
        match self.raw.resume(()) {
            Event::Yielded(()) => {}
            Event::Complete(value) => self.returned = Some(value),
            Event::Panicked(payload) => resume_unwind(payload),
            Event::Message | Event::Unwound => unreachable!("a sink sends no message and was not asked to unwind"),
        }
    }

    /// Ends the input and lets the body finish. The body cannot suspend again, because `recv` on a closed inbox returns
    /// at once.
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
/// Panics if the body ends before the items do, because `extend` cannot return an item. [`Push::feed`] can.
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
        // A body that has not started has received nothing: the raw coroutine drops it. While the thread panics, the
        // raw coroutine unwinds the body. At the end of the thread, and where unwinding is impossible, the raw
        // coroutine leaks it.
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
    /// Creates a [`Sink`].
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if a size is out of bounds or no stack can be allocated; the body is dropped.
    pub fn sink<T: 'static, R: 'static>(
        self,
        body: impl FnOnce(&Inbox<T>) -> R + 'static,
    ) -> Result<Sink<T, R>, StackError> {
        Sink::with_options(self.options()?, body)
    }
}
