//! What every task of a run is doing, at one moment.

use super::deadlock::{everybody, holder};
use crate::scheduler::{backtrace, worker};
use crate::task::info::state_of;
use crate::task::{Task, TaskState};
use std::backtrace::Backtrace;
use std::fmt;
use std::time::Duration;

/// What one task was doing when the dump was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct TaskDump {
    /// Who.
    pub task: Task,
    /// Where it stood. Only the task that made the dump was running.
    pub state: TaskState,
    /// How long it had waited, by the run's clock, if it waited. The clock is read once in a while and not at every wait, so
    /// this may be too long by the time of up to 1,024 turns.
    pub waited: Option<Duration>,
    /// Who could end its wait, if that is a task: the one that it joins.
    pub on: Option<Task>,
    /// Who holds what it waits for, if it is a lock or the like and a task of this run holds it.
    pub held_by: Option<Task>,
    /// Where it is suspended, down to its first function. `None` for the task that made the dump, and on targets without a
    /// hand-written switch. The functions' names are looked up when it is shown, which takes long.
    pub backtrace: Option<Backtrace>,
}

/// What all tasks of a run were doing: see [`dump`](dump()).
#[derive(Debug)]
#[non_exhaustive]
pub struct Dump {
    /// Each task that had not ended once, main included, in the order of their numbers.
    pub tasks: Vec<TaskDump>,
}

/// What all tasks of this run are doing: who waits, for what, since when, for whom, and where each is suspended.
///
/// Waits for nothing. Takes up to 20 microseconds a task; showing it takes far longer, since that looks up the functions'
/// names. Outside of a run it is empty. [`Config::dump_on_signal`](crate::Config::dump_on_signal) prints one when a signal
/// arrives.
///
/// ```
/// cede::run(|| {
///     let mut task = cede::Builder::new().name("reader").spawn(|| cede::task::park("the reader's turn")).unwrap();
///     cede::yield_now();
///     println!("{}", cede::dump());
///     let dump = cede::dump();
///     assert_eq!(dump.tasks[1].task.name(), Some("reader"));
///     assert_eq!(dump.tasks[1].state.to_string(), "waiting: the reader's turn");
///     task.cancel();
///     assert!(task.join().unwrap().is_err());
/// });
/// ```
#[inline(never)] // where gdb can stop: see .ci/gdb-tasks
pub fn dump() -> Dump {
    let mut tasks = Vec::new();
    if let Some(worker) = worker() {
        let (now, everybody) = (worker.clock.now(), everybody(worker));
        worker.table.for_each(|tcb| {
            if worker.is_event_loop(tcb) || tcb.is_finished() {
                return;
            }
            let parked = tcb.is_parked();
            // SAFETY: whoever waits for a task holds a handle to it.
            let on = parked.then(|| unsafe { tcb.wait().on_task.as_ref() }).flatten();
            tasks.push(TaskDump {
                task: Task::of(tcb),
                state: state_of(Some(worker), tcb),
                waited: parked.then(|| now.saturating_duration_since(worker.waits_since(tcb))),
                on: on.map(Task::of),
                held_by: parked.then(|| holder(worker, &everybody, tcb)).flatten().map(Task::of),
                backtrace: backtrace::of(worker, tcb),
            });
        });
    }
    tasks.sort_by_key(|one| one.task.id());
    Dump { tasks }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len();
        write!(f, "{count} {}", if count == 1 { "task" } else { "tasks" })?;
        self.tasks.iter().try_for_each(|one| write!(f, "\n{one}"))
    }
}

impl fmt::Display for TaskDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} (#{}), {}", self.task, self.task.id(), self.state)?;
        if let Some(on) = &self.on {
            write!(f, ": {on} (#{})", on.id())?;
        }
        if let Some(holder) = &self.held_by {
            write!(f, ", held by {holder} (#{})", holder.id())?;
        }
        if let Some(waited) = self.waited {
            write!(f, ", for {waited:.1?}")?;
        }
        match &self.backtrace {
            Some(trace) => write_frames(f, trace),
            None => Ok(()),
        }
    }
}

impl TaskDump {
    /// The names of the functions in which it is suspended, the innermost first; empty if there is no backtrace.
    pub fn functions(&self) -> Vec<String> {
        self.backtrace.iter().flat_map(frames).map(|frame| frame.function).collect()
    }
}

/// One line of a backtrace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) function: String,
    place: Option<String>,
}

/// The frames of a backtrace that was taken from outside, without those of the taking.
pub(super) fn frames(trace: &Backtrace) -> Vec<Frame> {
    parse(&trace.to_string())
}

/// Reads what std prints of a backtrace: `  12: function`, and below it `at file:line:column`. Nothing else shows it.
fn parse(text: &str) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if let (Some(place), Some(last)) = (line.strip_prefix("at "), frames.last_mut()) {
            last.place = Some(place.into());
            continue;
        }
        let numbered = line.split_once(": ").filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
        let function = numbered.map_or(line, |(_, function)| function).into();
        frames.push(Frame { function, place: None });
    }
    // What comes before the seam are the functions that took it.
    let seam = frames.iter().rposition(|frame| {
        let function = &frame.function;
        function.ends_with("imp::unwind_from") || function.ends_with("imp::unwind_from_words")
    });
    frames.split_off(seam.map_or(0, |at| at + 1))
}

/// A line for each frame, below the line of its task.
pub(super) fn write_frames(f: &mut fmt::Formatter<'_>, trace: &Backtrace) -> fmt::Result {
    frames(trace).iter().try_for_each(|Frame { function, place }| match place {
        Some(place) => write!(f, "\n    {function}\n        at {place}"),
        None => write!(f, "\n    {function}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_is_read_as_std_prints_it() {
        let text = "   0: std::backtrace::Backtrace::force_capture\n             at /rustc/x.rs:1:2\n   \
                    1: cede::arch::native::imp::unwind_from\n   2: outer::<a::b: c>\n      inlined\n             at ./y.rs:3:4\n";
        let frame =
            |function: &str, place: Option<&str>| Frame { function: function.into(), place: place.map(Into::into) };
        assert_eq!(parse(text), [frame("outer::<a::b: c>", None), frame("inlined", Some("./y.rs:3:4"))]);
        assert_eq!(parse("<unknown>"), [frame("<unknown>", None)]);
    }
}
