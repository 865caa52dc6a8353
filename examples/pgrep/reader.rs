//! The tasks that read and search.

use crate::Batch;
use crate::block::Block;
use crate::files::open;
use crate::input::Input;
use crate::output::Destination;
use crate::search::Search;
use crate::walk::Problem;
use crate::windows::Windows;
use cede::blocking::unblock;
use cede::fs::File;
use cede::sync::channel::{Receiver, Sender};
use std::sync::Arc;

/// The parameters of the tasks of one worker.
pub(crate) struct Reader {
    /// The search. Each worker has a pattern of its own: workers would take turns at the memory of a shared one.
    pub search: Search,
    /// The destination of the output, which is not searched.
    pub destination: Destination,
    /// The files to search.
    pub batches: Receiver<Batch>,
    /// The unused buffers.
    pub windows: Arc<Windows>,
}

impl Reader {
    /// Runs tasks until there are no more files.
    pub(crate) fn run(&self, tasks: usize) {
        let ended = cede::scope(|scope| {
            for _ in 0..tasks {
                scope.spawn(|| self.task());
            }
        });
        ended.expect("a task does not panic");
    }

    /// Opens, reads and searches files until there are no more.
    pub(crate) fn task(&self) {
        while let Ok(Batch { files, answers }) = self.batches.recv() {
            let open = || files.into_iter().map(|found| found.and_then(|path| open(&path))).collect::<Vec<_>>();
            for input in unblock(open) {
                let input = input.and_then(|input| input.unless_written_to(&self.search.options, &self.destination));
                let answered = match input {
                    Ok(input) => self.search(input, &answers),
                    Err(Problem { name, text }) => {
                        let mut block = Block::default();
                        block.begin(name);
                        block.problem = Some(text);
                        answers.send(block).is_ok()
                    }
                };
                // The printer has ended.
                if !answered {
                    return;
                }
            }
        }
    }

    /// Reads and searches one file, and sends its blocks to the printer. Returns whether the printer goes on.
    fn search(&self, mut input: Input<File>, answers: &Sender<Block>) -> bool {
        let options = &self.search.options;
        let mut block = Block { window: self.windows.take(), name: Arc::clone(&input.name), ..Block::default() };
        loop {
            input.fill(&mut block);
            // Saves the call that finds the end.
            if !block.last && input.left() == Some(0) {
                block.window.take_last_line();
                block.last = true;
            }
            if !block.last && block.window.text().is_empty() {
                continue;
            }
            self.search.run(&mut block);
            let is_enough = block.found.lines > 0 && options.first_is_enough(block.binary);
            if block.last || is_enough {
                self.strip(&mut block);
                return answers.send(block).is_ok();
            }
            let mut next = Block {
                window: self.windows.take(),
                name: Arc::clone(&input.name),
                binary: block.binary,
                begun: true,
                ..Block::default()
            };
            next.window.follow(&block.window);
            self.strip(&mut block);
            if answers.send(block).is_err() {
                return false;
            }
            block = next;
        }
    }

    /// Takes the text from a block whose text is not printed, so that its memory is used again at once.
    fn strip(&self, block: &mut Block) {
        let options = &self.search.options;
        // To number the lines of the blocks that follow, the printer counts the lines of this one.
        let is_counted = options.numbers && !block.last;
        if !options.prints_text() || block.binary || block.found.lines == 0 && !is_counted {
            self.windows.give_back(std::mem::take(&mut block.window));
        }
    }
}
