//! `JoinHandle`: joins, cancels and observes one task. Dropping the handle detaches the task.

use super::info::{TaskState, state_of};
use super::join_error::JoinError;
use super::result::{peek, release, take_result};
use super::trace;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_table::TcbTable;
use crate::scheduler::{Task, WaitSpec, Worker, backtrace, flags, worker, worker_of};
use crate::wait::{self, limits};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::null;
use std::rc::Rc;

/// A handle to a task that returns a `T`: waits for the task, cancels it, and reports its state.
///
/// Dropping the handle detaches the task: the task continues to run, and its result is dropped when it ends. If a detached
/// task panics, the hook of [`Config::on_unhandled_panic`](crate::Config::on_unhandled_panic) receives the panic. The
/// default hook prints it on stderr.
///
/// The handle stays on the thread of its task. After the run it still returns the result of a task that has ended.
pub struct JoinHandle<T> {
    table: Rc<TcbTable>,
    tcb: *const Tcb,
    _result: PhantomData<T>,
}

impl<T> JoinHandle<T> {
    /// Creates the handle of a task. `tcb` is a TCB of `table`, and its reference count includes the handle.
    #[inline]
    pub(super) fn new(table: &Rc<TcbTable>, tcb: *const Tcb) -> Self {
        JoinHandle { table: Rc::clone(table), tcb, _result: PhantomData }
    }

    /// Waits until the task has ended, and returns its value. If the task was cancelled but
    /// still returned a value, the call returns that value.
    ///
    /// Cancel safety: an interrupted `join` does not take the result. The task continues, and `join` can be called again.
    ///
    /// # Errors
    ///
    /// * [`JoinError::Panicked`] if the task panicked, with the payload.
    /// * [`JoinError::Cancelled`] if the task was cancelled before its first turn, was unwound, or was abandoned.
    /// * [`JoinError::Stack`] if no stack could be allocated at the task's first turn.
    /// * [`JoinError::Interrupted`] if the calling task was cancelled before or during the wait, if a deadline or scope
    ///   around this call ended the wait, or if the call would have to wait while the thread is panicking.
    /// * [`JoinError::Deadlock`] if the task joins the calling task, directly or through joins of further tasks, and
    ///   none of these joins, this one included, has a deadline. A task that joins itself always gets this error.
    ///
    /// # Panics
    ///
    /// Panics if the result was already taken, or if called in a callback of this task ([`on_done`](Self::on_done)). Also
    /// panics if the call would have to wait in another callback, inside [`no_suspend`](crate::no_suspend), or in a
    /// [`fiber`](crate::fiber()) that is not a part of the task's run.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut handle = cede::spawn(|| "done");
    ///     assert_eq!(handle.join().unwrap(), "done");
    /// });
    /// ```
    #[track_caller]
    pub fn join(&mut self) -> Result<T, JoinError> {
        let worker = worker();
        wait::consume_budget_of(worker);
        let own = worker.filter(|worker| Rc::ptr_eq(&worker.table, &self.table));
        loop {
            if let Some(result) = self.try_join() {
                return result;
            }
            let Some(worker) = own else {
                self.refuse_hidden();
                // The task has not ended, and its run is over: the task was abandoned.
                return Err(JoinError::Cancelled);
            };
            self.wait(worker)?;
        }
    }

    #[track_caller]
    fn wait(&self, worker: &Worker) -> Result<(), JoinError> {
        let (me, tcb) = (worker.current(), self.tcb());
        // Follow the chain of joins: `tcb` joins the next task, which joins the next, and so on. If the chain leads back
        // to the caller, this join would close a cycle, and only a deadline of one of the waits could end it.
        let mut waits: *const Tcb = tcb;
        while let Some(next) = nonnull(waits) {
            if std::ptr::eq(next, me) {
                if std::ptr::eq(tcb, me) || !limits::has_deadline(me) {
                    return Err(JoinError::Deadlock);
                }
                break;
            }
            let wait = next.wait();
            waits = if next.is_parked() && !wait.has_deadline { wait.on_task } else { null() };
        }
        tcb.set_joiner(me);
        let wait = WaitSpec { reason: "a task to end", on_task: tcb, only_this_run: true, ..WaitSpec::DEFAULT };
        let outcome = wait::wait(worker, wait, None);
        tcb.remove_joiner(me);
        match outcome {
            Err(wait::Cancelled) if !self.is_finished() => Err(JoinError::Interrupted),
            _ => Ok(()),
        }
    }

    /// Registers the current task to be woken when this task ends, for a wait that waits for other events as well
    /// (select). Returns false if there is nothing to wait for: the task has ended, or its run has abandoned it.
    pub(crate) fn listen(&self) -> bool {
        match self.own_worker() {
            Some(worker) if !self.is_finished() => {
                self.tcb().set_joiner(worker.current());
                true
            }
            _ => false,
        }
    }

    /// Undoes [`listen`](Self::listen).
    pub(crate) fn stop_listening(&self) {
        self.tcb().set_joiner(null());
    }

    /// Returns the result if the task has ended, and `Cancelled` if it never will because its run has abandoned it.
    pub(crate) fn join_now(&mut self) -> Option<Result<T, JoinError>> {
        match self.try_join() {
            None if self.own_worker().is_none() => {
                self.refuse_hidden();
                Some(Err(JoinError::Cancelled))
            }
            result => result,
        }
    }

    /// Returns the result if the task has ended, and `None` otherwise: also if the run has abandoned the task. Never
    /// waits.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`], [`JoinError::Cancelled`] and [`JoinError::Stack`], as in [`join`](Self::join), except for an abandoned
    /// task.
    ///
    /// # Panics
    ///
    /// Panics if the result was already taken, or if called in a callback of this task ([`on_done`](Self::on_done)).
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut handle = cede::spawn(|| 7);
    ///     assert!(handle.try_join().is_none());
    ///     cede::yield_now();
    ///     assert_eq!(handle.try_join().unwrap().unwrap(), 7);
    /// });
    /// ```
    #[track_caller]
    pub fn try_join(&mut self) -> Option<Result<T, JoinError>> {
        if !self.is_finished() {
            return None;
        }
        assert!(
            self.tcb().has_result(),
            "the result of task {} was already taken: join and try_join return it once",
            self.task()
        );
        assert!(
            !self.tcb().is_result_borrowed(),
            "cannot take the result of task {} in one of its own callbacks: read it with Done::result",
            self.task()
        );
        // SAFETY: the task of a `JoinHandle<T>` returns a `T`. It has ended, and the asserts ensure that the result is
        // present and that no callback holds a reference to it.
        Some(unsafe { take_result(self.tcb()) })
    }

    /// Returns whether the task has ended: it returned, panicked, was unwound, or was cancelled before its first turn.
    pub fn is_finished(&self) -> bool {
        self.tcb().is_finished()
    }

    /// Returns the state of the task.
    pub fn state(&self) -> TaskState {
        state_of(self.open_worker(), self.tcb())
    }

    /// Returns a backtrace of the task's stack, from its current wait out to its first function, if the task is
    /// suspended. Returns `None` if the task is running or has ended, if its run is over, on targets other than x86_64
    /// and little-endian aarch64, and with `--cfg cede_portable_switch`.
    ///
    /// ```
    /// cede::run(|| {
    ///     let task = cede::spawn(|| cede::task::park("a message").is_err());
    ///     cede::yield_now();
    ///     println!("{:?}", task.backtrace());
    ///     task.cancel();
    /// });
    /// ```
    pub fn backtrace(&self) -> Option<std::backtrace::Backtrace> {
        backtrace::of(self.open_worker()?, self.tcb())
    }

    /// Returns the number and the name of the task.
    pub fn task(&self) -> Task {
        Task::of(self.tcb())
    }

    /// Cancels the task: sets its cancelled flag. Returns true if the task had not ended.
    ///
    /// If the task has not started, it never runs. If the task waits, the wait returns
    /// [`Cancelled`](crate::task::Cancelled); so does every later wait, until the task ends. Code that runs is not
    /// interrupted, and nothing is aborted or unwound: the task reacts to the error, and may still return a value.
    /// A [`shield`](crate::shield) delays the effect.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut waiting = cede::spawn(|| cede::task::park("a message").is_err());
    ///     cede::yield_now();
    ///     assert!(waiting.cancel());
    ///     assert_eq!(waiting.join().unwrap(), true);
    ///     assert!(!waiting.cancel());
    /// });
    /// ```
    #[doc(alias = "abort")]
    pub fn cancel(&self) -> bool {
        if self.is_finished() {
            return false;
        }
        let tcb = self.tcb();
        trace::cancel_requested(tcb.id());
        tcb.add_flags(flags::CANCELLED);
        if let Some(worker) = self.open_worker() {
            wait::wake_hidden_if_interrupted(worker, tcb);
        }
        true
    }

    /// Cancels the task like [`cancel`](Self::cancel), with a reason, which the task can read with
    /// [`cancelled`](crate::task::cancelled). Returns true if the task had not ended.
    ///
    /// If several cancels give a reason, the first reason is kept.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut waiting = cede::spawn(|| {
    ///         let _ = cede::task::park("a message");
    ///         cede::task::cancelled().unwrap().reason().map(str::to_string)
    ///     });
    ///     cede::yield_now();
    ///     waiting.cancel_with("closing time");
    ///     assert_eq!(waiting.join().unwrap().as_deref(), Some("closing time"));
    /// });
    /// ```
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        if !self.is_finished() {
            let reason = reason.into();
            // The reason that is not stored is dropped outside of the borrow.
            let _rest = self.tcb().ext(|ext| match ext.cancel_reason {
                None => ext.cancel_reason.replace(reason),
                Some(_) => Some(reason),
            });
        }
        self.cancel()
    }

    /// Converts the handle into a [`CancelOnDrop`], which cancels the task when dropped. Use it for a task that must not
    /// outlive the code that needs its result.
    ///
    /// ```
    /// cede::run(|| {
    ///     let helper = cede::spawn(|| cede::task::park("work").is_err()).cancel_on_drop();
    ///     cede::yield_now();
    ///     assert_eq!(helper.state().to_string(), "waiting: work");
    ///     drop(helper); // the task is cancelled, so its `park` returns `Cancelled`
    /// });
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop { handle: Some(self) }
    }

    /// Returns whether the task has panicked or had no stack, and the error was not taken yet.
    pub(super) fn has_failed(&self) -> bool {
        // SAFETY: the task of a `JoinHandle<T>` returns a `T`. No code takes the result during this call.
        matches!(unsafe { peek::<T>(self.tcb()) }, Some(Err(error)) if error.is_failure())
    }

    /// Takes the result if it is a failure and no callback borrows it.
    pub(super) fn take_failure(&mut self) -> Option<JoinError> {
        if !self.has_failed() || self.tcb().is_result_borrowed() {
            return None;
        }
        self.try_join()?.err()
    }

    pub(super) fn tcb(&self) -> &Tcb {
        // SAFETY: this handle keeps the table alive and holds a reference, so the TCB stays allocated as long as `self`.
        unsafe { &*self.tcb }
    }

    /// Panics if the run of the task is open, but the caller is not part of it: see [`fiber`](crate::wait::fiber).
    #[track_caller]
    pub(super) fn refuse_hidden(&self) {
        assert!(
            self.own_worker().is_some() || self.open_worker().is_none(),
            "cannot wait for task {}: the caller is not part of its run, but in a fiber inside of it, or outside of the fiber with the run; \
             send the result through a channel",
            self.task()
        );
    }

    /// Returns the worker of the task's run while the run is open, also if the caller is not part of it.
    pub(super) fn open_worker(&self) -> Option<&Worker> {
        worker_of(&self.table)
    }

    /// Returns the worker of the task's run, if the caller is part of that run.
    pub(super) fn own_worker(&self) -> Option<&Worker> {
        worker().filter(|worker| Rc::ptr_eq(&worker.table, &self.table))
    }
}

/// A handle that cancels its task when dropped; see [`JoinHandle::cancel_on_drop`]. Dereferences to the [`JoinHandle`].
#[must_use = "the task is cancelled at once if the handle is not kept"]
pub struct CancelOnDrop<T> {
    /// `None` only after `into_inner` has taken the handle.
    handle: Option<JoinHandle<T>>,
}

impl<T> CancelOnDrop<T> {
    /// Returns the plain handle, which only detaches the task when dropped.
    pub fn into_inner(mut self) -> JoinHandle<T> {
        self.handle.take().expect("the handle is present until into_inner")
    }
}

impl<T> std::ops::Deref for CancelOnDrop<T> {
    type Target = JoinHandle<T>;

    fn deref(&self) -> &JoinHandle<T> {
        self.handle.as_ref().expect("the handle is present until into_inner")
    }
}

impl<T> std::ops::DerefMut for CancelOnDrop<T> {
    fn deref_mut(&mut self) -> &mut JoinHandle<T> {
        self.handle.as_mut().expect("the handle is present until into_inner")
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.cancel();
        }
    }
}

impl<T> fmt::Debug for CancelOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelOnDrop").field(&self.handle).finish()
    }
}

fn nonnull<'a>(tcb: *const Tcb) -> Option<&'a Tcb> {
    // SAFETY: null, or the TCB of a task that a waiting task joins. The waiting task borrows its `JoinHandle`, which holds
    // a reference to that TCB until the wait is over.
    unsafe { tcb.as_ref() }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this handle has held a reference until now, so the TCB is allocated.
        release(&self.table, unsafe { &*self.tcb });
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: this handle holds a reference, so the TCB stays allocated as long as `self`.
        let tcb = unsafe { &*self.tcb };
        let task = Task::of(tcb);
        f.debug_struct("JoinHandle")
            .field("id", &task.id())
            .field("name", &task.name())
            .field("state", &state_of(worker(), tcb))
            .finish()
    }
}
