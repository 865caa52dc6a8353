//! The cold part of a TCB: state that few tasks have. Allocated on first use.
#![forbid(unsafe_code)]

use super::task_id::Task;
use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// The state that few tasks have.
#[derive(Default)]
pub(crate) struct TcbExt {
    /// The callbacks of `on_done`, in the order in which they were added, so with ascending numbers.
    pub(crate) callbacks: VecDeque<(u64, Callback)>,
    /// The number of the newest callback.
    pub(crate) last_callback: u64,
    /// The task-local values, by the address of their key.
    pub(crate) locals: Locals,
    /// Shared with the task's `Unparker`s: a count above 1 means that one exists.
    pub(crate) unparker: Option<Arc<Task>>,
    /// The reason given with the first cancel that had one.
    pub(crate) cancel_reason: Option<Cow<'static, str>>,
    /// The limits open around the task's waits, the innermost last.
    pub(crate) limits: Vec<Limit>,
    /// The number of the newest limit.
    pub(crate) last_limit: u64,
}

/// A callback of `on_done`. It knows its task.
pub(crate) type Callback = Box<dyn FnOnce()>;

/// The task-local values, by the address of their key.
pub(crate) type Locals = Vec<(usize, Rc<dyn Any>)>;

/// An open limit.
pub(crate) struct Limit {
    /// Names the limit, so that it can be closed.
    pub(crate) number: u64,
    pub(crate) kind: LimitKind,
}

/// What limits a wait.
#[derive(Clone)]
pub(crate) enum LimitKind {
    /// Limits outside of it, and cancels of the task, do not end the wait.
    Shield,
    /// The wait ends at the deadline.
    Deadline(Rc<DeadlineMark>),
    /// The wait ends when the flag is set: the scope was cancelled.
    Scope(Rc<Cell<bool>>),
}

/// A deadline, and whether it ended a wait.
pub(crate) struct DeadlineMark {
    pub(crate) at: Cell<Option<Instant>>,
    pub(crate) seen: Cell<bool>,
}
