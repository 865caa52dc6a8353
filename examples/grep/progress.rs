//! A progress bar on standard error, for long runs whose output goes elsewhere.

use crate::args::Options;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// The duration of a run after which the bar appears.
const PATIENCE: Duration = Duration::from_secs(1);

/// A progress bar, which appears only in a long run.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Never,
    NotYet,
    Shown,
}

impl Progress {
    /// Prepares the bar. It is enabled if standard error is a terminal and standard output is not.
    pub(crate) fn new(options: &Options) -> Self {
        let wanted = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let total = if wanted { total(options) } else { None };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let state = Cell::new(if wanted { State::NotYet } else { State::Never });
        Progress { bar, begun: Instant::now(), state }
    }

    /// Adds `bytes` to the number of bytes read.
    pub(crate) fn advance(&self, bytes: usize) {
        if self.state.get() == State::Never {
            return;
        }
        self.bar.inc(bytes as u64);
        if self.state.get() == State::NotYet && self.begun.elapsed() > PATIENCE {
            self.state.set(State::Shown);
            self.bar.set_style(style(self.bar.length().is_some()));
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Hides the bar while `write` writes to standard error.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the total size of all inputs. `None` if the size of any input is unknown before it is read.
fn total(options: &Options) -> Option<u64> {
    let size = |operand| std::fs::metadata(operand).ok().filter(|about| about.is_file()).map(|about| about.len());
    options.operands.iter().map(size).sum()
}

fn style(bounded: bool) -> ProgressStyle {
    let template =
        if bounded { "{bytes}/{total_bytes} {wide_bar} {eta}" } else { "{spinner} {bytes} ({bytes_per_sec})" };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
