//! What travels through the pipeline, and the tray on which it comes back.

use crate::window::Window;
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

/// A run of whole lines of one input, and what the stages have to tell each other about it.
///
/// A block for every line would cost more than the search itself. A block holds what one read brought in, and its
/// buffers go round: what the printer is done with, the source fills again.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The name of the input, as it is printed.
    pub name: Rc<[u8]>,
    /// The lines, within the buffer that they were read into.
    pub window: Window,
    /// Whether the input is known to be a binary file.
    pub binary: bool,
    /// Whether the input ends with this block.
    pub last: bool,
    /// Why the input, or the rest of it, could not be read.
    pub problem: Option<String>,
    /// What the matcher found.
    pub found: Found,
    /// Set by the printer: nothing more of this input is wanted.
    pub enough: bool,
}

impl Block {
    /// Makes it the first block of an input, with no lines in it yet.
    pub(crate) fn begin(&mut self, name: Rc<[u8]>) {
        self.name = name;
        self.window.clear();
        self.binary = false;
        self.last = false;
        self.problem = None;
        self.enough = false;
    }
}

/// The selected lines of a block. All places are offsets into its text.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How many lines are selected. Where one is enough, no more are looked for.
    pub lines: u64,
    /// The selected lines in runs, line ends included, if lines are to be printed.
    pub runs: Vec<Range<usize>>,
    /// The matches that are not empty, if they are to be printed or coloured.
    pub matches: Vec<Range<usize>>,
}

impl Found {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.lines = 0;
        self.runs.clear();
        self.matches.clear();
    }
}

/// Where the last stage leaves a block that it is done with, for the first one to use again.
#[derive(Clone, Default)]
pub(crate) struct Tray(Rc<Cell<Option<Block>>>);

impl Tray {
    /// Leaves a block.
    pub(crate) fn put(&self, block: Block) {
        self.0.set(Some(block));
    }

    /// Takes the block away, or a new one if there is none.
    pub(crate) fn take(&self) -> Block {
        self.0.take().unwrap_or_default()
    }
}
