//! The report of a slow turn, made by the watchdog of a run.
#![forbid(unsafe_code)]

use super::dump::{frames, write_frames};
use crate::observe::sampler::Sample;
use crate::task::Task;
use std::backtrace::Backtrace;
use std::fmt;
use std::time::Duration;

/// A turn that lasts longer than [`Config::report_slow_turns`](crate::Config::report_slow_turns) allows. No other task of the
/// run makes progress until it ends.
///
/// Each slow turn is reported twice: while it lasts, with the backtrace, and after its end.
#[derive(Debug)]
#[non_exhaustive]
pub struct SlowTurn {
    /// The task whose turn it is. `None` if a callback runs, if the destructors of a task that has ended run, or if the thread
    /// blocks SIGURG and the task is unknown.
    pub task: Option<Task>,
    /// The duration of the turn up to this report. Too short by up to a quarter of the allowed time.
    pub lasted: Duration,
    /// Whether the turn has ended: false in the first report, true in the second.
    pub over: bool,
    /// The stack of the task at the time of the report, down to its first function. `None` if the turn has ended, and on
    /// targets other than Linux or without a hand-written switch.
    pub backtrace: Option<Backtrace>,
    what: &'static str,
}

impl SlowTurn {
    pub(crate) fn new(seen: Option<Sample>, lasted: Duration) -> SlowTurn {
        let what = match &seen {
            None => "a task (unknown, because its thread blocks SIGURG)",
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

    /// Returns the second report of the same turn, made after its end.
    pub(crate) fn ended(&self, lasted: Duration) -> SlowTurn {
        SlowTurn { task: self.task.clone(), lasted, over: true, backtrace: None, what: self.what }
    }

    /// Returns the names of the functions on the stack of the task, innermost first. Empty if there is no backtrace.
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
        write!(f, " {verb} all other tasks waiting for {:.1?}", self.lasted)?;
        self.backtrace.as_ref().map_or(Ok(()), |trace| write_frames(f, trace))
    }
}
