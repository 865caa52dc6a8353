//! The progress bar, and messages beside it, on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ffi::OsString;
use std::io::{self, IsTerminal};

/// A progress bar, which is shown only on a terminal.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Creates the bar of a coordinator. It is shown if standard error is a terminal and standard output is not.
    pub fn new(files: &[OsString]) -> Progress {
        if !io::stderr().is_terminal() || io::stdout().is_terminal() {
            return Progress::hidden();
        }
        let length = |file| std::fs::metadata(file).map_or(0, |about| about.len());
        let total = files.iter().map(length).sum();
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bytes}/{total_bytes} {wide_bar} {msg} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress(bar)
    }

    /// Creates a bar that is not shown.
    pub fn hidden() -> Progress {
        Progress(ProgressBar::hidden())
    }

    /// Adds `bytes` that were printed. `under_way` jobs have no answer yet.
    pub fn advance(&self, bytes: u64, under_way: usize) {
        if !self.0.is_hidden() {
            self.0.set_message(format!("{under_way} jobs under way"));
        }
        self.0.inc(bytes);
    }

    /// Writes a line to standard error, above the bar.
    pub fn say(&self, line: &str) {
        self.0.suspend(|| eprintln!("dgrep: {line}"));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
