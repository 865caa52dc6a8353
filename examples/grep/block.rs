//! The blocks that pass through the pipeline, and the tray that returns them for reuse.

use crate::window::Window;
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// A sequence of whole lines of one input, with the results of the stages.
///
/// A block for every line would cost more than the search itself. So a block holds the lines of one read, and its buffers
/// are reused: the source refills the blocks that the printer has finished.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The name of the input, as printed.
    pub name: Arc<[u8]>,
    /// The lines, in the buffer into which they were read.
    pub window: Window,
    /// Whether the input is known to be a binary file.
    pub binary: bool,
    /// Whether a part of the input has been read.
    pub begun: bool,
    /// Whether the input ends with this block.
    pub last: bool,
    /// The error that kept the input, or the rest of it, from being read.
    pub problem: Option<String>,
    /// The selected lines. Set by the matcher.
    pub found: Found,
    /// Whether the rest of this input need not be read. Set by the printer.
    pub enough: bool,
}

impl Block {
    /// Prepares the block for the start of an input. It has no lines yet.
    pub(crate) fn begin(&mut self, name: Arc<[u8]>) {
        self.name = name;
        self.window.clear();
        self.binary = false;
        self.begun = false;
        self.last = false;
        self.problem = None;
        self.enough = false;
    }
}

/// The selected lines of a block. All positions are offsets into its text.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The number of selected lines. If one is enough, the search stops after the first.
    pub lines: u64,
    /// The selected lines in runs, line ends included, if lines are printed.
    pub runs: Vec<Range<usize>>,
    /// The matches that are not empty, if matches are printed or coloured.
    pub matches: Vec<Range<usize>>,
}

impl Found {
    /// Removes all results.
    pub(crate) fn clear(&mut self) {
        self.lines = 0;
        self.runs.clear();
        self.matches.clear();
    }
}

/// A place for one finished block. The last stage puts it there, and the first stage reuses it.
#[derive(Clone, Default)]
pub(crate) struct Tray(Rc<Cell<Option<Block>>>);

impl Tray {
    /// Puts a block on the tray.
    pub(crate) fn put(&self, block: Block) {
        self.0.set(Some(block));
    }

    /// Takes the block from the tray, or a new block if the tray is empty.
    pub(crate) fn take(&self) -> Block {
        self.0.take().unwrap_or_default()
    }
}
