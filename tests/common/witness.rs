//! Witnesses of tests: a log, a drop counter, and a function that is called at a drop.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A log that tasks and tests share.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    /// Returns a guard that logs `text` when it is dropped, like a `finally`.
    pub(crate) fn at_end(&self, text: &'static str) -> AtEnd<impl FnMut() + use<>> {
        let log = self.clone();
        AtEnd(move || log.add(text))
    }
}

/// Calls a function when it is dropped.
pub(crate) struct AtEnd<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A drop counter.
#[derive(Clone, Default)]
pub(crate) struct Drops(Rc<Cell<u32>>);

impl Drops {
    pub(crate) fn count(&self) -> u32 {
        self.0.get()
    }

    pub(crate) fn value(&self) -> Counted {
        Counted(self.clone())
    }
}

pub(crate) struct Counted(pub(crate) Drops);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}
