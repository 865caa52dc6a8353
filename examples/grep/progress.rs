//! A progress bar on standard error, for runs that take long and print elsewhere.

use crate::args::Options;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// How long a run has to take before it shows.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bar, which may never show.
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
    /// Prepares a bar, if there is a terminal that nothing else is printed to.
    pub(crate) fn new(options: &Options) -> Self {
        let wanted = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let total = if wanted { total(options) } else { None };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let state = Cell::new(if wanted { State::NotYet } else { State::Never });
        Progress { bar, begun: Instant::now(), state }
    }

    /// Takes note that so many bytes have been read.
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

    /// Does something that writes to standard error, with the bar out of the way.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The size of all inputs, unless there are some whose size is not known before they are read.
fn total(options: &Options) -> Option<u64> {
    let size = |operand| std::fs::metadata(operand).ok().filter(|about| about.is_file()).map(|about| about.len());
    options.operands.iter().map(size).sum()
}

fn style(bounded: bool) -> ProgressStyle {
    let template =
        if bounded { "{bytes}/{total_bytes} {wide_bar} {eta}" } else { "{spinner} {bytes} ({bytes_per_sec})" };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
