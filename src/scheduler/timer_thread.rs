//! The timer thread: ends the sleeps of fibers at their deadlines, since an executor has no timer that every fiber could use.
//!
//! The first deadline starts the thread, one in a process. A queue has at most one alarm, which a later call replaces.
#![forbid(unsafe_code)]

use super::remote::RemoteQueue;
use crate::sys::fork::{self, PerProcess};
use crate::sys::threads::InternalThread;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// The alarms of a process.
#[derive(Default)]
struct Alarms {
    /// The queues to notify, by time and run.
    by_time: BTreeMap<(Instant, u64), &'static RemoteQueue>,
    times: HashMap<u64, Instant>,
    is_started: bool,
    /// The thread notifies a queue.
    is_busy: bool,
}

#[derive(Default)]
struct Timer {
    alarms: Mutex<Alarms>,
    changed: Condvar,
}

static TIMER: PerProcess<Timer> = PerProcess::new(Timer::default);

impl Timer {
    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let _internal = InternalThread::register();
        let mut alarms = self.alarms();
        loop {
            let first = alarms.by_time.first_key_value().map(|(&key, _)| key);
            let now = Instant::now();
            alarms = match first {
                None => self.changed.wait(alarms).unwrap_or_else(PoisonError::into_inner),
                Some((time, _)) if time > now => {
                    self.changed.wait_timeout(alarms, time - now).unwrap_or_else(PoisonError::into_inner).0
                }
                Some((time, run)) => {
                    let queue = alarms.by_time.remove(&(time, run));
                    alarms.times.remove(&run);
                    alarms.is_busy = true;
                    drop(alarms);
                    // False if the run has ended. The queue uses a waker, which is foreign code: its panic ends no other sleep.
                    let notify = || queue.is_some_and(|queue| queue.notify(run));
                    std::mem::forget(catch_unwind(AssertUnwindSafe(notify)));
                    let mut alarms = self.alarms();
                    alarms.is_busy = false;
                    alarms
                }
            };
        }
    }
}

impl Alarms {
    /// Sets the alarm of `run`. Returns whether it is the first of all.
    fn set(&mut self, time: Instant, queue: &'static RemoteQueue, run: u64) -> bool {
        self.clear(run);
        self.times.insert(run, time);
        self.by_time.insert((time, run), queue);
        self.by_time.first_key_value().is_some_and(|(&key, _)| key == (time, run))
    }

    fn clear(&mut self, run: u64) {
        if let Some(time) = self.times.remove(&run) {
            self.by_time.remove(&(time, run));
        }
    }
}

/// Makes the timer thread notify `queue` at `time`, if it belongs to `run` then. Replaces an earlier alarm of `run`.
///
/// # Panics
///
/// Panics if the system refuses the thread.
pub(super) fn set(time: Instant, queue: &'static RemoteQueue, run: u64) {
    // Without the count of forks, a child process has no timer.
    let _ = fork::watch();
    let timer = TIMER.get();
    let mut alarms = timer.alarms();
    if !alarms.is_started {
        if let Err(error) = thread::Builder::new().name("cede-timer".into()).spawn(|| timer.serve()) {
            drop(alarms);
            panic!("cannot start the timer thread, which ends the waits of fibers at their deadlines: {error}");
        }
        alarms.is_started = true;
    }
    if alarms.set(time, queue, run) {
        drop(alarms);
        timer.changed.notify_one();
    }
}

/// Removes the alarm of `run`.
pub(super) fn clear(run: u64) {
    TIMER.get().alarms().clear(run);
}

/// Returns whether the thread may end a sleep, and so wake a task that waits for a fiber.
pub(crate) fn has_work() -> bool {
    let alarms = TIMER.get().alarms();
    alarms.is_busy || !alarms.by_time.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn queue_has_one_alarm() {
        let queue: &'static RemoteQueue = Box::leak(Box::default());
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        assert!(alarms.set(now + Duration::from_secs(2), queue, 1));
        assert!(alarms.set(now + Duration::from_secs(1), queue, 2));
        assert!(!alarms.set(now + Duration::from_secs(3), queue, 1));
        assert_eq!(alarms.by_time.keys().map(|key| key.1).collect::<Vec<_>>(), [2, 1]);
        alarms.clear(2);
        alarms.clear(2);
        assert_eq!((alarms.by_time.len(), alarms.times.len()), (1, 1));
    }
}
