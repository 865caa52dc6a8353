//! Metrics: counters of a run (tasks, switches, waits, wakes, timers) and of the stacks of the process.
#![forbid(unsafe_code)]

use crate::scheduler::{Worker, worker};
use crate::stack::{self, Stats};

/// The type of a run's driver of I/O. A build without I/O has none.
#[cfg(feature = "io")]
type IoDriver = crate::reactor::Driver;
#[cfg(not(feature = "io"))]
type IoDriver = std::convert::Infallible;

/// The counters of a run. Returned by [`metrics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Tasks spawned so far. Main is not counted.
    pub spawned: u64,
    /// Spawned tasks that have not ended.
    pub live: u64,
    /// Spawned tasks that have ended.
    pub ended: u64,
    /// Turns that ended, by a yield, a wait or the end of the task. A yield counts even if no other task was ready.
    pub switches: u64,
    /// Waits that began. A wait counts even if a wake had arrived before it. Each wait that suspends its task is a switch too.
    pub parks: u64,
    /// Remote wakes: wakes from other threads.
    pub wakes_from_threads: u64,
    /// Armed timers: deadlines of waits that have not passed.
    pub timers: u64,
    /// Ready tasks: those in the run queue, without the running task.
    pub ready: u64,
    /// Tasks that wait for I/O.
    pub io_waiting: u64,
    /// Descriptors that the reactor watches. An operation of io_uring needs no watch, so with this driver there may be fewer
    /// than tasks that wait.
    pub io_descriptors: u64,
    /// Polls of the driver for events: calls of epoll_wait(2) or poll(2), or attempts to take completions of io_uring(7).
    pub io_polls: u64,
    /// The driver of I/O: `Epoll` (also for poll(2)) or `Uring`. `None` before the first wait for I/O, and without the feature `io`.
    pub io_driver: Option<IoDriver>,
    /// The stacks of the whole process, including those of other runs and of coroutines.
    pub stacks: Stats,
}

/// Returns the counters of this run. Outside a run all counters are 0, except those of the stacks.
///
/// A call takes the lock of the stack pool. Between calls the counters are almost free: the run needs most of them anyway, and
/// each of the rest takes a fraction of a nanosecond.
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
    worker().map_or_else(|| of([0; 7], [0; 3], None), Worker::metrics)
}

fn of(counts: [u64; 7], io: [u64; 3], io_driver: Option<IoDriver>) -> Metrics {
    let [spawned, live, switches, parks, wakes_from_threads, timers, ready] = counts;
    let [io_waiting, io_descriptors, io_polls] = io;
    let ended = spawned - live;
    Metrics {
        spawned,
        live,
        ended,
        switches,
        parks,
        wakes_from_threads,
        timers,
        ready,
        io_waiting,
        io_descriptors,
        io_polls,
        io_driver,
        stacks: stack::stats(),
    }
}

impl Worker {
    fn metrics(&self) -> Metrics {
        of(self.counts(), self.io_counts(), self.io_driver().map(|(driver, _)| driver))
    }
}
