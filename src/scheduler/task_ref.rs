//! A weak reference to a task, which may have ended.

use super::Worker;
use super::tcb::Tcb;
use super::tcb_table::TcbTable;
use std::rc::Rc;

/// A weak reference to a task. It keeps the TCB table allocated, and returns the TCB only while the task owns it.
pub(crate) struct TaskRef {
    table: Rc<TcbTable>,
    tcb: *const Tcb,
    id: u64,
}

impl TaskRef {
    /// Returns a reference to the running task.
    pub(crate) fn current(worker: &Worker) -> TaskRef {
        let tcb = worker.current();
        TaskRef { table: Rc::clone(&worker.table), tcb, id: tcb.id() }
    }

    /// Returns the task's TCB; `None` once the TCB has been freed.
    pub(crate) fn get(&self) -> Option<&Tcb> {
        // SAFETY: `tcb` points into `self.table`, which never moves a TCB and is kept alive by the `Rc`.
        Some(unsafe { &*self.tcb }).filter(|tcb| tcb.id() == self.id)
    }

    /// Returns whether the task belongs to the run of `worker`.
    pub(crate) fn is_of(&self, worker: &Worker) -> bool {
        Rc::ptr_eq(&worker.table, &self.table)
    }
}
