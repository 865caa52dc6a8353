//! The memory of a TCB with two uses: the closure of a task until its first turn, and then the fields that only a started
//! task has. So a task that has not started needs no stack for its closure.

use super::tcb::{RESULT_WORDS, Tcb};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::time::Instant;

/// The fields of a started task. Each is written before it is read, because the closure may have left any bytes here.
#[repr(C)]
struct Started {
    /// The result, or the box that holds it. The task's result type decides which.
    result: [usize; RESULT_WORDS],
    /// The deadline of the current wait. Valid while `flags::HAS_DEADLINE` is set.
    deadline: Instant,
    /// The time at which the current wait began: see `Worker::waits_since`. Valid while the task is parked.
    parked_at: u64,
    /// The task's place in the order of ends. Valid when the task has ended.
    end_order: u64,
}

/// The memory of a closure, or of the fields of a started task.
#[repr(C, align(16))]
pub(super) struct Place(UnsafeCell<MaybeUninit<Started>>);

impl Place {
    pub(super) const fn new() -> Place {
        Place(UnsafeCell::new(MaybeUninit::uninit()))
    }

    #[inline(always)]
    fn started(&self) -> *mut Started {
        self.0.get().cast()
    }
}

/// Returns whether a closure fits into a TCB. A closure that does not is boxed.
pub(crate) const fn fits<F>() -> bool {
    size_of::<F>() <= size_of::<Place>() && align_of::<F>() <= align_of::<Place>()
}

impl Tcb {
    /// Stores the closure of a task that has not started. Forgets it if the task never starts.
    ///
    /// # Safety
    ///
    /// `fits::<F>()` is true, and the TCB is new: its task has neither started nor another closure.
    #[inline(always)]
    pub(crate) unsafe fn put_closure<F>(&self, f: F) {
        // SAFETY: the place is as large and as aligned as `F` requires (the caller ensures that), and no field in it is in use
        // before the start of the task.
        unsafe { self.place.started().cast::<F>().write(f) };
    }

    /// Takes the closure of a task that starts.
    ///
    /// # Safety
    ///
    /// `put_closure::<F>` stored it, and it was not taken.
    #[inline(always)]
    pub(crate) unsafe fn take_closure<F>(&self) -> F {
        // SAFETY: the caller ensures that an `F` is there, which is read once.
        unsafe { self.place.started().cast::<F>().read() }
    }

    /// Returns the address of the result, or of the box that holds it.
    #[inline(always)]
    pub(crate) fn result_place(&self) -> *mut [usize; RESULT_WORDS] {
        // SAFETY: `started` points to memory of this TCB.
        unsafe { &raw mut (*self.place.started()).result }
    }

    #[inline(always)]
    pub(super) fn set_deadline(&self, deadline: Instant) {
        // SAFETY: the task parks, so it has started, and only its worker's thread accesses the field.
        unsafe { (&raw mut (*self.place.started()).deadline).write(deadline) };
    }

    /// Returns the deadline of the current wait.
    ///
    /// # Safety
    ///
    /// `set_deadline` has stored one since the start of the task.
    #[inline(always)]
    pub(super) unsafe fn stored_deadline(&self) -> Instant {
        // SAFETY: the caller ensures that there is one.
        unsafe { (&raw const (*self.place.started()).deadline).read() }
    }

    #[inline(always)]
    pub(super) fn set_parked_at(&self, now: u64) {
        // SAFETY: the task parks, so it has started, and only its worker's thread accesses the field.
        unsafe { (&raw mut (*self.place.started()).parked_at).write(now) };
    }

    /// Returns the time at which the current wait began: see `Worker::waits_since`. 0 if the task is not parked.
    pub(super) fn parked_at(&self) -> u64 {
        if !self.is_parked() {
            return 0;
        }
        // SAFETY: `Tcb::park` has written the field before it set the phase.
        unsafe { (&raw const (*self.place.started()).parked_at).read() }
    }

    #[inline(always)]
    pub(super) fn set_end_order(&self, end_order: u64) {
        // SAFETY: the task ends, so its closure was taken, and only its worker's thread accesses the field.
        unsafe { (&raw mut (*self.place.started()).end_order).write(end_order) };
    }

    /// Returns the task's place in the order of ends; 0 if it has not ended.
    pub(crate) fn end_order(&self) -> u64 {
        if !self.is_finished() {
            return 0;
        }
        // SAFETY: `Tcb::finish` has written the field together with the phase.
        unsafe { (&raw const (*self.place.started()).end_order).read() }
    }
}
