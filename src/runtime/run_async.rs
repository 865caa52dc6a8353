//! A run as a future: [`Config::run_async`].
//!
//! The run is opened inside a fiber, so its event loop suspends the fiber where it would sleep, and gives way to the executor every 64 to
//! 1,024 turns. Nothing else distinguishes it from a run that blocks its thread.
#![forbid(unsafe_code)]

use super::{Config, RunError, cancel};
use crate::bridge::Fiber;
use crate::coroutine::Builder;
use crate::scheduler::event_loop::Held;
use crate::stack::StackError;
use crate::wait::worker;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// The stack of main, in bytes.
const STACK_SIZE: usize = 256 * 1024;

/// A run as a future; see [`Config::run_async`]. Its output is what [`Config::run`] returns.
///
/// Stays on its thread: it is neither `Send` nor `Sync`.
///
/// # Drop
///
/// The drop of a run that was polled cancels main, and finishes the run before it returns: tasks are cancelled and awaited, as when main
/// returns. While they wait, the thread is blocked, for up to the grace period ([`Config::shutdown_grace`]) and the time after it. To let
/// the executor go on meanwhile, cancel the run by a [`Canceller`] and await it. A main that ignores its cancel and waits again and again
/// keeps the drop from returning.
#[must_use = "a future does nothing unless it is polled"]
pub struct RunFuture<T> {
    fiber: Result<Fiber<Result<T, RunError<T>>>, Option<StackError>>,
    shared: Arc<Shared>,
}

/// The state of a run that its cancellers see.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    /// Main has not started.
    #[default]
    Created,
    /// Main was cancelled before its start.
    Cancelled,
    /// Main runs. The job cancels it.
    Running(Held),
    /// Main has returned.
    Over,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets cancellers cancel main, which has just started.
    fn begin(&self) {
        let Some(worker) = worker() else { return };
        let job = cancel::hold_cancel(worker, "the canceller of its run");
        let before = std::mem::replace(&mut *self.state(), State::Running(job));
        if matches!(before, State::Cancelled) {
            job.release();
        }
    }
}

/// Marks the run as over when main returns or unwinds.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        *self.0.state() = State::Over;
    }
}

/// A handle that cancels the main task of a run, from any thread. Returned by [`RunFuture::canceller`]. Clones cancel the same run.
#[derive(Clone)]
pub struct Canceller {
    shared: Arc<Shared>,
}

impl Canceller {
    /// Cancels main: its waits return [`Cancelled`](crate::task::Cancelled), and when it returns, the run shuts down. If the run was not
    /// polled yet, main starts cancelled. Returns false if main has returned, or was cancelled by this handle before its start.
    ///
    /// Wakes the executor, which must still poll the run to its end.
    pub fn cancel(&self) -> bool {
        let mut state = self.shared.state();
        match *state {
            State::Created => *state = State::Cancelled,
            State::Running(job) => {
                // Released outside of the lock: the release uses the waker of the executor, which is foreign code.
                drop(state);
                job.release();
            }
            State::Cancelled | State::Over => return false,
        }
        true
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

impl Config {
    /// Returns a future that runs `main` and the tasks that it spawns, on the thread of the executor that polls it. Its output is what
    /// [`run`](Self::run) returns.
    ///
    /// While a task is ready, the run goes on inside of `poll`; it gives way to the executor every 64 to 1,024 turns. If none is ready, the
    /// future is pending until a wake, a deadline or an event for a socket. The deadlines of the run have a thread of the library, and the
    /// sockets another, so the run works with every executor. Each event for a socket that finds the run asleep takes some microseconds
    /// more than in a run that blocks its thread.
    ///
    /// Main has a stack of 256 KiB. Since its future may be forgotten, main borrows nothing.
    ///
    /// # Panics
    ///
    /// The poll panics with the payload of `main` if `main` panics and the run was not deadlocked, and if the future has finished.
    ///
    /// ```
    /// use cede::Config;
    /// let run = Config::new().run_async(|| {
    ///     let mut tasks: Vec<_> = (1..=3).map(|n| cede::spawn(move || n * n)).collect();
    ///     tasks.iter_mut().map(|task| task.join().unwrap()).sum::<i32>()
    /// });
    /// assert_eq!(cede::block_on(async { run.await.unwrap() }), Ok(14));
    /// ```
    #[track_caller]
    pub fn run_async<T: 'static>(self, main: impl FnOnce() -> T + 'static) -> RunFuture<T> {
        let (shared, place) = (Arc::<Shared>::default(), Location::caller());
        let own = Arc::clone(&shared);
        let body = move || {
            self.run_at(place, || {
                own.begin();
                let _over = Over(&own);
                main()
            })
        };
        let fiber = Builder::new().name("main").stack_size(STACK_SIZE).fiber(body).map_err(Some);
        RunFuture { fiber, shared }
    }
}

impl<T> RunFuture<T> {
    /// Returns a handle that cancels main, from any thread.
    ///
    /// ```
    /// use cede::{Config, time::sleep};
    /// use std::time::Duration;
    /// let run = Config::new().run_async(|| sleep(Duration::from_secs(3600)).is_err());
    /// let canceller = run.canceller();
    /// std::thread::spawn(move || canceller.cancel());
    /// let was_cancelled = cede::block_on(async { run.await.unwrap() });
    /// assert_eq!(was_cancelled, Ok(true));
    /// ```
    pub fn canceller(&self) -> Canceller {
        Canceller { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Future for RunFuture<T> {
    type Output = Result<T, RunError<T>>;

    #[inline]
    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().fiber {
            Ok(fiber) => Pin::new(fiber).poll(cx),
            Err(error) => match error.take() {
                Some(error) => Poll::Ready(Err(RunError::Stack(error))),
                None => panic!("cannot poll a run: it has finished"),
            },
        }
    }
}

impl<T> fmt::Debug for RunFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunFuture").finish_non_exhaustive()
    }
}
