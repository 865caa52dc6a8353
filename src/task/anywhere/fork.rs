//! `join_anywhere`: calls two closures, the second one perhaps on another worker.
//!
//! # Why this is sound
//!
//! 1. The second closure is stored in the frame of `join`, with a job that points to it. `join` leaves that frame only after it has taken the job
//!    back, or after the signal is done: `a` runs under `catch_unwind`, and nothing ends the wait early. A guard aborts the process if an
//!    unwind came through nevertheless.
//! 2. A job is started or given up once. Given up, and where it gets no stack, it leaves the closure untouched and sets the signal: then `join`
//!    has the closure back. Started, its task sets the signal in its last step, when it has stored the outcome (`ForkEnd`). The store that makes the
//!    signal done is the last touch of the frame.
//! 3. `B` and `b` are `Send`. `a` and its value stay on the thread of the caller, and so does the caller: it parks like every task.
//! 4. While the job is out, no other code frees the frame: points 5 to 7 in the head of `scope.rs`. If the frame is in a body, the
//!    open section keeps the body from suspending.

use super::signal::Signal;
use crate::coroutine::chain::Kind;
use crate::coroutine::raw::Payload;
use crate::scheduler::job::{Fate, Job};
use crate::scheduler::tcb::{EndListener, ScopeLink, Tcb};
use crate::scheduler::{Task, TaskUnwound, Worker, worker};
use crate::suspend_check::Section;
use crate::task::result::{release, unhandled};
use crate::task::start::{SpawnOptions, StackTime, start_borrowing};
use crate::wait::{AbortOnUnwind, can_suspend, wait_for_borrowers};
use std::cell::UnsafeCell;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null;
use std::rc::Rc;
use std::thread;

/// The second closure, in the frame of its joiner. While its job is out, `f` and `outcome` belong to the holder of the job.
struct Fork<F, T> {
    signal: Signal,
    f: UnsafeCell<Option<F>>,
    /// Stays empty if the closure was not called.
    outcome: UnsafeCell<Option<Outcome<T>>>,
}

/// The outcome of a closure that was called as a task.
enum Outcome<T> {
    Value(T),
    Panicked(Payload),
    /// The run has unwound the task, because it shuts down.
    Unwound,
}

/// Calls `a` and `b`, perhaps at the same time on two workers, and returns both values. Both may borrow from the caller.
///
/// `a` runs on the calling task, which stays on its worker. `b` can be stolen by a worker that has nothing else to do, which then runs it as a
/// task of its own. If that has not happened when `a` has returned, the caller takes `b` back and calls it, which costs no task and no
/// allocation: fine-grained joins are cheap. While the caller waits for a stolen `b`, its worker runs other tasks.
///
/// Both closures may wait; then the worker runs other tasks, `b` among them. Inside of both, a generator around the call cannot suspend.
///
/// A cancel of the caller ends the waits of `a`. It reaches `b` only if `b` runs on the calling task. Nothing ends the wait for a stolen `b`,
/// and a `b` that does not end when the run shuts down aborts the process: it borrows from its caller.
///
/// `a` and `b` run one after the other on the calling thread where the caller cannot wait: outside of a run, in a callback, inside
/// [`no_suspend`](crate::no_suspend), and while the thread panics.
///
/// # Panics
///
/// Propagates a panic of `a` or `b`. If `a` panics, `b` is dropped without a call if no worker has stolen it, and awaited otherwise.
///
/// ```
/// use cede::task::join_anywhere;
/// fn sum(numbers: &[u64]) -> u64 {
///     if numbers.len() < 1000 {
///         return numbers.iter().sum();
///     }
///     let (left, right) = numbers.split_at(numbers.len() / 2);
///     let (left, right) = join_anywhere(|| sum(left), || sum(right));
///     left + right
/// }
/// let numbers: Vec<u64> = (0..100_000).collect();
/// let sum = cede::Config::new().workers(2).run(|| sum(&numbers))?;
/// assert_eq!(sum, 4_999_950_000);
/// # Ok::<(), cede::RunError<u64>>(())
/// ```
#[doc(alias = "fork_join")]
#[doc(alias = "rayon")]
#[doc(alias = "parallel")]
#[track_caller]
pub fn join_anywhere<A, B>(a: impl FnOnce() -> A, b: impl FnOnce() -> B + Send) -> (A, B)
where
    B: Send,
{
    match worker().filter(|worker| can_suspend(worker)) {
        Some(worker) => join(worker, a, b),
        None => (a(), b()),
    }
}

#[track_caller]
fn join<A, B, F>(worker: &Worker, a: impl FnOnce() -> A, b: F) -> (A, B)
where
    F: FnOnce() -> B + Send,
    B: Send,
{
    // Until the end: else the place of `b` would decide whether a generator can suspend in it.
    let _section = Section::open(Kind::Join);
    let fork = Fork { signal: Signal::new(), f: UnsafeCell::new(Some(b)), outcome: UnsafeCell::new(None) };
    let address = (&raw const fork).cast::<()>();
    let guard = AbortOnUnwind(worker);
    let member = worker.member();
    // SAFETY: `fork` lives in this frame until the job was taken back or the signal is done (points 1 and 2 in the head of this file). `F` and
    // `B` are `Send`.
    member.push_fork(unsafe { Job::new(address, run::<F, B>) });
    let first = catch_unwind(AssertUnwindSafe(a));
    let is_back = loop {
        match member.pop_fork() {
            Some(job) if job.is_of(address) => {
                // Neither started nor given up: the closure is in `fork`.
                forget(job);
                break true;
            }
            // A task of this worker has pushed it after this one, and waits.
            Some(job) => worker.start_job(job),
            None => break false,
        }
    };
    if !is_back {
        return join_stolen(worker, guard, &fork, first);
    }
    forget(guard);
    let b = fork.f.into_inner();
    // If `a` has panicked, `b` is dropped without a call.
    let first = first.unwrap_or_else(|payload| resume_unwind(payload));
    (first, b.expect("a closure that was taken back was not called")())
}

/// Waits for the second closure, which another task has, and returns both values.
#[cold]
fn join_stolen<A, B, F: FnOnce() -> B>(
    worker: &Worker,
    guard: AbortOnUnwind<'_>,
    fork: &Fork<F, B>,
    first: thread::Result<A>,
) -> (A, B) {
    wait_for_borrowers(worker, "the second closure of join_anywhere", || !fork.signal.begin_wait());
    forget(guard);
    let first = first.unwrap_or_else(|payload| resume_unwind(payload));
    // A forced unwind that came meanwhile.
    worker.unwind_if_requested();
    // SAFETY: the signal is done, so both belong to this thread again.
    let (outcome, f) = unsafe { ((*fork.outcome.get()).take(), (*fork.f.get()).take()) };
    match (outcome, f) {
        (Some(Outcome::Value(second)), _) => (first, second),
        (Some(Outcome::Panicked(payload)), _) => resume_unwind(payload),
        // It was given up, or its task had no stack: nothing has called it.
        (None, Some(b)) => (first, b()),
        (Some(Outcome::Unwound), _) | (None, None) => {
            panic!("the second closure of join_anywhere has no value: its task was unwound, because the run shuts down")
        }
    }
}

/// Starts the task of a fork on this thread, or hands its closure back.
///
/// # Safety
///
/// `fork` points to a `Fork<F, T>` that lives until its signal is done, and whose job the caller holds. `F` and `T` are `Send`.
unsafe fn run<F: FnOnce() -> T, T>(fork: *const (), fate: Fate) {
    let fork = fork.cast::<Fork<F, T>>();
    // SAFETY: the caller ensures that the fork lives. No reference to it is kept.
    let signal = unsafe { &raw const (*fork).signal };
    let started = worker().filter(|_| fate == Fate::Start).and_then(|worker| {
        let options = SpawnOptions::of_run(worker, StackTime::Spawn);
        let prepare = |tcb: &Tcb| tcb.join_scope(Rc::new(ForkEnd(signal)), 0);
        // SAFETY: what the closure of the task uses is the fork, which lives until `ForkEnd::ended` has made the signal done: in the last
        // step of the task. The task of a scope is never abandoned.
        let started = unsafe { start_borrowing(worker, options, prepare, move || call::<F, T>(fork)) };
        // SAFETY: the task has just been created, and the reference of its handle is released here.
        started.ok().map(|tcb| release(&worker.table, unsafe { &*tcb }))
    });
    if started.is_none() {
        // SAFETY: the signal lives until it is done. There is no task, so this is the only call.
        unsafe { Signal::complete(signal) };
    }
}

/// Calls the closure of a fork, and stores the outcome. The task of `run` calls it; if that is cancelled before its first turn, it does not,
/// and the closure stays.
fn call<F: FnOnce() -> T, T>(fork: *const Fork<F, T>) {
    // SAFETY: `run` passes a fork that lives until the task of this call has ended. Only this task accesses `f` until then.
    let f = unsafe { (*(*fork).f.get()).take() };
    let outcome = match f.map(|f| catch_unwind(AssertUnwindSafe(f))) {
        None => return,
        Some(Ok(value)) => Outcome::Value(value),
        Some(Err(payload)) if payload.is::<TaskUnwound>() => Outcome::Unwound,
        Some(Err(payload)) => Outcome::Panicked(payload),
    };
    // SAFETY: as above, for `outcome`.
    unsafe { *(*fork).outcome.get() = Some(outcome) };
}

/// The link of the task of a fork to its joiner.
struct ForkEnd(*const Signal);

impl EndListener for ForkEnd {
    fn ended(&self, _: u32, _: bool) -> *const Tcb {
        // SAFETY: `run` has made the link of a signal that lives until it is done. The task ends once, and `run` does not complete the signal
        // of a started task.
        unsafe { Signal::complete(self.0) };
        null()
    }
}

impl ScopeLink for ForkEnd {
    fn failed(&self, tcb: &Tcb, payload: Payload) {
        // Not of the closure, whose panic `call` catches: of a task-local's destructor.
        unhandled(&Task::of(tcb), payload);
    }
}
