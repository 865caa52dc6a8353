//! The first stage: finds the inputs and reads them, block by block.

use crate::args::Options;
use crate::block::Block;
use crate::output::{Destination, reason};
use crate::streams::Stream;
use cede::{Generator, Yielder};
use ignore::WalkBuilder;
use memchr::memchr;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;

/// Creates the stage. It yields the blocks of all inputs, and for each block receives one to reuse.
pub(crate) fn blocks(options: Rc<Options>, destination: Destination) -> Generator<Block, Block> {
    Generator::new(move |y: &Yielder<Block, Block>| {
        let mut block = Block::default();
        // A generator inside a generator: the walk keeps its position in the directories while this one reads files.
        for found in walk(options.clone()) {
            let found = found.and_then(|input| input.unless_written_to(&options, &destination));
            match found {
                Ok(mut input) => {
                    block.begin(input.name.clone());
                    block = read(&mut input, block, y);
                }
                Err(Problem { name, text }) => {
                    block.begin(name);
                    block.problem = Some(text);
                    block = y.yield_(block);
                }
            }
        }
    })
}

/// Yields the blocks of one input.
fn read(input: &mut Input, mut block: Block, y: &Yielder<Block, Block>) -> Block {
    let mut first = true;
    loop {
        match block.window.read(&input.file, input.left()) {
            Ok(0) => {
                block.window.take_last_line();
                block.last = true;
            }
            Ok(count) => {
                input.at += count as u64;
                block.binary = block.binary || block.window.has_nul() || first && input.has_hole();
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
        first = false;
        if block.last || !block.window.text().is_empty() {
            let last = block.last;
            block = y.yield_(block);
            if last || block.enough {
                return block;
            }
        }
    }
}

/// An open input: a file, or standard input.
struct Input {
    name: Rc<[u8]>,
    file: File,
    about: Metadata,
    /// The offset up to which it has been read.
    at: u64,
}

/// An input that cannot be searched, with the reason.
struct Problem {
    name: Rc<[u8]>,
    text: String,
}

impl Problem {
    fn new(name: &[u8], error: &io::Error) -> Self {
        Problem { name: name.into(), text: reason(error) }
    }
}

impl Input {
    fn open(path: &Path) -> Result<Self, Problem> {
        Self::new(path.as_os_str().as_bytes(), File::open(path))
    }

    fn standard() -> Result<Self, Problem> {
        let mut input = Self::new(b"(standard input)", Stream::Input.file())?;
        // Another process may have read a part of the file already. A pipe has no position.
        input.at = input.file.stream_position().unwrap_or(0);
        Ok(input)
    }

    fn new(name: &[u8], file: io::Result<File>) -> Result<Self, Problem> {
        let open = file.and_then(|file| Ok((file.metadata()?, file)));
        let (about, file) = open.map_err(|error| Problem::new(name, &error))?;
        Ok(Input { name: name.into(), file, about, at: 0 })
    }

    /// Returns the number of bytes left to read, if it is known.
    fn left(&self) -> Option<u64> {
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
    fn unless_written_to(self, options: &Options, destination: &Destination) -> Result<Self, Problem> {
        if options.prints_text() && destination.is_file(&self.about) {
            return Err(Problem { name: self.name, text: "input file is also the output".to_owned() });
        }
        Ok(self)
    }
}

/// Yields all inputs, in the order of the operands.
fn walk(options: Rc<Options>) -> Generator<Result<Input, Problem>> {
    Generator::new(move |y: &Yielder<Result<Input, Problem>>| {
        for operand in &options.operands {
            if operand == OsStr::new("-") {
                y.yield_(Input::standard());
                continue;
            }
            let path = Path::new(operand);
            match Input::open(path) {
                Ok(input) if input.about.is_dir() => descend(path, y),
                found => y.yield_(found),
            }
        }
    })
}

/// Yields the regular files below a directory, hidden ones too, each directory's entries in the order of their names.
fn descend(directory: &Path, y: &Yielder<Result<Input, Problem>>) {
    let mut builder = WalkBuilder::new(directory);
    builder.standard_filters(false).sort_by_file_name(OsStr::cmp);
    for entry in builder.build() {
        match entry {
            Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => y.yield_(Input::open(entry.path())),
            // Directories are descended into by the walk; links and devices are skipped.
            Ok(_) => {}
            Err(error) => y.yield_(Err(walk_problem(directory, &error))),
        }
    }
}

/// Makes the problem of an error of the walk. If the error names no path, the problem names the directory of the walk.
fn walk_problem(directory: &Path, error: &ignore::Error) -> Problem {
    fn path(error: &ignore::Error) -> Option<&Path> {
        match error {
            ignore::Error::WithPath { path, .. } => Some(path),
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path(err),
            _ => None,
        }
    }
    let name = path(error).unwrap_or(directory).as_os_str().as_bytes();
    match error.io_error() {
        Some(error) => Problem::new(name, error),
        None => Problem { name: name.into(), text: error.to_string() },
    }
}
