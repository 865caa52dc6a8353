//! The kind of code that calls: a task, a callback, or a plain thread.
#![forbid(unsafe_code)]

use crate::wait::{fiber, worker};

/// The effect of a wait on its caller. Returned by [`context`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Context {
    /// A task of a run, main included: a wait suspends the task. The body of a generator or coroutine belongs to the task that
    /// resumed it.
    Task,
    /// A callback of a run, such as that of [`on_done`](crate::JoinHandle::on_done): a wait panics.
    Callback,
    /// A fiber, outside of a run: a wait suspends the fiber, and the executor goes on.
    Fiber,
    /// Code outside of a run and of a fiber: a wait blocks the thread.
    Thread,
}

/// Returns the effect that a wait would have on the calling code.
///
/// Code that has another way to wait for a future asks first: outside of a run it calls its runtime's own `block_on`. The
/// answer holds until the calling code suspends. Inside [`no_suspend`](crate::no_suspend) it is that of the code around it.
///
/// ```
/// use cede::bridge::{Context, context};
/// assert_eq!(context(), Context::Thread);
/// cede::run(|| assert_eq!(context(), Context::Task));
/// ```
pub fn context() -> Context {
    match worker() {
        Some(worker) if worker.is_in_job() => Context::Callback,
        Some(_) => Context::Task,
        None if fiber::current().is_some() => Context::Fiber,
        None => Context::Thread,
    }
}
