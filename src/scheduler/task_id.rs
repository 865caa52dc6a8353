//! The identity of a task: its number and its name.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

/// The identity of a task: its number and its name. A `Task` can be stored, compared and sent to other threads, and
/// does not keep the task alive.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Task {
    pub(crate) id: u64,
    pub(crate) name: Option<Arc<str>>,
}

impl Task {
    /// Returns the task's number in its run: main is 1, and the event loop 2.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the name that the task's builder set, if any; "main" for main.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "'{name}'"),
            None => write!(f, "#{}", self.id),
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id).field("name", &self.name()).finish()
    }
}
