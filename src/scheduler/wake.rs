//! Wakers: handles that wake a task or a plain thread, from any thread.
//!
//! There are no *lost wakeups*: a wake that arrives before the wait makes the next wait return at once. In return a
//! wait may end by a *spurious wakeup*, meant for an earlier wait of the same task or thread, so every waiter checks
//! its condition again.

use super::Worker;
use super::current::worker;
use super::fiber;
use super::holder::Holder;
use super::phase::flags;
#[cfg(feature = "io")]
use super::poll_thread;
use super::remote::{RemoteQueue, RemoteReceiver, RemoteWake};
use super::tcb::Tcb;
#[cfg(feature = "io")]
use crate::sys::{Bell, poll_fds, pollfd};
use std::cell::Cell;
#[cfg(feature = "io")]
use std::os::fd::BorrowedFd;
#[cfg(feature = "io")]
use std::time::Duration;
use std::time::Instant;

/// A waker: names the task or plain thread to wake. Cheap to copy. It can be kept for any time: it has no effect once
/// the task or thread has ended.
#[derive(Clone, Copy)]
pub(crate) struct WakeHandle {
    queue: &'static RemoteQueue,
    /// The number of the run, or of the thread's remote queue.
    run: u64,
    /// `tcb` is 0 for a plain thread.
    wake: RemoteWake,
}

/// The place of a waiter, seen from a caller that has something to grant.
pub(crate) enum Place<'a> {
    /// Nothing may be granted to the waiter.
    Out,
    /// The waiter is a task of the caller's run, which `Worker::wake` wakes.
    Here(&'a Worker, &'a Tcb),
    /// The waiter is a task of another run, a plain thread or a fiber.
    Elsewhere,
}

thread_local! {
    /// The remote queue of a plain thread, created on first use.
    static THREAD: RemoteReceiver = RemoteReceiver::new();
    /// A second remote queue, for waits in destructors of other thread-locals after `THREAD` was destroyed. Never
    /// closed.
    static LATE: Cell<Option<&'static RemoteReceiver>> = const { Cell::new(None) };
}

/// Calls `f` with the remote queue of this plain thread, or of the fiber that it runs.
pub(super) fn with_thread<R>(f: impl Fn(&RemoteReceiver) -> R) -> R {
    if let Some(fiber) = fiber::current() {
        return f(fiber.receiver());
    }
    THREAD.try_with(&f).unwrap_or_else(|_| {
        let late = LATE.get().unwrap_or_else(|| Box::leak(Box::new(RemoteReceiver::new())));
        LATE.set(Some(late));
        f(late)
    })
}

impl WakeHandle {
    /// Returns the waker of the running task; outside of a run, that of the thread. See `put_current`.
    pub(crate) fn current() -> WakeHandle {
        let mut place = None;
        WakeHandle::put_current(&mut place);
        place.expect("put_current always puts a handle")
    }

    /// Writes the waker of the running task to `place`; outside of a run, that of the thread. A waker that was built
    /// elsewhere and copied would be read before its stores have completed, which costs 2 ns.
    #[inline(always)]
    pub(crate) fn put_current(place: &mut Option<WakeHandle>) {
        WakeHandle::put_current_of(worker(), place);
    }

    /// Like `put_current`, for a caller that has looked up this thread's worker already.
    #[inline(always)]
    pub(crate) fn put_current_of(worker: Option<&Worker>, place: &mut Option<WakeHandle>) {
        match worker {
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

    /// Returns the waker of a task of this run.
    #[inline(always)]
    pub(crate) fn of(worker: &Worker, tcb: &Tcb) -> WakeHandle {
        let wake = RemoteWake { tcb: std::ptr::from_ref(tcb) as usize, task_id: tcb.id() };
        WakeHandle { queue: worker.remote.queue(), run: worker.run(), wake }
    }

    /// Wakes the task or thread, or makes its next wait return at once. Returns false if it has ended or was abandoned.
    /// For a waiter of another run, the caller's thread can only tell whether that run has ended.
    #[inline]
    pub(crate) fn wake(&self) -> bool {
        match worker() {
            Some(worker) if worker.run() == self.run => {
                // SAFETY: run numbers are unique, so the address is that of a TCB of this worker's table, which lives
                // as long as the worker and never moves a TCB.
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

    /// Ends the task's current public park, or lets its next one return at once. For wakers of tasks only. No effect if
    /// the task has ended.
    #[inline]
    pub(crate) fn unpark(&self) {
        match worker() {
            Some(worker) if worker.run() == self.run => {
                // SAFETY: run numbers are unique, so the address is that of a TCB of this worker's table, which lives
                // as long as the worker and never moves a TCB.
                let tcb = unsafe { &*(self.wake.tcb as *const Tcb) };
                if is_there(tcb, self.wake.task_id) {
                    worker.unpark(tcb);
                }
            }
            // The run may be over: then there is no task to unpark.
            _ => drop(self.queue.push(self.run, self.wake.unparking())),
        }
    }

    /// Cancels the task, from any thread. For wakers of tasks only. No effect if the task has ended.
    pub(crate) fn cancel(&self) {
        match worker() {
            Some(worker) if worker.run() == self.run => {
                // SAFETY: run numbers are unique, so the address is that of a TCB of this worker's table, which lives
                // as long as the worker and never moves a TCB.
                let tcb = unsafe { &*(self.wake.tcb as *const Tcb) };
                if is_there(tcb, self.wake.task_id) {
                    worker.cancel(tcb);
                }
            }
            // The run may be over: then there is no task to cancel.
            _ => drop(self.queue.push(self.run, self.wake.cancelling())),
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_from_outside(&self) -> bool {
        if self.wake.tcb == 0 { self.queue.notify(self.run) } else { self.queue.push(self.run, self.wake) }
    }

    /// Returns whether nothing may be granted to this waiter: its task has ended or was abandoned, its run is over, or
    /// `is_over` returns that its wait has ended. Calls `is_over` only for a task of this run that has a flag set. The
    /// TCB of a task of another run belongs to another thread.
    #[inline(always)]
    pub(crate) fn is_out(&self, is_over: impl FnOnce(&Worker, &Tcb) -> bool) -> bool {
        matches!(self.place(worker(), is_over), Place::Out)
    }

    /// Like [`is_out`](Self::is_out), and returns whether the waiter belongs to the run of the calling code. `worker` is that of this
    /// thread.
    #[inline(always)]
    pub(crate) fn place<'a>(
        &self,
        worker: Option<&'a Worker>,
        is_over: impl FnOnce(&Worker, &Tcb) -> bool,
    ) -> Place<'a> {
        match worker {
            Some(worker) if worker.run() == self.run => {
                // SAFETY: run numbers are unique, so the address is that of a TCB of this worker's table, which lives
                // as long as the worker and never moves a TCB.
                let tcb = unsafe { &*(self.wake.tcb as *const Tcb) };
                let is_out = if tcb.flags() == 0 {
                    tcb.is_finished() || tcb.id() != self.wake.task_id
                } else {
                    !is_there(tcb, self.wake.task_id) || is_over(worker, tcb)
                };
                if is_out { Place::Out } else { Place::Here(worker, tcb) }
            }
            _ if self.queue.is_open(self.run) => Place::Elsewhere,
            _ => Place::Out,
        }
    }

    /// Returns whether the waiter belongs to the run of the calling code. Then no other thread is needed to wake it.
    pub(crate) fn is_here(&self) -> bool {
        worker().is_some_and(|worker| worker.run() == self.run)
    }

    /// Ends the sleep of the waiter's worker or thread, so that it checks again which tasks can still be woken.
    pub(crate) fn notify(&self) {
        // If the run is over, no worker sleeps.
        let _ = self.queue.notify(self.run);
    }
}

/// Returns whether the task `task_id` still owns the TCB, has not ended, and was not abandoned.
#[inline]
pub(super) fn is_there(tcb: &Tcb, task_id: u64) -> bool {
    tcb.id() == task_id && !tcb.is_finished() && !tcb.has_flags(flags::ABANDONED)
}

/// Blocks a plain thread until it is woken, or until `deadline`. Returns at once if a wake arrived before. Suspends the fiber if the
/// thread runs one; returns false if the fiber must not wait again, because it is cancelled, or the thread panics.
#[track_caller]
pub(crate) fn block_thread(deadline: Option<Instant>) -> bool {
    if let Some(fiber) = fiber::current() {
        return fiber.wait(deadline);
    }
    with_thread(|open| {
        open.sleep(deadline);
        open.give_back(open.take());
    });
    true
}

/// The longest wait in poll(2) without an eventfd, in milliseconds: no descriptor is left for one.
#[cfg(feature = "io")]
const WITHOUT_BELL: Duration = Duration::from_millis(10);

/// Like [`block_thread`], but also ends when one of the descriptors is readable (`true`) or writable. May end by a spurious
/// wakeup.
#[cfg(feature = "io")]
#[track_caller]
pub(crate) fn block_thread_in_poll(fds: &[(BorrowedFd<'_>, bool)], deadline: Option<Instant>) -> bool {
    if let Some(fiber) = fiber::current() {
        let watch = poll_thread::watch(fds, fiber.receiver());
        // Without the poll thread, the caller looks itself, soon.
        let soon = watch.is_err().then(|| Instant::now() + WITHOUT_BELL);
        return fiber.wait([deadline, soon].into_iter().flatten().min());
    }
    let bell = Bell::new().ok();
    with_thread(|open| {
        let mut entries: Vec<_> = fds.iter().map(|(fd, readable)| pollfd(*fd, *readable)).collect();
        let mut left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match &bell {
            Some(bell) => entries.push(pollfd(bell.reader(), true)),
            None => left = Some(left.map_or(WITHOUT_BELL, |left| left.min(WITHOUT_BELL))),
        }
        // The number of no descriptor rings nothing.
        if open.begin_sleep(bell.as_ref().map_or(-1, Bell::as_raw_fd)) {
            // poll(2) fails only without memory, which is like a spurious wakeup.
            let _ = poll_fds(&mut entries, left);
            open.end_sleep();
            // The bell is closed next.
            open.wait_for_ringers();
        }
        open.give_back(open.take());
    });
    true
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

    /// Like `set_current`, for a caller that knows its worker, and the number of the run.
    #[inline(always)]
    pub(crate) fn set_task(&self, worker: &Worker, run: u64) {
        self.record(run, worker.current().id());
    }

    /// Like `set_current`, for a caller that has looked up this thread's worker already.
    #[inline(always)]
    pub(crate) fn set_task_of(&self, worker: Option<&Worker>) {
        match worker {
            Some(worker) => self.record(worker.run(), worker.current().id()),
            None => self.clear(),
        }
    }
}
