//! Handles to tasks.

use super::info::{TaskState, state_of};
use super::join_error::JoinError;
use super::result::{peek, release, take_result};
use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_table::TcbTable;
use crate::scheduler::{Task, WaitSpec, Worker, backtrace, flags, worker};
use crate::wait::{self, limits};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::null;
use std::rc::Rc;

/// A handle to a task that returns a `T`.
///
/// Dropping it detaches the task, which goes on. Like the task it stays on its thread. After the run it still gives the
/// result of a task that has ended.
pub struct JoinHandle<T> {
    table: Rc<TcbTable>,
    tcb: *const Tcb,
    _result: PhantomData<T>,
}

impl<T> JoinHandle<T> {
    /// # Panics
    ///
    /// Never; the TCB is one that counts a handle among those who have to do with it.
    #[inline]
    pub(super) fn new(table: &Rc<TcbTable>, tcb: *const Tcb) -> Self {
        JoinHandle { table: Rc::clone(table), tcb, _result: PhantomData }
    }

    /// Waits until the task has ended, and returns its value.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`] with the payload; [`JoinError::Cancelled`] if the task never ran or had to be unwound;
    /// [`JoinError::Interrupted`] if the one that waits was cancelled (the task goes on, and this can be called again);
    /// [`JoinError::Deadlock`] if the task waits for the one that joins it, and no deadline ends that, or is that one. A task
    /// that was cancelled and returned a value all the same gives that value.
    ///
    /// # Panics
    ///
    /// If the result was taken before, and in a callback of [`on_done`](Self::on_done).
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
                // Its run is over and it has not ended: it was abandoned.
                return Err(JoinError::Cancelled);
            };
            self.wait(worker)?;
        }
    }

    #[track_caller]
    fn wait(&self, worker: &Worker) -> Result<(), JoinError> {
        let (me, tcb) = (worker.current(), self.tcb());
        // Those who wait for each other form a chain; if it leads here, and no deadline breaks it, it would be closed.
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

    /// Has the end of the task wake the one that this is called in, which waits for other things too. False if there is
    /// nothing to wait for: it has ended, or was abandoned by its run.
    pub(crate) fn listen(&self) -> bool {
        match self.own_worker() {
            Some(worker) if !self.is_finished() => {
                self.tcb().set_joiner(worker.current());
                true
            }
            _ => false,
        }
    }

    /// Takes `listen` back.
    pub(crate) fn stop_listening(&self) {
        self.tcb().set_joiner(null());
    }

    /// The result, if the task has ended; `Cancelled` if it never will, since its run has abandoned it.
    pub(crate) fn join_now(&mut self) -> Option<Result<T, JoinError>> {
        match self.try_join() {
            None if self.own_worker().is_none() => Some(Err(JoinError::Cancelled)),
            result => result,
        }
    }

    /// The result, if the task has ended; waits for nothing.
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join) that come from the task.
    ///
    /// # Panics
    ///
    /// If the result was taken before.
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
        assert!(self.tcb().has_result(), "the result of task {} was taken before", self.task());
        assert!(
            !self.tcb().is_result_borrowed(),
            "cannot take the result of task {} in a callback of its own: look at it by Done::result",
            self.task()
        );
        // SAFETY: the task returned a T and has ended, and the result is there; no callback looks at it.
        Some(unsafe { take_result(self.tcb()) })
    }

    /// Whether the task has ended, however it did.
    pub fn is_finished(&self) -> bool {
        self.tcb().is_finished()
    }

    /// Where the task stands.
    pub fn state(&self) -> TaskState {
        state_of(self.own_worker(), self.tcb())
    }

    /// Where the task stands, if it is suspended: a backtrace of its own stack, taken from outside, that goes from the wait
    /// that it is in down to its first function. `None` if it runs or has ended, and on targets without a hand-written
    /// switch.
    ///
    /// ```
    /// cede::run(|| {
    ///     let task = cede::spawn(|| cede::task::park("for ever").is_err());
    ///     cede::yield_now();
    ///     println!("{:?}", task.backtrace());
    ///     task.cancel();
    /// });
    /// ```
    pub fn backtrace(&self) -> Option<std::backtrace::Backtrace> {
        backtrace::of(self.own_worker()?, self.tcb())
    }

    /// Who the task is.
    pub fn task(&self) -> Task {
        Task::of(self.tcb())
    }

    /// Asks the task to end. True if it had not ended yet.
    ///
    /// If it has not run yet it never will. If it waits, the wait returns [`Cancelled`](crate::task::Cancelled), and so does every later one, until
    /// the task ends; what it makes of that is its own matter. Nothing is unwound.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut waiting = cede::spawn(|| cede::task::park("for ever").is_err());
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
        tcb.add_flags(flags::CANCELLED);
        if let Some(worker) = self.own_worker() {
            wait::wake_if_interrupted(worker, tcb);
        }
        true
    }

    /// As [`cancel`](Self::cancel), and tells the task why: see [`cancelled`](crate::task::cancelled). Of several reasons
    /// the first counts.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut waiting = cede::spawn(|| {
    ///         let _ = cede::task::park("for ever");
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
            // The one that does not count is dropped outside of the borrow.
            let _rest = self.tcb().ext(|ext| match ext.cancel_reason {
                None => ext.cancel_reason.replace(reason),
                Some(_) => Some(reason),
            });
        }
        self.cancel()
    }

    /// A wrapper that cancels the task when it is dropped, for a task that is of no use without its owner.
    ///
    /// ```
    /// cede::run(|| {
    ///     let helper = cede::spawn(|| cede::task::park("work").is_err()).cancel_on_drop();
    ///     cede::yield_now();
    ///     assert_eq!(helper.state().to_string(), "waiting: work");
    ///     drop(helper); // its wait returns `Cancelled`
    /// });
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop { handle: Some(self) }
    }

    /// Whether the task has panicked, and nobody has taken that yet.
    pub(super) fn has_panicked(&self) -> bool {
        // SAFETY: the handle is one to a task that returns T.
        matches!(unsafe { peek::<T>(self.tcb()) }, Some(Err(JoinError::Panicked(_))))
    }

    /// Takes the result if it is a panic.
    pub(super) fn take_panic(&mut self) -> Option<JoinError> {
        if !self.has_panicked() || self.tcb().is_result_borrowed() {
            return None;
        }
        self.try_join()?.err()
    }

    pub(super) fn tcb(&self) -> &Tcb {
        // SAFETY: the table is kept alive by this handle, and the TCB is not given back while the handle counts.
        unsafe { &*self.tcb }
    }

    /// The worker of the task's run, if this is still part of that run.
    pub(super) fn own_worker(&self) -> Option<&Worker> {
        worker().filter(|worker| Rc::ptr_eq(&worker.table, &self.table))
    }
}

/// A handle that cancels its task when it is dropped: see [`JoinHandle::cancel_on_drop`]. It can be used as the handle that it
/// was made from.
pub struct CancelOnDrop<T> {
    /// There until it is dropped or taken out.
    handle: Option<JoinHandle<T>>,
}

impl<T> CancelOnDrop<T> {
    /// The handle itself, which when dropped only detaches.
    pub fn into_inner(mut self) -> JoinHandle<T> {
        self.handle.take().expect("it is there until now")
    }
}

impl<T> std::ops::Deref for CancelOnDrop<T> {
    type Target = JoinHandle<T>;

    fn deref(&self) -> &JoinHandle<T> {
        self.handle.as_ref().expect("it is there until the drop")
    }
}

impl<T> std::ops::DerefMut for CancelOnDrop<T> {
    fn deref_mut(&mut self) -> &mut JoinHandle<T> {
        self.handle.as_mut().expect("it is there until the drop")
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
    // SAFETY: what a parked task waits for is kept by the handle that it waits with.
    unsafe { tcb.as_ref() }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this handle counted until now.
        release(&self.table, unsafe { &*self.tcb });
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: this handle counts.
        let tcb = unsafe { &*self.tcb };
        let task = Task::of(tcb);
        f.debug_struct("JoinHandle")
            .field("id", &task.id())
            .field("name", &task.name())
            .field("state", &state_of(worker(), tcb))
            .finish()
    }
}
