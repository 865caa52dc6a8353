//! The handle to a run that other threads keep: for the start of tasks in it.
#![forbid(unsafe_code)]

use super::remote::{RemoteQueue, Start};

/// Names a run. Its worker has one reference, and each handle another.
pub(crate) struct RunHandle {
    queue: &'static RemoteQueue,
    run: u64,
}

impl RunHandle {
    pub(super) fn new(queue: &'static RemoteQueue, run: u64) -> RunHandle {
        RunHandle { queue, run }
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Returns whether the run has not ended. Another thread may see a run that has just ended as open.
    pub(crate) fn is_open(&self) -> bool {
        self.queue.is_open(self.run)
    }

    /// Sends a task to start. Calls `task` if the run has not ended; otherwise returns false.
    pub(crate) fn push_start(&self, task: impl FnOnce() -> Box<dyn Start>) -> bool {
        self.queue.push_start(self.run, task)
    }

    /// Ends the sleep of the worker, so that it checks again whether a wake can come.
    pub(crate) fn notify(&self) {
        // False if the run has ended.
        let _ = self.queue.notify(self.run);
    }
}
