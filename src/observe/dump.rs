//! Dumps: the state, the wait and the backtrace of every task of a run, at one moment.
#![forbid(unsafe_code)]

use super::ask::ask;
use super::deadlock::{holder, tasks_by_id, write_cycle};
use super::descriptor::Descriptor;
use super::endless::{Wait, cycles};
use crate::scheduler::{backtrace, worker};
use crate::task::info::state_of;
use crate::task::{Handle, REMOTE_JOIN, Task, TaskState};
use std::backtrace::Backtrace;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// The dump of a task, in a [`Dump`] of all tasks.
#[derive(Debug)]
#[non_exhaustive]
pub struct TaskDump {
    /// The task.
    pub task: Task,
    /// The state of the task. Only the task that made the dump was running.
    pub state: TaskState,
    /// The time since its wait began, by the clock of the run. `None` if it did not wait. The run does not read
    /// the clock at every wait, but once in at most 1,024 turns. So the value can be too long by the duration of these turns.
    pub waited: Option<Duration>,
    /// The task that it waits for, if it joins one.
    pub on: Option<Task>,
    /// The task that holds what this task waits for, for example a lock. `None` if no task of this run holds it.
    pub held_by: Option<Task>,
    /// The descriptor that the task waits for.
    pub descriptor: Option<Descriptor>,
    /// The stack of the suspended task, down to its first function. `None` for the task that made the dump, and on targets
    /// without a hand-written switch. Displaying it looks up the names of the functions, which is slow.
    pub backtrace: Option<Backtrace>,
    /// Whether only a cancel can end the wait, because the task waits in a [`cycle`](Dump::cycles), or is in [`park`](crate::task::park)
    /// and no [`Unparker`](crate::task::Unparker) of it exists.
    pub endless: bool,
    /// The numbers of the tasks of other workers that `on` and `held_by` would name.
    elsewhere: [Option<u64>; 2],
}

/// The states of all tasks of a run, or of one of its workers, at one moment. Made by [`dump`](dump()) and [`Handle::dump`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Dump {
    /// All tasks that had not ended, main included, in the order of their numbers.
    pub tasks: Vec<TaskDump>,
    /// The driver of I/O: `io_uring`, `epoll` or `poll`. If io_uring was tried and is not available, also the reason. Empty before the
    /// first wait for I/O. The displayed dump has it in its first line: `3 tasks; I/O by io_uring`.
    pub io_driver: String,
    /// The tasks that wait for each other in a cycle: each for the next, and the last for the first. Only a cancel can end these waits.
    /// It is the view of one moment: a lock that a cancelled task has passed on counts as held by that task until the next holder runs.
    /// A dump of several workers has the cycles within each, because its parts are made at different moments:
    /// [`Config::report_endless_waits`](crate::Config::report_endless_waits) also finds cycles across workers.
    pub cycles: Vec<Vec<Task>>,
    /// The workers whose tasks are missing, by their numbers: a turn of theirs has lasted for more than 1 s.
    pub late_workers: Vec<usize>,
}

/// Returns the state of every task of this worker: what it waits for, since when, for which task, and its backtrace. Also returns the
/// driver through which the worker waits for I/O. The worker is the whole run unless [`Config::workers`](crate::Config::workers) has set
/// several; then [`Handle::dump`] returns the tasks of all.
///
/// Does not wait. Takes up to 20 µs per task. Displaying the dump takes far longer, because it looks up the names of the
/// functions. Outside a run the dump is empty. [`Config::dump_on_signal`](crate::Config::dump_on_signal) prints a dump when a
/// signal arrives.
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
    let (mut tasks, mut waits) = (Vec::new(), Vec::new());
    let mut io_driver = String::new();
    if let Some(worker) = worker() {
        io_driver = match worker.io_driver() {
            None => io_driver,
            Some((driver, None)) => driver.to_string(),
            Some((driver, Some(why))) => format!("{driver}; io_uring is not available ({why})"),
        };
        let (now, by_id) = (worker.clock.now(), tasks_by_id(worker));
        worker.table.for_each(|tcb| {
            if worker.is_event_loop(tcb) || tcb.is_finished() {
                return;
            }
            let parked = tcb.is_parked();
            let on = tcb.awaited_task().map(Task::of);
            let holder_here = holder(worker, &by_id, tcb).map(Task::of);
            let joins = parked && tcb.wait().reason == REMOTE_JOIN;
            let (on, held_by) = if joins { (on.or(holder_here), None) } else { (on, holder_here) };
            let elsewhere = tcb.awaited_holder().filter(|(run, _)| *run != worker.run()).map(|(_, id)| id);
            let elsewhere = if joins { [elsewhere, None] } else { [None, elsewhere] };
            let wait = Wait::of(worker, tcb);
            let endless = wait.as_ref().is_some_and(Wait::is_forgotten);
            waits.extend(wait);
            tasks.push(TaskDump {
                task: Task::of(tcb),
                state: state_of(Some(worker), tcb),
                waited: parked.then(|| now.saturating_duration_since(worker.waits_since(tcb))),
                on,
                held_by,
                descriptor: Descriptor::of(tcb),
                backtrace: backtrace::of(worker, tcb),
                endless,
                elsewhere,
            });
        });
    }
    tasks.sort_by_key(|one| one.task.id());
    let cycles: Vec<Vec<Task>> =
        cycles(&waits).iter().map(|cycle| cycle.iter().map(|at| waits[*at].task()).collect()).collect();
    for task in cycles.iter().flatten() {
        if let Ok(at) = tasks.binary_search_by_key(&task.id(), |one: &TaskDump| one.task.id()) {
            tasks[at].endless = true;
        }
    }
    Dump { tasks, cycles, io_driver, late_workers: Vec::new() }
}

impl Handle {
    /// Returns the states of the tasks of all workers, like [`dump`](dump()). Each worker makes its part between two turns: waits for the
    /// parts, up to 1 s. Names the workers that are later. After the end of the run, all are.
    ///
    /// # Panics
    ///
    /// Panics in a callback and inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// cede::Config::new().workers(2).run(|| {
    ///     let builder = cede::Builder::new().name("far away").on(1);
    ///     let task = builder.spawn_anywhere(|| cede::task::park("a friend")).unwrap();
    ///     let dump = cede::task::Handle::current().dump();
    ///     assert!(dump.tasks.iter().any(|one| one.task.name() == Some("far away") && one.task.worker() == 1));
    ///     task.cancel();
    /// })?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    #[track_caller]
    pub fn dump(&self) -> Dump {
        let parts = ask(self, |_| dump());
        let late_workers = (0..).zip(&parts).filter(|(_, part)| part.is_none()).map(|(worker, _)| worker).collect();
        let (mut io_driver, mut tasks, mut cycles) = (String::new(), Vec::new(), Vec::new());
        for part in parts.into_iter().flatten() {
            if io_driver.is_empty() {
                io_driver = part.io_driver;
            }
            tasks.extend(part.tasks);
            cycles.extend(part.cycles);
        }
        let named: HashMap<u64, Task> = tasks.iter().map(|one| (one.task.id(), one.task.clone())).collect();
        for one in &mut tasks {
            let [on, held_by] = one.elsewhere.map(|id| named.get(&id?).cloned());
            one.on = one.on.take().or(on);
            one.held_by = one.held_by.take().or(held_by);
        }
        Dump { tasks, cycles, io_driver, late_workers }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len();
        write!(f, "{count} {}", if count == 1 { "task" } else { "tasks" })?;
        if !self.io_driver.is_empty() {
            write!(f, "; I/O by {}", self.io_driver)?;
        }
        self.tasks.iter().try_for_each(|one| write!(f, "\n{one}"))?;
        self.cycles.iter().try_for_each(|cycle| write_cycle(f, cycle.iter()))?;
        for worker in &self.late_workers {
            write!(
                f,
                "\nworker {worker} has not answered: a turn of one of its tasks has lasted for more than 1 s, or the run has ended"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for TaskDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} ({}), {}", self.task, self.task.number(), self.state)?;
        if let Some(on) = &self.on {
            write!(f, ": {on} ({})", on.number())?;
        }
        if let Some(holder) = &self.held_by {
            write!(f, ", held by {holder} ({})", holder.number())?;
        }
        if let Some(descriptor) = &self.descriptor {
            write!(f, " ({descriptor})")?;
        }
        if let Some(waited) = self.waited {
            write!(f, ", for {waited:.1?}")?;
        }
        if self.endless {
            f.write_str("; only a cancel can end this wait")?;
        }
        match &self.backtrace {
            Some(trace) => write_frames(f, trace),
            None => Ok(()),
        }
    }
}

impl TaskDump {
    /// Returns the names of the functions on the stack of the suspended task, innermost first. Empty if there is no backtrace.
    /// In reverse order and joined by `;`, they are a line in the folded format of flame graphs.
    pub fn functions(&self) -> Vec<String> {
        self.backtrace.iter().flat_map(frames).map(|frame| frame.function).collect()
    }
}

/// A frame of a backtrace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) function: String,
    place: Option<String>,
}

/// Returns the frames of the backtrace of a suspended or copied stack, without the frames of the functions that captured it.
pub(super) fn frames(trace: &Backtrace) -> Vec<Frame> {
    parse(&trace.to_string())
}

/// Parses the text of a std backtrace: `  12: function`, and below it `at file:line:column`. std has no stable API for frames.
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
    // The frames up to the seam belong to the capturing functions.
    let seam = frames.iter().rposition(|frame| {
        let function = &frame.function;
        function.ends_with("imp::unwind_from") || function.ends_with("imp::unwind_from_words")
    });
    frames.split_off(seam.map_or(0, |at| at + 1))
}

/// Writes the frames, each on a line of its own, below the line of their task.
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
    fn backtrace_printed_by_std_is_parsed() {
        let text = "   0: std::backtrace::Backtrace::force_capture\n             at /rustc/x.rs:1:2\n   \
                    1: cede::arch::native::imp::unwind_from\n   2: outer::<a::b: c>\n      inlined\n             at ./y.rs:3:4\n";
        let frame =
            |function: &str, place: Option<&str>| Frame { function: function.into(), place: place.map(Into::into) };
        assert_eq!(parse(text), [frame("outer::<a::b: c>", None), frame("inlined", Some("./y.rs:3:4"))]);
        assert_eq!(parse("<unknown>"), [frame("<unknown>", None)]);
    }
}
