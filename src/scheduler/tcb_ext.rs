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

/// The cold part of a TCB: the state that few tasks have.
#[derive(Default)]
pub(crate) struct TcbExt {
    /// The callbacks of `on_done`, in the order in which they were added, so with ascending numbers.
    pub(crate) callbacks: VecDeque<(u64, Callback)>,
    /// The number of the newest callback.
    pub(crate) last_callback: u64,
    /// The task-local values, by the address of their key.
    pub(crate) locals: Locals,
    /// The identity shared with the task's `Unparker`s. A reference count above 1 means that an `Unparker` exists.
    pub(crate) unparker: Option<Arc<Task>>,
    /// The reason of the first cancel that was given one.
    pub(crate) cancel_reason: Option<Cow<'static, str>>,
    /// The limits open around the task's waits, the innermost last.
    pub(crate) limits: Vec<Limit>,
    /// The number of the newest limit.
    pub(crate) last_limit: u64,
}

/// A callback of `on_done`. The closure knows its task.
pub(crate) type Callback = Box<dyn FnOnce()>;

/// The task-local values, by the address of their key.
pub(crate) type Locals = Vec<(usize, Rc<dyn Any>)>;

/// An open limit: a shield, deadline or scope around the waits of a task.
pub(crate) struct Limit {
    /// The number by which the limit is closed.
    pub(crate) number: u64,
    pub(crate) kind: LimitKind,
}

/// The kind of a limit.
#[derive(Clone)]
pub(crate) enum LimitKind {
    /// Outer limits and cancels of the task do not end the wait.
    Shield,
    /// The wait ends at the deadline.
    Deadline(Rc<DeadlineMark>),
    /// The wait ends when this flag is set, which cancels the scope.
    Scope(Rc<Cell<bool>>),
}

/// A deadline, and whether it ended a wait.
pub(crate) struct DeadlineMark {
    pub(crate) at: Cell<Option<Instant>>,
    pub(crate) seen: Cell<bool>,
}
