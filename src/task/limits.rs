//! What limits the waits of a task, from where it was opened to where it is closed: shields, deadlines, scopes.
//!
//! Each task has a list of those that are open, the innermost last. A wait looks at them from the inside out, up to the first
//! shield. A body cannot suspend with one open (`section`), so the task that opens a limit closes it.

use super::callbacks::ext;
use super::wait::{Cancelled, running};
use crate::coroutine::chain::Kind;
use crate::scheduler::tcb::{Tcb, TcbTable};
use crate::scheduler::{Phase, Worker, flags, worker};
use crate::suspend_check::Section;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// One that is open.
pub(super) struct Limit {
    number: u64,
    what: What,
}

#[derive(Clone)]
pub(super) enum What {
    /// Nothing outside of it is heard.
    Shield,
    /// Waits end when it comes.
    Deadline(Rc<Mark>),
    /// Waits end when it is set: the scope was cancelled.
    Scope(Rc<Cell<bool>>),
}

/// A deadline, and whether a wait saw it.
pub(super) struct Mark {
    at: Cell<Option<Instant>>,
    seen: Cell<bool>,
}

/// What a wait has to heed.
#[derive(Default)]
pub(super) struct View {
    /// A cancel of the task is not heard.
    pub(super) shielded: bool,
    /// A scope around it was cancelled.
    pub(super) scope_cancelled: bool,
    /// The deadline that comes first, and of several at the same moment the outermost.
    nearest: Option<Rc<Mark>>,
}

impl View {
    /// When the nearest deadline comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.nearest.as_ref().and_then(|mark| mark.at.get())
    }

    /// The wait ended because of the nearest deadline.
    pub(super) fn saw_deadline(&self) {
        if let Some(mark) = &self.nearest {
            mark.seen.set(true);
        }
    }

    /// Whether a wait that begins now is to end at once, apart from what the task itself was told.
    pub(super) fn is_over(&self, worker: &Worker) -> bool {
        self.scope_cancelled || self.is_late(worker)
    }

    fn is_late(&self, worker: &Worker) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= worker.clock.now())
    }
}

/// What the waits of this task have to heed at this moment.
pub(super) fn view(tcb: &Tcb) -> View {
    let mut view = View::default();
    if !tcb.has_flags(flags::HAS_LIMITS) {
        return view;
    }
    ext(tcb, |ext| {
        for Limit { what, .. } in ext.limits.iter().rev() {
            match what {
                What::Shield => {
                    view.shielded = true;
                    break;
                }
                What::Scope(cancelled) => view.scope_cancelled |= cancelled.get(),
                What::Deadline(mark) => {
                    let nearest = view.deadline();
                    if mark.at.get().is_some_and(|at| nearest.is_none_or(|nearest| at <= nearest)) {
                        view.nearest = Some(Rc::clone(mark));
                    }
                }
            }
        }
    });
    view
}

/// Whether a deadline will end the waits of this task.
pub(super) fn has_deadline(tcb: &Tcb) -> bool {
    view(tcb).deadline().is_some()
}

/// Whether a wait that begins now is to end at once; if it is because of a deadline, that one was seen.
pub(super) fn is_interrupted(worker: &Worker, tcb: &Tcb) -> bool {
    let view = view(tcb);
    let told = tcb.has_flags(flags::DEADLOCKED) || !view.shielded && tcb.has_flags(flags::CANCELLED);
    if told || view.scope_cancelled {
        return true;
    }
    let late = view.is_late(worker);
    if late {
        view.saw_deadline();
    }
    late
}

/// A task, for as long as it has not ended, whoever else is there by then.
struct Owner {
    table: Rc<TcbTable>,
    tcb: *const Tcb,
    task: u64,
}

impl Owner {
    fn current(worker: &Worker) -> Owner {
        let tcb = worker.current();
        Owner { table: Rc::clone(&worker.table), tcb, task: tcb.id.get() }
    }

    fn get(&self) -> Option<&Tcb> {
        let _keeps = &self.table;
        // SAFETY: TCBs stay in place as long as their table, which this keeps.
        Some(unsafe { &*self.tcb }).filter(|tcb| tcb.id.get() == self.task)
    }
}

/// Closes a limit when dropped, on the task that opened it, if that is still there.
pub(super) struct Open {
    owner: Owner,
    number: u64,
    _section: Section,
}

impl Open {
    #[track_caller]
    pub(super) fn new(worker: &Worker, kind: Kind, what: What) -> Open {
        let tcb = worker.current();
        let number = ext(tcb, |ext| {
            ext.limits_made += 1;
            ext.limits.push(Limit { number: ext.limits_made, what });
            ext.limits_made
        });
        tcb.add_flags(flags::HAS_LIMITS);
        Open { owner: Owner::current(worker), number, _section: Section::open(kind) }
    }

    /// It has changed: has the wait that its task is in look at it. A task of another run stays asleep: a worker enters its own
    /// tasks only.
    pub(super) fn look_again(&self, worker: &Worker) {
        let of_this_run = Rc::ptr_eq(&worker.table, &self.owner.table);
        if let Some(owner) = self.owner.get()
            && of_this_run
            && owner.phase.get() == Phase::Parked
        {
            worker.wake(owner);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(tcb) = self.owner.get() else { return };
        let none_left = ext(tcb, |ext| {
            ext.limits.retain(|limit| limit.number != self.number);
            ext.limits.is_empty()
        });
        if none_left {
            tcb.flags.set(tcb.flags.get() & !flags::HAS_LIMITS);
        }
    }
}

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
    let _open = Open::new(worker, Kind::Shield, What::Shield);
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
    let mark = Rc::new(Mark { at: Cell::new(at), seen: Cell::new(false) });
    let open = Open::new(worker, kind, What::Deadline(Rc::clone(&mark)));
    let deadline = Deadline { mark, open };
    let value = f(&deadline);
    if deadline.mark.seen.get() { Err(Elapsed { value }) } else { Ok(value) }
}

/// A deadline that is set: see [`deadline`].
pub struct Deadline {
    mark: Rc<Mark>,
    open: Open,
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
            self.open.look_again(worker);
        }
    }

    /// Whether it has come, and whether or not a wait has seen it.
    pub fn expired(&self) -> bool {
        self.when().is_some_and(|at| at <= crate::task::wait::now())
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("when", &self.when()).field("expired", &self.expired()).finish()
    }
}

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
    let quiet = NoSuspendGuard { owner: Owner::current(worker), was: worker.current().flags.get() & flags::NO_SUSPEND };
    worker.current().add_flags(flags::NO_SUSPEND);
    // A turn looks at nothing else.
    worker.poll_soon();
    let value = f();
    drop(quiet);
    value
}

/// Keeps a task from waiting, until it is dropped.
struct NoSuspendGuard {
    owner: Owner,
    was: u8,
}

impl Drop for NoSuspendGuard {
    fn drop(&mut self) {
        if let Some(tcb) = self.owner.get() {
            tcb.flags.set(tcb.flags.get() & !flags::NO_SUSPEND | self.was);
        }
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
    if tcb.flags.get() != 0 && is_interrupted(worker, tcb) { Err(Cancelled) } else { Ok(()) }
}
