//! Finds the selected lines of a block.

use crate::args::{Options, Show};
use crate::block::{Block, Found};
use crate::pattern::Pattern;
use memchr::memchr_iter;
use std::ops::Range;
use std::sync::Arc;

/// The parameters of a search.
#[derive(Debug)]
pub(crate) struct Search {
    /// The pattern.
    pub pattern: Pattern,
    /// The command line.
    pub options: Arc<Options>,
    /// Whether matches are coloured.
    pub colour: bool,
}

impl Search {
    /// Finds the selected lines of a block.
    pub(crate) fn run(&self, block: &mut Block) {
        let invert = self.options.invert;
        let first_only = self.options.first_is_enough(block.binary);
        let text = block.window.text();
        let found = &mut block.found;
        found.clear();
        let mut at = 0;
        while at < text.len() {
            let line = self.pattern.next_line(text, at);
            let end = line.as_ref().map_or(text.len(), |line| line.end);
            let run = match line {
                Some(line) if invert => at..line.start,
                Some(line) => line,
                None if invert => at..text.len(),
                None => break,
            };
            at = end;
            if !run.is_empty() {
                self.select(text, run, block.binary, found);
                if first_only {
                    break;
                }
            }
        }
    }

    /// Records the results that the printer needs of a selected line, or with `-v` of a run of selected lines.
    fn select(&self, text: &[u8], run: Range<usize>, binary: bool, found: &mut Found) {
        let Options { invert, show, .. } = *self.options;
        found.lines += if invert { memchr_iter(b'\n', &text[run.clone()]).count() as u64 } else { 1 };
        if binary {
            return;
        }
        if !invert && (show == Show::Matches || show == Show::Lines && self.colour) {
            self.pattern.push_matches(text, run.clone(), &mut found.matches);
        }
        if show == Show::Lines {
            found.runs.push(run);
        }
    }
}
