//! Wakes from other threads, and the sleep until one comes.
//!
//! The only part of a run that other threads touch. Only the worker's own thread touches tasks. A plain thread that waits
//! has one too.
//!
//! Remote queues live for ever and are used again, so whoever wants to wake somebody may keep the address for as long
//! as it likes and pays for no count. Each use has a number of its own: what is pushed for another one is refused.
#![forbid(unsafe_code)]

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Who is to be woken: a task's number in its run.
pub(crate) type TaskId = u64;

#[derive(Default)]
struct Pending {
    wakes: Vec<RemoteWake>,
    /// What to do with jobs that the worker holds.
    jobs: Vec<Order>,
    /// The worker is to poll for events, though there may be nobody to wake.
    notified: bool,
    /// Whose remote queue this is; 0 for nobody's.
    run: u64,
}

/// What the event loop is to do with a job that the worker holds, by its number. Either way that is the job's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Run(u64),
    /// Without running it: what it owns stays with the worker's thread, also for its drop.
    Drop(u64),
}

/// A wake for one task. The worker finds the task by `tcb`, and knows by `task_id` whether it is still that one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RemoteWake {
    /// The TCB's address, as a number: only the worker may follow it.
    pub(crate) tcb: usize,
    pub(crate) task_id: TaskId,
}

impl RemoteWake {
    /// The bit of the address that tells an unpark from a wake. TCBs are aligned to more than a byte (`tcb` asserts
    /// it), so no address has it set.
    const UNPARK: usize = 1;

    /// The same, but for the task's public park only.
    pub(crate) fn unparking(self) -> RemoteWake {
        RemoteWake { tcb: self.tcb | RemoteWake::UNPARK, ..self }
    }

    /// Whether it is for a public park only, and the TCB's address.
    pub(crate) fn target(self) -> (bool, usize) {
        (self.tcb & RemoteWake::UNPARK != 0, self.tcb & !RemoteWake::UNPARK)
    }
}

/// A queue of remote wakes, of a run or of a plain thread that waits.
#[derive(Default)]
pub(crate) struct RemoteQueue {
    pending: Mutex<Pending>,
    arrived: Condvar,
    /// There are remote wakes. Looked at far more often than the remote wakes themselves.
    flag: AtomicBool,
    /// As in `pending`. Changes only while that is locked.
    run: AtomicU64,
}

static UNUSED: Mutex<Vec<&'static RemoteQueue>> = Mutex::new(Vec::new());
/// Numbers are never given twice in a process. 0 is nobody, and the largest is never reached.
static NEXT_RUN: AtomicU64 = AtomicU64::new(1);

/// A remote queue in use. Dropping it closes it, and leaves it for the next.
pub(crate) struct RemoteReceiver {
    queue: &'static RemoteQueue,
    run: u64,
}

impl RemoteReceiver {
    pub(crate) fn new() -> RemoteReceiver {
        let run = NEXT_RUN.fetch_add(1, Ordering::Relaxed);
        let unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let queue = unused.unwrap_or_else(|| Box::leak(Box::default()));
        queue.pending().run = run;
        queue.run.store(run, Ordering::Relaxed);
        RemoteReceiver { queue, run }
    }

    /// The number of this use.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Where to push, for as long as anybody likes.
    pub(crate) fn queue(&self) -> &'static RemoteQueue {
        self.queue
    }
}

impl Deref for RemoteReceiver {
    type Target = RemoteQueue;

    #[inline]
    fn deref(&self) -> &RemoteQueue {
        self.queue
    }
}

impl Drop for RemoteReceiver {
    fn drop(&mut self) {
        self.queue.close();
        UNUSED.lock().unwrap_or_else(PoisonError::into_inner).push(self.queue);
    }
}

impl RemoteQueue {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From any thread: leaves a wake. False if that run has ended.
    pub(crate) fn push(&self, run: u64, wake: RemoteWake) -> bool {
        self.push_with(run, |pending| pending.wakes.push(wake))
    }

    /// From any thread: has the event loop run or drop a job that the worker holds. False if that run has ended.
    pub(crate) fn push_job(&self, run: u64, order: Order) -> bool {
        self.push_with(run, |pending| pending.jobs.push(order))
    }

    /// From any thread: ends the sleep, so that the sleeper looks again what there is for it. False if that run has ended.
    pub(crate) fn notify(&self, run: u64) -> bool {
        self.push_with(run, |pending| pending.notified = true)
    }

    fn push_with(&self, run: u64, what: impl FnOnce(&mut Pending)) -> bool {
        let mut pending = self.pending();
        if pending.run != run {
            return false;
        }
        what(&mut pending);
        self.flag.store(true, Ordering::Release);
        // Whoever is woken needs it.
        drop(pending);
        self.arrived.notify_one();
        true
    }

    /// Whether that run goes on, as far as can be known from outside.
    #[inline]
    pub(crate) fn is_open(&self, run: u64) -> bool {
        self.run.load(Ordering::Relaxed) == run
    }

    /// Whether there may be remote wakes.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Takes all remote wakes: wakes, and what to do with jobs.
    pub(crate) fn take(&self) -> (Vec<RemoteWake>, Vec<Order>) {
        let mut pending = self.pending();
        self.flag.store(false, Ordering::Release);
        pending.notified = false;
        (std::mem::take(&mut pending.wakes), std::mem::take(&mut pending.jobs))
    }

    /// Sleeps until there is a remote wake, or until `deadline`.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) {
        let mut pending = self.pending();
        while pending.wakes.is_empty() && pending.jobs.is_empty() && !pending.notified {
            pending = match deadline {
                None => self.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return;
                    }
                    self.arrived.wait_timeout(pending, deadline - now).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// From now on nobody is there.
    pub(crate) fn close(&self) {
        let mut pending = self.pending();
        *pending = Pending::default();
        self.run.store(0, Ordering::Relaxed);
        self.flag.store(false, Ordering::Release);
    }
}
