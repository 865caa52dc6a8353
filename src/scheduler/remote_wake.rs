//! The messages to one worker that name a task or a job: remote wakes, and orders.
#![forbid(unsafe_code)]

/// The number of a task in its run.
pub(crate) type TaskId = u64;

/// An order to the event loop: to run or to drop a job that the worker holds, given by its number. Both end the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Run(u64),
    /// Drops the job without running it, on the worker's thread: the values that the job owns may not be `Send`.
    Drop(u64),
}

/// A remote wake of one task. The worker finds the task by `tcb`, and checks by `task_id` that the TCB still belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RemoteWake {
    /// The TCB's address as a number, since only the worker may dereference it.
    pub(crate) tcb: usize,
    pub(crate) task_id: TaskId,
}

impl RemoteWake {
    /// The bits of `tcb` that mark an unpark and a cancel. TCBs are aligned to more than four bytes (`tcb` asserts that), so the bits are
    /// clear in every address.
    const UNPARK: usize = 1;
    const CANCEL: usize = 2;

    /// Returns the same wake, but as an unpark: it ends only the public park of the task.
    pub(crate) fn unparking(self) -> RemoteWake {
        RemoteWake { tcb: self.tcb | RemoteWake::UNPARK, ..self }
    }

    /// Returns the same wake, but as a cancel of the task.
    pub(crate) fn cancelling(self) -> RemoteWake {
        RemoteWake { tcb: self.tcb | RemoteWake::CANCEL, ..self }
    }

    /// Returns what the wake does, and the TCB's address.
    pub(crate) fn target(self) -> (WakeKind, usize) {
        let bits = RemoteWake::UNPARK | RemoteWake::CANCEL;
        let kind = match self.tcb & bits {
            0 => WakeKind::Wake,
            RemoteWake::UNPARK => WakeKind::Unpark,
            _ => WakeKind::Cancel,
        };
        (kind, self.tcb & !bits)
    }
}

/// The effect of a [`RemoteWake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WakeKind {
    Wake,
    /// Ends only the public park.
    Unpark,
    /// Cancels the task.
    Cancel,
}
