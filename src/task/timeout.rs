//! The limits of waits: `shield`, `timeout` and `deadline`; and `check`, for code that does not wait.
#![forbid(unsafe_code)]

use crate::coroutine::chain::Kind;
use crate::scheduler::tcb_ext::{DeadlineMark, LimitKind};
use crate::scheduler::{Worker, worker};
use crate::wait::limits::{OpenLimit, is_interrupted};
use crate::wait::{Cancelled, now, running};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Runs `f`, keeps cancels from ending its waits, and returns its value. Use it for clean-up that must wait.
///
/// A cancel of the task, and the deadlines and scopes around the shield, do not end the waits of `f`. They take effect
/// after `f` has returned: the next wait returns [`Cancelled`]. Deadlines and scopes inside `f` work as usual. A deadlock
/// of the run, and the forced unwind at the end of the grace period, do end the waits of `f`. Outside a run,
/// `shield` calls `f` and does nothing else.
///
/// ```
/// cede::run(|| {
///     let mut saver = cede::spawn(|| {
///         let work = cede::task::park("work"); // returns `Cancelled`
///         let saved = cede::shield(|| cede::time::sleep(std::time::Duration::from_millis(1))); // completes
///         (work.is_err(), saved.is_ok())
///     });
///     cede::yield_now();
///     saver.cancel();
///     assert_eq!(saver.join().unwrap(), (true, true));
/// });
/// ```
#[track_caller]
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    let Some(worker) = worker() else { return f() };
    let _open = OpenLimit::new(worker, Kind::Shield, LimitKind::Shield);
    f()
}

/// The error of [`timeout`] and [`deadline`]: the deadline ended a wait or a [`check`] in the closure. Holds the value
/// that the closure returned.
pub struct Elapsed<T> {
    /// The value that the closure returned.
    pub value: T,
}

impl<T> Elapsed<T> {
    /// Returns the value that the closure returned.
    pub fn into_value(self) -> T {
        self.value
    }
}

// Implemented by hand, so that `T` need not implement `Debug`.
impl<T> fmt::Debug for Elapsed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elapsed").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Elapsed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed before the work was done")
    }
}

impl<T> std::error::Error for Elapsed<T> {}

/// Runs `f`, and ends its waits when `duration` has passed: from that time on they return [`Cancelled`], until `f` returns.
///
/// `f` runs on the current stack, may borrow, and is not interrupted while it computes. Timeouts nest: each wait obeys the
/// earliest deadline around it. A duration too long for `Instant`, such as `Duration::MAX`, never passes. With
/// `Duration::ZERO`, only calls that need not wait succeed.
///
/// Cancel safety: `timeout` always returns the value of `f`, in `Ok` or in [`Elapsed`], so nothing is lost.
///
/// # Errors
///
/// [`Elapsed`] if and only if this deadline ended a wait or a [`check`] in `f`, or made a scope in `f` cancel its
/// tasks. A wait that ended because of another deadline or a cancel does not count.
///
/// # Panics
///
/// Panics if called outside a run. Propagates a panic of `f`.
///
/// ```
/// use std::time::Duration;
/// cede::run(|| {
///     let mut never = cede::spawn(|| cede::task::park("a message").is_err());
///     let outcome = cede::timeout(Duration::from_millis(1), || never.join());
///     assert!(outcome.is_err());
///     assert_eq!(cede::timeout(Duration::from_secs(1), || 6 * 7).unwrap(), 42);
///     never.cancel();
/// });
/// ```
#[track_caller]
pub fn timeout<T>(duration: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed<T>> {
    let worker = running("set a timeout");
    within(worker, worker.clock.now().checked_add(duration), Kind::Timeout, |_| f())
}

/// Runs `f` like [`timeout`], but with a point in time, `at`, instead of a duration. `at` is a time of the clock that
/// [`time::now`](crate::time::now) reads. `f` receives the [`Deadline`], which it can read and move.
///
/// # Errors
///
/// The errors of [`timeout`].
///
/// # Panics
///
/// The panics of [`timeout`].
///
/// ```
/// use std::time::Duration;
/// cede::run(|| {
///     let soon = cede::time::now() + Duration::from_millis(1);
///     let outcome = cede::task::deadline(soon, |deadline| {
///         deadline.reschedule(None); // no deadline from here on
///         cede::time::sleep(Duration::from_millis(3))
///     });
///     assert!(outcome.unwrap().is_ok());
/// });
/// ```
#[track_caller]
pub fn deadline<T>(at: Instant, f: impl FnOnce(&Deadline) -> T) -> Result<T, Elapsed<T>> {
    within(running("set a deadline"), Some(at), Kind::Deadline, f)
}

#[track_caller]
fn within<T>(
    worker: &Worker,
    at: Option<Instant>,
    kind: Kind,
    f: impl FnOnce(&Deadline) -> T,
) -> Result<T, Elapsed<T>> {
    let mark = Rc::new(DeadlineMark { at: Cell::new(at), seen: Cell::new(false) });
    let open = OpenLimit::new(worker, kind, LimitKind::Deadline(Rc::clone(&mark)));
    let deadline = Deadline { mark, open };
    let value = f(&deadline);
    if deadline.mark.seen.get() { Err(Elapsed { value }) } else { Ok(value) }
}

/// The deadline of an open [`deadline`] section.
pub struct Deadline {
    mark: Rc<DeadlineMark>,
    open: OpenLimit,
}

impl Deadline {
    /// Returns the deadline; `None` if there is none.
    pub fn when(&self) -> Option<Instant> {
        self.mark.at.get()
    }

    /// Moves the deadline; `None` removes it. A wait that is in progress obeys the new deadline. If the old deadline has
    /// already ended a wait, the section still returns [`Elapsed`].
    pub fn reschedule(&self, at: Option<Instant>) {
        self.mark.at.set(at);
        if let Some(worker) = worker() {
            self.open.recheck_wait(worker);
        }
    }

    /// Returns whether the deadline has passed, even if it has not ended a wait.
    pub fn expired(&self) -> bool {
        self.when().is_some_and(|at| at <= now())
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("when", &self.when()).field("expired", &self.expired()).finish()
    }
}

/// Returns [`Cancelled`] if a wait at this place would return it. Use it in a long computation that does not wait. Outside
/// a run, `check` always returns `Ok`. It neither waits nor yields.
///
/// # Errors
///
/// [`Cancelled`] if the task was cancelled, if a deadline around this call has passed, if a scope around this call was
/// cancelled, or if the run is deadlocked. Inside a [`shield`], only a deadlock and the deadlines and scopes inside the
/// shield count.
///
/// ```
/// cede::run(|| {
///     let mut endless = cede::spawn(|| -> Result<(), cede::task::Cancelled> {
///         loop {
///             cede::task::check()?; // returns the error after the cancel
///             cede::yield_now();
///         }
///     });
///     cede::yield_now();
///     endless.cancel();
///     assert_eq!(endless.join().unwrap(), Err(cede::task::Cancelled));
/// });
/// ```
pub fn check() -> Result<(), Cancelled> {
    let Some(worker) = worker() else { return Ok(()) };
    let tcb = worker.current();
    if tcb.flags() != 0 && is_interrupted(worker, tcb) { Err(Cancelled) } else { Ok(()) }
}
