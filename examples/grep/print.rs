//! The last stage: prints the requested output and counts the selected lines of each input.

use crate::args::{Options, Show};
use crate::block::{Block, Tray};
use crate::output::{Output, Paint, reason};
use crate::progress::Progress;
use crate::streams::complain;
use cede::{Inbox, Sink};
use memchr::{memchr, memchr_iter};
use std::io::{self, ErrorKind};
use std::ops::{ControlFlow, Range};
use std::rc::Rc;
use std::sync::Arc;

/// The result of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Whether a line was selected.
    pub selected: bool,
    /// Whether an error occurred.
    pub trouble: bool,
    /// Whether a message could not be written to standard error.
    pub unheard: bool,
}

/// Creates the stage. It prints each block and puts it on the tray, and ends early when the run has its answer.
pub(crate) fn printer(
    options: Arc<Options>,
    output: Output,
    progress: Rc<Progress>,
    tray: Tray,
) -> Sink<Block, Summary> {
    let mut printer = Printer { options, output, progress, file: Books::default(), summary: Summary::default() };
    Sink::new(move |inbox: &Inbox<Block>| {
        match printer.run(inbox, &tray).and_then(|()| printer.output.flush()) {
            Ok(()) => {}
            // The reader has closed the pipe, so it needs no more output. Not an error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => {
                printer.summary.trouble = true;
                printer.say(&[b"write error: ", reason(&error).as_bytes()]);
            }
        }
        printer.summary
    })
}

/// The counts of one input.
#[derive(Default)]
struct Books {
    /// The number of selected lines.
    selected: u64,
    /// The number of lines of the input before the offset `counted` in the current block. Counted only if numbers are printed.
    lines: u64,
    counted: usize,
}

impl Books {
    /// Counts the lines up to an offset in the block. Returns the number of the line at that offset.
    fn line_number(&mut self, text: &[u8], at: usize) -> u64 {
        self.lines += memchr_iter(b'\n', &text[self.counted..at]).count() as u64;
        self.counted = at;
        self.lines + 1
    }

    /// Counts the lines of the rest of the block.
    fn finish_block(&mut self, text: &[u8]) {
        self.line_number(text, text.len());
        self.counted = 0;
    }
}

struct Printer {
    options: Arc<Options>,
    output: Output,
    progress: Rc<Progress>,
    file: Books,
    summary: Summary,
}

impl Printer {
    fn run(&mut self, inbox: &Inbox<Block>, tray: &Tray) -> io::Result<()> {
        for mut block in inbox {
            if self.block(&mut block)?.is_break() {
                break;
            }
            tray.put(block);
        }
        Ok(())
    }

    /// Prints a block. Returns `Break` when the run has its answer.
    fn block(&mut self, block: &mut Block) -> io::Result<ControlFlow<()>> {
        let found = &block.found;
        self.file.selected += found.lines;
        self.summary.selected |= found.lines > 0;
        if self.options.quiet && found.lines > 0 {
            return Ok(ControlFlow::Break(()));
        }
        if self.options.prints_text() && !block.binary {
            self.text(block)?;
        }
        if let Some(problem) = &block.problem {
            self.report(&block.name, problem)?;
            self.summary.trouble = true;
        }
        block.enough = found.lines > 0 && self.options.first_is_enough(block.binary);
        if block.last || block.enough {
            self.end_of_file(block)?;
        }
        self.output.flush_terminal()?;
        Ok(ControlFlow::Continue(()))
    }

    /// Prints the selected lines or the matches of a block.
    fn text(&mut self, block: &Block) -> io::Result<()> {
        if self.options.show == Show::Matches {
            self.matches(block)?;
        } else {
            self.lines(block)?;
        }
        if self.options.numbers {
            self.file.finish_block(block.window.text());
        }
        Ok(())
    }

    /// Prints the selected lines of a block.
    fn lines(&mut self, block: &Block) -> io::Result<()> {
        let text = block.window.text();
        let bare = !self.options.names && !self.options.numbers;
        let mut matches = block.found.matches.as_slice();
        for run in &block.found.runs {
            if bare && matches.is_empty() {
                self.output.plain(&text[run.clone()])?;
                continue;
            }
            let mut rest = run.clone();
            while let Some(length) = memchr(b'\n', &text[rest.clone()]) {
                let line = rest.start..rest.start + length + 1;
                rest.start = line.end;
                let count = matches.iter().take_while(|found| found.start < line.end).count();
                let (here, behind) = matches.split_at(count);
                matches = behind;
                self.head(block, line.start)?;
                self.line(text, line, here)?;
            }
        }
        Ok(())
    }

    /// Prints a line with its matches in colour.
    fn line(&mut self, text: &[u8], line: Range<usize>, matches: &[Range<usize>]) -> io::Result<()> {
        let mut at = line.start;
        for found in matches {
            self.output.plain(&text[at..found.start])?;
            self.output.painted(Paint::MATCH, &text[found.clone()])?;
            at = found.end;
        }
        self.output.plain(&text[at..line.end])
    }

    /// Prints the matches of a block, each on a line of its own.
    fn matches(&mut self, block: &Block) -> io::Result<()> {
        for found in &block.found.matches {
            self.head(block, found.start)?;
            self.output.painted(Paint::MATCH, &block.window.text()[found.clone()])?;
            self.output.plain(b"\n")?;
        }
        Ok(())
    }

    /// Prints the prefix of a line: its name and its number.
    fn head(&mut self, block: &Block, at: usize) -> io::Result<()> {
        self.name(&block.name)?;
        if self.options.numbers {
            let number = self.file.line_number(block.window.text(), at);
            self.output.painted_number(Paint::NUMBER, number)?;
            self.output.painted(Paint::SEPARATOR, b":")?;
        }
        Ok(())
    }

    /// Prints the name of the input before a line or a count, if names are printed.
    fn name(&mut self, name: &[u8]) -> io::Result<()> {
        if self.options.names {
            self.output.painted(Paint::NAME, name)?;
            self.output.painted(Paint::SEPARATOR, b":")?;
        }
        Ok(())
    }

    /// Prints the output that depends on the whole input, and resets the counts.
    fn end_of_file(&mut self, block: &Block) -> io::Result<()> {
        let Books { selected, .. } = std::mem::take(&mut self.file);
        match self.options.show {
            Show::Count => {
                self.name(&block.name)?;
                self.output.plain(format!("{selected}\n").as_bytes())
            }
            Show::Name if selected > 0 => {
                self.output.painted(Paint::NAME, &block.name)?;
                self.output.plain(b"\n")
            }
            Show::Lines | Show::Matches if block.binary && block.found.lines > 0 => {
                self.report(&block.name, "binary file matches")
            }
            _ => Ok(()),
        }
    }

    /// Writes a message about an input to standard error, after all buffered output.
    fn report(&mut self, name: &[u8], text: &str) -> io::Result<()> {
        self.output.flush()?;
        self.say(&[name, b": ", text.as_bytes()]);
        Ok(())
    }

    fn say(&mut self, text: &[&[u8]]) {
        let line = [b"grep: ", text.concat().as_slice(), b"\n"].concat();
        let unheard = &mut self.summary.unheard;
        self.progress.aside(|| *unheard |= !complain(&line));
    }
}
