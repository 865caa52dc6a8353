//! The part of a crew that all its workers share: the injector, the seats, and the wakes.
#![forbid(unsafe_code)]

use super::sleepers::Sleepers;
use crate::scheduler::job::Job;
use crate::scheduler::remote::{Call, RemoteQueue};
use crossbeam_deque::{Injector, Steal, Stealer, Worker as Deque};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
use std::sync::{Arc, OnceLock};
use std::thread::yield_now;

/// The side of a worker that the other workers see.
pub(super) struct Seat {
    pub(super) starts: Stealer<Job>,
    pub(super) forks: Stealer<Job>,
    /// The remote queue of the worker, and its number there.
    pub(super) address: OnceLock<(&'static RemoteQueue, u64)>,
    /// See `stall`.
    pub(super) stall: AtomicU64,
}

/// The bit of `Crew::gate` that no thread outside of the run can spawn any more.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// The workers of a run.
pub(crate) struct Crew {
    pub(super) injector: Injector<Job>,
    pub(super) seats: Box<[Seat]>,
    /// The number of workers that were woken and have not found anything yet.
    pub(super) searching: AtomicUsize,
    pub(super) sleepers: Sleepers,
    /// The number of workers that spin before a sleep.
    pub(super) spinning: AtomicUsize,
    /// Main has returned: each worker shuts down.
    pub(super) ending: AtomicBool,
    /// The number of threads that are inside of `inject`, and the bit `CLOSED`.
    pub(super) gate: AtomicUsize,
    /// The number of handles that can spawn.
    pub(super) handles: AtomicUsize,
    /// The number of workers whose tasks have ended or were abandoned.
    pub(super) finished: AtomicUsize,
    /// The number of workers whose shutdown waits for tasks of other workers.
    pub(super) waiting: AtomicUsize,
    /// The run could not start.
    pub(super) given_up: AtomicBool,
    /// A worker gathers the report of a stall.
    pub(super) reporting: AtomicBool,
}

/// The queues of a worker, which only its own thread pushes to.
pub(crate) struct Deques {
    pub(super) starts: Deque<Job>,
    pub(super) forks: Deque<Job>,
}

impl Crew {
    /// Creates a crew of `workers` workers, and the queues of each. [`Member::new`] takes its seat.
    pub(crate) fn new(workers: usize) -> (Arc<Crew>, Vec<Deques>) {
        let deques = || Deques { starts: Deque::new_fifo(), forks: Deque::new_lifo() };
        let deques: Vec<_> = (0..workers).map(|_| deques()).collect();
        let seat = |deques: &Deques| Seat {
            starts: deques.starts.stealer(),
            forks: deques.forks.stealer(),
            address: OnceLock::new(),
            stall: AtomicU64::new(0),
        };
        let crew = Crew {
            injector: Injector::new(),
            seats: deques.iter().map(seat).collect(),
            searching: AtomicUsize::new(0),
            sleepers: Sleepers::new(workers),
            spinning: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            gate: AtomicUsize::new(0),
            handles: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            given_up: AtomicBool::new(false),
            reporting: AtomicBool::new(false),
        };
        (Arc::new(crew), deques)
    }

    /// Returns the number of workers.
    pub(crate) fn workers(&self) -> usize {
        self.seats.len()
    }

    /// Notes that main has returned.
    pub(crate) fn end(&self) {
        self.ending.store(true, SeqCst);
    }

    /// Notes that worker 0 does not work, or not any more: the other workers do not wait for it.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, SeqCst);
        self.close();
        self.end();
    }

    /// Returns whether main has returned.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(SeqCst)
    }

    /// Ends the sleep of a worker.
    fn notify(&self, worker: usize) {
        if let Some((queue, run)) = self.seats[worker].address.get() {
            // False if the worker has left.
            let _ = queue.notify(*run);
        }
    }

    /// Refuses all later closures of threads outside of the run, and waits for the pushes in progress.
    pub(crate) fn close(&self) {
        self.gate.fetch_or(CLOSED, SeqCst);
        while self.gate.load(SeqCst) != CLOSED {
            yield_now();
        }
    }

    /// Returns whether threads outside of the run can spawn. Another thread may see a run that has just ended as open.
    pub(crate) fn is_open(&self) -> bool {
        self.gate.load(Acquire) & CLOSED == 0
    }

    /// Sends a closure to any worker, from any thread. Calls `job` if the run has not ended; otherwise returns false.
    pub(crate) fn inject(&self, job: impl FnOnce() -> Job) -> bool {
        self.while_open(|| {
            self.injector.push(job());
            self.wake_for_work();
        })
    }

    /// Sends a closure to one worker, from any thread, which starts it between two turns. Calls `job` if the run has not ended; otherwise
    /// returns false.
    pub(crate) fn inject_at(&self, worker: usize, job: impl FnOnce() -> Job) -> bool {
        let Some((queue, run)) = self.seats[worker].address.get() else { return false };
        let mut accepted = false;
        self.while_open(|| accepted = queue.push_start(*run, job)) && accepted
    }

    /// Calls `f`, unless the run has ended; then returns false. `close` waits for the end of the call.
    fn while_open(&self, f: impl FnOnce()) -> bool {
        let is_open = self.gate.fetch_add(1, SeqCst) & CLOSED == 0;
        if is_open {
            f();
        }
        self.gate.fetch_sub(1, SeqCst);
        is_open
    }

    /// Makes the event loop of a worker call `call`, from any thread. Drops the call and returns false if the worker has left its thread.
    pub(crate) fn call(&self, worker: usize, call: Call) -> bool {
        self.seats[worker].address.get().is_some_and(|(queue, run)| queue.push_call(*run, call))
    }

    /// Makes the event loops of all workers but `except` call `call`.
    pub(crate) fn call_others(&self, except: usize, call: impl Fn() + Clone + Send + 'static) {
        for worker in (0..self.workers()).filter(|worker| *worker != except) {
            self.call(worker, Box::new(call.clone()));
        }
    }

    /// Wakes a sleeper for a closure that was made visible, unless a worker searches already.
    #[inline]
    pub(super) fn wake_for_work(&self) {
        fence(SeqCst);
        if !self.sleepers.is_empty() && self.searching.load(Relaxed) == 0 {
            self.wake_searcher();
        }
    }

    #[cold]
    fn wake_searcher(&self) {
        while self.searching.compare_exchange(0, 1, SeqCst, Relaxed).is_ok() {
            if let Some(worker) = self.sleepers.remove_any() {
                return self.notify(worker);
            }
            self.searching.fetch_sub(1, SeqCst);
            // Another thread may have relied on this search, and a worker have gone to sleep meanwhile.
            fence(SeqCst);
            if self.sleepers.is_empty() || !self.has_work() {
                return;
            }
        }
    }

    /// Returns whether there is a closure that any worker can start.
    pub(crate) fn has_work(&self) -> bool {
        !self.injector.is_empty() || self.seats.iter().any(|seat| !seat.starts.is_empty() || !seat.forks.is_empty())
    }

    /// Counts a handle.
    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Relaxed);
    }

    /// Counts a handle down. After the last one, a worker asks again whether the run is deadlocked.
    pub(crate) fn remove_handle(&self) {
        if self.handles.fetch_sub(1, Release) == 1 {
            self.notify(0);
        }
    }

    /// Returns whether a thread may have a handle, through which it can spawn a task.
    pub(crate) fn has_handles(&self) -> bool {
        self.handles.load(Acquire) > 0
    }

    /// Notes that the tasks of one worker have ended or were abandoned. Returns whether it is the last worker.
    pub(crate) fn count_finished(&self) -> bool {
        self.finished.fetch_add(1, SeqCst) + 1 == self.workers()
    }

    /// Returns whether the tasks of all workers have ended or were abandoned.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(SeqCst) == self.workers() || self.given_up.load(SeqCst)
    }

    /// Notes that the shutdown of a worker begins to wait for tasks of other workers.
    pub(crate) fn begin_waiting(&self) {
        self.waiting.fetch_add(1, SeqCst);
    }

    /// Ends what [`begin_waiting`](Self::begin_waiting) began.
    pub(crate) fn end_waiting(&self) {
        self.waiting.fetch_sub(1, SeqCst);
    }

    /// Returns whether the shutdown of no worker goes on: each has ended, or waits for tasks of other workers.
    pub(crate) fn all_wait(&self) -> bool {
        self.waiting.load(SeqCst) + self.finished.load(SeqCst) >= self.workers()
    }

    /// Takes closures from the injector: one, and some more into `into`.
    pub(super) fn take_injected(&self, into: &Deque<Job>) -> Option<Job> {
        loop {
            match self.injector.steal_batch_and_pop(into) {
                Steal::Success(job) => return Some(job),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }
}
