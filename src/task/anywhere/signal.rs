//! The end of a closure that is stored in the frame of its waiter: one thread completes it, once, and one waits.
//!
//! # Why the frame may go when the signal is done
//!
//! `complete` touches the signal last when it stores `DONE`: it has copied the wake handle before, and that refers to no memory of
//! the waiter. So the waiter may free the signal as soon as it has seen `DONE`. The store releases what the completing thread has
//! written before, and the waiter acquires it.

use crate::wait::WakeHandle;
use std::cell::Cell;
use std::sync::atomic::{
    AtomicU8,
    Ordering::{AcqRel, Acquire, Release},
};

/// No waiter yet.
const EMPTY: u8 = 0;
/// The waiter has stored its wake handle.
const AWAITED: u8 = 1;
/// Completed.
const DONE: u8 = 2;

/// A signal, for one thread that completes it and one waiter.
pub(super) struct Signal {
    state: AtomicU8,
    /// Written by the waiter before `AWAITED`; read by the completing thread after it.
    waiter: Cell<Option<WakeHandle>>,
}

// SAFETY: `waiter` is accessed by one thread at a time. The waiter writes it once, before it sets `AWAITED`. The completing thread reads
// it only after it has seen `AWAITED`.
unsafe impl Sync for Signal {}

impl Signal {
    pub(super) fn new() -> Signal {
        Signal { state: AtomicU8::new(EMPTY), waiter: Cell::new(None) }
    }

    /// Announces a wait. Returns false if the signal is done. Called by the one waiter, also again after a spurious wakeup.
    pub(super) fn begin_wait(&self) -> bool {
        // One load decides: a second one could see another state.
        match self.state.load(Acquire) {
            DONE => false,
            AWAITED => true,
            _ => {
                let mut waiter = None;
                WakeHandle::put_current(&mut waiter);
                self.waiter.set(waiter);
                self.state.compare_exchange(EMPTY, AWAITED, AcqRel, Acquire).is_ok()
            }
        }
    }

    /// Sets the signal, and wakes the waiter. The waiter may free the signal before the call returns.
    ///
    /// # Safety
    ///
    /// `signal` is valid until it is done. This is the only call for it.
    pub(super) unsafe fn complete(signal: *const Signal) {
        // SAFETY: the caller ensures that the signal is valid until it is done, which only this function makes it.
        let Signal { state, waiter } = unsafe { &*signal };
        if state.compare_exchange(EMPTY, DONE, Release, Acquire).is_err() {
            let waiter = waiter.get();
            state.store(DONE, Release);
            // False if the run has ended: not before the waiter.
            let _ = waiter.is_some_and(|waiter| waiter.wake());
        }
    }
}
