//! A closure on its way to a worker, and the start of its task there.

use super::packet::Packet;
use crate::coroutine::Builder;
use crate::scheduler::job::{Fate, Start};
use crate::scheduler::{Task, TaskUnwound, Worker, flags, worker};
use crate::stack::StackError;
use crate::task::JoinError;
use crate::task::result::release;
use crate::task::start::{SpawnOptions, start_borrowing};
use crate::wait::WakeHandle;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// A task that any worker may start, with its closure `F` until its first turn.
pub(super) struct RemoteTask<F, T> {
    packet: Packet<T>,
    unstarted: Mutex<Option<Unstarted<F>>>,
}

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
    pub(super) fn new(builder: Option<Box<Builder>>, f: F) -> Arc<Self> {
        Arc::new(RemoteTask { packet: Packet::new(), unstarted: Mutex::new(Some(Unstarted { f, builder })) })
    }

    fn take(&self) -> Option<Unstarted<F>> {
        self.unstarted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the closure back, if no worker has it.
    pub(super) fn take_back(&self) -> Option<F> {
        self.take().map(|unstarted| unstarted.f)
    }

    /// Starts the task in the run of `worker`. `eager` tasks have their first turn before the call returns.
    ///
    /// # Safety
    ///
    /// What the closure and its result borrow outlives the task.
    pub(super) unsafe fn start_in(self: Arc<Self>, worker: &Worker, eager: bool) {
        let builder =
            self.unstarted.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|u| u.builder.take());
        let options = match builder {
            None => Ok(SpawnOptions { shape: worker.shape, name: None, clear: false, eager: false }),
            Some(builder) => builder.spawn_options(worker),
        };
        let options = match options {
            Ok(options) => SpawnOptions { eager, ..options },
            Err(error) => return self.fail(worker, error),
        };
        let was_cancelled = !self.packet.begin_start();
        let prepare = |tcb: &crate::scheduler::tcb::Tcb| {
            let cancelled_meanwhile = self.packet.end_start(Task::of(tcb), WakeHandle::of(worker, tcb));
            if was_cancelled || cancelled_meanwhile {
                tcb.add_flags(flags::CANCELLED);
            }
        };
        let completion = Completion(Arc::clone(&self));
        // SAFETY: the caller ensures that what the closure borrows outlives the task. The closure is in the `RemoteTask`, which the task's
        // own closure keeps.
        match unsafe { start_borrowing(worker, options, prepare, move || completion.run()) } {
            // SAFETY: the task has just been created, and the reference of its handle is released here.
            Ok(tcb) => release(&worker.table, unsafe { &*tcb }),
            Err(error) => self.fail(worker, error),
        }
    }

    /// Drops the closure of a task that has no stack.
    fn fail(&self, worker: &Worker, error: StackError) {
        worker.drop_as_job(self.take());
        self.packet.complete(Err(JoinError::Stack(error)));
    }
}

impl<F, T> Start for RemoteTask<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn start(self: Arc<Self>, fate: Fate) {
        match worker().filter(|_| fate == Fate::Start) {
            // SAFETY: the job was made by `Job::shared`, with a closure that borrows nothing, or by `Job::borrowing`, whose caller ensures it.
            Some(worker) => unsafe { self.start_in(worker, false) },
            None => {
                drop(self.take());
                self.packet.complete(Err(JoinError::Cancelled));
            }
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
        let Some(Unstarted { f, .. }) = self.0.take() else { return };
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => self.0.packet.complete(Ok(value)),
            Err(payload) if payload.is::<TaskUnwound>() => {
                self.0.packet.complete(Err(JoinError::Cancelled));
                resume_unwind(payload);
            }
            Err(payload) => self.0.packet.complete(Err(JoinError::Panicked(payload))),
        }
    }
}

impl<F, T> Drop for Completion<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn drop(&mut self) {
        // Before the first turn, on the stack of the task. Without a stack, `fail` drops the closure as a job.
        if self.0.packet.has_started()
            && let Some(unstarted) = self.0.take()
        {
            drop(unstarted);
            self.0.packet.complete(Err(JoinError::Cancelled));
        }
    }
}
