//! A worker's own side of its crew: its queues, and the search for closures to start.
#![forbid(unsafe_code)]

use super::shared::{Crew, Deques};
use crate::scheduler::job::Job;
use crate::scheduler::remote::RemoteReceiver;
use crate::scheduler::rng::{splitmix64, xorshift64};
use crossbeam_deque::Steal;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::fence;

/// The number of times that a search goes through all workers while queues change under it.
const ROUNDS: usize = 4;

/// The membership of a worker in its crew.
pub(crate) struct Member {
    pub(super) crew: Arc<Crew>,
    pub(super) number: usize,
    deques: Deques,
    /// The state of the generator that chooses the worker to steal from first.
    rng: Cell<u64>,
    /// The worker was woken to search, and counts in `Crew::searching`.
    searches: Cell<bool>,
    scopes: RefCell<Scopes>,
    /// The number of times that this worker stole.
    steals: Cell<u64>,
}

/// The parts of open scopes on a worker, by the address of what the parts of one scope share. Type-erased: the type is defined in `task`, a
/// higher layer.
pub(crate) type Scopes = BTreeMap<usize, Rc<dyn Any>>;

impl Member {
    /// Creates the membership of the worker `number`.
    pub(crate) fn new(crew: Arc<Crew>, number: usize, deques: Deques) -> Member {
        Member {
            crew,
            number,
            deques,
            rng: Cell::new(splitmix64(number as u64)),
            searches: Cell::new(false),
            scopes: RefCell::default(),
            steals: Cell::new(0),
        }
    }

    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    /// Returns the parts on this worker of the scopes whose tasks run on several workers.
    pub(crate) fn scopes(&self) -> &RefCell<Scopes> {
        &self.scopes
    }

    /// Returns the number of the worker in its crew; 0 for the one of main.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Returns the number of times that this worker took closures of another one.
    pub(crate) fn steals(&self) -> u64 {
        self.steals.get()
    }

    /// Pushes a closure for any worker.
    #[inline]
    pub(crate) fn push(&self, job: Job) {
        self.deques.starts.push(job);
        self.crew.wake_for_work();
    }

    /// Pushes a closure that this worker takes back first, and other workers steal.
    #[inline]
    pub(crate) fn push_fork(&self, job: Job) {
        self.deques.forks.push(job);
        self.crew.wake_for_work();
    }

    /// Takes the fork that was pushed last, if it was not stolen.
    #[inline]
    pub(crate) fn pop_fork(&self) -> Option<Job> {
        self.deques.forks.pop()
    }

    /// Returns a closure of this worker or from the injector.
    pub(crate) fn find_own(&self) -> Option<Job> {
        let own = self.deques.forks.pop().or_else(|| self.deques.starts.pop());
        own.or_else(|| if self.crew.injector.is_empty() { None } else { self.crew.take_injected(&self.deques.starts) })
    }

    /// Steals from another worker.
    fn steal(&self) -> Option<Job> {
        let count = self.crew.workers();
        for _ in 0..ROUNDS {
            let mut retry = false;
            let first = (xorshift64(&self.rng) >> 16) as usize % count;
            for victim in (0..count).map(|n| (first + n) % count).filter(|victim| *victim != self.number) {
                let seat = &self.crew.seats[victim];
                let stolen = match seat.forks.steal() {
                    Steal::Success(job) => Steal::Success(job),
                    other => {
                        retry |= other.is_retry();
                        seat.starts.steal_batch_and_pop(&self.deques.starts)
                    }
                };
                retry |= stolen.is_retry();
                if let Steal::Success(job) = stolen {
                    self.steals.set(self.steals.get() + 1);
                    return Some(job);
                }
            }
            if !retry {
                return None;
            }
        }
        None
    }

    /// Returns a closure to start: of this worker, from the injector, or of another worker.
    pub(crate) fn find(&self) -> Option<Job> {
        let job = self.find_own().or_else(|| self.steal());
        self.stop_searching();
        job
    }

    /// Ends the search that a wake began. The last searcher looks again, since pushes have relied on it.
    #[inline]
    pub(crate) fn stop_searching(&self) {
        if self.searches.replace(false) && self.crew.searching.fetch_sub(1, SeqCst) == 1 {
            fence(SeqCst);
            if self.crew.has_work() {
                self.crew.wake_for_work();
            }
        }
    }

    /// Enters the worker among the sleepers. Returns false if there is a closure to start: then it is no sleeper.
    pub(crate) fn announce_sleep(&self) -> bool {
        self.crew.sleepers.insert(self.number);
        fence(SeqCst);
        let may_sleep = !self.crew.has_work();
        if !may_sleep {
            self.end_sleep();
        }
        may_sleep
    }

    /// Removes the worker from the sleepers. If another thread has done so, it was woken to search.
    pub(crate) fn end_sleep(&self) {
        if !self.crew.sleepers.remove(self.number) {
            self.searches.set(true);
        }
    }

    /// Sets the remote queue through which the worker is woken. Called once.
    pub(crate) fn take_seat(&self, remote: &RemoteReceiver) {
        let seat = &self.crew.seats[self.number];
        assert!(seat.address.set((remote.queue(), remote.run())).is_ok(), "a seat is taken once");
    }

    /// Begins a spin before a sleep, which lasts until the returned value is dropped. Returns `None` if half of the workers spin: with more,
    /// they would take cores from the work that ends the spin.
    pub(crate) fn begin_spin(&self) -> Option<Spinning<'_>> {
        let crew = &*self.crew;
        if crew.workers() < SPIN_CAP_FROM {
            return Some(Spinning(None));
        }
        let before = crew.spinning.fetch_add(1, Acquire);
        let spinning = Spinning(Some(crew));
        (before < crew.workers() / 2).then_some(spinning)
    }
}

/// The number of workers from which on not all of them may spin.
const SPIN_CAP_FROM: usize = 4;

/// A spin in progress.
pub(crate) struct Spinning<'a>(Option<&'a Crew>);

impl Drop for Spinning<'_> {
    fn drop(&mut self) {
        if let Some(crew) = self.0 {
            crew.spinning.fetch_sub(1, Release);
        }
    }
}
