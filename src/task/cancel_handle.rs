//! `CancelHandle`: cancels one task from any thread.
#![forbid(unsafe_code)]

use super::anywhere::Handle;
use super::handle::JoinHandle;
use super::trace;
use crate::scheduler::Task;
use crate::scheduler::wake::WakeHandle;
use std::fmt;

/// A handle that cancels one task, from any thread. Made by [`JoinHandle::cancel_handle`].
///
/// It keeps neither the task nor its result. While it exists, a run whose tasks all wait is reported as deadlocked only if it is a
/// [closed world](crate::Config::closed_world), or if the process has no other thread: the handle may still be used.
#[doc(alias = "AbortHandle")]
#[derive(Clone)]
pub struct CancelHandle {
    waker: WakeHandle,
    task: Task,
    /// Counts among the handles of the run.
    _run: Handle,
}

impl CancelHandle {
    /// Cancels the task like [`JoinHandle::cancel`]. On another thread than that of the task, the cancel takes effect between two turns. No
    /// effect if the task has ended, or its run.
    #[doc(alias = "abort")]
    pub fn cancel(&self) {
        trace::cancel_requested(self.task.id());
        self.waker.cancel();
    }

    /// Returns the number and the name of the task.
    pub fn task(&self) -> &Task {
        &self.task
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("task", &self.task).finish_non_exhaustive()
    }
}

impl<T> JoinHandle<T> {
    /// Returns a handle that cancels the task from any thread.
    ///
    /// # Panics
    ///
    /// Panics if the caller is not part of the task's run.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut waiting = cede::spawn(|| cede::time::sleep(std::time::Duration::MAX).is_err());
    ///     cede::yield_now(); // the task starts, and waits
    ///     let handle = waiting.cancel_handle();
    ///     std::thread::spawn(move || handle.cancel());
    ///     assert_eq!(waiting.join().unwrap(), true);
    /// });
    /// ```
    #[doc(alias = "abort_handle")]
    #[track_caller]
    pub fn cancel_handle(&self) -> CancelHandle {
        let Some(worker) = self.own_worker() else {
            panic!("cannot make a handle that cancels task {}: the caller is not part of the task's run", self.task());
        };
        CancelHandle { waker: WakeHandle::of(worker, self.tcb()), task: self.task(), _run: Handle::current() }
    }
}
