//! Deadlock detection: whether a wake of a waiting task can still come, the report of the wait-for graph with its cycle, and
//! how a deadlock is broken.
#![forbid(unsafe_code)]

use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Worker, flags};
use crate::task::{REMOTE_JOIN, Reason, Task};
use std::collections::{HashMap, HashSet};
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
        self.tasks.iter().try_for_each(|stuck| write!(f, "\n  {stuck}"))?;
        write_cycle(f, self.cycle.iter())
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} waits for {}", self.task, self.reason)?;
        if let Some(on) = &self.on {
            write!(f, ": {on}")?;
        }
        match &self.held_by {
            Some(holder) => write!(f, ", held by {holder}"),
            None => Ok(()),
        }
    }
}

/// Writes a line of the tasks of a cycle, if there are any.
pub(super) fn write_cycle<'a>(
    f: &mut fmt::Formatter<'_>,
    tasks: impl Iterator<Item = &'a Task> + Clone,
) -> fmt::Result {
    let Some(first) = tasks.clone().next() else { return Ok(()) };
    write!(f, "\n  in a cycle: ")?;
    tasks.into_iter().try_for_each(|task| write!(f, "{task} -> "))?;
    write!(f, "{first}")
}

/// A task of a run: the number of its worker's run, and its own.
pub(super) type Key = (u64, u64);

/// The tasks of one worker: a part of a report.
pub(crate) struct Part {
    nodes: Vec<Node>,
    /// All tasks that have not ended.
    alive: HashMap<Key, Task>,
}

/// A waiting task.
struct Node {
    key: Key,
    task: Task,
    reason: Reason,
    /// The task that it joins.
    on: Option<Key>,
    /// The task that holds the lock that it waits for.
    holder: Option<Key>,
}

fn parked(worker: &Worker) -> Vec<&Tcb> {
    let is_shown = |tcb: &&Tcb| tcb.is_parked() && !(worker.is_main(tcb) && worker.is_helper());
    worker.table.all().into_iter().filter(is_shown).collect()
}

/// Returns the waiting tasks of a worker, on its own thread.
pub(crate) fn part(worker: &Worker) -> Part {
    let key = |tcb: &Tcb| (worker.run(), tcb.id());
    let node = |tcb: &Tcb| {
        let (reason, holder) = (tcb.wait().reason, tcb.awaited_holder());
        let is_join = reason == REMOTE_JOIN;
        Node {
            key: key(tcb),
            task: Task::of(tcb),
            reason: Reason::new(reason),
            on: tcb.awaited_task().map(key).or(holder.filter(|_| is_join)),
            holder: holder.filter(|_| !is_join),
        }
    };
    let alive = worker.table.all().into_iter().filter(|tcb| !tcb.is_finished()).map(|tcb| (key(tcb), Task::of(tcb)));
    Part { nodes: parked(worker).into_iter().map(node).collect(), alive: alive.collect() }
}

/// Returns the report of a run, from the parts of its workers.
pub(crate) fn assemble(parts: Vec<Part>) -> DeadlockReport {
    let (mut nodes, mut alive) = (Vec::new(), HashMap::new());
    for part in parts {
        nodes.extend(part.nodes);
        alive.extend(part.alive);
    }
    nodes.sort_by_key(|node| node.key.1);
    let named = |key: Option<Key>| key.and_then(|key| alive.get(&key).cloned());
    let stuck = |node: &Node| Stuck {
        task: node.task.clone(),
        reason: node.reason,
        on: named(node.on),
        held_by: named(node.holder),
    };
    let by_key = nodes.iter().map(|node| (node.key, node)).collect();
    let cycle = nodes.iter().find_map(|node| cycle_from(node, &by_key)).unwrap_or_default();
    DeadlockReport { tasks: nodes.iter().map(stuck).collect(), cycle }
}

/// Returns a report of all waiting tasks of a worker.
pub(crate) fn report(worker: &Worker) -> DeadlockReport {
    assemble(vec![part(worker)])
}

/// Returns all tasks by their numbers.
pub(super) fn tasks_by_id(worker: &Worker) -> HashMap<u64, &Tcb> {
    worker.table.all().into_iter().map(|tcb| (tcb.id(), tcb)).collect()
}

/// Returns the holder of the lock or similar that a parked task waits for, if it is a task of this run that has not ended.
pub(super) fn holder<'a>(worker: &Worker, by_id: &HashMap<u64, &'a Tcb>, tcb: &Tcb) -> Option<&'a Tcb> {
    let (run, id) = tcb.awaited_holder()?;
    by_id.get(&id).copied().filter(|_| run == worker.run())
}

/// Returns the cycle of waits that begins and ends at `start`, if there is one.
fn cycle_from(start: &Node, by_key: &HashMap<Key, &Node>) -> Option<Vec<Task>> {
    let mut cycle = vec![start.task.clone()];
    let mut seen = HashSet::from([start.key]);
    let mut at = start;
    loop {
        let next = *by_key.get(&at.on.or(at.holder)?)?;
        if next.key == start.key {
            return Some(cycle);
        }
        if !seen.insert(next.key) {
            return None; // a cycle that does not contain `start`
        }
        cycle.push(next.task.clone());
        at = next;
    }
}

/// Returns whether only tasks of this run can end the waits of all tasks of this worker. Then a stall is a deadlock, unless another thread can
/// spawn a task.
pub(crate) fn is_closed(worker: &Worker) -> bool {
    let mut closed = true;
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
        worker.wake_if_interrupted(tcb);
    }
}
