//! Standard output: its buffer, its colours on a terminal, and its destination.

use crate::streams::{Stream, Writer};
use std::env;
use std::fs::Metadata;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// The size of the output buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// A colour of grep: the parameters of a "select graphic rendition" escape sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(&'static str);

impl Paint {
    /// A match.
    pub(crate) const MATCH: Paint = Paint("01;31");
    /// The name of an input.
    pub(crate) const NAME: Paint = Paint("35");
    /// A line number.
    pub(crate) const NUMBER: Paint = Paint("32");
    /// The separator between those and the line.
    pub(crate) const SEPARATOR: Paint = Paint("36");
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    to: BufWriter<Writer>,
    /// Whether colours are used.
    pub colour: bool,
    terminal: bool,
}

impl Output {
    /// Opens standard output.
    pub(crate) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let to = BufWriter::with_capacity(BUFFER, Writer::new(Stream::Output));
        Output { to, colour: terminal && !dumb && !plain, terminal }
    }

    /// Writes bytes without a colour.
    pub(crate) fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    /// Writes bytes in a colour, if colours are used.
    pub(crate) fn painted(&mut self, paint: Paint, bytes: &[u8]) -> io::Result<()> {
        if !self.colour {
            return self.plain(bytes);
        }
        write!(self.to, "\x1b[{}m\x1b[K", paint.0)?;
        self.to.write_all(bytes)?;
        self.to.write_all(b"\x1b[m\x1b[K")
    }

    /// Writes a number in a colour, if colours are used.
    pub(crate) fn painted_number(&mut self, paint: Paint, number: u64) -> io::Result<()> {
        // Faster than `write!`. With `-n` there is a number for every line.
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = number;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.painted(paint, &digits[start..])
    }

    /// Writes the buffered output.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// Writes the buffered output if standard output is a terminal.
    pub(crate) fn flush_terminal(&mut self) -> io::Result<()> {
        if self.terminal { self.flush() } else { Ok(()) }
    }
}

/// The destination of standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination {
    /// A regular file, by its device and inode.
    File(u64, u64),
    /// The null device, so nothing needs to be written.
    Null,
    /// Any other destination.
    Other,
}

impl Destination {
    /// Determines the destination of standard output.
    pub(crate) fn of_stdout() -> Self {
        let about = Stream::Output.file().and_then(|file| file.metadata());
        let null = std::fs::metadata("/dev/null");
        match (about, null) {
            (Ok(about), _) if about.is_file() => Destination::File(about.dev(), about.ino()),
            (Ok(about), Ok(null)) if about.file_type().is_char_device() && about.rdev() == null.rdev() => {
                Destination::Null
            }
            _ => Destination::Other,
        }
    }

    /// Returns whether the destination is this regular file.
    pub(crate) fn is_file(&self, about: &Metadata) -> bool {
        matches!(*self, Destination::File(device, inode) if (device, inode) == (about.dev(), about.ino()))
    }
}

/// Returns the text of an error as grep prints it, without the number that Rust adds.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
