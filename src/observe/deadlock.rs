//! Deadlock detection: whether a wake of a waiting task can still come, the report of the wait-for graph with its cycle, and
//! how a deadlock is broken.

use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Phase, Worker, flags};
use crate::task::wait::{self, can_be_unparked};
use crate::task::{Reason, Task};
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

fn for_each_parked(worker: &Worker, mut f: impl FnMut(&Tcb)) {
    worker.table.for_each(|tcb| {
        if tcb.phase.get() == Phase::Parked {
            f(tcb);
        }
    });
}

/// Returns a report of all waiting tasks.
pub(crate) fn report(worker: &Worker) -> DeadlockReport {
    let mut parked: Vec<*const Tcb> = Vec::new();
    let everybody = everybody(worker);
    for_each_parked(worker, |tcb| parked.push(tcb));
    let holds = |tcb: &Tcb| holder(worker, &everybody, tcb);
    // SAFETY: the TCBs belong to `worker.table`, which lives as long as `worker`, and no task ends during this call.
    let mut parked: Vec<&Tcb> = parked.into_iter().map(|tcb| unsafe { &*tcb }).collect();
    parked.sort_by_key(|tcb| tcb.id.get());
    let stuck = |tcb: &&Tcb| {
        let wait = tcb.wait.get();
        // SAFETY: a task that joins another one borrows its handle until the wait ends. The handle keeps the TCB allocated.
        let on = unsafe { wait.on_task.as_ref() }.map(Task::of);
        Stuck { task: Task::of(tcb), reason: Reason::new(wait.reason), on, held_by: holds(tcb).map(Task::of) }
    };
    let cycle = parked.iter().find_map(|tcb| cycle_from(tcb, holds)).unwrap_or_default();
    DeadlockReport { tasks: parked.iter().map(stuck).collect(), cycle }
}

/// Returns all tasks by their numbers.
pub(super) fn everybody(worker: &Worker) -> HashMap<u64, *const Tcb> {
    let mut everybody: HashMap<u64, *const Tcb> = HashMap::new();
    worker.table.for_each(|tcb| {
        everybody.insert(tcb.id.get(), tcb);
    });
    everybody
}

/// Returns the holder of the lock or similar that a parked task waits for, if it is a task of this run that has not ended.
pub(super) fn holder<'a>(worker: &'a Worker, everybody: &HashMap<u64, *const Tcb>, tcb: &Tcb) -> Option<&'a Tcb> {
    // SAFETY: `holder` points into the lock, which the waiting task borrows until its wait ends.
    let holder = unsafe { tcb.wait.get().holder.as_ref() }?.task_of(worker.run())?;
    // SAFETY: the TCB belongs to `worker.table`, which lives as long as `worker`.
    everybody.get(&holder).map(|tcb| unsafe { &**tcb })
}

/// Returns the cycle of waits that begins and ends at `start`, if there is one.
fn cycle_from<'a>(start: &'a Tcb, holder: impl Fn(&Tcb) -> Option<&'a Tcb>) -> Option<Vec<Task>> {
    let mut cycle = vec![Task::of(start)];
    let mut at = start;
    loop {
        // SAFETY: as in `report`: the joining task borrows the handle, which keeps the TCB allocated.
        let next = unsafe { at.wait.get().on_task.as_ref() }.or_else(|| holder(at));
        let next = next.filter(|next| next.phase.get() == Phase::Parked)?;
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
    let mut closed = true;
    for_each_parked(worker, |tcb| {
        let wait = tcb.wait.get();
        closed &= wait.only_this_run || !wait.external && !can_be_unparked(tcb);
    });
    closed
}

/// Breaks a deadlock: cancels all waiting tasks, main included, so that each of them can end. Waits that a cancel does not
/// interrupt end too.
pub(crate) fn break_waits(worker: &Worker) {
    let mut parked: Vec<*const Tcb> = Vec::new();
    for_each_parked(worker, |tcb| parked.push(tcb));
    for tcb in parked {
        // SAFETY: the TCB belongs to `worker.table`, which lives as long as `worker`, and no task runs in between.
        let tcb = unsafe { &*tcb };
        tcb.add_flags(flags::CANCELLED | flags::DEADLOCKED);
        wait::wake_if_interrupted(worker, tcb);
    }
}
