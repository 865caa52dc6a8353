//! The body's side of a sink.

use crate::coroutine::raw_yielder::{Handle, RawYielder};
use std::cell::Cell;
use std::fmt;

/// The body's side of a [`Sink`](crate::Sink): receives items.
///
/// The body can pass its inbox to any function that it calls, but not to another thread.
#[repr(C)]
pub struct Inbox<T> {
    raw_yielder: RawYielder<(), ()>,
    item: Cell<Option<T>>,
    closed: Cell<bool>,
}

impl<T> Handle for Inbox<T> {
    type In = ();
    type Out = ();

    fn new(raw_yielder: RawYielder<(), ()>) -> Self {
        Inbox { raw_yielder, item: Cell::new(None), closed: Cell::new(false) }
    }

    #[inline(always)]
    fn raw_yielder(&self) -> &RawYielder<(), ()> {
        &self.raw_yielder
    }
}

impl<T> Inbox<T> {
    /// Waits for the next item and returns it. Once the input has ended, returns `None` at once, on this and every
    /// later call.
    ///
    /// If the sink is dropped while the thread panics, this call does not return: it unwinds the body, so that its
    /// destructors run.
    ///
    /// # Panics
    ///
    /// Panics while a section that was opened in the body is open: a run, [`scope`](crate::scope),
    /// [`timeout`](crate::timeout), deadline, [`shield`](crate::shield) or [`no_suspend`](crate::no_suspend). The
    /// message names the body and the section. Also panics in a task of a scope that borrowed the inbox, because only
    /// the body's own code may suspend the body.
    ///
    /// In a destructor, while the body unwinds, this call returns `None`.
    #[inline]
    #[track_caller]
    pub fn recv(&self) -> Option<T> {
        loop {
            if let Some(item) = self.item.take() {
                return Some(item);
            }
            if self.closed.get() || self.raw_yielder.is_unwinding() {
                return None;
            }
            if self.raw_yielder.suspend(()).is_err() {
                self.raw_yielder.unwind();
            }
        }
    }

    /// Returns an iterator over the items until the input ends.
    ///
    /// ```
    /// let sum = cede::Sink::new(|inbox: &cede::Inbox<u32>| inbox.iter().sum::<u32>());
    /// # let mut sum = sum;
    /// # sum.send(2).unwrap();
    /// # sum.send(3).unwrap();
    /// # assert_eq!(sum.finish(), 5);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { inbox: self }
    }

    pub(super) fn put(&self, item: T) {
        self.item.set(Some(item));
    }

    pub(super) fn take_back(&self) -> Option<T> {
        self.item.take()
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox of {}", self.raw_yielder.label())
    }
}

/// An iterator over the items of an [`Inbox`], which waits for each.
#[derive(Debug)]
pub struct Iter<'a, T> {
    inbox: &'a Inbox<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.inbox.recv()
    }
}

impl<T> std::iter::FusedIterator for Iter<'_, T> {}

impl<'a, T> IntoIterator for &'a Inbox<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
