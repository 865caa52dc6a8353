//! Sections that must close on the stack that opened them.
//!
//! A section changes how the code inside it may behave: [`no_suspend`] forbids suspending, and what comes with tasks
//! (a deadline, a shield) belongs to the one who opened it. A generator that yields with one open would hand it to its
//! consumer, who knows nothing of it (Python has the same trap: PEP 789). So debug builds remember the innermost open
//! section of the thread, and a coroutine may only suspend with the one that it was resumed with.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::panic::Location;

/// An open section. `depth` counts those around it, so that two of them can be told apart.
#[derive(Clone, Copy)]
struct Open {
    what: &'static str,
    place: &'static Location<'static>,
    depth: u32,
}

thread_local! {
    static INNERMOST: Cell<Option<Open>> = const { Cell::new(None) };
}

/// Closes its section when dropped.
struct Section {
    outer: Option<Open>,
}

impl Section {
    #[track_caller]
    fn open(what: &'static str) -> Section {
        let outer = INNERMOST.get();
        let depth = outer.map_or(1, |outer| outer.depth + 1);
        INNERMOST.set(Some(Open { what, place: Location::caller(), depth }));
        Section { outer }
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
    }
}

/// Runs `f`, in which nothing may suspend, and returns what it returns.
///
/// For code that must not interleave with anything: a callback that holds a lock, a `RefCell` borrow, or a value that a
/// scoped thread-local lends out. A generator or coroutine that was made and is resumed inside `f` may suspend to it; what
/// may not happen is that the body that called `no_suspend` suspends before `f` has returned.
///
/// The check is made in debug builds (`debug_assertions`); in release builds this only calls `f`.
///
/// # Panics
///
/// In debug builds suspending inside `f` panics at the place that suspends, naming the coroutine and both places.
///
/// ```
/// let sum = cede::no_suspend(|| 1 + 1);
/// assert_eq!(sum, 2);
/// ```
///
/// ```should_panic
/// # if cfg!(not(debug_assertions)) { panic!("checked in debug builds only") }
/// let mut g = cede::Generator::new(|y: &cede::Yielder<u32>| {
///     cede::no_suspend(|| y.yield_(1)); // panics: the consumer would run inside the section
/// });
/// g.next();
/// ```
#[track_caller]
#[inline]
pub fn no_suspend<T>(f: impl FnOnce() -> T) -> T {
    // Not `then(|| ..)`: a closure would be the place that is named.
    let _section = if cfg!(debug_assertions) { Some(Section::open("no_suspend")) } else { None };
    f()
}

/// How many sections are open on this thread. At thread exit, when the cell is gone, none.
pub(crate) fn depth() -> u32 {
    INNERMOST.try_with(Cell::get).ok().flatten().map_or(0, |open| open.depth)
}

/// If a section is open that was not at `depth`, tells which and where it was opened.
pub(crate) fn left_open(depth: u32) -> Option<String> {
    let open = INNERMOST.try_with(Cell::get).ok().flatten()?;
    (open.depth > depth).then(|| format!("a {} section (opened at {})", open.what, open.place))
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn sections_nest_and_close_also_by_panic() {
        assert_eq!(depth(), 0);
        let line = line!() + 1;
        no_suspend(|| {
            assert_eq!(depth(), 1);
            let inner = std::panic::catch_unwind(|| no_suspend(|| panic!("inside {}", depth())));
            assert_eq!(*inner.unwrap_err().downcast::<String>().unwrap(), "inside 2");
            assert_eq!(depth(), 1);
            assert!(left_open(1).is_none());
            let place = format!("a no_suspend section (opened at {}:{line}:", file!());
            assert!(left_open(0).unwrap().starts_with(&place));
        });
        assert_eq!(depth(), 0);
    }
}
