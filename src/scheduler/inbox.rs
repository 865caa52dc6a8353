//! Wakes from other threads, and the worker's sleep until one comes.
//!
//! The only part of a run that other threads touch. Only the worker's own thread touches tasks.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Who is to be woken: a task's number in its run.
pub(crate) type Address = u64;

#[derive(Default)]
struct Letters {
    wakes: Vec<Wake>,
    /// The worker is to look around, though there may be nobody to wake.
    nudged: bool,
    /// The run has ended: wakes are for nobody.
    closed: bool,
}

/// A wake for one task. The worker finds the task by `key`, and knows by `address` whether it is still that one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wake {
    /// The block's address, as a number: only the worker may follow it.
    pub(crate) key: usize,
    pub(crate) address: Address,
}

/// One run's letter-box.
#[derive(Default)]
pub(crate) struct Inbox {
    letters: Mutex<Letters>,
    arrived: Condvar,
    /// There are letters. Looked at far more often than the letters themselves.
    flag: AtomicBool,
}

impl Inbox {
    pub(crate) fn new() -> Arc<Inbox> {
        Arc::default()
    }

    /// From any thread: leaves a wake. False if the run has ended.
    pub(crate) fn post(&self, wake: Wake) -> bool {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.closed {
            return false;
        }
        letters.wakes.push(wake);
        self.flag.store(true, Ordering::Release);
        self.arrived.notify_one();
        true
    }

    /// From any thread: ends the worker's sleep, so that it looks again who can still be woken.
    pub(crate) fn nudge(&self) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.nudged = true;
        self.flag.store(true, Ordering::Release);
        self.arrived.notify_one();
    }

    /// Whether there may be letters.
    #[inline]
    pub(crate) fn has_letters(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Takes all letters.
    pub(crate) fn take(&self) -> Vec<Wake> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        self.flag.store(false, Ordering::Release);
        letters.nudged = false;
        std::mem::take(&mut letters.wakes)
    }

    /// Sleeps until there is a letter, or until `deadline`.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        while letters.wakes.is_empty() && !letters.nudged {
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
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}
