//! The buffer that an input is read through, and the whole lines in it.
//!
//! Whether a file is binary is decided read by read: text before the read that brings the first NUL is still printed.
//! So that the same lines come out as from GNU grep, the reads have to end where its reads end, which is why the
//! sizes in here are its sizes and not ours.

use memchr::{memchr, memrchr};
use std::io::{self, ErrorKind, Read};
use std::ops::Range;

/// What reads are a multiple of, and begin at a multiple of.
const PAGE: usize = 4096;
/// How much one read brings in, unless there is a line of about that length.
const READ: usize = 96 * 1024;
/// How far behind the beginning of a page the buffer begins, which is where `malloc` puts a large one. Where GNU grep's
/// first buffer lies depends on the pattern; that can show in a file whose first NUL comes after a line of several
/// hundred bytes that is cut by the end of a read.
const OFFSET: usize = 16;
/// How much GNU grep keeps free at the end of its buffer.
const SPARE: usize = 8;
/// How much larger the buffer is than what can be read into it.
const OVERHEAD: usize = PAGE + SPARE;

/// A buffer with some whole lines in it, and behind them the beginning of the next one.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    /// The whole lines.
    lines: Range<usize>,
    /// Where the last read began.
    fresh: usize,
    /// Where the last read ended.
    end: usize,
}

impl Window {
    /// The whole lines, each with its line end.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[self.lines.clone()]
    }

    /// Forgets everything, for the next input. The buffer stays, in the size it has grown to.
    pub(crate) fn clear(&mut self) {
        let start = if self.bytes.is_empty() { 0 } else { page_behind(0) };
        (self.lines, self.fresh, self.end) = (start..start, start, start);
    }

    /// Goes on to what follows the whole lines: keeps the unfinished line behind them and reads once.
    ///
    /// `left` is how much of a regular file has not been read yet. Returns how much was read, 0 at the end.
    pub(crate) fn read(&mut self, mut input: impl Read, left: Option<u64>) -> io::Result<usize> {
        let room = self.make_room(left);
        let count = loop {
            match input.read(&mut self.bytes[room.clone()]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        (self.fresh, self.end) = (room.start, room.start + count);
        Ok(count)
    }

    /// Whether the last read brought a NUL byte.
    pub(crate) fn has_nul(&self) -> bool {
        memchr(0, &self.bytes[self.fresh..self.end]).is_some()
    }

    /// Turns the NUL bytes of the last read into line ends: what is between them in a binary file makes better lines
    /// than what is between its few newlines.
    pub(crate) fn end_lines_at_nuls(&mut self) {
        for byte in &mut self.bytes[self.fresh..self.end] {
            if *byte == 0 {
                *byte = b'\n';
            }
        }
    }

    /// Adds the whole lines of the last read to the text. Without any the text stays empty.
    pub(crate) fn take_whole_lines(&mut self) {
        if let Some(at) = memrchr(b'\n', &self.bytes[self.fresh..self.end]) {
            self.lines.end = self.fresh + at + 1;
        }
    }

    /// Makes the unfinished line a whole one, at the end of an input. Without one the text stays empty.
    pub(crate) fn take_last_line(&mut self) {
        if self.lines.start < self.end {
            // There is always a byte to spare for this.
            self.bytes[self.end] = b'\n';
            self.lines.end = self.end + 1;
        }
    }

    /// Finds room behind the unfinished line for the next read, and makes it if there is none.
    fn make_room(&mut self, left: Option<u64>) -> Range<usize> {
        let rest = self.lines.end..self.end;
        // After a short read, as pipes give them, there is enough left where it ended.
        if self.bytes.len() < self.end + PAGE + SPARE {
            self.grow(rest.len(), left);
            self.end = page_behind(rest.len());
            self.bytes.copy_within(rest.clone(), self.end - rest.len());
        }
        let start = self.end - rest.len();
        self.lines = start..start;
        let free = self.bytes.len() - SPARE - self.end;
        self.end..self.end + free / PAGE * PAGE
    }

    /// Grows the buffer by half if not even a page could be read behind `rest` bytes.
    fn grow(&mut self, rest: usize, left: Option<u64>) {
        let now = self.bytes.len().max(READ + OVERHEAD);
        let least = rest + PAGE + OVERHEAD;
        let mut size = now;
        if now < least {
            // No more than the rest of the file needs.
            let most = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
            size = (now + now / 2).min(most.saturating_add(rest + OVERHEAD)).max(least);
        }
        self.bytes.resize(size, 0);
    }
}

/// Where in the buffer the first page begins that leaves room for `rest` bytes and one more before it.
fn page_behind(rest: usize) -> usize {
    (OFFSET + rest + 1).next_multiple_of(PAGE) - OFFSET
}
