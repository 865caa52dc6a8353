//! Detached calls, which own what they use. Their waiter can be cancelled, and the call goes on without it.
#![forbid(unsafe_code)]

use super::pool::{self, Job};
use crate::task::JoinError;
use crate::wait::{WaitSpec, WakeHandle, wait_anywhere};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A handle to a call of [`unblock_detached`], which returns its value.
///
/// Dropping the handle detaches the call: it goes on, and its value is dropped on the pool's thread. The handle can be
/// sent to tasks of other runs and to plain threads.
pub struct Detached<T> {
    shared: Arc<Mutex<State<T>>>,
}

enum State<T> {
    /// The call has not ended. Holds the waiter of `join`, if there is one.
    Running(Option<WakeHandle>),
    Ended(thread::Result<T>),
    /// The result was taken.
    Taken,
}

/// Runs `f` on a thread of the pool, and returns a handle at once. For a call that may never return: a read from a
/// terminal or a pipe, a lock of another process.
///
/// `f` owns what it uses. The run does not wait for the call when it ends, and neither does the process. Outside of a run
/// `f` runs on the pool, too.
///
/// # Panics
///
/// If the pool has no thread and the operating system refuses to create one.
///
/// ```
/// use cede::{JoinError, blocking::unblock_detached, timeout};
/// use std::{sync::mpsc, time::Duration};
/// let (sender, receiver) = mpsc::channel::<u32>();
/// cede::run(move || {
///     let mut reading = unblock_detached(move || receiver.recv());
///     let waited = timeout(Duration::from_millis(10), || reading.join());
///     assert!(matches!(waited.unwrap_err().value, Err(JoinError::Interrupted)));
///     sender.send(7).unwrap();
///     assert_eq!(reading.join().unwrap(), Ok(7));
/// });
/// ```
#[doc(alias = "spawn_blocking")]
#[track_caller]
pub fn unblock_detached<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Detached<T> {
    let (handle, call) = detach(f);
    if let Err(refused) = pool::submit(Job::Owned(call)) {
        panic!("cannot start a thread for a blocking call: {}", refused.error);
    }
    handle
}

/// A call that owns what it uses, and stores its own result. Returns the waiter, if one waits. Does not unwind.
pub(super) type OwnedCall = Box<dyn FnOnce() -> Option<WakeHandle> + Send>;

/// Makes a call of `f`, and the handle that takes its result.
pub(super) fn detach<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (Detached<T>, OwnedCall) {
    let shared = Arc::new(Mutex::new(State::Running(None)));
    let handle = Detached { shared: Arc::clone(&shared) };
    let call = move || {
        let result = catch_unwind(AssertUnwindSafe(f));
        let running = std::mem::replace(&mut *lock(&shared), State::Ended(result));
        // If the handle is gone, the result is dropped here. A panic of its destructor must not end the thread.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(shared))) {
            std::mem::forget(payload);
        }
        match running {
            State::Running(waker) => waker,
            State::Ended(_) | State::Taken => None,
        }
    };
    (handle, Box::new(call))
}

fn lock<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Detached<T> {
    /// Waits until the call has ended, and returns its value. Suspends the task; outside of a run it blocks the thread.
    ///
    /// Cancel safety: an interrupted `join` takes nothing. The call goes on, and `join` can be called again.
    ///
    /// # Errors
    ///
    /// * [`JoinError::Panicked`] if the call panicked, with the payload.
    /// * [`JoinError::Interrupted`] if the call has not ended, and the waiting task was cancelled, a deadline or scope
    ///   around this call ended the wait, or the task's thread is panicking.
    ///
    /// # Panics
    ///
    /// If the result was already taken, and if it would have to wait in a callback or inside
    /// [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// let mut call = cede::blocking::unblock_detached(|| 6 * 7);
    /// assert_eq!(call.join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn join(&mut self) -> Result<T, JoinError> {
        self.join_for("a detached blocking call")
    }

    /// Like [`join`](Self::join), with the text that reports show for the wait.
    #[track_caller]
    pub(crate) fn join_for(&mut self, reason: &'static str) -> Result<T, JoinError> {
        loop {
            if let Some(result) = self.try_join() {
                return result;
            }
            if let State::Running(waker) = &mut *lock(&self.shared) {
                WakeHandle::put_current(waker);
            } else {
                continue;
            }
            let wait = WaitSpec { reason, in_progress: true, ..WaitSpec::DEFAULT };
            // The end of the call wins over a cancel.
            if wait_anywhere(wait, None).is_err() && !self.is_finished() {
                return Err(JoinError::Interrupted);
            }
        }
    }

    /// Returns the result if the call has ended, and `None` otherwise. Never waits.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`] if the call panicked, with the payload.
    ///
    /// # Panics
    ///
    /// If the result was already taken.
    #[track_caller]
    pub fn try_join(&mut self) -> Option<Result<T, JoinError>> {
        let mut state = lock(&self.shared);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Ended(result) => Some(result.map_err(JoinError::Panicked)),
            State::Taken => {
                drop(state);
                panic!("the result of this blocking call was already taken: join and try_join return it once")
            }
            running => {
                *state = running;
                None
            }
        }
    }

    /// Returns a closure that returns whether this handle was dropped before the call began.
    #[cfg(feature = "io")]
    pub(super) fn watch_drop(&self) -> impl Fn() -> bool + Send + 'static
    where
        T: Send + 'static,
    {
        let shared = Arc::downgrade(&self.shared);
        // The call has the other reference.
        move || shared.strong_count() == 1
    }

    /// Returns whether the call has ended.
    pub fn is_finished(&self) -> bool {
        !matches!(*lock(&self.shared), State::Running(_))
    }
}

impl<T> fmt::Debug for Detached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}
