//! A small grep, as a pipeline of three coroutines: `source` -> `matcher` -> `printer`.
//!
//! ```text
//! cargo run --release --example grep -- [-EFHchilnoqv] PATTERN [FILE|DIR]...
//! ```
//!
//! The source is a generator that walks directories, reads files and yields blocks of whole lines. The matcher and the
//! printer are sinks, which receive blocks. Each stage is a plain loop that keeps its state in local variables. No stage
//! knows what drives the other stages, and each of them can end the run: when the printer returns, because it has its
//! answer or its output is closed, the suspended stages before it are dropped. Blocks are reused: the printer puts each
//! block on a tray, and from there it is sent back into the source.
//!
//! Output and exit code are those of `LC_ALL=C grep -E`, byte for byte, with these differences:
//! * A match is the leftmost-first one, not the leftmost-longest. Only `-o` and the colours show the difference.
//! * Back-references are refused.
//! * Directories are walked without `-r`, in the order of the names, hidden files included.
//! * A doubtful pattern, such as `\d`, causes no warning.
//! * The nesting depth of a pattern has a fixed limit (40,000 levels of groups and repetitions), which does not depend on
//!   `ulimit -s`.

// Not `forbid`: the constructor in `streams` needs a macro that allows unsafe code for itself.
#![deny(unsafe_code)]

mod args;
mod block;
mod bracket;
mod ere;
mod exit;
mod input;
mod interval;
mod matcher;
mod output;
mod pattern;
mod print;
mod progress;
mod required;
mod search;
mod source;
mod streams;
mod walk;
mod window;

use args::{Options, Refusal, Request, Show};
use block::Tray;
use cede::CoroutineState;
use output::{Destination, Output};
use pattern::Pattern;
use print::Summary;
use progress::Progress;
use search::Search;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

fn main() -> ExitCode {
    let options = match args::parse(|_, _| None) {
        Ok(Request::Search(options)) => options,
        Ok(Request::Help { quiet }) => return exit::help(args::HELP, quiet),
        Err(refusal) => return exit::refuse(refusal),
    };
    let pattern = match Pattern::new(&options) {
        Ok(pattern) => pattern,
        Err(text) => return exit::refuse(Refusal { text: format!("grep: {text}\n"), quiet: options.quiet }),
    };
    // The empty pattern matches every line, so `-v` selects no line, and GNU grep does not even open the files. It
    // deduplicates the lines of a pattern, so several empty lines are the empty pattern too.
    if options.invert && options.pattern.iter().all(|&byte| byte == b'\n') {
        return ExitCode::from(1);
    }
    let quiet = options.quiet;
    exit::code(&run(options, pattern), quiet)
}

/// Builds the pipeline and drives it to its end.
fn run(mut options: Options, pattern: Pattern) -> Summary {
    let destination = Destination::of_stdout();
    if let Destination::Null = destination {
        options.show = Show::Nothing;
    }
    let options = Arc::new(options);
    let output = Output::new();
    let progress = Rc::new(Progress::new(&options));
    let tray = Tray::default();

    let search = Search { pattern, options: options.clone(), colour: output.colour };
    let mut source = source::blocks(options.clone(), destination);
    let printer = print::printer(options, output, progress.clone(), tray.clone());
    let mut matcher = matcher::matcher(search, printer);

    let mut step = source.start();
    while let CoroutineState::Yielded(block) = step {
        progress.advance(block.window.text().len());
        // The matcher may end with this block. Then no further block is read.
        if matcher.send(block).is_err() || matcher.is_finished() {
            break;
        }
        match source.send(tray.take()) {
            Ok(next) => step = next,
            Err(_) => break,
        }
    }
    let summary = matcher.finish();
    progress.finish();
    summary
}
