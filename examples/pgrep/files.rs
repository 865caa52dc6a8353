//! The files to search: the walk, and the opening of files.

use crate::args::Options;
use crate::block::Block;
use crate::input::{Input, ReadFile};
use crate::streams::Stream;
use crate::walk::{Problem, descend};
use cede::fs::File;
use cede::sync::channel::{Receiver, Sender, bounded};
use std::ffi::OsStr;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The number of files that a task takes at once. One call on the pool opens them all, so `READERS` times this many files may be open.
const FILES: usize = 16;

/// A file to search, or an error of the walk.
pub(crate) type Found = Result<PathBuf, Problem>;

/// Files that follow each other in the order of the walk.
pub(crate) struct Batch {
    /// The files.
    pub files: Vec<Found>,
    /// Takes the blocks of the files, in their order.
    pub answers: Sender<Block>,
}

/// Sends all files to the tasks in batches, and the receivers of their answers to the printer. Ends early when the printer has ended.
pub(crate) fn walk(options: &Options, batches: &Sender<Batch>, answers: &Sender<Receiver<Block>>) {
    let mut files = Vec::with_capacity(FILES);
    let send = |files: &mut Vec<Found>| {
        let files = std::mem::replace(files, Vec::with_capacity(FILES));
        let (sender, receiver) = bounded(crate::AHEAD);
        answers.send(receiver).is_ok() && batches.send(Batch { files, answers: sender }).is_ok()
    };
    for operand in &options.operands {
        let path = Path::new(operand);
        let mut goes_on = true;
        let mut add = |found: Found| {
            files.push(found);
            goes_on = files.len() < FILES || send(&mut files);
            goes_on
        };
        if operand != OsStr::new("-") && path.is_dir() {
            descend(path, |found| add(found.map(Path::to_owned)));
        } else {
            add(Ok(path.to_owned()));
        }
        if !goes_on {
            return;
        }
    }
    if !files.is_empty() {
        send(&mut files);
    }
}

/// Opens a file on a thread that may wait for the disk.
pub(crate) fn open(path: &Path) -> Result<Input<File>, Problem> {
    let standard = path == Path::new("-");
    let name = if standard { b"(standard input)" } else { path.as_os_str().as_bytes() };
    let file = if standard { Stream::Input.file() } else { std::fs::File::open(path) };
    let open = file.and_then(|file| Ok((file.metadata()?, file)));
    let (about, mut file) = open.map_err(|error| Problem::new(name, &error))?;
    // Another process may have read a part of the standard input already. A pipe has no position.
    let at = if standard { file.stream_position().unwrap_or(0) } else { 0 };
    Ok(Input { name: name.into(), file: file.into(), about, at })
}

impl ReadFile for File {
    fn read(&self, mut buffer: &mut [u8], at: u64, left: Option<u64>) -> io::Result<usize> {
        // A read that fills its buffer needs no second system call that looks for the end. A file of `/proc` has the length 0.
        if let Some(left) = left.filter(|left| *left > 0).and_then(|left| usize::try_from(left).ok()) {
            let len = buffer.len().min(left);
            buffer = &mut buffer[..len];
        }
        match File::read_at(self, buffer, at) {
            // A pipe or a terminal has no offsets.
            Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => {
                let mut file = self;
                Read::read(&mut file, buffer)
            }
            outcome => outcome,
        }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        File::read_at(self, buffer, at)
    }
}
