//! Sections, which must close on the stack that opened them: a run, a scope, a timeout, a deadline, a shield,
//! `no_suspend`.
//!
//! A section limits the code inside it: [`no_suspend`](crate::no_suspend) forbids suspending, a deadline, a shield or a
//! scope belongs to the caller that opened it, and a run belongs to the thread. A generator that yielded with a section
//! open would apply the section to its consumer, which did not open it (PEP 789 describes the same problem in Python),
//! or could be leaked with the section open. Therefore the bodies that run when a section opens must not suspend before
//! it closes; [`chain`](crate::coroutine::chain) explains why that suffices.
#![forbid(unsafe_code)]

use crate::coroutine::chain::{self, Kind, Marked, Opened};
use std::cell::Cell;
use std::panic::Location;

thread_local! {
    /// The place where the innermost `no_suspend` section was opened. While it is set no task is switched, so one cell
    /// serves all tasks of the thread.
    static NO_SUSPEND_AT: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// An open section. Dropping it closes the section, and must happen on the stack that opened it.
pub(crate) struct Section {
    marked: Marked,
    /// The previous value of `NO_SUSPEND_AT`, for sections that change it.
    outer: Option<Option<&'static Location<'static>>>,
}

impl Section {
    /// Opens a section that limits waits.
    #[inline]
    #[track_caller]
    pub(crate) fn open(kind: Kind) -> Section {
        Section { marked: chain::mark(Opened { kind, place: Location::caller() }), outer: None }
    }

    /// Opens a `no_suspend` section: nothing may wait inside of it.
    #[track_caller]
    pub(crate) fn no_suspend() -> Section {
        let place = Location::caller();
        let marked = chain::mark(Opened { kind: Kind::NoSuspend, place });
        Section { marked, outer: Some(NO_SUSPEND_AT.replace(Some(place))) }
    }

    /// Opens the section of a run that was started at `place`. Its tasks may wait even inside of `no_suspend`: their
    /// waits do not suspend the caller that opened the `no_suspend` section.
    pub(crate) fn run(place: &'static Location<'static>) -> Section {
        let marked = chain::mark(Opened { kind: Kind::Run, place });
        Section { marked, outer: Some(NO_SUSPEND_AT.replace(None)) }
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        chain::unmark(&self.marked);
        if let Some(outer) = self.outer {
            NO_SUSPEND_AT.set(outer);
        }
    }
}

/// Opens the section of a poll of a fiber: code inside the fiber suspends no body around the poll.
#[inline]
pub(crate) fn open_poll() -> Marked {
    chain::mark(Opened { kind: Kind::Poll, place: POLL })
}

/// Like [`open_poll`], for the poll itself: the same executor polls again and again from the same stack.
#[inline(always)]
pub(crate) fn open_poll_of_executor() -> Marked {
    chain::mark_poll(Opened { kind: Kind::Poll, place: POLL })
}

/// Closes the section of a poll.
#[inline]
pub(crate) fn close_poll(marked: &Marked) {
    chain::unmark(marked);
}

/// The place of all polls: their callers are executors.
const POLL: &Location<'static> = Location::caller();

/// Exchanges the innermost `no_suspend` section: inside a fiber, the sections around its poll do not count.
#[inline(always)]
pub(crate) fn set_no_suspend(place: Option<&'static Location<'static>>) -> Option<&'static Location<'static>> {
    NO_SUSPEND_AT.replace(place)
}

/// Returns whether a `no_suspend` section is open.
#[inline(always)]
pub(crate) fn is_no_suspend() -> bool {
    NO_SUSPEND_AT.get().is_some()
}

/// Panics if a `no_suspend` section is open. The message names the place where it was opened.
#[inline]
#[track_caller]
pub(crate) fn refuse_to_wait() {
    if let Some(place) = NO_SUSPEND_AT.get() {
        refuse_inside(place);
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn refuse_inside(place: &Location<'_>) -> ! {
    panic!("cannot wait or yield inside a no_suspend section (opened at {place}): close it first");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn no_suspend_sections_nest_and_close_on_panic() {
        let waits = || std::panic::catch_unwind(refuse_to_wait).is_ok();
        let outer = Section::no_suspend();
        let inner = std::panic::catch_unwind(|| {
            let _inner = Section::no_suspend();
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
