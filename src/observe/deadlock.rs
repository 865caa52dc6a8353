//! Deadlocks: who waits for what, and whether that can ever end.

use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Worker, flags};
use crate::task::{Reason, Task};
use crate::wait::wake_if_interrupted;
use std::collections::HashMap;
use std::fmt;

/// A task that waits, in the report of a deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Who waits.
    pub task: Task,
    /// What for, in words.
    pub reason: Reason,
    /// For whom, if it is a task.
    pub on: Option<Task>,
    /// Who holds what it waits for, if it is a lock or the like and a task of this run holds it.
    pub held_by: Option<Task>,
}

/// Who waits for what when nobody can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlockReport {
    /// Everybody who waits, in the order of their numbers.
    pub tasks: Vec<Stuck>,
    /// Tasks that wait for each other in a circle, each for the next and the last for the first; empty if there is none.
    pub cycle: Vec<Task>,
}

impl fmt::Display for DeadlockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len();
        write!(f, "{count} {} and nobody is left to wake them:", if count == 1 { "task waits" } else { "tasks wait" })?;
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
            write!(f, "\n  in a circle: ")?;
            for task in &self.cycle {
                write!(f, "{task} -> ")?;
            }
            write!(f, "{first}")?;
        }
        Ok(())
    }
}

fn for_each_parked(worker: &Worker, mut f: impl FnMut(&Tcb)) {
    worker.table.for_each(|tcb| {
        if tcb.is_parked() {
            f(tcb);
        }
    });
}

/// Everybody who waits.
pub(crate) fn report(worker: &Worker) -> DeadlockReport {
    let mut parked: Vec<*const Tcb> = Vec::new();
    let everybody = everybody(worker);
    for_each_parked(worker, |tcb| parked.push(tcb));
    let holds = |tcb: &Tcb| holder(worker, &everybody, tcb);
    // SAFETY: TCBs of the table, which stands.
    let mut parked: Vec<&Tcb> = parked.into_iter().map(|tcb| unsafe { &*tcb }).collect();
    parked.sort_by_key(|tcb| tcb.id());
    let stuck = |tcb: &&Tcb| {
        let wait = tcb.wait();
        // SAFETY: whoever waits for a task holds a handle to it.
        let on = unsafe { wait.on_task.as_ref() }.map(Task::of);
        Stuck { task: Task::of(tcb), reason: Reason::new(wait.reason), on, held_by: holds(tcb).map(Task::of) }
    };
    let cycle = parked.iter().find_map(|tcb| cycle_from(tcb, holds)).unwrap_or_default();
    DeadlockReport { tasks: parked.iter().map(stuck).collect(), cycle }
}

/// All tasks by their numbers.
pub(super) fn everybody(worker: &Worker) -> HashMap<u64, *const Tcb> {
    let mut everybody: HashMap<u64, *const Tcb> = HashMap::new();
    worker.table.for_each(|tcb| {
        everybody.insert(tcb.id(), tcb);
    });
    everybody
}

/// Who holds what a parked task waits for, if that is a task of this run that has not ended.
pub(super) fn holder<'a>(worker: &'a Worker, everybody: &HashMap<u64, *const Tcb>, tcb: &Tcb) -> Option<&'a Tcb> {
    // SAFETY: whoever waits borrows what it waits for.
    let holder = unsafe { tcb.wait().holder.as_ref() }?.task_of(worker.run())?;
    // SAFETY: a TCB of the table, which stands.
    everybody.get(&holder).map(|tcb| unsafe { &**tcb })
}

/// The circle that leads back to `start`, if there is one.
fn cycle_from<'a>(start: &'a Tcb, holder: impl Fn(&Tcb) -> Option<&'a Tcb>) -> Option<Vec<Task>> {
    let mut cycle = vec![Task::of(start)];
    let mut at = start;
    loop {
        // SAFETY: whoever waits for a task holds a handle to it.
        let next = unsafe { at.wait().on_task.as_ref() }.or_else(|| holder(at));
        let next = next.filter(|next| next.is_parked())?;
        if std::ptr::eq(next, start) {
            return Some(cycle);
        }
        let task = Task::of(next);
        if cycle.contains(&task) {
            return None; // a circle, but without `start`
        }
        cycle.push(task);
        at = next;
    }
}

/// Whether every wait is of a kind that only a task of this run can end.
pub(crate) fn is_closed(worker: &Worker) -> bool {
    let mut closed = true;
    for_each_parked(worker, |tcb| {
        let wait = tcb.wait();
        closed &= wait.only_this_run || !wait.external && !tcb.can_be_unparked();
    });
    closed
}

/// Ends every wait, so that whoever is left can end: nobody else will.
pub(crate) fn break_waits(worker: &Worker) {
    let mut parked: Vec<*const Tcb> = Vec::new();
    for_each_parked(worker, |tcb| parked.push(tcb));
    for tcb in parked {
        // SAFETY: a TCB of the table, which stands.
        let tcb = unsafe { &*tcb };
        tcb.add_flags(flags::CANCELLED | flags::DEADLOCKED);
        wake_if_interrupted(worker, tcb);
    }
}
