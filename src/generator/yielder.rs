//! The body's side of a generator.

use super::error::Interrupt;
use super::protocol::Message;
use crate::coroutine::ahead::Slots;
use crate::coroutine::chain::Control;
use crate::coroutine::raw_yielder::{Handle, RawYielder};
use crate::coroutine::returned::{Returned, Returning};
use std::cell::Cell;
use std::error::Error;
use std::fmt;

/// The body's side of a [`Generator`](crate::Generator): yields values to the consumer.
///
/// The body can pass its yielder to any function that it calls, at any depth. A recursive function yields this way, at
/// the same cost per item at every depth.
///
/// ```
/// use cede::{Generator, Yielder};
/// fn countdown(y: &Yielder<u32>, n: u32) {
///     if n > 0 {
///         y.yield_(n);
///         countdown(y, n - 1);
///     }
/// }
/// assert_eq!(Generator::new(|y| countdown(y, 3)).collect::<Vec<_>>(), [3, 2, 1]);
/// ```
#[repr(C)]
pub struct Yielder<Y, S = ()> {
    pub(super) raw_yielder: RawYielder<S, Y>,
    /// The slots for the values of a generator that is read ahead.
    pub(super) slots: Slots<Y>,
    /// The message that goes with `Control::Message`, or the error that an unwinding carries out.
    message: Cell<Option<Message>>,
    /// The return value of the body.
    pub(super) returning: Returning,
    /// Set while the body is suspended in a call that returns an interrupt as a value.
    pub(super) trying: Cell<bool>,
}

/// Sets `trying`, and resets it when dropped, on return and on unwinding.
pub(super) struct Trying<'a>(&'a Cell<bool>);

impl<'a> Trying<'a> {
    #[inline(always)]
    pub(super) fn new(cell: &'a Cell<bool>) -> Self {
        cell.set(true);
        Trying(cell)
    }
}

impl Drop for Trying<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<Y, S> Handle for Yielder<Y, S> {
    type In = S;
    type Out = Y;

    fn new(raw_yielder: RawYielder<S, Y>) -> Self {
        Yielder {
            raw_yielder,
            slots: Slots::new(),
            message: Cell::new(None),
            returning: Returning::new(),
            trying: Cell::new(false),
        }
    }

    #[inline(always)]
    fn raw_yielder(&self) -> &RawYielder<S, Y> {
        &self.raw_yielder
    }
}

impl<Y, S> Yielder<Y, S> {
    /// Yields `value` to the consumer, waits until the consumer asks for the next value, and returns what the consumer
    /// sent.
    ///
    /// If the generator is closed or dropped during the wait, or an error is thrown at it, this call does not return:
    /// it unwinds the body, once, so that its destructors run. A destructor that panics then aborts the process, as in
    /// every unwinding.
    ///
    /// # Panics
    ///
    /// Panics while a section that was opened in the body is open: a run, [`scope`](crate::scope),
    /// [`timeout`](crate::timeout), deadline, [`shield`](crate::shield) or [`no_suspend`](crate::no_suspend). The
    /// message names the body and the section. Also panics in a task of a scope that borrowed the yielder, because only
    /// the body's own code may suspend the body.
    ///
    /// Aborts the process, with the name of the generator, when a destructor calls it while the body unwinds: an
    /// unfinished panic cannot be suspended.
    #[inline(always)]
    #[track_caller]
    pub fn yield_(&self, value: Y) -> S {
        match self.raw_yielder.suspend_or_put(value, &self.slots) {
            Ok(sent) => sent,
            Err(_) => self.raw_yielder.unwind(),
        }
    }

    /// Like [`yield_`](Self::yield_), but returns an interrupt instead of unwinding.
    ///
    /// # Errors
    ///
    /// [`Interrupt::Closed`] if the generator is closed or dropped during the wait. The body then cleans up and returns.
    /// If it yields again, [`close`](crate::Generator::close) returns
    /// [`CloseError::Ignored`](crate::CloseError::Ignored), and a generator that is being dropped is leaked. A destructor
    /// that calls `try_yield` while the body unwinds also receives `Closed`, at once and without a wait.
    ///
    /// [`Interrupt::Thrown`] if an error is thrown at the generator.
    ///
    /// # Panics
    ///
    /// Panics while a section that was opened in the body is open, and in a task of a scope that borrowed the yielder,
    /// as [`yield_`](Self::yield_) does.
    #[inline]
    #[track_caller]
    pub fn try_yield(&self, value: Y) -> Result<S, Interrupt> {
        if self.raw_yielder.is_unwinding() {
            return Err(Interrupt::Closed);
        }
        let trying = Trying::new(&self.trying);
        let answer = self.raw_yielder.suspend_or_put(value, &self.slots);
        drop(trying);
        match answer {
            Ok(sent) => Ok(sent),
            Err(control) => Err(self.interrupt(control)),
        }
    }

    #[cold]
    fn interrupt(&self, control: Control) -> Interrupt {
        match (control, self.message.take()) {
            (Control::Message, Some(Message::Throw(error))) => Interrupt::Thrown(error),
            (Control::Message, _) => Interrupt::Closed,
            _ => self.raw_yielder.unwind(),
        }
    }

    /// Ends the body with an interrupt that it does not handle. Unwinds the body; a thrown error comes out of
    /// [`Generator::throw`](crate::Generator::throw) unchanged. Where panics abort, this call aborts the process:
    /// return from the body instead.
    ///
    /// # Panics
    ///
    /// Panics in a task of a scope that borrowed the yielder: the frames of such a task are not the body's.
    ///
    /// ```
    /// use cede::{Generator, Yielder};
    /// let mut g = Generator::new(|y: &Yielder<u32>| {
    ///     if let Err(interrupt) = y.try_yield(1) {
    ///         y.rethrow(interrupt)
    ///     }
    /// });
    /// g.next();
    /// assert_eq!(g.throw("not mine").unwrap_err().to_string(), "not mine");
    /// ```
    #[track_caller]
    pub fn rethrow(&self, interrupt: Interrupt) -> ! {
        self.raw_yielder.check_unwind();
        self.message.set(match interrupt {
            Interrupt::Thrown(error) => Some(Message::Raised(error)),
            Interrupt::Closed => None,
        });
        self.raw_yielder.unwind()
    }

    /// Takes the error that the body unwound with.
    pub(super) fn take_raised(&self) -> Option<Box<dyn Error>> {
        match self.message.take() {
            Some(Message::Raised(error)) => Some(error),
            _ => None,
        }
    }

    pub(super) fn put_message(&self, message: Message) {
        self.message.set(Some(message));
    }

    pub(super) fn take_message(&self) -> Option<Message> {
        self.message.take()
    }

    /// Takes the return value of the body, which has returned.
    pub(super) fn take_returned(&self) -> Returned {
        match self.returning.take_any() {
            Some(value) => value,
            None => unreachable!("the body has returned"),
        }
    }

    /// Takes the return value of the body, which has returned an `R`.
    #[cold]
    #[inline(never)]
    pub(super) fn returned<R: 'static>(&self) -> R {
        self.returning.take()
    }

    pub(super) fn is_trying(&self) -> bool {
        self.trying.get()
    }
}

impl<Y> Yielder<Y> {
    /// Yields every item of an iterator. Python's `yield from` for iterables other than generators.
    ///
    /// ```
    /// let g = cede::Generator::new(|y| {
    ///     y.yield_all(1..3);
    ///     y.yield_(10);
    /// });
    /// assert_eq!(g.collect::<Vec<_>>(), [1, 2, 10]);
    /// ```
    #[track_caller]
    pub fn yield_all(&self, items: impl IntoIterator<Item = Y>) {
        for item in items {
            self.yield_(item);
        }
    }
}

impl<Y, S> fmt::Debug for Yielder<Y, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Yielder of {}", self.raw_yielder.label())
    }
}
