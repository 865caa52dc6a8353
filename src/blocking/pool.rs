//! The thread pool: threads made on demand up to a limit, a FIFO queue of jobs, and idle threads in LIFO order, so that the
//! threads that the load does not need stay idle and end.
//!
//! A submitter takes a thread off the idle list before it unparks it. Each job in the queue therefore has a thread that will
//! look for it: the one unparked or created for it, or, when the limit is reached, each thread that ends its job.
#![forbid(unsafe_code)]

use super::call::{self, Call};
use crate::sys::fork::{self, PerProcess};
use crate::sys::threads::InternalThread;
use crate::wait::WakeHandle;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A call to run on a thread of the pool. Does not unwind.
pub(super) enum Job {
    /// A call that borrows from a caller which waits for it.
    Borrowed(Call),
    /// A call that owns what it uses. Returns its waiter, if one waits.
    Owned(Box<dyn FnOnce() -> Option<WakeHandle> + Send>),
}

/// A job whose user code has ended, and whose waiter does not know it yet.
enum Ended {
    Borrowed(call::Ended),
    Owned(Option<WakeHandle>),
}

struct State {
    queue: VecDeque<Job>,
    /// The parked threads. The last became idle last, and is unparked first.
    idle: Vec<Thread>,
    /// The number of threads.
    threads: usize,
    /// The number of threads that run user code.
    running: usize,
    max_threads: usize,
    /// The time after which an idle thread ends.
    keep_alive: Duration,
}

/// In a child process the threads of the parent are gone, and the parent runs the queued calls.
static POOL: PerProcess<Mutex<State>> = PerProcess::new(|| {
    Mutex::new(State {
        queue: VecDeque::new(),
        idle: Vec::new(),
        threads: 0,
        running: 0,
        max_threads: MAX_THREADS.load(Relaxed),
        keep_alive: Duration::from_secs(10),
    })
});

/// The limit of threads, for the pools of child processes.
static MAX_THREADS: AtomicUsize = AtomicUsize::new(512);

fn state() -> MutexGuard<'static, State> {
    POOL.get().lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Starts a thread if the limit allows it. Returns whether it did.
    fn grow(&mut self) -> io::Result<bool> {
        if self.threads >= self.max_threads {
            return Ok(false);
        }
        fork::watch()?;
        thread::Builder::new().name("cede-blocking".into()).spawn(serve)?;
        self.threads += 1;
        Ok(true)
    }
}

/// A job that the pool did not accept, because it has no thread and cannot start one.
pub(super) struct Refused {
    pub(super) job: Job,
    pub(super) error: io::Error,
}

/// Queues a job for the pool, or returns it.
pub(super) fn submit(job: Job) -> Result<(), Refused> {
    let mut state = state();
    if let Some(thread) = state.idle.pop() {
        state.queue.push_back(job);
        drop(state);
        thread.unpark();
        return Ok(());
    }
    match state.grow() {
        // With a thread at work, the job can wait until that thread takes it.
        Err(error) if state.threads == 0 => return Err(Refused { job, error }),
        Err(_) | Ok(_) => state.queue.push_back(job),
    }
    Ok(())
}

/// Runs jobs until the thread has been idle for too long.
fn serve() {
    let _internal = InternalThread::register();
    let mut pool = state();
    loop {
        while let Some(job) = pool.queue.pop_front() {
            pool.running += 1;
            drop(pool);
            let ended = match job {
                Job::Borrowed(call) => Ended::Borrowed(call.run()),
                Job::Owned(call) => Ended::Owned(call()),
            };
            // Before the wake: the woken worker must not count this thread as one that may wake a task.
            state().running -= 1;
            let signal = || match ended {
                Ended::Borrowed(ended) => ended.signal(),
                // False if the waiter has ended since.
                Ended::Owned(waker) => drop(waker.map(|waker| waker.wake())),
            };
            // The waker of an executor is foreign code: its panic ends no thread of the pool.
            std::mem::forget(catch_unwind(AssertUnwindSafe(signal)));
            pool = state();
        }
        if pool.threads > pool.max_threads {
            break;
        }
        match idle(pool) {
            (again, true) => pool = again,
            (again, false) => {
                pool = again;
                break;
            }
        }
    }
    pool.threads -= 1;
}

/// Parks the calling thread until a submitter takes it off the idle list. Returns false if that did not happen in time.
fn idle(mut pool: MutexGuard<'static, State>) -> (MutexGuard<'static, State>, bool) {
    let me = thread::current();
    let end = Instant::now().checked_add(pool.keep_alive);
    pool.idle.push(me.clone());
    loop {
        drop(pool);
        let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
        rest.map_or_else(thread::park, thread::park_timeout);
        pool = state();
        // A spurious wake-up leaves the thread in the list.
        let Some(at) = pool.idle.iter().position(|thread| thread.id() == me.id()) else { return (pool, true) };
        if end.is_some_and(|end| end <= Instant::now()) {
            pool.idle.remove(at);
            return (pool, false);
        }
    }
}

/// Returns whether the pool runs user code, or has a call queued. If not, its threads wake no task.
pub(crate) fn has_work() -> bool {
    let state = state();
    state.running > 0 || !state.queue.is_empty()
}

/// Sets the limit of threads of the process's pool. The default is 512.
///
/// When the limit is reached, calls wait in a FIFO queue. Calls that wait for each other need a thread each, and so does a
/// call inside a [`run`](crate::run) that is itself inside a call: with too low a limit they wait permanently.
///
/// A higher limit takes effect at once. After a lower one, threads beyond it end as soon as they have no call to run.
///
/// # Panics
///
/// If `threads` is 0.
///
/// ```
/// cede::blocking::set_max_threads(64);
/// assert_eq!(cede::blocking::max_threads(), 64);
/// ```
#[track_caller]
pub fn set_max_threads(threads: usize) {
    assert!(threads > 0, "the pool of blocking calls needs at least one thread");
    let mut state = state();
    state.max_threads = threads;
    MAX_THREADS.store(threads, Relaxed);
    // A failure is no error here: the threads at work will take the queued calls.
    let mut missing = state.queue.len();
    while missing > 0 && state.grow().unwrap_or(false) {
        missing -= 1;
    }
    let excess = state.threads.saturating_sub(threads).min(state.idle.len());
    let dismissed = state.idle.drain(..excess).collect::<Vec<_>>();
    drop(state);
    // Taken off the list, each finds no job, and the limit exceeded.
    dismissed.iter().for_each(Thread::unpark);
}

/// Returns the limit of threads of the process's pool.
pub fn max_threads() -> usize {
    state().max_threads
}

/// Sets the time after which an idle thread ends, for threads that become idle later. For tests.
#[doc(hidden)]
pub fn set_keep_alive(time: Duration) {
    state().keep_alive = time;
}

/// Returns the number of threads of the pool. For tests.
#[doc(hidden)]
pub fn threads() -> usize {
    state().threads
}
