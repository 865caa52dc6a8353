//! A grep over many files, which reads the next files while it searches the present one.
//!
//! ```text
//! cargo run --release --example pgrep -- [-EFHchilnoqv] [-j N | --workers N] PATTERN [FILE|DIR]...
//! ```
//!
//! Tasks read files through `cede::fs`, and search the blocks that they have read. A task takes several small files at once, and opens
//! them with one call of `cede::blocking`. While one task waits for the disk, the other tasks go on. The main task prints the answers in the
//! order of the walk. With `-j N` or `--workers N` the run has N workers, whose tasks read and search. Memory is bounded: a task is at most
//! `AHEAD` blocks ahead of the printer, so a large file is read block by block.
//!
//! ```text
//! walk (a thread) -> batches of paths -> tasks that open, read and search -> answers in the order of the walk -> printer
//! ```
//!
//! The parts that know patterns, lines and the output of grep are those of `examples/grep`, whose list of differences to GNU grep also
//! holds here. There is one more: GNU grep keeps a buffer that a long line has grown, and reads the later files in longer parts. So it can
//! notice earlier that a file is binary. Here each file is read as GNU grep reads its first one.

// Not `forbid`: the constructor in `streams` needs a macro that allows unsafe code for itself.
#![deny(unsafe_code)]

#[path = "../grep/args.rs"]
mod args;
#[path = "../grep/block.rs"]
mod block;
#[path = "../grep/bracket.rs"]
mod bracket;
#[path = "../grep/ere.rs"]
mod ere;
#[path = "../grep/exit.rs"]
mod exit;
#[path = "../grep/input.rs"]
mod input;
#[path = "../grep/interval.rs"]
mod interval;
#[path = "../grep/output.rs"]
mod output;
#[path = "../grep/pattern.rs"]
mod pattern;
#[path = "../grep/print.rs"]
mod print;
#[path = "../grep/progress.rs"]
mod progress;
#[path = "../grep/required.rs"]
mod required;
#[path = "../grep/search.rs"]
mod search;
#[path = "../grep/streams.rs"]
mod streams;
#[path = "../grep/walk.rs"]
mod walk;
#[path = "../grep/window.rs"]
mod window;

mod files;
mod reader;
mod windows;

use args::{Options, Refusal, Request, Show};
use block::{Block, Tray};
use cede::sync::channel::{Receiver, bounded};
use cede::{Builder, Config};
use files::Batch;
use lexopt::ValueExt;
use output::{Destination, Output};
use pattern::Pattern;
use print::Summary;
use progress::Progress;
use reader::Reader;
use search::Search;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use windows::Windows;

/// The number of tasks that read and search, over all workers.
const READERS: usize = 8;
/// The number of batches of paths that wait for a task.
const QUEUED: usize = 8;
/// The number of blocks that a task may be ahead of the printer.
const AHEAD: usize = 16;

fn main() -> ExitCode {
    let mut workers = 1;
    let request = args::parse(|name, parser| {
        ["j", "workers"].contains(&name).then(|| {
            workers = parser.value()?.parse()?;
            Ok(())
        })
    });
    let options = match request {
        Ok(Request::Search(options)) => options,
        Ok(Request::Help { quiet }) => return exit::help(&help(), quiet),
        Err(refusal) => return exit::refuse(refusal),
    };
    let pattern = match Pattern::new(&options) {
        Ok(pattern) => pattern,
        Err(text) => return exit::refuse(Refusal { text: format!("grep: {text}\n"), quiet: options.quiet }),
    };
    // The empty pattern matches every line: see `examples/grep`.
    if options.invert && options.pattern.iter().all(|&byte| byte == b'\n') {
        return ExitCode::from(1);
    }
    let quiet = options.quiet;
    match Config::new().workers(workers.min(256)).run(|| run(options, pattern)) {
        Ok(summary) => exit::code(&summary, quiet),
        Err(error) => exit::refuse(Refusal { text: format!("grep: {error}\n"), quiet }),
    }
}

/// The text of `--help`.
fn help() -> String {
    let text = args::HELP.replace("Usage: grep", "Usage: pgrep");
    text.replace("  --help", "  -j N, --workers N   search with N threads (1; 0: one for each core)\n  --help")
}

/// Starts the walk and the tasks, and prints their answers.
fn run(mut options: Options, pattern: Pattern) -> Summary {
    let workers = cede::task::Handle::current().workers();
    let destination = Destination::of_stdout();
    if let Destination::Null = destination {
        options.show = Show::Nothing;
    }
    let options = Arc::new(options);
    let output = Output::new();
    let colour = output.colour;
    let windows = Arc::new(Windows::default());
    let (sender, batches) = bounded(QUEUED);
    let (answers, ordered) = bounded(QUEUED + READERS.max(workers));
    let reader = |pattern| Reader {
        search: Search { pattern, options: Arc::clone(&options), colour },
        destination,
        batches: batches.clone(),
        windows: Arc::clone(&windows),
    };

    // The tasks of worker 0 read and search between the turns of the printer.
    let count = READERS.div_ceil(workers);
    let first = Rc::new(reader(pattern));
    let mut tasks: Vec<_> = (0..count)
        .map(|_| {
            let reader = Rc::clone(&first);
            cede::spawn(move || reader.task())
        })
        .collect();
    let mut others: Vec<_> = (1..workers)
        .map(|worker| {
            let pattern = Pattern::new(&options).expect("the pattern has been compiled before");
            let reader = reader(pattern);
            let run = move || reader.run(count);
            Builder::new().on(worker).spawn_anywhere(run).expect("the run has not ended")
        })
        .collect();
    let walk = {
        let options = Arc::clone(&options);
        thread::spawn(move || files::walk(&options, &sender, &answers))
    };

    let summary = print(&options, output, &ordered, &windows);
    // After an early end the walk and the tasks end as soon as they notice.
    drop(ordered);
    batches.close();
    tasks.iter_mut().for_each(|task| task.join().expect("a task does not panic"));
    others.iter_mut().for_each(|task| task.join().expect("a task does not panic"));
    walk.join().expect("the walk does not panic");
    summary
}

/// Prints the answers in the order of the walk.
fn print(options: &Arc<Options>, output: Output, ordered: &Receiver<Receiver<Block>>, windows: &Windows) -> Summary {
    let progress = Rc::new(Progress::new(options));
    let tray = Tray::default();
    let mut printer = print::printer(Arc::clone(options), output, Rc::clone(&progress), tray.clone());
    'all: for answers in ordered {
        for block in &answers {
            progress.advance(block.window.text().len());
            if printer.send(block).is_err() || printer.is_finished() {
                break 'all;
            }
            windows.give_back(tray.take().window);
        }
    }
    let summary = printer.finish();
    progress.finish();
    summary
}
