//! A borrowing call: the caller keeps `f` and its result in its own frame, and another thread accesses them there.
//!
//! # Why this is sound
//!
//! 1. The caller leaves the frame only after `done` was set: `wait_until_done` neither returns nor unwinds earlier, and
//!    the run does not abandon the task before. Nor is the frame on a stack that is dropped or reused in between: a body
//!    in which the call is made is running until then.
//! 2. The other thread accesses the packet last when it sets `done`. It has moved `f` out before and called it, so the
//!    borrows in `f` have ended. It wakes the caller by a copy of the wake handle, which refers to no task memory.
//! 3. `f: Send` and `T: Send`, and a panic's payload is `Send`, so each may cross to the other thread. The release store
//!    of `done` and the acquire load of the caller order their accesses.
//! 4. A call is submitted once and run once, and no call that was accepted is dropped: its caller would wait permanently.
//!
//! The thread gets a raw pointer and no reference: a reference in an argument would have to stay valid until the function
//! has returned, but the packet may be gone as soon as `done` is set.

use crate::wait::{self, WakeHandle, Worker};
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A call in the frame of its caller. Until `done` is set, it belongs to the thread that runs the call.
struct Packet<F, T> {
    /// The closure, until the call begins.
    f: UnsafeCell<Option<F>>,
    /// The value or the panic of `f`. Set before `done`.
    result: UnsafeCell<Option<thread::Result<T>>>,
    done: AtomicBool,
    waker: WakeHandle,
}

/// A type-erased pointer to a packet. Must be run once.
pub(super) struct Call {
    packet: *const (),
    run: unsafe fn(*const ()) -> Ended,
}

// SAFETY: `submit_and_wait` makes calls only of a closure and a result type that are `Send`, and its packet is valid for any thread
// until `done` is set.
unsafe impl Send for Call {}

/// A call whose closure has ended, and whose caller does not know it yet.
#[must_use = "the caller waits until it is signalled"]
pub(super) struct Ended {
    done: *const AtomicBool,
    waker: WakeHandle,
}

impl Call {
    /// Runs the closure and stores its result. Does not unwind.
    pub(super) fn run(self) -> Ended {
        // SAFETY: `run` is `run_packet` for the packet's type, and `submit_and_wait` keeps the packet alive until `done` is set, which
        // only `Ended::signal` does. This call takes `self`, and there is one `Call` of a packet.
        unsafe { (self.run)(self.packet) }
    }
}

impl Ended {
    /// Tells the caller that the call has ended. The packet may be gone afterwards.
    pub(super) fn signal(self) {
        // SAFETY: `submit_and_wait` keeps the packet alive until `done` is set, and this store is the only one that sets it.
        unsafe { (*self.done).store(true, Ordering::Release) };
        // False if the run has ended: not before the call, as the run waits for it.
        let _ = self.waker.wake();
    }
}

/// Runs the closure of a packet and stores its result.
///
/// # Safety
///
/// `packet` points to a `Packet<F, T>` that lives until its `done` is set. No other code accesses its `f` and `result` before
/// that, and this function is called once for it.
unsafe fn run_packet<F: FnOnce() -> T, T>(packet: *const ()) -> Ended {
    let packet = packet.cast::<Packet<F, T>>();
    // SAFETY: the caller ensures that the packet lives and that only this thread accesses `f`.
    let f = unsafe { (*(*packet).f.get()).take() };
    let f = f.expect("a call is run once");
    let result = catch_unwind(AssertUnwindSafe(f));
    // SAFETY: the caller ensures that the packet lives, `done` is not set yet, and only this thread accesses `result`.
    unsafe { *(*packet).result.get() = Some(result) };
    // SAFETY: the packet lives as above. `waker` is never changed.
    unsafe { Ended { done: &raw const (*packet).done, waker: (*packet).waker } }
}

/// Submits `f` as a call, waits until it has ended, and returns its value. The calling task must be able to suspend.
///
/// `submit` accepts the call, which another thread then runs and signals, or returns it. A returned call runs in place.
pub(super) fn submit_and_wait<F, T>(worker: &Worker, f: F, submit: impl FnOnce(Call) -> Result<(), Call>) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let mut waker = None;
    WakeHandle::put_current(&mut waker);
    let waker = waker.expect("put_current always puts a handle");
    let packet =
        Packet { f: UnsafeCell::new(Some(f)), result: UnsafeCell::new(None), done: AtomicBool::new(false), waker };
    let call = Call { packet: (&raw const packet).cast(), run: run_packet::<F, T> };
    match submit(call) {
        // Until `done` is set, this function must not return or unwind.
        Ok(()) => wait::wait_until_done(worker, "a blocking call", || packet.done.load(Ordering::Acquire)),
        Err(call) => call.run().signal(),
    }
    match packet.result.into_inner().expect("the result is stored before `done` is set") {
        Ok(value) => {
            worker.unwind_if_requested();
            value
        }
        Err(payload) => resume_unwind(payload),
    }
}
