//! The files, cut into jobs.

use crate::job::{Job, Part};
use cede::fs::File;
use cede::{Generator, Yielder};
use memchr::memchr;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};

/// The number of parts in a job: small files share a job.
const PARTS: usize = 256;
/// The number of bytes that are read at once to find the end of a line.
const LOOK: usize = 16 * 1024;

/// The input of a run, and how it is cut.
#[derive(Clone, Debug)]
pub struct Input {
    /// The paths of the files, in the order of the output.
    pub files: Vec<OsString>,
    /// The pattern.
    pub pattern: Vec<u8>,
    /// The number of bytes of a job, to which the rest of a line is added.
    pub chunk: u64,
    /// Whether the bytes travel with the job.
    pub by_value: bool,
}

/// Yields the jobs of a run. Waits while files are read. Calls `report` with each file that cannot be read, and leaves the rest of it out.
pub fn jobs(input: Input, coordinator: u64, report: impl Fn(&OsStr, io::Error) + 'static) -> Generator<Job> {
    Generator::new(move |y: &Yielder<Job>| {
        let mut cutter = Cutter { input: &input, y, coordinator, seq: 0, parts: Vec::new(), length: 0 };
        for path in &input.files {
            if let Err(error) = cutter.add(path) {
                report(path, error);
            }
        }
        cutter.finish();
    })
}

/// The job to which parts are added.
struct Cutter<'a> {
    input: &'a Input,
    y: &'a Yielder<Job>,
    coordinator: u64,
    seq: u64,
    parts: Vec<Part>,
    length: u64,
}

impl Cutter<'_> {
    fn add(&mut self, path: &OsStr) -> io::Result<()> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !about.is_file() {
            return Err(io::Error::new(ErrorKind::Unsupported, "not a regular file"));
        }
        let total = about.len();
        let mut offset = 0;
        while offset < total {
            let room = self.input.chunk - self.length;
            let end = line_end(&file, (offset + room).min(total), total)?;
            let length = end - offset;
            let text = if self.input.by_value { Some(read(&file, offset, length)?) } else { None };
            self.parts.push(Part { path: path.to_owned(), offset, length, text });
            self.length += length;
            offset = end;
            if self.length >= self.input.chunk || self.parts.len() == PARTS {
                self.finish();
            }
        }
        Ok(())
    }

    /// Yields the job, if it has parts.
    fn finish(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let parts = std::mem::take(&mut self.parts);
        let pattern = self.input.pattern.clone();
        self.y.yield_(Job { coordinator: self.coordinator, seq: self.seq, pattern, parts });
        self.seq += 1;
        self.length = 0;
    }
}

/// Returns the end of the line to which the byte before `at` belongs.
fn line_end(file: &File, at: u64, total: u64) -> io::Result<u64> {
    let mut buffer = vec![0; LOOK];
    // The byte before may be the line feed already.
    let mut at = at - 1;
    while at < total {
        let count = file.read_at(&mut buffer, at)?;
        if count == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        if let Some(after) = memchr(b'\n', &buffer[..count]) {
            return Ok((at + after as u64 + 1).min(total));
        }
        at += count as u64;
    }
    Ok(total)
}

/// Reads a range of a file. Waits for the file system.
///
/// # Errors
///
/// `OutOfMemory` if there is no memory for so many bytes, and the errors of the reads.
pub fn read(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| ErrorKind::OutOfMemory)?;
    let mut text = Vec::new();
    text.try_reserve_exact(length).map_err(|_| ErrorKind::OutOfMemory)?;
    text.resize(length, 0);
    file.read_exact_at(&mut text, offset)?;
    Ok(text)
}
