//! Callbacks of tasks that have ended, and the room for what few tasks have.

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

/// Names a callback, so that it can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackId(u64);

/// A task that has ended, as its callbacks see it.
pub struct Done<'a, T> {
    tcb: &'a Tcb,
    _result: std::marker::PhantomData<T>,
}

impl<T: 'static> Done<'_, T> {
    /// Who it was.
    pub fn task(&self) -> Task {
        Task::of(self.tcb)
    }

    /// What it came to; `None` if `join` has taken it by now.
    pub fn result(&self) -> Option<&Result<T, JoinError>> {
        // SAFETY: this is made by `JoinHandle<T>::on_done` for the handle's own task.
        unsafe { peek(self.tcb) }
    }
}

impl<T> fmt::Debug for Done<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("task", &Task::of(self.tcb)).finish_non_exhaustive()
    }
}

impl<T: 'static> JoinHandle<T> {
    /// Calls `f` once the task has ended: never at once, but in a turn of the scheduler's own, in the order in which
    /// callbacks were added, also if the task has ended already. A callback that panics keeps no other from running.
    ///
    /// `f` may spawn tasks, wake them and add callbacks; it may not wait. When main has returned, callbacks still run as
    /// long as there are any: those that callbacks add for the whole grace period, and after it for 1,000 rounds more. What is
    /// left then, or is added after the run, is dropped without being called.
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
        let Some(worker) = self.own_worker().filter(|worker| worker.runs_callbacks()) else {
            // The run is over. Kept, `f` would keep alive what it owns, which may be this very handle.
            return CallbackId(id);
        };
        let address = std::ptr::from_ref(tcb);
        let call: Callback = Box::new(move || {
            // SAFETY: `Call::run` calls this for the TCB that holds it, with a reference counted, so the TCB is allocated.
            f(&Done { tcb: unsafe { &*address }, _result: std::marker::PhantomData });
        });
        tcb.ext(|ext| ext.callbacks.push_back((id, call)));
        if self.is_finished() {
            queue_call(worker, tcb);
        }
        CallbackId(id)
    }

    /// Removes a callback that has not been called. True if it was there.
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
        // Dropped outside of any borrow: what it owns may be code of anybody's.
        let removed = self.tcb().ext(|ext| {
            let at = ext.callbacks.binary_search_by_key(&id.0, |(number, _)| *number).ok()?;
            ext.callbacks.remove(at)
        });
        removed.is_some()
    }
}

/// The task has ended: has the event loop run its callbacks, one by one.
pub(super) fn schedule(worker: &Worker, tcb: &Tcb) {
    let count = tcb.ext_if_any(|ext| ext.callbacks.len());
    for _ in 0..count.unwrap_or(0) {
        queue_call(worker, tcb);
    }
}

/// Has the event loop run one callback of a task that has ended. There is one such job for each callback, so that
/// callbacks take turns with other jobs and with tasks.
fn queue_call(worker: &Worker, tcb: &Tcb) {
    let call = Call::new(tcb, &worker.table);
    worker.queue_job(Box::new(move || call.run()));
}

/// One callback that is on its way. Counts as one reference to the TCB, until it is dropped.
///
/// Dropped without having run (the run is over), it drops its callback: what that owns may be a handle to the very task, and
/// the TCB could never be freed.
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
        // SAFETY: `table` keeps the TCB in place, and the reference that `new` counted keeps it from being freed, until the
        // drop.
        unsafe { &*self.tcb }
    }

    /// Takes the callback only now, so that it can be removed until now. The first is the one that was added first.
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
            // A panic of what it owns has been reported by the hook, and keeps no other from being dropped.
            std::mem::forget(drop_catching(self.take()));
        }
        release(&self.table, self.tcb());
    }
}
