//! A reference to a task that may have ended.

use super::Worker;
use super::tcb::Tcb;
use super::tcb_table::TcbTable;
use std::rc::Rc;

/// A reference to a task that may end: it keeps the table alive, and finds the TCB only as long as the task owns it.
pub(crate) struct TaskRef {
    table: Rc<TcbTable>,
    tcb: *const Tcb,
    id: u64,
}

impl TaskRef {
    /// A reference to the running task.
    pub(crate) fn current(worker: &Worker) -> TaskRef {
        let tcb = worker.current();
        TaskRef { table: Rc::clone(&worker.table), tcb, id: tcb.id() }
    }

    /// The task's TCB; `None` once it has been freed.
    pub(crate) fn get(&self) -> Option<&Tcb> {
        // SAFETY: TCBs stay in place as long as their table, which `self.table` keeps alive.
        Some(unsafe { &*self.tcb }).filter(|tcb| tcb.id() == self.id)
    }

    /// Whether the task belongs to the run of `worker`.
    pub(crate) fn is_of(&self, worker: &Worker) -> bool {
        Rc::ptr_eq(&worker.table, &self.table)
    }
}
