//! Sections in which nothing may suspend.
#![forbid(unsafe_code)]

use crate::scheduler::task_ref::TaskRef;
use crate::scheduler::{flags, worker};
use crate::suspend_check::Section;

/// Runs `f`, in which nothing may suspend, and returns what it returns.
///
/// For code that must not interleave with anything: a callback that holds a lock, a `RefCell` borrow, or a value that a
/// scoped thread-local lends out. A generator or coroutine that was made and is resumed inside `f` may suspend to it; what
/// may not happen is that the body that called `no_suspend` suspends before `f` has returned.
///
/// # Panics
///
/// A task that waits or yields inside `f` panics there, naming both places, and so does a coroutine, generator or sink that
/// suspends inside `f`.
///
/// ```
/// let sum = cede::no_suspend(|| 1 + 1);
/// assert_eq!(sum, 2);
/// ```
///
/// ```should_panic
/// cede::run(|| cede::no_suspend(cede::yield_now)); // panics: another task would run inside the section
/// ```
///
/// ```should_panic
/// let mut g = cede::Generator::new(|y: &cede::Yielder<u32>| {
///     cede::no_suspend(|| y.yield_(1)); // panics: the consumer would run inside the section
/// });
/// g.next();
/// ```
#[track_caller]
pub fn no_suspend<T>(f: impl FnOnce() -> T) -> T {
    let _section = Section::quiet();
    let Some(worker) = worker() else { return f() };
    let quiet =
        NoSuspendGuard { owner: TaskRef::current(worker), was_set: worker.current().has_flags(flags::NO_SUSPEND) };
    worker.current().add_flags(flags::NO_SUSPEND);
    // A turn looks at nothing else.
    worker.poll_soon();
    let value = f();
    drop(quiet);
    value
}

/// Keeps a task from waiting, until it is dropped.
struct NoSuspendGuard {
    owner: TaskRef,
    was_set: bool,
}

impl Drop for NoSuspendGuard {
    fn drop(&mut self) {
        if let Some(tcb) = self.owner.get().filter(|_| !self.was_set) {
            tcb.remove_flags(flags::NO_SUSPEND);
        }
    }
}
