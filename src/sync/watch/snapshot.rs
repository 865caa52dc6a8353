//! The value that a borrow returns: an owned snapshot, not a guard of a lock.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A value of a watch channel, as it was when it was borrowed. It holds no lock, and may be kept over any wait.
pub struct Ref<T>(pub(super) Arc<T>);

impl<T> Ref<T> {
    /// Returns the value as a shared pointer.
    pub fn into_arc(self) -> Arc<T> {
        self.0
    }
}

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
