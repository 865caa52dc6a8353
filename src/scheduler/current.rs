//! Finding the worker of the thread, in every turn.

use super::Worker;
use crate::arch::{fresh_address, thread_pointer};
use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

thread_local! {
    static WORKER: Cell<*const Worker> = const { Cell::new(null()) };
}

/// The first thread that has a worker, and that worker: a shortcut past the thread-local.
///
/// In a short loop around a yield the compiler keeps the thread-local's offset in rbx or rbp, because these are the only
/// registers that survive a switch. Finding the worker then waits for the context that is entered, which waits for the
/// run queue, which waits for the worker: 4.6 ns a turn instead of 2.1. It would do the same with the address of a static, so
/// that is asked for in a way that it cannot keep.
struct Home {
    /// The thread pointer of the thread; 0 for none.
    thread: AtomicUsize,
    /// Meaningful to that thread only.
    worker: AtomicPtr<Worker>,
}

static HOME: Home = Home { thread: AtomicUsize::new(0), worker: AtomicPtr::new(null_mut()) };

/// The worker of the run that this code is part of.
#[inline(always)]
pub(crate) fn worker<'a>() -> Option<&'a Worker> {
    let thread = thread_pointer();
    let home = fresh_address!(HOME) as *const Home;
    // SAFETY: the address of a static.
    let home = unsafe { &*home };
    let worker = if thread != 0 && home.thread.load(Relaxed) == thread {
        home.worker.load(Relaxed).cast_const()
    } else {
        WORKER.get()
    };
    // SAFETY: invariant 1 of the scheduler. Nobody keeps the reference beyond the run: it is used within one call of a task or of main.
    unsafe { worker.as_ref() }
}

/// Gives the shortcut up when its thread ends with a run still open (in a generator that was forgotten in the middle of it):
/// the next thread may get the same thread pointer, and must not find that worker.
struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        let _ = HOME.thread.compare_exchange(thread_pointer(), 0, Relaxed, Relaxed);
    }
}

thread_local! {
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
}

/// Makes `worker` this thread's, or nobody.
pub(super) fn set_worker(worker: *const Worker) {
    WORKER.set(worker);
    let thread = thread_pointer();
    if thread != 0 {
        if worker.is_null() {
            let _ = HOME.thread.compare_exchange(thread, 0, Relaxed, Relaxed);
        } else if AT_THREAD_END.try_with(|_| ()).is_ok()
            && HOME.thread.compare_exchange(0, thread, Relaxed, Relaxed).is_ok()
        {
            // Only this thread reads it while `thread` is its own.
            HOME.worker.store(worker.cast_mut(), Relaxed);
        }
    }
}
