//! The phase and the flags of a task.
#![forbid(unsafe_code)]

/// The state of a task. `tools/cede-gdb.py` relies on the order of the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The TCB belongs to no task.
    Free,
    /// Spawned; has not run.
    Fresh,
    /// Has run; in the run queue or running.
    Ready,
    /// Waits to be woken.
    Parked,
    /// Returned or panicked. The result may still wait for the handle.
    Ended,
    /// Ended without having run, or was unwound.
    Cancelled,
}

/// Bits of a TCB's flags word: everything that a wait has to check. A wait takes its fast path while the word is 0.
pub(crate) mod flags {
    /// The task was cancelled.
    pub(crate) const CANCELLED: u8 = 1;
    /// The task's next wait unwinds it.
    pub(crate) const UNWIND_REQUESTED: u8 = 2;
    /// The task was unwound once.
    pub(crate) const UNWOUND: u8 = 4;
    /// The run is deadlocked: even uncancellable waits end.
    pub(crate) const DEADLOCKED: u8 = 8;
    /// Shields, deadlines or scopes are open around the task's waits.
    pub(crate) const HAS_LIMITS: u8 = 16;
    /// The task is in a section in which it must not suspend.
    pub(crate) const NO_SUSPEND: u8 = 32;
    /// The task was abandoned: the worker never enters it again.
    pub(crate) const ABANDONED: u8 = 64;
    /// The task is parked with a deadline. Never set while the task runs.
    pub(crate) const HAS_DEADLINE: u8 = 128;
}
