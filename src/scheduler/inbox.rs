//! Wakes from other threads, and the sleep until one comes.
//!
//! The only part of a run that other threads touch. Only the worker's own thread touches tasks. A plain thread that waits
//! has one too.
//!
//! Inboxes live for ever and are used again, so whoever wants to wake somebody may keep the address for as long as it likes
//! and pays for no count. Each use has a number of its own: what is posted for another one is refused.
#![forbid(unsafe_code)]

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Who is to be woken: a task's number in its run.
pub(crate) type TaskId = u64;

#[derive(Default)]
struct Letters {
    wakes: Vec<RemoteWake>,
    /// What to do with jobs that the worker holds.
    jobs: Vec<Order>,
    /// The worker is to poll for events, though there may be nobody to wake.
    nudged: bool,
    /// Whose inbox this is; 0 for nobody's.
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
    /// The bit of a key that tells an unpark from a wake. TCBs are aligned to more than a byte (`tcb` asserts it), so no
    /// address has it set.
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

/// A letter-box, of a run or of a plain thread that waits.
#[derive(Default)]
pub(crate) struct Inbox {
    letters: Mutex<Letters>,
    arrived: Condvar,
    /// There are letters. Looked at far more often than the letters themselves.
    flag: AtomicBool,
    /// As in the letters. Changes only while they are locked.
    run: AtomicU64,
}

static UNUSED: Mutex<Vec<&'static Inbox>> = Mutex::new(Vec::new());
/// Numbers are never given twice in a process. 0 is nobody, and the largest is never reached.
static NEXT_RUN: AtomicU64 = AtomicU64::new(1);

/// An inbox in use. Dropping it closes it, and leaves it for the next.
pub(crate) struct Open {
    inbox: &'static Inbox,
    run: u64,
}

impl Open {
    pub(crate) fn new() -> Open {
        let run = NEXT_RUN.fetch_add(1, Ordering::Relaxed);
        let unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let inbox = unused.unwrap_or_else(|| Box::leak(Box::default()));
        inbox.letters().run = run;
        inbox.run.store(run, Ordering::Relaxed);
        Open { inbox, run }
    }

    /// The number of this use.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Where to post, for as long as anybody likes.
    pub(crate) fn inbox(&self) -> &'static Inbox {
        self.inbox
    }
}

impl Deref for Open {
    type Target = Inbox;

    #[inline]
    fn deref(&self) -> &Inbox {
        self.inbox
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.inbox.close();
        UNUSED.lock().unwrap_or_else(PoisonError::into_inner).push(self.inbox);
    }
}

impl Inbox {
    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From any thread: leaves a wake. False if that run has ended.
    pub(crate) fn post(&self, run: u64, wake: RemoteWake) -> bool {
        self.leave(run, |letters| letters.wakes.push(wake))
    }

    /// From any thread: has the event loop run or drop a job that the worker holds. False if that run has ended.
    pub(crate) fn post_job(&self, run: u64, order: Order) -> bool {
        self.leave(run, |letters| letters.jobs.push(order))
    }

    /// From any thread: ends the sleep, so that the sleeper looks again what there is for it. False if that run has ended.
    pub(crate) fn nudge(&self, run: u64) -> bool {
        self.leave(run, |letters| letters.nudged = true)
    }

    fn leave(&self, run: u64, what: impl FnOnce(&mut Letters)) -> bool {
        let mut letters = self.letters();
        if letters.run != run {
            return false;
        }
        what(&mut letters);
        self.flag.store(true, Ordering::Release);
        // Whoever is woken needs it.
        drop(letters);
        self.arrived.notify_one();
        true
    }

    /// Whether that run goes on, as far as can be known from outside.
    #[inline]
    pub(crate) fn is_open(&self, run: u64) -> bool {
        self.run.load(Ordering::Relaxed) == run
    }

    /// Whether there may be letters.
    #[inline]
    pub(crate) fn has_letters(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Takes all letters: wakes, and what to do with jobs.
    pub(crate) fn take(&self) -> (Vec<RemoteWake>, Vec<Order>) {
        let mut letters = self.letters();
        self.flag.store(false, Ordering::Release);
        letters.nudged = false;
        (std::mem::take(&mut letters.wakes), std::mem::take(&mut letters.jobs))
    }

    /// Sleeps until there is a letter, or until `deadline`.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) {
        let mut letters = self.letters();
        while letters.wakes.is_empty() && letters.jobs.is_empty() && !letters.nudged {
            letters = match deadline {
                None => self.arrived.wait(letters).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return;
                    }
                    self.arrived.wait_timeout(letters, deadline - now).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// From now on nobody is there.
    pub(crate) fn close(&self) {
        let mut letters = self.letters();
        *letters = Letters::default();
        self.run.store(0, Ordering::Relaxed);
        self.flag.store(false, Ordering::Release);
    }
}
