//! Sections that must close on the stack that opened them.
//!
//! A section changes how the code inside it may behave: [`no_suspend`] forbids suspending, and what comes with tasks
//! (a deadline, a shield) belongs to the one who opened it. A generator that yields with one open would hand it to its
//! consumer, who knows nothing of it (Python has the same trap: PEP 789). So debug builds remember the innermost open
//! section of the thread, and a coroutine may only suspend with the one that it was resumed with.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::Location;
use std::thread::panicking;

/// An open section. `depth` counts those around it, so that two of them can be told apart.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    what: &'static str,
    place: &'static Location<'static>,
    depth: u32,
    /// Where the innermost section was opened in which nothing may wait.
    quiet: Option<&'static Location<'static>>,
}

thread_local! {
    static INNERMOST: Cell<Option<Open>> = const { Cell::new(None) };
}

/// Closes its section when dropped.
pub(crate) struct Section {
    outer: Option<Open>,
}

impl Section {
    /// A section that limits its waits.
    #[track_caller]
    pub(crate) fn open(what: &'static str) -> Section {
        Section::enter(what, INNERMOST.get().and_then(|outer| outer.quiet))
    }

    /// A section in which nothing may wait.
    #[track_caller]
    pub(crate) fn quiet() -> Section {
        Section::enter("no_suspend", Some(Location::caller()))
    }

    /// A run inside of the section that is open: its tasks may wait, since whoever opened that does not suspend by it.
    pub(crate) fn run_inside() -> Section {
        let outer = INNERMOST.get();
        INNERMOST.set(outer.map(|open| Open { quiet: None, ..open }));
        Section { outer }
    }

    #[track_caller]
    fn enter(what: &'static str, quiet: Option<&'static Location<'static>>) -> Section {
        let outer = INNERMOST.get();
        let depth = outer.map_or(1, |outer| outer.depth + 1);
        INNERMOST.set(Some(Open { what, place: Location::caller(), depth, quiet }));
        Section { outer }
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
    }
}

/// What a context has open when it is switched away from; each has its own. Only debug builds look.
#[inline(always)]
pub(crate) fn leave() -> Option<Open> {
    if cfg!(debug_assertions) { INNERMOST.take() } else { None }
}

/// As `leave` found it.
#[inline(always)]
pub(crate) fn come_back(open: Option<Open>) {
    if cfg!(debug_assertions) {
        INNERMOST.set(open);
    }
}

/// Panics if a section is open in which nothing may wait, naming it.
#[track_caller]
pub(crate) fn refuse_to_wait() {
    if let Some(place) = INNERMOST.get().and_then(|open| open.quiet) {
        panic!("cannot wait or yield inside a no_suspend section (opened at {place}): close it first");
    }
}

thread_local! {
    /// A callback of the scheduler's runs, in which nothing may wait.
    static CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// A callback begins or ends.
pub(crate) fn set_in_callback(on: bool) {
    CALLBACK.set(on);
}

/// Whether the code that runs may wait: not while the thread panics, in a callback, or in a section in which nothing may.
pub(crate) fn may_wait() -> bool {
    let quiet = INNERMOST.try_with(Cell::get).ok().flatten().and_then(|open| open.quiet);
    !panicking() && !CALLBACK.try_with(Cell::get).unwrap_or(false) && quiet.is_none()
}

thread_local! {
    /// Where the frames of open scopes lie.
    static SCOPES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A scope whose tasks borrow from the frame at an address, until it is dropped.
pub(crate) struct OpenScope(usize);

impl OpenScope {
    pub(crate) fn new(frame: usize) -> OpenScope {
        SCOPES.with_borrow_mut(|scopes| scopes.push(frame));
        OpenScope(frame)
    }
}

impl Drop for OpenScope {
    fn drop(&mut self) {
        // At thread exit the list may be gone, and with it everybody who would look.
        let _ = SCOPES.try_with(|scopes| {
            let mut scopes = scopes.borrow_mut();
            if let Some(place) = scopes.iter().rposition(|frame| *frame == self.0) {
                scopes.swap_remove(place);
            }
        });
    }
}

/// Whether a scope is open on a stack of this thread.
pub(crate) fn holds_scope(stack: Range<usize>) -> bool {
    SCOPES.try_with(|scopes| scopes.borrow().iter().any(|frame| stack.contains(frame))).unwrap_or(false)
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

    #[track_caller]
    fn quiet<T>(f: impl FnOnce() -> T) -> T {
        let _section = Section::quiet();
        f()
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn sections_nest_and_close_also_by_panic() {
        assert_eq!(depth(), 0);
        let line = line!() + 1;
        quiet(|| {
            assert_eq!(depth(), 1);
            let inner = std::panic::catch_unwind(|| quiet(|| panic!("inside {}", depth())));
            assert_eq!(*inner.unwrap_err().downcast::<String>().unwrap(), "inside 2");
            assert_eq!(depth(), 1);
            assert!(left_open(1).is_none());
            let place = format!("a no_suspend section (opened at {}:{line}:", file!());
            assert!(left_open(0).unwrap().starts_with(&place));
        });
        assert_eq!(depth(), 0);
    }
}
