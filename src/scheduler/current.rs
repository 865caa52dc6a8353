//! The lookup of the current thread's worker, which every turn does.

use super::Worker;
use super::tcb_table::TcbTable;
use crate::arch::{fresh_address, thread_pointer};
use crate::sys::likely;
use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};

thread_local! {
    static WORKER: Cell<*const Worker> = const { Cell::new(null()) };
}

/// The first thread that has a worker, and that worker: a shortcut past the thread-local.
///
/// In a short loop around a yield the compiler keeps the thread-local's offset in rbx or rbp, because only these
/// registers survive a switch. The lookup of the worker then depends on the context that is entered, which depends on
/// the run queue, which depends on the worker: 4.6 ns a turn instead of 2.1. The compiler would keep the address of a
/// static, too, so `fresh_address!` computes the address in assembly each time.
struct Home {
    /// The thread pointer of the thread, or `NO_THREAD`.
    thread: AtomicUsize,
    /// The worker of that thread. Other threads must not use it.
    worker: AtomicPtr<Worker>,
    /// The number of that worker's run; 0 without a worker.
    run: AtomicU64,
}

/// No thread has this thread pointer, and on no system `thread_pointer` returns it for want of one.
const NO_THREAD: usize = usize::MAX;

static HOME: Home =
    Home { thread: AtomicUsize::new(NO_THREAD), worker: AtomicPtr::new(null_mut()), run: AtomicU64::new(0) };

impl Home {
    /// Sets the worker, or none. Only the thread whose pointer is in `thread` may call it.
    fn set(&self, worker: *const Worker) {
        // SAFETY: the caller passes null, or a worker that is being attached to this thread, so it is alive.
        self.run.store(unsafe { worker.as_ref() }.map_or(0, Worker::run), Relaxed);
        self.worker.store(worker.cast_mut(), Relaxed);
    }
}

/// Returns the worker of the run that the calling code belongs to; `None` outside of a run.
#[inline(always)]
pub(crate) fn worker<'a>() -> Option<&'a Worker> {
    let thread = thread_pointer();
    let home = fresh_address!(HOME) as *const Home;
    // SAFETY: `home` is the address of the static `HOME`.
    let home = unsafe { &*home };
    let worker =
        if likely(home.thread.load(Relaxed) == thread) { home.worker.load(Relaxed).cast_const() } else { WORKER.get() };
    // SAFETY: the thread's pointer is null or points to a worker whose `run` has not returned (invariant 1). Callers
    // keep the reference no longer than one call by a task or by main, so it does not outlive the run.
    unsafe { worker.as_ref() }
}

/// Returns the number of the run that the calling code belongs to; 0 outside of a run. Cheaper than the worker's own number.
#[inline(always)]
pub(crate) fn current_run() -> u64 {
    let home = fresh_address!(HOME) as *const Home;
    // SAFETY: `home` is the address of the static `HOME`.
    let home = unsafe { &*home };
    if likely(home.thread.load(Relaxed) == thread_pointer()) {
        home.run.load(Relaxed)
    } else {
        worker().map_or(0, Worker::run)
    }
}

/// Returns the worker of a table while the run is open. The calling code may not belong to the run: it may be in a fiber that a task of the
/// run polls, or outside of the fiber in which the run is open.
pub(crate) fn worker_of(table: &TcbTable) -> Option<&Worker> {
    // SAFETY: null, or the address that `enter` has set and `leave` resets; in between the worker does not move. It is on this thread,
    // because a table is not `Send`. A fiber that is forgotten with its run open keeps the worker on its stack, which is never freed.
    // Callers keep the reference no longer than one call that does not end the run.
    unsafe { table.worker().cast::<Worker>().as_ref() }
}

/// Returns the address of this thread's worker, or null, from the thread-local: one load, for code that is not in a loop around a yield.
#[inline(always)]
pub(super) fn stored_worker() -> *const Worker {
    WORKER.get()
}

/// Exchanges this thread's worker for that of another context of the thread; null for none. A thread that has the shortcut keeps it.
#[inline]
pub(super) fn replace_worker(worker: *const Worker) {
    WORKER.set(worker);
    if HOME.thread.load(Relaxed) == thread_pointer() {
        // Only this thread reads the worker while `thread` holds its pointer.
        HOME.set(worker);
    } else if !worker.is_null() {
        set_worker(worker);
    }
}

/// Clears the shortcut when its thread ends with a run still open, as in a generator that was leaked during a run. A
/// later thread may have the same thread pointer, and must not find that worker.
struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        let _ = HOME.thread.compare_exchange(thread_pointer(), NO_THREAD, Relaxed, Relaxed);
    }
}

thread_local! {
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
}

/// Sets this thread's worker; null removes it.
pub(super) fn set_worker(worker: *const Worker) {
    WORKER.set(worker);
    let thread = thread_pointer();
    if thread != 0 {
        if worker.is_null() {
            let _ = HOME.thread.compare_exchange(thread, NO_THREAD, Relaxed, Relaxed);
        } else if HOME.thread.load(Relaxed) == thread {
            HOME.set(worker);
        } else if AT_THREAD_END.try_with(|_| ()).is_ok()
            && HOME.thread.compare_exchange(NO_THREAD, thread, Relaxed, Relaxed).is_ok()
        {
            // No other thread reads the worker while `thread` holds this thread's pointer.
            HOME.set(worker);
        }
    }
}
