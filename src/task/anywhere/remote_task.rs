//! A closure on its way to a worker, and the start of its task there.

use super::packet::Packet;
use super::shared_scope::{LocalScope, SharedScope};
use crate::coroutine::Builder;
use crate::coroutine::raw::drop_catching;
use crate::scheduler::crew::Crew;
use crate::scheduler::job::{Fate, Job, Start};
use crate::scheduler::tcb::Tcb;
use crate::scheduler::{Mode, Task, TaskUnwound, Worker, flags, worker};
use crate::task::JoinError;
use crate::task::result::release;
use crate::task::start::{SpawnOptions, StackTime, start_borrowing};
use crate::wait::WakeHandle;
use std::cell::UnsafeCell;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// A task that any worker may start, with its closure `F` until its first turn.
pub(super) struct RemoteTask<F, T> {
    packet: Packet<T>,
    /// Accessed by the *runner* only: `send`, then the holder of the job, then the task. Each has it from the one before.
    unstarted: UnsafeCell<Option<Unstarted<F>>>,
}

// SAFETY: the handle uses the packet only, which is `Sync` for a `T` that is `Send`. `unstarted` goes from one thread to another with the
// job, and its `F` is `Send`; a builder is, too.
unsafe impl<F: Send, T: Send> Sync for RemoteTask<F, T> where Packet<T>: Sync {}

/// The closure of a task, and its options.
struct Unstarted<F> {
    f: F,
    /// `None` for the options of the run.
    builder: Option<Box<Builder>>,
}

/// The part of a task that its handle uses.
pub(super) trait HasPacket<T>: Send + Sync {
    fn packet(&self) -> &Packet<T>;
}

impl<F: Send, T: Send> HasPacket<T> for RemoteTask<F, T> {
    fn packet(&self) -> &Packet<T> {
        &self.packet
    }
}

impl<F, T> RemoteTask<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    /// Creates a task. A task of a `scope` counts there already, and counts out when it ends or is given up.
    pub(super) fn new(builder: Option<Box<Builder>>, scope: Option<Arc<SharedScope>>, f: F) -> Arc<Self> {
        Arc::new(RemoteTask { packet: Packet::new(scope), unstarted: UnsafeCell::new(Some(Unstarted { f, builder })) })
    }

    /// Takes the closure.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    unsafe fn take(&self) -> Option<Unstarted<F>> {
        // SAFETY: the caller is the runner, and no reference is kept.
        unsafe { (*self.unstarted.get()).take() }
    }

    /// Takes the closure back.
    ///
    /// # Safety
    ///
    /// [`send`](Self::send) has returned false.
    pub(super) unsafe fn take_back(&self) -> Option<F> {
        // SAFETY: no job was made, so the caller is the runner.
        unsafe { self.take() }.map(|unstarted| unstarted.f)
    }

    /// Sends the task to a worker of the crew: to `on`, or to any. An `eager` task without `on` has its first turn before the call returns, if
    /// the caller belongs to the run. Returns false if the run has ended; then the task keeps its closure.
    ///
    /// # Safety
    ///
    /// What the closure and its result borrow outlives the task, and the handle.
    pub(super) unsafe fn send(self: &Arc<Self>, crew: &Arc<Crew>, on: Option<usize>, eager: bool) -> bool {
        // SAFETY: the caller ensures that what the closure borrows outlives the task.
        let job = || unsafe { Job::borrowing(Arc::clone(self)) };
        match (worker().filter(|worker| on.is_none() && worker.is_member_of(crew)), on) {
            // The run shuts down: the task never runs.
            (Some(own), _) if own.mode.get() != Mode::Running => drop(job()),
            // SAFETY: the caller ensures that what the closure borrows outlives the task.
            (Some(own), _) if eager => unsafe { Arc::clone(self).start_in(own, true) },
            (Some(own), _) => own.member().push(job()),
            (None, None) => return crew.inject(job),
            (None, Some(worker)) => return crew.inject_at(worker, job),
        }
        true
    }

    /// Starts the task in the run of `worker`. `eager` tasks have their first turn before the call returns.
    ///
    /// # Safety
    ///
    /// The caller is the runner. What the closure and its result borrow outlives the task.
    unsafe fn start_in(self: Arc<Self>, worker: &Worker, eager: bool) {
        // SAFETY: the caller is the runner. No reference is kept.
        let builder = unsafe { (*self.unstarted.get()).as_mut() }.and_then(|unstarted| unstarted.builder.take());
        let options = match builder {
            None => Ok(SpawnOptions::of_run(worker, StackTime::Spawn)),
            Some(builder) => builder.spawn_options(worker),
        };
        let options = match options {
            Ok(options) => SpawnOptions { eager, ..options },
            Err(error) => {
                // SAFETY: the caller is the runner.
                unsafe {
                    worker.drop_as_job(self.take());
                    return self.give_up(JoinError::Stack(Box::new(error)));
                }
            }
        };
        let prepare = |tcb: &Tcb| {
            if let Some(scope) = self.packet.scope() {
                LocalScope::adopt(worker, scope, tcb);
            }
            // SAFETY: the caller is the runner, and starts the task once.
            if unsafe { self.packet.start(Task::of(tcb), WakeHandle::of(worker, tcb)) } {
                tcb.add_flags(flags::CANCELLED);
            }
        };
        let completion = Completion(Arc::clone(&self));
        // SAFETY: the caller ensures that what the closure borrows outlives the task. The closure is in the `RemoteTask`, which the task's
        // own closure keeps.
        match unsafe { start_borrowing(worker, options, prepare, move || completion.run()) } {
            // SAFETY: the task has just been created, and the reference of its handle is released here.
            Ok(tcb) => release(&worker.table, unsafe { &*tcb }),
            // SAFETY: there is no task, so the caller is still the runner.
            Err(error) => unsafe {
                worker.drop_as_job(self.take());
                self.give_up(JoinError::Stack(Box::new(error)));
            },
        }
    }

    /// Ends a task that has not started: drops its closure, unless the caller has done so, and sets the outcome. Then it counts the task
    /// out of its scope.
    ///
    /// # Safety
    ///
    /// The caller is the runner: it has the job, or `send` has returned false.
    pub(super) unsafe fn give_up(self: Arc<Self>, error: JoinError) {
        let scope = self.packet.scope().cloned();
        let end = move || {
            // The panic hook has reported a panic of a destructor.
            // SAFETY: the caller is the runner, and the task has no outcome, since it has not started.
            unsafe {
                forget(drop_catching(self.take()));
                self.packet.complete(Err(error));
            }
            forget(drop_catching(self));
        };
        match scope {
            Some(scope) => scope.count.leave_after(end),
            None => end(),
        }
    }

    /// Sets the outcome of the running task. A panic cancels its scope.
    ///
    /// # Safety
    ///
    /// The caller is the task. Called once.
    unsafe fn end(&self, outcome: Result<T, JoinError>) {
        if let (Err(JoinError::Panicked(_)), Some(scope)) = (&outcome, self.packet.scope()) {
            scope.cancel();
        }
        // SAFETY: the caller is the task.
        unsafe { self.packet.complete(outcome) };
    }
}

impl<F, T> Start for RemoteTask<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn start(self: Arc<Self>, fate: Fate) {
        match worker().filter(|_| fate == Fate::Start) {
            // SAFETY: the job was made by `Job::borrowing`, whose caller ensures it.
            Some(worker) => unsafe { self.start_in(worker, false) },
            // SAFETY: the job was the caller's, and this is its only call.
            None => unsafe { self.give_up(JoinError::Cancelled) },
        }
    }
}

/// The side of the task. Its drop without a run is that of a task that was cancelled before its first turn, or that has no stack.
struct Completion<F, T>(Arc<RemoteTask<F, T>>)
where
    F: FnOnce() -> T + Send,
    T: Send;

impl<F, T> Completion<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    /// Runs the closure of the task, and sets the outcome.
    fn run(self) {
        // SAFETY: the task is the runner from its start on.
        let Some(Unstarted { f, .. }) = (unsafe { self.0.take() }) else { return };
        let (outcome, unwound) = match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => (Ok(value), None),
            Err(payload) if payload.is::<TaskUnwound>() => (Err(JoinError::Cancelled), Some(payload)),
            Err(payload) => (Err(JoinError::Panicked(payload)), None),
        };
        // SAFETY: this is the task, which has taken its closure, so `drop` does not call `end`.
        unsafe { self.0.end(outcome) };
        if let Some(payload) = unwound {
            resume_unwind(payload);
        }
    }
}

impl<F, T> Drop for Completion<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn drop(&mut self) {
        // Before the first turn, on the stack of the task. Without a stack, `give_up` ends the task.
        if !self.0.packet.has_started() {
            return;
        }
        // SAFETY: the task is the runner from its start on. After `run` the closure is gone.
        if let Some(unstarted) = unsafe { self.0.take() } {
            let error = match drop_catching(unstarted) {
                Ok(()) => JoinError::Cancelled,
                Err(payload) => JoinError::Panicked(payload),
            };
            // SAFETY: this is the task, and `run` has not ended it.
            unsafe { self.0.end(Err(error)) };
        }
    }
}

/// Panics if the run has no worker of this number.
#[track_caller]
pub(super) fn check_worker(crew: &Crew, worker: Option<usize>) {
    if let Some(worker) = worker {
        let workers = crew.workers();
        assert!(worker < workers, "cannot spawn a task on worker {worker}: the run has {workers}, numbered from 0");
    }
}
