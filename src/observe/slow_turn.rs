//! A turn that takes too long, as a run's watchdog sees it.
#![forbid(unsafe_code)]

use super::dump::{frames, write_frames};
use crate::observe::sampler::Sample;
use crate::task::Task;
use std::backtrace::Backtrace;
use std::fmt;
use std::time::Duration;

/// A task that keeps its worker, and so everybody else, for longer than
/// [`Config::report_slow_turns`](crate::Config::report_slow_turns) allows.
#[derive(Debug)]
#[non_exhaustive]
pub struct SlowTurn {
    /// Who; `None` if that could not be told: the thread blocks SIGURG, or what runs is a callback, or what is left of a
    /// task that has ended.
    pub task: Option<Task>,
    /// For how long by now. Up to a quarter of the time that is allowed may be missing.
    pub lasted: Duration,
    /// Whether the turn is over. It is reported twice: while it lasts, with the backtrace, and when it is over.
    pub over: bool,
    /// Where the task was when this was found out, down to its first function. `None` when the turn is over, and on targets
    /// without a hand-written switch or other than Linux.
    pub backtrace: Option<Backtrace>,
    what: &'static str,
}

impl SlowTurn {
    pub(crate) fn new(seen: Option<Sample>, lasted: Duration) -> SlowTurn {
        let what = match &seen {
            None => "a task (its thread blocks SIGURG, so it cannot be told which)",
            Some(seen) if seen.is_event_loop => "a callback",
            Some(seen) if seen.id == 0 => "the destructors of a task that has ended",
            Some(_) => "a task",
        };
        let (task, backtrace) = match seen {
            Some(Sample { id, name, is_event_loop: false, trace }) if id != 0 => {
                (Some(Task { id, name: name.map(Into::into) }), trace)
            }
            Some(seen) => (None, seen.trace),
            None => (None, None),
        };
        SlowTurn { task, lasted, over: false, backtrace, what }
    }

    /// The same turn when it is over.
    pub(crate) fn ended(&self, lasted: Duration) -> SlowTurn {
        SlowTurn { task: self.task.clone(), lasted, over: true, backtrace: None, what: self.what }
    }

    /// The names of the functions in which the task was, the innermost first; empty if there is no backtrace.
    pub fn functions(&self) -> Vec<String> {
        self.backtrace.iter().flat_map(frames).map(|frame| frame.function).collect()
    }
}

impl fmt::Display for SlowTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => write!(f, "task {task} (#{})", task.id())?,
            None => f.write_str(self.what)?,
        }
        let verb = if self.over { "kept" } else { "has kept" };
        write!(f, " {verb} all others waiting for {:.1?}", self.lasted)?;
        self.backtrace.as_ref().map_or(Ok(()), |trace| write_frames(f, trace))
    }
}
