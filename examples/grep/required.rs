//! Finds a literal that every match of a pattern contains, while the pattern is read.
//!
//! Lines without it need no closer look. Only what stands outside of all groups is considered, which is enough for
//! most patterns that people write.

/// The literals of a pattern, told as its elements come by.
#[derive(Debug, Default)]
pub(crate) struct Required {
    /// The literal bytes that stand next to each other here.
    run: Vec<u8>,
    /// Whether the run is over. Its last byte is only certain when the next element comes: more repetitions may follow.
    over: bool,
    longest: Vec<u8>,
    /// Whether there was anything but literal bytes.
    mixed: bool,
    /// Whether there are alternatives, of which each would need a literal of its own.
    alternatives: bool,
}

impl Required {
    /// A byte that stands for itself.
    pub(crate) fn literal(&mut self, byte: u8) {
        if self.over {
            self.other();
        }
        self.run.push(byte);
    }

    /// Any other element, or the beginning of a group.
    pub(crate) fn other(&mut self) {
        self.mixed = true;
        if self.run.len() > self.longest.len() {
            std::mem::swap(&mut self.run, &mut self.longest);
        }
        self.run.clear();
        self.over = false;
    }

    /// A repetition of the last element, which may be a literal byte.
    pub(crate) fn repetition(&mut self, optional: bool) {
        if optional {
            self.run.pop();
        }
        self.over = true;
    }

    /// The beginning of another branch.
    pub(crate) fn branch(&mut self) {
        self.alternatives = true;
        self.other();
    }

    /// The longest literal that was found, empty if there is none, and whether the pattern is nothing but this literal.
    pub(crate) fn finish(mut self) -> (Vec<u8>, bool) {
        let plain = !(self.mixed || self.over);
        self.other();
        if self.alternatives { (Vec::new(), false) } else { (self.longest, plain) }
    }
}
