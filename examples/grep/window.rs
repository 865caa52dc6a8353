//! The buffer through which an input is read, and the whole lines in it.
//!
//! Whether a file is binary is decided at each read: lines before the read with the first NUL are still printed. To print the
//! same lines as GNU grep, each read must end where a read of GNU grep ends. Therefore this module uses the sizes of GNU grep.

use memchr::{memchr, memrchr};
use std::io::{self, ErrorKind};
use std::ops::Range;

/// The unit of the sizes and the offsets of reads, in bytes.
const PAGE: usize = 4096;
/// The size of a read in bytes, unless a line is about as long.
const READ: usize = 96 * 1024;
/// The offset of the buffer from the beginning of a page, at which `malloc` places a large buffer. The place of GNU grep's first
/// buffer depends on the pattern. The difference can show in a file whose first NUL follows a line of several hundred bytes
/// that the end of a read cuts.
const OFFSET: usize = 16;
/// The number of bytes that GNU grep keeps free at the end of its buffer.
const SPARE: usize = 8;
/// The difference between the size of the buffer and the largest read into it, in bytes.
const OVERHEAD: usize = PAGE + SPARE;

/// A buffer with whole lines, followed by the beginning of the next line.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    /// The range of the whole lines.
    lines: Range<usize>,
    /// The offset at which the last read began.
    fresh: usize,
    /// The offset at which the last read ended.
    end: usize,
}

impl Window {
    /// Returns the whole lines, each with its line end.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[self.lines.clone()]
    }

    /// Continues the input of another window: copies its unfinished line, so that the next read is as it would be there.
    #[allow(dead_code, reason = "only pgrep reads into several windows")]
    pub(crate) fn follow(&mut self, before: &Window) {
        let rest = before.lines.end..before.end;
        self.bytes.resize(before.bytes.len(), 0);
        self.bytes[rest.clone()].copy_from_slice(&before.bytes[rest.clone()]);
        (self.lines, self.fresh, self.end) = (rest.start..rest.start, before.fresh, before.end);
    }

    /// Returns whether the window has a buffer, and no long line has grown it.
    #[allow(dead_code, reason = "only pgrep keeps several windows")]
    pub(crate) fn is_usual(&self) -> bool {
        self.bytes.len() == READ + OVERHEAD
    }

    /// Removes all lines, for the next input. Keeps the buffer and its size.
    pub(crate) fn clear(&mut self) {
        let start = if self.bytes.is_empty() { 0 } else { page_behind(0) };
        (self.lines, self.fresh, self.end) = (start..start, start, start);
    }

    /// Drops the whole lines, keeps the unfinished line after them, and reads once.
    ///
    /// `left` is the number of bytes of a regular file that have not been read yet. `read` reads once. Returns the number of bytes read,
    /// 0 at the end of the input.
    pub(crate) fn read(
        &mut self,
        left: Option<u64>,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let room = self.make_room(left);
        let count = loop {
            match read(&mut self.bytes[room.clone()]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        (self.fresh, self.end) = (room.start, room.start + count);
        Ok(count)
    }

    /// Returns whether the last read contains a NUL byte.
    pub(crate) fn has_nul(&self) -> bool {
        memchr(0, &self.bytes[self.fresh..self.end]).is_some()
    }

    /// Replaces the NUL bytes of the last read by line ends: a binary file has few newlines, and the text between NULs makes
    /// better lines.
    pub(crate) fn end_lines_at_nuls(&mut self) {
        for byte in &mut self.bytes[self.fresh..self.end] {
            // Not a conditional store, which the compiler would do byte by byte.
            *byte = if *byte == 0 { b'\n' } else { *byte };
        }
    }

    /// Adds the whole lines of the last read to the text. Without a whole line, the text stays empty.
    pub(crate) fn take_whole_lines(&mut self) {
        if let Some(at) = memrchr(b'\n', &self.bytes[self.fresh..self.end]) {
            self.lines.end = self.fresh + at + 1;
        }
    }

    /// Ends the unfinished line at the end of an input. Without an unfinished line, the text stays empty.
    pub(crate) fn take_last_line(&mut self) {
        if self.lines.end < self.end {
            // `SPARE` guarantees that there is room for this byte.
            self.bytes[self.end] = b'\n';
            self.lines.end = self.end + 1;
        }
    }

    /// Returns the room for the next read, after the unfinished line. Moves the line or grows the buffer if there is none.
    fn make_room(&mut self, left: Option<u64>) -> Range<usize> {
        let rest = self.lines.end..self.end;
        // After a short read, as from a pipe, there is enough room where it ended.
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

    /// Grows the buffer by half if there is no room to read a page after `rest` bytes.
    fn grow(&mut self, rest: usize, left: Option<u64>) {
        let now = self.bytes.len().max(READ + OVERHEAD);
        let least = rest + PAGE + OVERHEAD;
        let mut size = now;
        if now < least {
            // Not larger than the rest of the file needs.
            let most = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
            size = (now + now / 2).min(most.saturating_add(rest + OVERHEAD)).max(least);
        }
        self.bytes.resize(size, 0);
    }
}

/// Returns the offset in the buffer of the first page with room for `rest` bytes and one more before it.
fn page_behind(rest: usize) -> usize {
    (OFFSET + rest + 1).next_multiple_of(PAGE) - OFFSET
}
