//! Limits of waits: shields, timeouts and deadlines.
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

/// Runs `f`, in which no cancel is heard that comes from outside: for clean-up that has to wait. Returns what `f` returns.
///
/// A cancel of the task, and deadlines and scopes around the shield, wait until it is over; the first wait after it returns
/// [`Cancelled`]. Deadlines and scopes that `f` opens count in there as ever. A certain deadlock, and the end of the grace period
/// after main has returned, do end its waits. Outside of a run this only calls `f`.
///
/// ```
/// cede::run(|| {
///     let mut saver = cede::spawn(|| {
///         let work = cede::task::park("work"); // cut short
///         let saved = cede::shield(|| cede::time::sleep(std::time::Duration::from_millis(1))); // is not
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

/// What [`timeout`] and [`deadline`] return when a wait inside was ended by their deadline: what `f` came to all the same.
pub struct Elapsed<T> {
    /// What `f` returned.
    pub value: T,
}

impl<T> Elapsed<T> {
    /// What `f` returned.
    pub fn into_value(self) -> T {
        self.value
    }
}

// By hand, so that T need not be Debug.
impl<T> fmt::Debug for Elapsed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elapsed").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Elapsed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline came before the work was done")
    }
}

impl<T> std::error::Error for Elapsed<T> {}

/// Runs `f` on this stack, but ends its waits after `duration`: from then on they return [`Cancelled`], until `f` returns.
///
/// `f` may borrow, and is not interrupted while it computes. Timeouts nest, and each wait heeds the one that comes first. A
/// duration too long for the clock never comes; after no time at all only what need not wait succeeds.
///
/// # Errors
///
/// [`Elapsed`] exactly if a wait inside was ended by this deadline, and not by another or by a cancel. It carries what `f`
/// returned, so that nothing is lost.
///
/// # Panics
///
/// Outside of a run, and with the panic of `f`.
///
/// ```
/// use std::time::Duration;
/// cede::run(|| {
///     let mut never = cede::spawn(|| cede::task::park("nobody").is_err());
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

/// As [`timeout`], until a moment by the clock of [`time::now`](crate::time::now); `f` is given the deadline, to look at it
/// and to move it.
///
/// # Errors
///
/// # Panics
///
/// As [`timeout`].
///
/// ```
/// use std::time::Duration;
/// cede::run(|| {
///     let soon = cede::time::now() + Duration::from_millis(1);
///     let outcome = cede::task::deadline(soon, |deadline| {
///         deadline.reschedule(None); // takes its time after all
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

/// A deadline that is set: see [`deadline`].
pub struct Deadline {
    mark: Rc<DeadlineMark>,
    open: OpenLimit,
}

impl Deadline {
    /// When it comes; `None` for never.
    pub fn when(&self) -> Option<Instant> {
        self.mark.at.get()
    }

    /// Moves it; `None` for never. A wait that is under way heeds the new one. What a wait has seen stays seen.
    pub fn reschedule(&self, at: Option<Instant>) {
        self.mark.at.set(at);
        if let Some(worker) = worker() {
            self.open.recheck_wait(worker);
        }
    }

    /// Whether it has come, and whether or not a wait has seen it.
    pub fn expired(&self) -> bool {
        self.when().is_some_and(|at| at <= now())
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("when", &self.when()).field("expired", &self.expired()).finish()
    }
}

/// An error if a wait would return [`Cancelled`] now, for long computations that wait for nothing: if the task was cancelled,
/// or a deadline or a scope around this was, and no shield keeps that off. Outside of a run never.
///
/// # Errors
///
/// [`Cancelled`], then and from then on.
///
/// ```
/// cede::run(|| {
///     for _ in 0..3 {
///         cede::task::check()?;
///     }
///     Ok::<(), cede::task::Cancelled>(())
/// })?;
/// # Ok::<(), cede::task::Cancelled>(())
/// ```
pub fn check() -> Result<(), Cancelled> {
    let Some(worker) = worker() else { return Ok(()) };
    let tcb = worker.current();
    if tcb.flags() != 0 && is_interrupted(worker, tcb) { Err(Cancelled) } else { Ok(()) }
}
