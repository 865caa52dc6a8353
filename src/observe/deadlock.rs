//! Deadlock detection: whether a wake of a waiting task can still come, the report of the wait-for graph with its cycle, and
//! how a deadlock is broken.
#![forbid(unsafe_code)]

use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Worker, flags};
use crate::task::{Reason, Task};
use crate::wait::wake_if_interrupted;
use std::collections::HashMap;
use std::fmt;

/// A waiting task in a [`DeadlockReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The waiting task.
    pub task: Task,
    /// The reason of the wait, in words.
    pub reason: Reason,
    /// The task that it waits for, if it joins one.
    pub on: Option<Task>,
    /// The task of this run that holds the lock or similar that it waits for, if there is one.
    pub held_by: Option<Task>,
}

/// A report of a deadlock: the waiting tasks, and what each of them waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlockReport {
    /// All waiting tasks, main included, in the order of their numbers.
    pub tasks: Vec<Stuck>,
    /// Tasks that wait for each other in a cycle: each for the next, and the last for the first. Empty if there is no cycle.
    pub cycle: Vec<Task>,
}

impl fmt::Display for DeadlockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len();
        let (tasks, them) = if count == 1 { ("task waits", "it") } else { ("tasks wait", "them") };
        write!(f, "{count} {tasks}, and no other task can wake {them}:")?;
        for Stuck { task, reason, on, held_by } in &self.tasks {
            write!(f, "\n  task {task} waits for {reason}")?;
            if let Some(on) = on {
                write!(f, ": {on}")?;
            }
            if let Some(holder) = held_by {
                write!(f, ", held by {holder}")?;
            }
        }
        if let Some(first) = self.cycle.first() {
            write!(f, "\n  in a cycle: ")?;
            for task in &self.cycle {
                write!(f, "{task} -> ")?;
            }
            write!(f, "{first}")?;
        }
        Ok(())
    }
}

fn parked(worker: &Worker) -> Vec<&Tcb> {
    worker.table.all().into_iter().filter(|tcb| tcb.is_parked()).collect()
}

/// Returns a report of all waiting tasks.
pub(crate) fn report(worker: &Worker) -> DeadlockReport {
    let by_id = tasks_by_id(worker);
    let holds = |tcb: &Tcb| holder(worker, &by_id, tcb);
    let mut parked = parked(worker);
    parked.sort_by_key(|tcb| tcb.id());
    let stuck = |tcb: &&Tcb| {
        let on = tcb.awaited_task().map(Task::of);
        Stuck { task: Task::of(tcb), reason: Reason::new(tcb.wait().reason), on, held_by: holds(tcb).map(Task::of) }
    };
    let cycle = parked.iter().find_map(|tcb| cycle_from(tcb, holds)).unwrap_or_default();
    DeadlockReport { tasks: parked.iter().map(stuck).collect(), cycle }
}

/// Returns all tasks by their numbers.
pub(super) fn tasks_by_id(worker: &Worker) -> HashMap<u64, &Tcb> {
    worker.table.all().into_iter().map(|tcb| (tcb.id(), tcb)).collect()
}

/// Returns the holder of the lock or similar that a parked task waits for, if it is a task of this run that has not ended.
pub(super) fn holder<'a>(worker: &Worker, by_id: &HashMap<u64, &'a Tcb>, tcb: &Tcb) -> Option<&'a Tcb> {
    by_id.get(&tcb.awaited_holder(worker.run())?).copied()
}

/// Returns the cycle of waits that begins and ends at `start`, if there is one.
fn cycle_from<'a>(start: &'a Tcb, holder: impl Fn(&Tcb) -> Option<&'a Tcb>) -> Option<Vec<Task>> {
    let mut cycle = vec![Task::of(start)];
    let mut at = start;
    loop {
        let next = at.awaited_task().or_else(|| holder(at));
        let next = next.filter(|next| next.is_parked())?;
        if std::ptr::eq(next, start) {
            return Some(cycle);
        }
        let task = Task::of(next);
        if cycle.contains(&task) {
            return None; // a cycle that does not contain `start`
        }
        cycle.push(task);
        at = next;
    }
}

/// Returns whether only tasks of this run can end the waits of all tasks. Then a stall is a deadlock.
pub(crate) fn is_closed(worker: &Worker) -> bool {
    // Through a handle to the run, another thread may spawn a task in it.
    let mut closed = !worker.has_handles();
    // Every idle run without a timer comes here, so no list is made.
    worker.table.for_each(|tcb| {
        if tcb.is_parked() {
            let wait = tcb.wait();
            closed &= wait.only_this_run || !wait.external && !tcb.can_be_unparked();
        }
    });
    closed
}

/// Breaks a deadlock: cancels all waiting tasks, main included, so that each of them can end. Waits that a cancel does not
/// interrupt end too.
pub(crate) fn break_waits(worker: &Worker) {
    for tcb in parked(worker) {
        tcb.add_flags(flags::CANCELLED | flags::DEADLOCKED);
        wake_if_interrupted(worker, tcb);
    }
}
