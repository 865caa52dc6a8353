//! The identity of a task: its number and its name.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

/// The position of the worker's number in a task's number.
pub(super) const WORKER_SHIFT: u32 = 48;

/// The identity of a task: its number and its name. A `Task` can be stored, compared and sent to other threads, and
/// does not keep the task alive.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Task {
    pub(crate) id: u64,
    pub(crate) name: Option<Arc<str>>,
}

impl Task {
    /// Returns the task's number, which no other task of its run has: main is 1, and the event loop 2. The upper 16 bits are the number of
    /// its [`worker`](Self::worker).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the number of the worker that runs the task; 0 for the worker of main.
    pub fn worker(&self) -> usize {
        (self.id >> WORKER_SHIFT) as usize
    }

    pub(crate) fn number(&self) -> Number {
        Number(self.id)
    }

    /// Returns the name that the task's builder set, if any; "main" for main.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// The number of a task, as text: `#7`, or `#7@1` on worker 1.
pub(crate) struct Number(u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0 & ((1 << WORKER_SHIFT) - 1))?;
        match self.0 >> WORKER_SHIFT {
            0 => Ok(()),
            worker => write!(f, "@{worker}"),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "'{name}'"),
            None => self.number().fmt(f),
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id).field("name", &self.name()).finish()
    }
}
