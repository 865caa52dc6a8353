//! The memory of a TCB with two uses: the closure of a task until its first turn, and then the fields that only a started
//! task has. So a task that has not started needs no stack for its closure.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::time::Instant;

/// The largest result, in machine words, that is stored in the TCB itself instead of a box.
pub(crate) const RESULT_WORDS: usize = 4;

/// The fields of a started task. Each is written before it is read, because the closure may have left any bytes here.
#[repr(C)]
struct Started {
    /// The result, or the box that holds it. The task's result type decides which.
    result: [usize; RESULT_WORDS],
    /// The deadline of the current wait.
    deadline: Instant,
    /// The time at which the current wait began: see `Worker::waits_since`.
    parked_at: u64,
    /// The task's place in the order of ends.
    end_order: u64,
}

/// The memory of a closure, or of the fields of a started task. Only the worker's thread accesses it.
#[repr(C, align(16))]
pub(super) struct Place(UnsafeCell<MaybeUninit<Started>>);

/// Returns whether a closure fits into a TCB. A closure that does not is boxed.
pub(crate) const fn fits<F>() -> bool {
    size_of::<F>() <= size_of::<Place>() && align_of::<F>() <= align_of::<Place>()
}

impl Place {
    pub(super) const fn new() -> Place {
        Place(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Returns the address of the closure, which must fit.
    #[inline(always)]
    pub(super) fn closure<F>(&self) -> *mut F {
        debug_assert!(fits::<F>(), "a larger closure is boxed");
        self.0.get().cast()
    }

    #[inline(always)]
    fn started(&self) -> *mut Started {
        self.0.get().cast()
    }

    /// Returns the address of the result, or of the box that holds it.
    #[inline(always)]
    pub(super) fn result(&self) -> *mut [usize; RESULT_WORDS] {
        // SAFETY: `started` points to memory of `self`.
        unsafe { &raw mut (*self.started()).result }
    }

    /// Stores the deadline of a started task's wait.
    #[inline(always)]
    pub(super) fn set_deadline(&self, deadline: Instant) {
        // SAFETY: `started` points to memory of `self`, to which there are no references.
        unsafe { (&raw mut (*self.started()).deadline).write(deadline) };
    }

    /// Returns the deadline.
    ///
    /// # Safety
    ///
    /// `set_deadline` has stored one since the start of the task.
    #[inline(always)]
    pub(super) unsafe fn deadline(&self) -> Instant {
        // SAFETY: the caller ensures that there is one.
        unsafe { (&raw const (*self.started()).deadline).read() }
    }

    /// Stores the time at which a started task's wait began.
    #[inline(always)]
    pub(super) fn set_parked_at(&self, now: u64) {
        // SAFETY: as in `set_deadline`.
        unsafe { (&raw mut (*self.started()).parked_at).write(now) };
    }

    /// Returns the time at which the wait began.
    ///
    /// # Safety
    ///
    /// `set_parked_at` has stored one since the start of the task.
    pub(super) unsafe fn parked_at(&self) -> u64 {
        // SAFETY: the caller ensures that there is one.
        unsafe { (&raw const (*self.started()).parked_at).read() }
    }

    /// Stores an ended task's place in the order of ends.
    #[inline(always)]
    pub(super) fn set_end_order(&self, end_order: u64) {
        // SAFETY: as in `set_deadline`.
        unsafe { (&raw mut (*self.started()).end_order).write(end_order) };
    }

    /// Returns the task's place in the order of ends.
    ///
    /// # Safety
    ///
    /// `set_end_order` has stored one since the start of the task.
    pub(super) unsafe fn end_order(&self) -> u64 {
        // SAFETY: the caller ensures that there is one.
        unsafe { (&raw const (*self.started()).end_order).read() }
    }
}
