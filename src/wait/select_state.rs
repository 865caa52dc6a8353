//! The state that the waiters of one select share: which of its queues has granted to it.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The state that the waiters of one select share. A granter claims it in one atomic step, so only one queue grants.
///
/// Holds 0 while unclaimed, and then the number of the queue that it was claimed for. Never freed, because a queue may
/// still refer to it, but reused: a reference count for each of eight queues would cost more than the rest of the
/// select. The state of a select that its run abandoned is never reused.
#[derive(Debug, Default)]
pub(crate) struct SelectState(AtomicUsize);

/// The free list of the select states of one thread.
struct Unused(RefCell<Vec<&'static SelectState>>);

impl Drop for Unused {
    fn drop(&mut self) {
        retired().states.append(self.0.get_mut());
    }
}

/// The free list of threads that have ended, used by threads whose own list is empty.
struct Retired {
    states: Vec<&'static SelectState>,
    /// The number of select states allocated so far, by all threads.
    #[cfg(test)]
    allocated: usize,
}

static RETIRED: Mutex<Retired> = Mutex::new(Retired {
    states: Vec::new(),
    #[cfg(test)]
    allocated: 0,
});

fn retired() -> MutexGuard<'static, Retired> {
    RETIRED.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static UNUSED: Unused = const { Unused(RefCell::new(Vec::new())) };
}

impl SelectState {
    /// The claim of a granter that skips the select permanently: its wait was interrupted, and its task has not run since.
    pub(crate) const OVER: usize = usize::MAX - 1;

    /// Returns an unclaimed state, reused if possible.
    pub(crate) fn take() -> &'static SelectState {
        let unused = UNUSED.try_with(|unused| unused.0.borrow_mut().pop()).ok().flatten();
        let select_state = unused.unwrap_or_else(SelectState::take_retired);
        select_state.0.store(0, Ordering::Relaxed);
        select_state
    }

    #[cold]
    fn take_retired() -> &'static SelectState {
        let mut retired = retired();
        if let Some(select_state) = retired.states.pop() {
            return select_state;
        }
        #[cfg(test)]
        {
            retired.allocated += 1;
        }
        drop(retired);
        Box::leak(Box::default())
    }

    /// Makes the state available to the next select. The caller ensures that no queue refers to it any more.
    pub(crate) fn give_back(&'static self) {
        if UNUSED.try_with(|unused| unused.0.borrow_mut().push(self)).is_err() {
            // The thread is ending, and its free list is already destroyed.
            retired().states.push(self);
        }
    }

    /// Returns the number of select states allocated so far, by all threads.
    #[cfg(test)]
    pub(crate) fn allocated() -> usize {
        retired().allocated
    }

    /// Claims the select for queue `index`, counted from 1. Returns `false` if it was claimed before.
    pub(crate) fn claim(&self, index: usize) -> bool {
        self.claimed() == 0 && self.0.compare_exchange(0, index, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Returns the number that the select was claimed with; 0 if it is unclaimed.
    pub(crate) fn claimed(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
