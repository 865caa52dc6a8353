//! The first stage: walks the operands, reads the files, and yields blocks of whole lines.

use crate::args::Options;
use crate::block::Block;
use crate::input::{Input, ReadFile};
use crate::output::Destination;
use crate::streams::Stream;
use crate::walk::{Problem, descend};
use cede::{Generator, Yielder};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Creates the stage. It yields the blocks of all inputs, and for each block receives one to reuse.
pub(crate) fn blocks(options: Arc<Options>, destination: Destination) -> Generator<Block, Block> {
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
fn read(input: &mut Input<File>, mut block: Block, y: &Yielder<Block, Block>) -> Block {
    loop {
        input.fill(&mut block);
        if block.last || !block.window.text().is_empty() {
            let last = block.last;
            block = y.yield_(block);
            if last || block.enough {
                return block;
            }
        }
    }
}

impl ReadFile for File {
    fn read(&self, buffer: &mut [u8], _: u64, _: Option<u64>) -> io::Result<usize> {
        let mut file = self;
        Read::read(&mut file, buffer)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }
}

fn open(path: &Path) -> Result<Input<File>, Problem> {
    input(path.as_os_str().as_bytes(), File::open(path))
}

fn standard() -> Result<Input<File>, Problem> {
    let mut input = input(b"(standard input)", Stream::Input.file())?;
    // Another process may have read a part of the file already. A pipe has no position.
    input.at = input.file.stream_position().unwrap_or(0);
    Ok(input)
}

fn input(name: &[u8], file: io::Result<File>) -> Result<Input<File>, Problem> {
    let open = file.and_then(|file| Ok((file.metadata()?, file)));
    let (about, file) = open.map_err(|error| Problem::new(name, &error))?;
    Ok(Input { name: name.into(), file, about, at: 0 })
}

/// Yields all inputs, in the order of the operands.
fn walk(options: Arc<Options>) -> Generator<Result<Input<File>, Problem>> {
    Generator::new(move |y: &Yielder<Result<Input<File>, Problem>>| {
        for operand in &options.operands {
            if operand == OsStr::new("-") {
                y.yield_(standard());
                continue;
            }
            let path = Path::new(operand);
            match open(path) {
                Ok(input) if input.about.is_dir() => descend(path, |found| {
                    y.yield_(found.and_then(open));
                    true
                }),
                found => y.yield_(found),
            }
        }
    })
}
