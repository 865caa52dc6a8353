//! An open input: a file, or standard input.

use crate::args::Options;
use crate::block::Block;
use crate::output::{Destination, reason};
use crate::walk::Problem;
use memchr::memchr;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// An open file.
pub(crate) trait ReadFile {
    /// Reads the next bytes, which begin at the offset `at` if the file has offsets. `left` is the number of bytes up to the end, if it
    /// is known.
    fn read(&self, buffer: &mut [u8], at: u64, left: Option<u64>) -> io::Result<usize>;

    /// Reads the bytes at an offset of a regular file, and does not change the next bytes.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
}

/// An input that is being read.
pub(crate) struct Input<F> {
    /// The name, as printed.
    pub name: Arc<[u8]>,
    /// The open file.
    pub file: F,
    /// The metadata of the file.
    pub about: Metadata,
    /// The offset up to which it has been read.
    pub at: u64,
}

impl<F: ReadFile> Input<F> {
    /// Reads once, and adds the whole lines to the block. If the input has ended or cannot be read, the block becomes its last one.
    pub(crate) fn fill(&mut self, block: &mut Block) {
        let left = self.left();
        let Input { file, at, .. } = self;
        match block.window.read(left, |buffer| file.read(buffer, *at, left)) {
            Ok(0) => {
                block.window.take_last_line();
                block.last = true;
            }
            Ok(count) => {
                let first = !std::mem::replace(&mut block.begun, true);
                self.at += count as u64;
                block.binary = block.binary || block.window.has_nul() || first && self.has_hole();
                if block.binary {
                    block.window.end_lines_at_nuls();
                }
                block.window.take_whole_lines();
            }
            Err(error) => {
                block.problem = Some(reason(&error));
                block.last = true;
            }
        }
    }

    /// Returns the number of bytes left to read, if it is known.
    pub(crate) fn left(&self) -> Option<u64> {
        if self.about.is_file() { self.about.size().checked_sub(self.at) } else { None }
    }

    /// Returns whether the rest of a regular file has a hole, which reads as NUL bytes.
    ///
    /// Missing blocks are only a hint, because a compressing file system also uses fewer blocks than the size suggests. So the
    /// file is searched for a NUL.
    fn has_hole(&self) -> bool {
        if self.left().is_none_or(|left| left == 0) || self.about.blocks() * 512 >= self.about.size() {
            return false;
        }
        let mut at = self.at;
        let mut bytes = vec![0; 64 * 1024];
        loop {
            match self.file.read_at(&mut bytes, at) {
                Ok(count) if memchr(0, &bytes[..count]).is_some() => return true,
                // The error occurs again when this part is read.
                Ok(0) | Err(_) => return false,
                Ok(count) => at += count as u64,
            }
        }
    }

    /// Refuses a file that is also the output. The search would never end, because it would find the lines that it prints.
    pub(crate) fn unless_written_to(self, options: &Options, destination: &Destination) -> Result<Self, Problem> {
        if options.prints_text() && destination.is_file(&self.about) {
            return Err(Problem { name: self.name, text: "input file is also the output".to_owned() });
        }
        Ok(self)
    }
}
