//! Counts of what a run does.
#![forbid(unsafe_code)]

use crate::scheduler::{Worker, worker};
use crate::stack::{self, Stats};

/// Counts of what a run has done up to now: see [`metrics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Tasks that were spawned. Main is not one of them.
    pub spawned: u64,
    /// Of these, tasks that have not ended.
    pub live: u64,
    /// Of these, tasks that have ended.
    pub ended: u64,
    /// How often a task gave up its turn: by yielding (also when nobody else was ready), by waiting, or by ending.
    pub switches: u64,
    /// How often a task came to a wait, also when it was woken before that. Each is a switch too.
    pub parks: u64,
    /// Wakes that came from other threads.
    pub wakes_from_threads: u64,
    /// Deadlines that are set and were not reached.
    pub timers: u64,
    /// Tasks that wait for nothing but their turn, the running one not counted.
    pub ready: u64,
    /// The stacks of the whole process: those of other runs and of coroutines too.
    pub stacks: Stats,
}

/// Counts of what this run has done up to now. Outside of a run all are 0 but those of the stacks.
///
/// Costs a lock of the stack pool, and nothing in between: what is counted is counted anyway, or costs a fraction of a
/// nanosecond.
///
/// ```
/// cede::run(|| {
///     let mut tasks: Vec<_> = (0..3).map(|_| cede::spawn(cede::yield_now)).collect();
///     tasks.iter_mut().for_each(|task| task.join().unwrap());
///     let metrics = cede::metrics();
///     assert_eq!((metrics.spawned, metrics.live, metrics.ended), (3, 0, 3));
/// });
/// ```
pub fn metrics() -> Metrics {
    worker().map_or_else(|| of([0; 7]), Worker::metrics)
}

fn of([spawned, live, switches, parks, wakes_from_threads, timers, ready]: [u64; 7]) -> Metrics {
    let ended = spawned - live;
    Metrics { spawned, live, ended, switches, parks, wakes_from_threads, timers, ready, stacks: stack::stats() }
}

impl Worker {
    fn metrics(&self) -> Metrics {
        of(self.counts())
    }
}
