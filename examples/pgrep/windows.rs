//! The buffers of the blocks, for reuse.

use crate::window::Window;
use std::sync::{Mutex, PoisonError};

/// The windows that no block uses. The last one given back is the next one taken: the caches of the processor may still have it.
#[derive(Debug, Default)]
pub(crate) struct Windows(Mutex<Vec<Window>>);

impl Windows {
    /// Returns a window for the start of an input.
    pub(crate) fn take(&self) -> Window {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        window.clear();
        window
    }

    /// Takes a window back. One without a buffer, or with a buffer that a long line has grown, is dropped.
    pub(crate) fn give_back(&self, window: Window) {
        if window.is_usual() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(window);
        }
    }
}
