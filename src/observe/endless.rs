//! Waits that only a cancel can end, although the run goes on: cycles of tasks that wait for each other, and parks of which no `Unparker`
//! exists.
//!
//! The wait-for graph has an edge from a task to the task that it joins, or to the holder of the lock that it waits for. A wait with a
//! deadline has none, nor has a wait for a semaphore: the holder of another permit may end it. So each task has at most one edge, and all
//! cycles are found in one pass.
//!
//! The parts of several workers are made at different moments, and a lock may have been passed on to a task that has not run since. So
//! [`Finder`] tells a cycle only when it has seen it twice, with the same waits, and each task that was ready at the first look has had a
//! turn since: the edges between two tasks that have not run are the same at both looks, and so they were in between.
#![forbid(unsafe_code)]

use super::deadlock::{Key, Stuck, write_cycle};
use crate::scheduler::Worker;
use crate::scheduler::tcb::Tcb;
use crate::task::{REMOTE_JOIN, Reason, Task};
use std::collections::HashMap;
use std::fmt;

/// A wait that only a cancel can end, while other tasks of the run go on. [`Config::report_endless_waits`](crate::Config::report_endless_waits)
/// finds such waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndlessWait {
    /// Tasks that wait for each other in a cycle: each for the next, and the last for the first.
    Cycle(Vec<Stuck>),
    /// A task in [`park`](crate::task::park) that has no [`Unparker`](crate::task::Unparker) any more.
    NoUnparker(Stuck),
}

impl fmt::Display for EndlessWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndlessWait::NoUnparker(stuck) => {
                write!(f, "{stuck}, but no Unparker of it exists, so only a cancel can end the wait")
            }
            EndlessWait::Cycle(tasks) => {
                let count = tasks.len();
                let whom = if count == 1 { "task waits for itself" } else { "tasks wait for each other" };
                write!(f, "{count} {whom}, so only a cancel can end the wait:")?;
                tasks.iter().try_for_each(|stuck| write!(f, "\n  {stuck}"))?;
                write_cycle(f, tasks.iter().map(|stuck| &stuck.task))
            }
        }
    }
}

/// A wait that may be endless.
#[derive(Clone)]
pub(crate) struct Wait {
    key: Key,
    /// The number of the wait among those of the task.
    seq: u32,
    task: Task,
    reason: Reason,
    /// The task that has to go on before this one can, and whether it is joined.
    to: Option<(Key, bool)>,
}

/// The part of a worker in a look: its waits that may be endless, its turns up to now, and the number of its ready tasks.
pub(crate) struct Look {
    waits: Vec<Wait>,
    turns: u64,
    ready: u64,
}

impl Wait {
    /// Returns the wait of a task, if it may be endless. Called on the thread of its worker.
    pub(super) fn of(worker: &Worker, tcb: &Tcb) -> Option<Wait> {
        if !tcb.is_parked() {
            return None;
        }
        let wait = tcb.wait();
        // The wait for a helper's end of the run is of no interest to the user.
        if wait.has_deadline || worker.is_main(tcb) && worker.is_helper() {
            return None;
        }
        let joined = tcb.awaited_task().map(|task| (worker.run(), task.id()));
        let joins = joined.is_some() || wait.reason == REMOTE_JOIN;
        let holder = || tcb.awaited_holder().filter(|_| !wait.one_of_several);
        let to = joined.or_else(holder).map(|key| (key, joins));
        let forgotten = wait.public && !tcb.can_be_unparked();
        (to.is_some() || forgotten).then(|| Wait {
            key: (worker.run(), tcb.id()),
            seq: tcb.wait_seq(),
            task: Task::of(tcb),
            reason: Reason::new(wait.reason),
            to,
        })
    }

    fn stuck(&self, named: impl Fn(Key) -> Option<Task>) -> Stuck {
        let (on, held_by) = match self.to {
            Some((key, true)) => (named(key), None),
            Some((key, false)) => (None, named(key)),
            None => (None, None),
        };
        Stuck { task: self.task.clone(), reason: self.reason, on, held_by }
    }

    pub(super) fn task(&self) -> Task {
        self.task.clone()
    }

    /// Returns whether the task is in `park` without an `Unparker`.
    pub(super) fn is_forgotten(&self) -> bool {
        self.to.is_none()
    }
}

/// Returns the part of a worker, on its own thread.
pub(crate) fn look(worker: &Worker) -> Look {
    let mut waits = Vec::new();
    worker.table.for_each(|tcb| waits.extend(Wait::of(worker, tcb)));
    let [_, _, turns, _, _, _, ready] = worker.counts();
    Look { waits, turns, ready }
}

/// Returns the cycles among the waits, each as the indices of its waits in the order in which they wait for each other.
pub(super) fn cycles(waits: &[Wait]) -> Vec<Vec<usize>> {
    let by_key: HashMap<Key, usize> = waits.iter().enumerate().map(|(at, wait)| (wait.key, at)).collect();
    let next = |at: usize| waits[at].to.and_then(|(key, _)| by_key.get(&key).copied());
    // The number of the walk that has passed each wait; 0 for none.
    let mut walks = vec![0; waits.len()];
    let mut cycles = Vec::new();
    for start in 0..waits.len() {
        let mut at = Some(start);
        while let Some(here) = at.filter(|here| walks[*here] == 0) {
            walks[here] = start + 1;
            at = next(here);
        }
        // A wait that this walk had passed already is on a cycle.
        if let Some(first) = at.filter(|here| walks[*here] == start + 1) {
            let rest = std::iter::successors(next(first), |here| next(*here)).take_while(|here| *here != first);
            cycles.push([first].into_iter().chain(rest).collect());
        }
    }
    cycles
}

/// An endless wait that a look has shown.
struct Found {
    /// The turns of each worker up to the first look that showed it, and the number of tasks that were ready then.
    seen: Vec<(u64, u64)>,
    told: bool,
}

/// Compares looks, and tells each endless wait once.
#[derive(Default)]
pub(crate) struct Finder {
    /// By the waits of its tasks, in the order of their numbers.
    found: HashMap<Vec<(Key, u32)>, Found>,
}

/// The turns for each ready task after which each has had one. A run with a seed picks the next task by chance.
const TURNS: u64 = 32;

impl Finder {
    /// Returns the waits that are endless for certain, and were not told before. `looks` has the parts of all workers, in their order.
    pub(crate) fn compare(&mut self, looks: &[Look]) -> Vec<EndlessWait> {
        let waits: Vec<Wait> = looks.iter().flat_map(|look| &look.waits).cloned().collect();
        let named: HashMap<Key, &Task> = waits.iter().map(|wait| (wait.key, &wait.task)).collect();
        let stuck = |at: &usize| waits[*at].stuck(|key| named.get(&key).map(|task| (*task).clone()));
        let parks = (0..waits.len()).filter(|at| waits[*at].to.is_none()).map(|at| vec![at]);
        // A look comes after the turns of tasks that were ready before it. So if none is ready now, each has had a turn.
        let has_run =
            |((turns, ready), look): (&(u64, u64), &Look)| look.ready == 0 || look.turns - turns >= ready * TURNS;
        let (mut told, mut found) = (Vec::new(), HashMap::new());
        for group in parks.chain(cycles(&waits)) {
            let mut own: Vec<(Key, u32)> = group.iter().map(|at| (waits[*at].key, waits[*at].seq)).collect();
            own.sort_unstable();
            let mut known = self.found.remove(&own);
            if let Some(known) = &mut known
                && !known.told
                && known.seen.iter().zip(looks).all(has_run)
            {
                known.told = true;
                told.push(match waits[group[0]].to {
                    None => EndlessWait::NoUnparker(stuck(&group[0])),
                    Some(_) => EndlessWait::Cycle(group.iter().map(stuck).collect()),
                });
            }
            let seen = || looks.iter().map(|look| (look.turns, look.ready)).collect();
            found.insert(own, known.unwrap_or_else(|| Found { seen: seen(), told: false }));
        }
        self.found = found;
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(id: u64, seq: u32, to: Option<u64>) -> Wait {
        let task = Task { id, name: None };
        Wait { key: (1, id), seq, task, reason: Reason::new("it"), to: to.map(|id| ((1, id), true)) }
    }

    fn at(turns: u64, ready: u64, waits: Vec<Wait>) -> Vec<Look> {
        vec![Look { waits, turns, ready }]
    }

    #[test]
    fn each_cycle_is_found_once() {
        // 1 -> 2 -> 3 -> 2, 4 -> 4, 5 -> 6 (which does not wait).
        let edges = [(1, 2), (2, 3), (3, 2), (4, 4), (5, 6)];
        let waits: Vec<_> = edges.iter().map(|(from, to)| wait(*from, 0, Some(*to))).collect();
        assert_eq!(cycles(&waits), [vec![1, 2], vec![3]]);
        assert!(cycles(&[]).is_empty());
    }

    #[test]
    fn cycle_is_reported_when_all_ready_tasks_have_run() {
        let pair = || vec![wait(1, 5, Some(2)), wait(2, 7, Some(1))];
        let mut finder = Finder::default();
        assert!(finder.compare(&at(10, 3, pair())).is_empty());
        assert!(finder.compare(&at(12, 2, pair())).is_empty());
        let told = finder.compare(&at(10 + 3 * TURNS, 2, pair()));
        assert!(matches!(&told[..], [EndlessWait::Cycle(tasks)] if tasks.len() == 2), "{told:?}");
        assert!(finder.compare(&at(900, 0, pair())).is_empty(), "told once");
        // All tasks wait at the second look, so the number of turns stays as it is.
        let mut finder = Finder::default();
        assert!(finder.compare(&at(10, 3, pair())).is_empty());
        assert_eq!(finder.compare(&at(12, 0, pair())).len(), 1);
    }

    #[test]
    fn new_waits_are_looked_at_again() {
        let mut finder = Finder::default();
        assert!(finder.compare(&at(0, 0, vec![wait(1, 5, Some(2)), wait(2, 7, Some(1))])).is_empty());
        assert!(finder.compare(&at(0, 0, vec![wait(1, 5, Some(2)), wait(2, 8, Some(1))])).is_empty());
        assert!(finder.compare(&at(0, 0, vec![])).is_empty());
        assert!(finder.compare(&at(0, 0, vec![wait(3, 1, None)])).is_empty());
        let told = finder.compare(&at(0, 0, vec![wait(3, 1, None)]));
        assert!(matches!(&told[..], [EndlessWait::NoUnparker(_)]), "{told:?}");
    }
}
