//! What everybody who waits leaves behind: what for, in words, and whom to wake, from anywhere.

use super::Worker;
use super::current::worker;
use super::holder::Holder;
use super::phase::flags;
use super::remote::{RemoteQueue, RemoteReceiver, RemoteWake};
use super::tcb::Tcb;
use std::cell::Cell;
use std::time::Instant;

/// Whom to wake: a task, or a plain thread that waits. Costs nothing to copy, and may be kept for ever: when whoever it names
/// is gone, it wakes nobody.
#[derive(Clone, Copy)]
pub(crate) struct WakeHandle {
    queue: &'static RemoteQueue,
    /// The number of the run, or of the thread's remote queue.
    run: u64,
    /// `tcb` is 0 for a plain thread.
    wake: RemoteWake,
}

thread_local! {
    /// Where a plain thread waits. Made when first asked for.
    static THREAD: RemoteReceiver = RemoteReceiver::new();
    /// The same for one that waits in the destructor of another thread-local, when that one is gone. It is never closed.
    static LATE: Cell<Option<&'static RemoteReceiver>> = const { Cell::new(None) };
}

/// Calls `f` with the remote queue of this plain thread.
fn with_thread<R>(f: impl Fn(&RemoteReceiver) -> R) -> R {
    THREAD.try_with(&f).unwrap_or_else(|_| {
        let late = LATE.get().unwrap_or_else(|| Box::leak(Box::new(RemoteReceiver::new())));
        LATE.set(Some(late));
        f(late)
    })
}

impl WakeHandle {
    #[cfg(test)]
    pub(crate) fn current() -> WakeHandle {
        let mut place = None;
        WakeHandle::put_current(&mut place);
        place.expect("it was put there")
    }

    /// Puts the one that this code is part of into its place: a task, or the thread if there is no run. Built elsewhere and copied
    /// it would be read before it has been written, which costs 2 ns.
    #[inline(always)]
    pub(crate) fn put_current(place: &mut Option<WakeHandle>) {
        match worker() {
            Some(worker) => *place = Some(WakeHandle::of(worker, worker.current())),
            None => WakeHandle::put_thread(place),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_thread(place: &mut Option<WakeHandle>) {
        let wake = RemoteWake { tcb: 0, task_id: 0 };
        *place = Some(with_thread(|open| WakeHandle { queue: open.queue(), run: open.run(), wake }));
    }

    /// For a task of this run.
    #[inline(always)]
    pub(crate) fn of(worker: &Worker, tcb: &Tcb) -> WakeHandle {
        let wake = RemoteWake { tcb: std::ptr::from_ref(tcb) as usize, task_id: tcb.id() };
        WakeHandle { queue: worker.remote.queue(), run: worker.run(), wake }
    }

    /// Wakes it, or makes its next wait return at once. False if it is gone.
    #[inline]
    pub(crate) fn wake(&self) -> bool {
        match worker() {
            Some(worker) if worker.run() == self.run => {
                // SAFETY: the address came from a TCB of this worker's table, and TCBs stay in place as long as it.
                let tcb = unsafe { &*(self.wake.tcb as *const Tcb) };
                let there = is_there(tcb, self.wake.task_id);
                if there {
                    worker.wake(tcb);
                }
                there
            }
            _ => self.wake_from_outside(),
        }
    }

    /// Makes its current public park return, or else its next one. A key of a task; no effect if that is gone.
    #[inline]
    pub(crate) fn unpark(&self) {
        match worker() {
            Some(worker) if worker.run() == self.run => {
                // SAFETY: as in `wake`.
                let tcb = unsafe { &*(self.wake.tcb as *const Tcb) };
                if is_there(tcb, self.wake.task_id) {
                    worker.unpark(tcb);
                }
            }
            // The run may be over: then there is no task to unpark.
            _ => drop(self.queue.push(self.run, self.wake.unparking())),
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_from_outside(&self) -> bool {
        if self.wake.tcb == 0 { self.queue.notify(self.run) } else { self.queue.push(self.run, self.wake) }
    }

    /// Whether nothing may be granted to it: it is gone for certain (its task has ended or was abandoned, or its run is
    /// over), or `is_over` says that its wait has ended. `is_over` is asked about tasks of this run only, and only
    /// about those with an flags bit set: the TCB of any other task belongs to another thread.
    #[inline(always)]
    pub(crate) fn is_out(&self, is_over: impl FnOnce(&Worker, &Tcb) -> bool) -> bool {
        match worker() {
            Some(worker) if worker.run() == self.run => {
                // SAFETY: as in `wake`.
                let tcb = unsafe { &*(self.wake.tcb as *const Tcb) };
                if tcb.flags() == 0 {
                    tcb.is_finished() || tcb.id() != self.wake.task_id
                } else {
                    !is_there(tcb, self.wake.task_id) || is_over(worker, tcb)
                }
            }
            _ => !self.queue.is_open(self.run),
        }
    }

    /// Whether it is of the run that this code is part of. Then no other thread is needed to wake it.
    pub(crate) fn is_here(&self) -> bool {
        worker().is_some_and(|worker| worker.run() == self.run)
    }

    /// Ends the sleep of its worker or thread, so that it looks again who can still be woken.
    pub(crate) fn notify(&self) {
        // When the run is over there is nobody to notify.
        let _ = self.queue.notify(self.run);
    }
}

#[inline]
fn is_there(tcb: &Tcb, task_id: u64) -> bool {
    tcb.id() == task_id && !tcb.is_finished() && !tcb.has_flags(flags::ABANDONED)
}

/// Blocks a plain thread until it is woken, or until `deadline`. Returns at once if a wake came before.
pub(crate) fn block_thread(deadline: Option<Instant>) {
    with_thread(|open| {
        open.sleep(deadline);
        open.take();
    });
}

impl Holder {
    /// Records the task that `waker` wakes as the holder.
    #[inline]
    pub(crate) fn set(&self, waker: WakeHandle) {
        self.record(waker.run, waker.wake.task_id);
    }

    /// Records the calling task as the holder.
    #[inline]
    pub(crate) fn set_current(&self) {
        self.set_task_of(worker());
    }

    /// The same for a caller that has looked up this thread's worker already.
    #[inline(always)]
    pub(crate) fn set_task_of(&self, worker: Option<&Worker>) {
        match worker {
            Some(worker) => self.record(worker.run(), worker.current().id()),
            None => self.clear(),
        }
    }
}
