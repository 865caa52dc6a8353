//! `no_suspend`: sections of code in which nothing may suspend, so that no other task interleaves.
#![forbid(unsafe_code)]

use crate::scheduler::task_ref::TaskRef;
use crate::scheduler::{flags, worker};
use crate::suspend_check::Section;

/// Runs `f` without letting its task or body suspend, and returns the value of `f`.
///
/// For code that must not interleave with other tasks: a callback that holds a lock, a `RefCell` borrow, or a value that a
/// scoped thread-local lends out. A generator or coroutine that is created and resumed inside `f` may suspend to `f`. The
/// body that called `no_suspend` must not suspend before `f` has returned.
///
/// # Panics
///
/// A wait or a yield of the task inside `f` panics, and so does a suspension of the coroutine, generator or sink that
/// called `no_suspend`. The panic names the place of the section and of the wait. Propagates a panic of `f`.
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
    let _section = Section::no_suspend();
    let Some(worker) = worker() else { return f() };
    let flag =
        NoSuspendGuard { owner: TaskRef::current(worker), was_set: worker.current().has_flags(flags::NO_SUSPEND) };
    worker.current().add_flags(flags::NO_SUSPEND);
    // The fast path of a turn does not check the flag, but a poll does: make the next turn poll.
    worker.poll_soon();
    let value = f();
    drop(flag);
    value
}

/// Clears the flag when dropped, unless an outer section had set it.
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
