//! Metrics: counters of a run (tasks, switches, waits, wakes, timers) and of the stacks of the process.
#![forbid(unsafe_code)]

use super::ask::ask;
use crate::scheduler::{Worker, worker};
use crate::stack::{self, Stats};
use crate::task::Handle;

/// The type of a run's driver of I/O. A build without I/O has none.
#[cfg(feature = "io")]
type IoDriver = crate::reactor::Driver;
#[cfg(not(feature = "io"))]
type IoDriver = std::convert::Infallible;

/// The counters of a run, or of one of its workers. Returned by [`metrics`] and [`Handle::metrics`].
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
    /// The times that a worker without ready tasks took closures from another one.
    pub steals: u64,
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

/// Returns the counters of this worker, which is the whole run unless [`Config::workers`](crate::Config::workers) has set several; then
/// [`Handle::metrics`] returns the sums. Outside a run all counters are 0, except those of the stacks.
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
    worker().map_or_else(|| of([0; 7], 0, [0; 3], None), Worker::metrics)
}

fn of(counts: [u64; 7], steals: u64, io: [u64; 3], io_driver: Option<IoDriver>) -> Metrics {
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
        steals,
        io_waiting,
        io_descriptors,
        io_polls,
        io_driver,
        stacks: stack::stats(),
    }
}

impl Worker {
    fn metrics(&self) -> Metrics {
        let steals = self.existing_member().map_or(0, |member| member.steals());
        of(self.counts(), steals, self.io_counts(), self.io_driver().map(|(driver, _)| driver))
    }
}

impl Handle {
    /// Returns the sums of the counters of all workers. Asks each worker, which answers between two turns: waits for the answers, up to 1 s.
    /// A worker that answers later is not counted, and none is if the run has ended.
    ///
    /// # Panics
    ///
    /// Panics in a callback and inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// cede::Config::new().workers(2).run(|| {
    ///     let mut tasks = [0, 1].map(|worker| cede::Builder::new().on(worker).spawn_anywhere(|| ()).unwrap());
    ///     tasks.iter_mut().for_each(|task| task.join().unwrap());
    ///     assert_eq!(cede::task::Handle::current().metrics().spawned, 2);
    /// })?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let answers = ask(self, Worker::metrics).into_iter().flatten();
        answers.fold(of([0; 7], 0, [0; 3], None), |sum, one| Metrics {
            spawned: sum.spawned + one.spawned,
            live: sum.live + one.live,
            ended: sum.ended + one.ended,
            switches: sum.switches + one.switches,
            parks: sum.parks + one.parks,
            wakes_from_threads: sum.wakes_from_threads + one.wakes_from_threads,
            timers: sum.timers + one.timers,
            ready: sum.ready + one.ready,
            steals: sum.steals + one.steals,
            io_waiting: sum.io_waiting + one.io_waiting,
            io_descriptors: sum.io_descriptors + one.io_descriptors,
            io_polls: sum.io_polls + one.io_polls,
            io_driver: sum.io_driver.or(one.io_driver),
            stacks: sum.stacks,
        })
    }
}
