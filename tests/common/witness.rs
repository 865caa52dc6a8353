//! What tests see by: a log, a count of drops, and something that happens at the end.

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

    /// Logs `text` when it is dropped: a `finally`.
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

/// How often values were dropped.
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
