//! The callbacks of `JoinHandle::on_done`: functions that the event loop calls after a task has ended.

use super::handle::JoinHandle;
use super::join_error::JoinError;
use super::result::{peek, release};
use crate::coroutine::raw::drop_catching;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_ext::Callback;
use crate::scheduler::tcb_table::TcbTable;
use crate::scheduler::{Task, Worker};
use std::fmt;
use std::rc::Rc;

/// The identity of a callback, for [`JoinHandle::remove_done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackId(u64);

/// A task that has ended, as its callbacks see it: the argument of the callbacks of [`JoinHandle::on_done`].
pub struct Done<'a, T> {
    tcb: &'a Tcb,
    _result: std::marker::PhantomData<T>,
}

impl<T: 'static> Done<'_, T> {
    /// Returns the number and the name of the task.
    pub fn task(&self) -> Task {
        Task::of(self.tcb)
    }

    /// Returns the result of the task; `None` if it was already taken, by [`JoinHandle::join`] for example.
    pub fn result(&self) -> Option<&Result<T, JoinError>> {
        // SAFETY: every `Done<T>` is made by `JoinHandle<T>::on_done` for the task of that handle, which returns a `T`.
        // While the callback runs, `result_borrowed` is set, so no code takes the result.
        unsafe { peek(self.tcb) }
    }
}

impl<T> fmt::Debug for Done<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("task", &Task::of(self.tcb)).finish_non_exhaustive()
    }
}

impl<T: 'static> JoinHandle<T> {
    /// Adds a callback: the event loop calls `f` after the task has ended. Returns an id for
    /// [`remove_done`](Self::remove_done).
    ///
    /// `f` is never called before this call returns, even if the task has already ended. The callbacks of a task are
    /// called in the order in which they were added. If a callback panics, the rest are still called.
    ///
    /// `f` may spawn tasks, wake tasks and add callbacks. It must not wait: a wait in a callback panics.
    ///
    /// After main has returned, callbacks still run. Callbacks that are added by callbacks run as well: without a limit
    /// in the grace period, and for 1,000 generations after it. Callbacks that remain after that, and callbacks that are
    /// added after the run, are dropped without being called.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut handle = cede::spawn(|| 6 * 7);
    ///     handle.on_done(|done| println!("{} returned {:?}", done.task(), done.result()));
    ///     handle.join().unwrap();
    /// });
    /// ```
    pub fn on_done(&self, f: impl FnOnce(&Done<'_, T>) + 'static) -> CallbackId {
        let tcb = self.tcb();
        let id = tcb.ext(|ext| {
            ext.last_callback += 1;
            ext.last_callback
        });
        let Some(worker) = self.open_worker().filter(|worker| worker.runs_callbacks()) else {
            // The run is over, and no callback is called any more. Storing `f` could leak it: `f` may own this handle.
            return CallbackId(id);
        };
        let address = std::ptr::from_ref(tcb);
        let call: Callback = Box::new(move || {
            // SAFETY: `Call::run` calls this closure while `Call` holds a reference to the TCB, so the TCB is allocated.
            f(&Done { tcb: unsafe { &*address }, _result: std::marker::PhantomData });
        });
        tcb.ext(|ext| ext.callbacks.push_back((id, call)));
        if self.is_finished() {
            queue_call(worker, tcb);
            if self.own_worker().is_none() {
                worker.notify();
            }
        }
        CallbackId(id)
    }

    /// Removes a callback. Returns true if the callback was still waiting to be called.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut handle = cede::spawn(|| ());
    ///     let id = handle.on_done(|_| unreachable!("removed"));
    ///     assert!(handle.remove_done(id));
    ///     assert!(!handle.remove_done(id));
    ///     handle.join().unwrap();
    /// });
    /// ```
    pub fn remove_done(&self, id: CallbackId) -> bool {
        // Dropped outside of the borrow, because the callback's destructor is user code.
        let removed = self.tcb().ext(|ext| {
            let at = ext.callbacks.binary_search_by_key(&id.0, |(number, _)| *number).ok()?;
            ext.callbacks.remove(at)
        });
        removed.is_some()
    }
}

/// Queues the callbacks of a task that has just ended, as jobs of the event loop.
pub(super) fn schedule(worker: &Worker, tcb: &Tcb) {
    let count = tcb.ext_if_any(|ext| ext.callbacks.len());
    for _ in 0..count.unwrap_or(0) {
        queue_call(worker, tcb);
    }
}

/// Queues one callback of a task that has ended. Each callback is a job of its own, so that the callbacks of several
/// tasks run in the order in which they were queued, and a callback that a callback adds runs after the ready tasks.
fn queue_call(worker: &Worker, tcb: &Tcb) {
    let call = Call::new(tcb, &worker.table);
    worker.queue_job(Box::new(move || call.run()));
}

/// A queued callback. Holds one reference to the TCB until it is dropped.
///
/// If the run ends before the callback is called, the drop of `Call` also drops the callback. A callback that stayed in
/// the TCB could own a handle to the same task, and the TCB would never be freed.
struct Call {
    tcb: *const Tcb,
    table: Rc<TcbTable>,
    has_run: bool,
}

impl Call {
    fn new(tcb: &Tcb, table: &Rc<TcbTable>) -> Call {
        tcb.add_reference();
        Call { tcb, table: Rc::clone(table), has_run: false }
    }

    fn tcb(&self) -> &Tcb {
        // SAFETY: `table` keeps the TCB in place, and the reference that `new` added keeps it allocated until `self` is
        // dropped.
        unsafe { &*self.tcb }
    }

    /// Takes the oldest callback of the task. Called as late as possible: until then `remove_done` can remove it.
    fn take(&self) -> Option<Callback> {
        self.tcb().ext(|ext| ext.callbacks.pop_front()).map(|(_, callback)| callback)
    }

    fn run(mut self) {
        self.has_run = true;
        if let Some(callback) = self.take() {
            self.tcb().set_result_borrowed(true);
            callback();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.tcb().set_result_borrowed(false);
        if !self.has_run {
            // The panic hook has already printed a panic of this destructor. The remaining callbacks are still dropped.
            std::mem::forget(drop_catching(self.take()));
        }
        release(&self.table, self.tcb());
    }
}
