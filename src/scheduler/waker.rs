//! `Waker`s of the standard library, which wake a task or a plain thread: futures are polled with them.
//!
//! A `Waker` is the address of a [`WakerCell`], which is never freed. So cloning and dropping a `Waker` do nothing, and no
//! wait allocates. A task gets a cell at its first poll and keeps it, with its TCB. A `Waker` may be used on any thread, after its
//! task, and after its run: then it causes at most a spurious wakeup, which `Future` allows.
//!
//! A wake must not be lost while the future is polled, even if the poll itself waits (for a channel, or for another future)
//! and that wait takes the wake. Therefore the cell counts its wakes, and a [`Poll`] compares the count.

use super::Worker;
use super::current::worker;
use super::remote::{RemoteWake, WakerCell};
use super::tcb::Tcb;
use super::wake::{is_there, with_thread};
use std::mem::ManuallyDrop;
use std::task::{RawWaker, RawWakerVTable, Waker};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, forget);

fn clone(cell: *const ()) -> RawWaker {
    RawWaker::new(cell, &VTABLE)
}

fn forget(_: *const ()) {}

/// Wakes the task or thread that the cell is bound to.
///
/// # Safety
///
/// `cell` is the address of a `WakerCell`, which is never freed.
unsafe fn wake(cell: *const ()) {
    // SAFETY: the caller passes the address of a cell, and cells are never freed.
    let cell: &'static WakerCell = unsafe { &*cell.cast() };
    match worker() {
        Some(worker) if std::ptr::eq(worker.remote.queue(), cell.queue()) => {
            cell.count_wake();
            worker.wake_bound(cell);
        }
        _ => cell.post(),
    }
}

/// A poll of a future: the task or thread that polls, and the number of wakes before the poll.
#[derive(Clone, Copy)]
pub(crate) struct Poll {
    cell: &'static WakerCell,
    /// The number of the run, or of the thread's remote queue. No other run or thread ever has it.
    run: u64,
    /// 0 for a plain thread.
    task_id: u64,
    wakes: u64,
}

impl Poll {
    /// Begins a poll by the calling task of this worker.
    #[inline(always)]
    pub(crate) fn begin(worker: &Worker) -> Poll {
        let tcb = worker.current();
        let task_id = tcb.id();
        let cell = match tcb.waker_cell() {
            Some(cell) if cell.task_id() == task_id => cell,
            _ => worker.bind_cell(tcb),
        };
        Poll { cell, run: worker.run(), task_id, wakes: cell.wakes() }
    }

    /// Begins a poll by the calling thread, outside of runs and fibers.
    #[inline(never)]
    pub(crate) fn begin_by_thread() -> Poll {
        with_thread(|open| {
            let cell = open.thread_cell();
            Poll { cell, run: open.run(), task_id: 0, wakes: cell.wakes() }
        })
    }

    /// Returns the waker to poll with. It needs no drop.
    #[inline(always)]
    pub(crate) fn waker(&self) -> ManuallyDrop<Waker> {
        let cell = std::ptr::from_ref(self.cell).cast();
        // SAFETY: the functions of the table accept the address of any cell, from any thread and at any time, because cells are
        // never freed and other threads use only their atomics. Clones and drops do nothing.
        ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(cell, &VTABLE)) })
    }

    /// Returns whether the waker was used since the poll began, by this thread or in a remote wake that was read.
    #[inline(always)]
    pub(crate) fn was_woken(&self) -> bool {
        self.cell.wakes() != self.wakes
    }

    /// Returns whether the calling code belongs to the task or thread that polled. A generator that was suspended during the
    /// poll may have been resumed elsewhere. `worker` is that of the calling code.
    #[inline]
    pub(crate) fn is_by(&self, worker: Option<&Worker>) -> bool {
        match worker {
            Some(worker) => (worker.run(), worker.current().id()) == (self.run, self.task_id),
            // A started body never changes threads. The thread's queue changes once, while the thread ends.
            None => self.task_id == 0 && with_thread(|open| open.run()) == self.run,
        }
    }
}

impl Worker {
    /// Binds the waker cell of a TCB to its present task.
    #[cold]
    fn bind_cell(&self, tcb: &Tcb) -> &'static WakerCell {
        let task = RemoteWake { tcb: std::ptr::from_ref(tcb) as usize, task_id: tcb.id() };
        match tcb.waker_cell() {
            Some(cell) => {
                cell.bind(task);
                cell
            }
            None => {
                let cell = self.remote.take_cell(task);
                tcb.set_waker_cell(cell);
                cell
            }
        }
    }

    /// Wakes the task that a cell of this worker's queue is bound to, unless the task has ended.
    #[inline]
    pub(super) fn wake_bound(&self, cell: &WakerCell) {
        let tcb = cell.tcb() as *const Tcb;
        // SAFETY: the callers pass cells of this worker's queue. Such a cell is either bound by `bind_cell` to a TCB of
        // `self.table`, which lives as long as the worker and never moves a TCB, or has the address 0: an earlier worker of the
        // queue has unbound its cells when it dropped its `RemoteReceiver`.
        if let Some(tcb) = unsafe { tcb.as_ref() }
            && is_there(tcb, cell.task_id())
        {
            self.wake(tcb);
        }
    }
}
