//! The outcome of a task on its way to a handle on any thread, without a lock where nothing waits.
//!
//! # Why this is sound
//!
//! One thread at a time is the *runner* of the task: first the thread that starts it, which is then the thread of the task. One is the *owner*
//! of the handle.
//!
//! 1. The runner writes `started` once, before `STARTED`. After that nothing writes it, so every thread may read it that has seen
//!    `STARTED`.
//! 2. The runner writes `value` once, before `DONE`. After that, the value belongs to the owner, until `DETACHED`. If the
//!    change to `DONE` finds `DETACHED`, or that to `DETACHED` finds `DONE`, the second of the two has the value: both change the
//!    same atomic.
//! 3. Each change acquires and releases.

use crate::wait::{Held, WakeHandle};
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{
    AtomicU8,
    Ordering::{AcqRel, Acquire},
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// `started` is set.
const STARTED: u8 = 1;
/// Cancelled before the start.
const CANCELLED: u8 = 2;
/// `value` was set.
const DONE: u8 = 4;
/// The value was taken through the handle.
const TAKEN: u8 = 8;
/// The handle was dropped.
const DETACHED: u8 = 16;
/// There may be a waiter.
const AWAITED: u8 = 32;

/// The waiter for the outcome.
pub(super) enum Waiter {
    Wait(WakeHandle),
    Poll(Waker),
    /// A job of the worker that waits.
    Job(HeldJob),
}

/// A job that is dropped with its worker's thread, unless it was released.
pub(super) struct HeldJob(pub(super) Held);

impl HeldJob {
    fn release(self) {
        let job = ManuallyDrop::new(self);
        job.0.release();
    }
}

impl Drop for HeldJob {
    fn drop(&mut self) {
        // False if its run has ended, which has dropped it.
        let _ = self.0.discard();
    }
}

impl Waiter {
    /// Wakes the waiter. Foreign code, if it is a waker.
    pub(super) fn wake(self) {
        match self {
            // False if it has ended.
            Waiter::Wait(waiter) => _ = waiter.wake(),
            Waiter::Poll(waker) => waker.wake(),
            Waiter::Job(job) => job.release(),
        }
    }
}

/// The result of a cancel.
#[derive(Clone, Copy)]
pub(super) enum Cancel<'a, S> {
    /// The task never runs.
    BeforeStart,
    /// The task has started: the caller cancels it.
    Started(&'a S),
    /// The task has ended, or was cancelled before.
    NoEffect,
}

/// The place for the outcome `V` of one task, whose identity `S` is known from the start on.
pub(super) struct Slot<S, V> {
    state: AtomicU8,
    started: UnsafeCell<Option<S>>,
    value: UnsafeCell<Option<V>>,
    waiter: Mutex<Option<Waiter>>,
}

// SAFETY: `S` is shared (point 1 in the head of this file), and `V` goes from one thread to another (point 2).
unsafe impl<S: Send + Sync, V: Send> Sync for Slot<S, V> {}

impl<S, V> Slot<S, V> {
    pub(super) fn new() -> Slot<S, V> {
        Slot {
            state: AtomicU8::new(0),
            started: UnsafeCell::new(None),
            value: UnsafeCell::new(None),
            waiter: Mutex::new(None),
        }
    }

    fn waiter(&self) -> MutexGuard<'_, Option<Waiter>> {
        self.waiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the task starts. Returns whether it was cancelled before.
    ///
    /// # Safety
    ///
    /// The caller is the runner, and this is the only call.
    pub(super) unsafe fn start(&self, started: S) -> bool {
        // SAFETY: the caller is the only writer, and no other thread reads before it has seen `STARTED`.
        unsafe { *self.started.get() = Some(started) };
        self.state.fetch_or(STARTED, AcqRel) & CANCELLED != 0
    }

    /// Returns the identity of the task, if it has started.
    pub(super) fn started(&self) -> Option<&S> {
        if self.state.load(Acquire) & STARTED == 0 {
            return None;
        }
        // SAFETY: `STARTED` was seen, so `started` was written, and is not written again.
        unsafe { (*self.started.get()).as_ref() }
    }

    /// Cancels the task, if that has an effect.
    pub(super) fn cancel(&self) -> Cancel<'_, S> {
        let state = match self.state.load(Acquire) {
            state if state & (STARTED | DONE) != 0 => state,
            _ => self.state.fetch_or(CANCELLED, AcqRel),
        };
        if state & DONE != 0 {
            return Cancel::NoEffect;
        }
        match self.started() {
            Some(started) if state & STARTED != 0 => Cancel::Started(started),
            _ if state & CANCELLED != 0 => Cancel::NoEffect,
            _ => Cancel::BeforeStart,
        }
    }

    /// Sets the value. Returns it if the handle was dropped, and the waiter to wake.
    ///
    /// # Safety
    ///
    /// The caller is the runner, and this is the only call.
    pub(super) unsafe fn complete(&self, value: V) -> (Option<V>, Option<Waiter>) {
        // SAFETY: the value belongs to the runner until `DONE`.
        unsafe { *self.value.get() = Some(value) };
        let before = self.state.fetch_or(DONE, AcqRel);
        let waiter = if before & AWAITED != 0 { self.waiter().take() } else { None };
        // SAFETY: the handle was dropped before, and did not find `DONE`: the value still belongs to the runner.
        let left = if before & DETACHED != 0 { unsafe { (*self.value.get()).take() } } else { None };
        (left, waiter)
    }

    /// Returns whether the value was set.
    pub(super) fn is_done(&self) -> bool {
        self.state.load(Acquire) & DONE != 0
    }

    /// Takes the value. Returns `None` if there is none yet.
    ///
    /// # Safety
    ///
    /// The caller is the owner of the handle.
    ///
    /// # Panics
    ///
    /// Panics if the value was taken before.
    #[track_caller]
    pub(super) unsafe fn take(&self) -> Option<V> {
        let state = self.state.load(Acquire);
        assert!(
            state & TAKEN == 0,
            "the result of the task was already taken: join, try_join and await return it once"
        );
        if state & DONE == 0 {
            return None;
        }
        self.state.fetch_or(TAKEN, AcqRel);
        // SAFETY: after `DONE` the value belongs to the owner of the handle, which calls.
        unsafe { (*self.value.get()).take() }
    }

    /// Returns the value, if it is there and was not taken.
    ///
    /// # Safety
    ///
    /// The caller is the owner of the handle, and takes no value while the reference is alive.
    pub(super) unsafe fn peek(&self) -> Option<&V> {
        // SAFETY: after `DONE` the value belongs to the owner of the handle, which calls.
        if self.is_done() { unsafe { (*self.value.get()).as_ref() } } else { None }
    }

    /// Notes that the handle is dropped. Returns the value, if it is there and was not taken.
    ///
    /// # Safety
    ///
    /// The caller is the owner of the handle, and neither calls this nor `take` again.
    pub(super) unsafe fn detach(&self) -> Option<V> {
        let before = self.state.fetch_or(DETACHED, AcqRel);
        // SAFETY: `DONE` came first, so the value belongs to the owner.
        if before & DONE != 0 { unsafe { (*self.value.get()).take() } } else { None }
    }

    /// Sets the waiter, unless there is a value, or was one. Returns whether to wait.
    pub(super) fn begin_wait(&self, waiter: Waiter) -> bool {
        // The former waiter may own a waker, which is foreign code: it is dropped after the lock is released.
        let former = self.waiter().replace(waiter);
        let may_wait = self.state.fetch_or(AWAITED, AcqRel) & DONE == 0;
        drop(former);
        if !may_wait {
            self.end_wait();
        }
        may_wait
    }

    /// Returns whether a poll with this waker would set the same waiter again.
    pub(super) fn is_polled_with(&self, waker: &Waker) -> bool {
        !self.is_done() && matches!(&*self.waiter(), Some(Waiter::Poll(former)) if former.will_wake(waker))
    }

    pub(super) fn end_wait(&self) {
        let former = self.waiter().take();
        drop(former);
    }
}
