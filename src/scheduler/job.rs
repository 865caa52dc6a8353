//! A closure that has not started, in 16 bytes: what the queues between workers hold.

use std::mem::ManuallyDrop;
use std::sync::Arc;

/// The fate of a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Becomes a task of the calling worker. That runs no user code; `Worker::drop_as_job` runs destructors.
    Start,
    /// Is dropped without a call, and its waiter gets an error.
    GiveUp,
}

/// A closure that an `Arc` owns, and that a [`Job`] starts.
pub(crate) trait Start: Send + Sync {
    /// Starts a task for the closure on the calling thread, or gives it up. Called once.
    fn start(self: Arc<Self>, fate: Fate);
}

/// A closure that has not started. It is started once, or given up when it is dropped.
pub(crate) struct Job {
    data: *const (),
    run: unsafe fn(*const (), Fate),
}

// SAFETY: `Job::new` requires it.
unsafe impl Send for Job {}

impl Job {
    /// Creates a job that calls `run(data, fate)` once: in a worker of the run, or to give up.
    ///
    /// # Safety
    ///
    /// That call is sound once, at any later time and on any thread, as long as the job exists.
    pub(crate) unsafe fn new(data: *const (), run: unsafe fn(*const (), Fate)) -> Job {
        Job { data, run }
    }

    /// Creates the job of a closure that the `Arc` owns, and that may borrow.
    ///
    /// # Safety
    ///
    /// What it borrows outlives the job and the task that the job starts.
    pub(crate) unsafe fn borrowing<S: Start>(start: Arc<S>) -> Job {
        /// # Safety
        ///
        /// `data` is from `Arc::into_raw` of an `Arc<S>`, whose reference this call takes.
        unsafe fn run<S: Start>(data: *const (), fate: Fate) {
            // SAFETY: the caller passes the pointer of an `Arc<S>` and its reference.
            unsafe { Arc::from_raw(data.cast::<S>()) }.start(fate);
        }
        // SAFETY: the job owns a reference of the `Arc`, so `data` is valid. The caller ensures the same of what it borrows.
        unsafe { Job::new(Arc::into_raw(start).cast(), run::<S>) }
    }

    /// Starts the task of the closure on the calling thread, a worker of the run.
    pub(crate) fn start(self) {
        let job = ManuallyDrop::new(self);
        // SAFETY: `job` is not dropped, so this is the only call. `new` requires that it is sound.
        unsafe { (job.run)(job.data, Fate::Start) };
    }

    /// Returns whether this is the job of `data`.
    pub(crate) fn is_of(&self, data: *const ()) -> bool {
        std::ptr::eq(self.data, data)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: `start` takes the job without a drop, so this is the only call. `new` requires that it is sound.
        unsafe { (self.run)(self.data, Fate::GiveUp) };
    }
}
