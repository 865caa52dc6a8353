//! The body's side of a generator.

use super::error::Interrupt;
use super::protocol::Message;
use crate::coroutine::chain::Control;
use crate::coroutine::raw_yielder::{Handle, RawYielder};
use std::cell::Cell;
use std::error::Error;
use std::fmt;

/// What the body of a [`Generator`] yields with.
///
/// It can be lent to any function that the body calls, however deep, which is the way to yield out of a recursion: an item
/// costs the same at every depth.
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
    /// What goes with `Control::Message`; and an error that an unwinding carries out.
    message: Cell<Option<Message<Y, S>>>,
    /// The body waits in a form that returns an interrupt by value.
    pub(super) trying: Cell<bool>,
}

/// Says that the body waits in a form that returns an interrupt; ends by every way out.
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
        Yielder { raw_yielder, message: Cell::new(None), trying: Cell::new(false) }
    }

    #[inline(always)]
    fn raw_yielder(&self) -> &RawYielder<S, Y> {
        &self.raw_yielder
    }
}

impl<Y, S> Yielder<Y, S> {
    /// Hands `value` to the consumer, waits until it asks for the next, and returns what it sent.
    ///
    /// If the generator is closed, dropped, or has an error thrown at it meanwhile, this does not return: it unwinds the
    /// body, once, so that its destructors run. A destructor that panics then aborts the process, as in every unwinding.
    ///
    /// # Panics
    ///
    /// While a section that was opened in the body is open (a run, [`scope`](crate::scope), [`timeout`](crate::timeout), deadline,
    /// [`shield`](crate::shield) or [`no_suspend`](crate::no_suspend)), naming both; so also in a task of a scope that borrowed
    /// this: only the body's own code suspends it. Called from a destructor while the body unwinds, it
    /// aborts the process, naming the generator: half a panic cannot be put aside.
    #[inline(always)]
    #[track_caller]
    pub fn yield_(&self, value: Y) -> S {
        match self.raw_yielder.suspend(value) {
            Ok(sent) => sent,
            Err(_) => self.raw_yielder.unwind(),
        }
    }

    /// Hands `value` to the consumer and waits, as [`yield_`](Self::yield_) does, but returns what interrupts it.
    ///
    /// # Errors
    ///
    /// [`Interrupt::Closed`] when the generator is closed or dropped: clean up and return; yielding again is answered with
    /// [`CloseError::Ignored`](crate::CloseError::Ignored), or with a leak if nobody is there to be told. Also at once,
    /// without waiting, in a destructor while the body unwinds.
    /// [`Interrupt::Thrown`] when an error is thrown at it.
    #[inline]
    #[track_caller]
    pub fn try_yield(&self, value: Y) -> Result<S, Interrupt> {
        if self.raw_yielder.is_unwinding() {
            return Err(Interrupt::Closed);
        }
        let trying = Trying::new(&self.trying);
        let answer = self.raw_yielder.suspend(value);
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

    /// Ends the body with an interrupt that it does not want to handle: unwinds it, and an error comes out of
    /// [`Generator::throw`] as it went in. Where panics abort this ends the process: return the interrupt instead.
    ///
    /// # Panics
    ///
    /// In a task of a scope that borrowed this: its frames are not the body's.
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

    /// The error that an unwinding has left behind.
    pub(super) fn take_raised(&self) -> Option<Box<dyn Error>> {
        match self.message.take() {
            Some(Message::Raised(error)) => Some(error),
            _ => None,
        }
    }

    pub(super) fn put_message(&self, message: Message<Y, S>) {
        self.message.set(Some(message));
    }

    pub(super) fn take_message(&self) -> Option<Message<Y, S>> {
        self.message.take()
    }

    pub(super) fn is_trying(&self) -> bool {
        self.trying.get()
    }
}

impl<Y> Yielder<Y> {
    /// Yields every item of an iterator. Python's `yield from` for anything that is not a generator.
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
