//! Sections that must close on the stack that opened them.
//!
//! A section changes how the code inside it may behave: [`no_suspend`](crate::no_suspend) forbids suspending, a deadline, a
//! shield or a scope belongs to the caller that opened it, and a run to the thread. A generator that yields with one open
//! would hand it to its consumer, who knows nothing of it (Python has the same trap: PEP 789), or be forgotten with it. So the
//! bodies that run when a section opens do not suspend before it closes: [`chain`](crate::coroutine::chain) has the argument.
#![forbid(unsafe_code)]

use crate::coroutine::chain::{self, Kind, Marked, Opened};
use std::cell::Cell;
use std::panic::Location;

thread_local! {
    /// Where the innermost section was opened in which nothing may wait. Nothing is switched to inside of it, so one cell serves
    /// all tasks of the thread.
    static QUIET: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// An open section. Closes when dropped, on the stack that opened it.
pub(crate) struct Section {
    marked: Marked,
    /// What `QUIET` was, for sections that change it.
    quiet: Option<Option<&'static Location<'static>>>,
}

impl Section {
    /// A section that limits waits.
    #[inline]
    #[track_caller]
    pub(crate) fn open(kind: Kind) -> Section {
        Section { marked: chain::mark(Opened { kind, place: Location::caller() }), quiet: None }
    }

    /// A section in which nothing may wait.
    #[track_caller]
    pub(crate) fn quiet() -> Section {
        let place = Location::caller();
        let marked = chain::mark(Opened { kind: Kind::NoSuspend, place });
        Section { marked, quiet: Some(QUIET.replace(Some(place))) }
    }

    /// A run, started at `place`. Its tasks may wait, also inside of `no_suspend`, since the caller that opened that does not suspend by it.
    pub(crate) fn run(place: &'static Location<'static>) -> Section {
        let marked = chain::mark(Opened { kind: Kind::Run, place });
        Section { marked, quiet: Some(QUIET.replace(None)) }
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        chain::unmark(&self.marked);
        if let Some(quiet) = self.quiet {
            QUIET.set(quiet);
        }
    }
}

/// Panics if a section is open in which nothing may wait, naming it.
#[track_caller]
pub(crate) fn refuse_to_wait() {
    if let Some(place) = QUIET.get() {
        panic!("cannot wait or yield inside a no_suspend section (opened at {place}): close it first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn quiet_sections_nest_and_close_also_by_panic() {
        let waits = || std::panic::catch_unwind(refuse_to_wait).is_ok();
        let outer = Section::quiet();
        let inner = std::panic::catch_unwind(|| {
            let _inner = Section::quiet();
            let _run = Section::run(Location::caller());
            assert!(waits());
            panic!("inside");
        });
        assert_eq!(*inner.unwrap_err().downcast::<&str>().unwrap(), "inside");
        assert!(!waits());
        drop(outer);
        assert!(waits());
    }
}
