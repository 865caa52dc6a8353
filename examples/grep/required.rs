//! Finds a literal that every match of a pattern contains, while the pattern is parsed.
//!
//! Lines without the literal need not be searched for the whole pattern. Only literals outside all groups are considered, which
//! is enough for most patterns.

/// The literals of a pattern, collected element by element.
#[derive(Debug, Default)]
pub(crate) struct Required {
    /// The current run of adjacent literal bytes.
    run: Vec<u8>,
    /// Whether the run has ended. Its last byte is final only when the next element begins, because more repetitions may follow.
    over: bool,
    longest: Vec<u8>,
    /// Whether the pattern has elements other than literal bytes.
    mixed: bool,
    /// Whether the pattern has alternatives. Each would need a literal of its own.
    alternatives: bool,
}

impl Required {
    /// Adds a literal byte.
    pub(crate) fn literal(&mut self, byte: u8) {
        if self.over {
            self.other();
        }
        self.run.push(byte);
    }

    /// Ends the run at any other element, or at the beginning of a group.
    pub(crate) fn other(&mut self) {
        self.mixed = true;
        if self.run.len() > self.longest.len() {
            std::mem::swap(&mut self.run, &mut self.longest);
        }
        self.run.clear();
        self.over = false;
    }

    /// Handles a repetition of the last element, which may be a literal byte.
    pub(crate) fn repetition(&mut self, optional: bool) {
        if optional {
            self.run.pop();
        }
        self.over = true;
    }

    /// Begins another branch.
    pub(crate) fn branch(&mut self) {
        self.alternatives = true;
        self.other();
    }

    /// Returns the longest literal, which is empty if there is none, and whether the pattern consists only of it.
    pub(crate) fn finish(mut self) -> (Vec<u8>, bool) {
        let plain = !(self.mixed || self.over);
        self.other();
        if self.alternatives { (Vec::new(), false) } else { (self.longest, plain) }
    }
}
