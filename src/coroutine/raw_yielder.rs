//! The raw yielder: the body's side of a coroutine, through which the body suspends.
//!
//! The invariants are listed in [`raw`](super::raw).

use super::ahead::Slots;
use super::chain::{self, Control, Head, Link};
use super::unwind_tables::{In, Out, go_on_unwinding, stop_unwinding};
use crate::stack::arena::Slot;
use crate::stack::overflow;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::resume_unwind;
use std::thread::panicking;

/// The panic payload that unwinds a body that will not be resumed: the body on this stack. It runs no panic hook.
pub(super) struct Unwound(pub(super) Slot);

/// The body's side of a switch, and the first field of every handle.
#[repr(C)]
pub(crate) struct RawYielder<I, Y> {
    pub(super) head: Head,
    pub(super) input: Cell<MaybeUninit<I>>,
    slot: Slot,
    _yields: PhantomData<fn(Y)>,
}

impl<I, Y> RawYielder<I, Y> {
    pub(super) fn new(slot: Slot) -> Self {
        RawYielder { head: Head::new(), input: Cell::new(MaybeUninit::uninit()), slot, _yields: PhantomData }
    }

    /// Returns corosensei's yielder, through which the body suspends.
    #[inline(always)]
    fn yielder(&self) -> *const corosensei::Yielder<In, Out<Y>> {
        // A yielder is `repr(transparent)` around the parent link, for any types.
        self.head.link().cast()
    }

    /// Stores the yielder when the body starts.
    #[inline(always)]
    pub(super) fn set_seam(&self, yielder: &corosensei::Yielder<In, Out<Y>>) {
        self.head.set_link(std::ptr::from_ref(yielder).cast::<Link>());
    }

    /// Suspends the body with a value. Returns the input of the next resume, or the control byte that came instead.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn suspend(&self, value: Y) -> Result<I, Control> {
        // Check first: a refusal must drop the value.
        self.check();
        self.leave(MaybeUninit::new(value))
    }

    /// Puts the value into the buffer of a body that runs ahead, or suspends the body with it if there is no room.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn suspend_or_put(&self, value: Y, slots: &Slots<Y>) -> Result<I, Control> {
        let open = self.head.open.get();
        if open != 0 {
            off_the_path();
            // Whether the body unwinds is of no interest here: nothing is suspended.
            if open < 0 {
                // SAFETY: only `Reader::fill` makes the number negative, which then counts the room. It has set the slots.
                unsafe { slots.put(open, value) };
                self.head.open.set(open + 1);
                // SAFETY: `fill` gets the head of a body with an `I` of `()` only, of which no byte can be uninitialised.
                return Ok(unsafe { self.take_input() });
            }
            self.refuse();
        }
        self.leave(MaybeUninit::new(value))
    }

    /// Suspends the body with a message, which the caller has stored in the handle.
    #[track_caller]
    pub(crate) fn call(&self) -> Result<I, Control> {
        self.check();
        self.head.control.set(Control::Message);
        self.leave(MaybeUninit::uninit())
    }

    #[inline(always)]
    #[track_caller]
    fn leave(&self, value: MaybeUninit<Y>) -> Result<I, Control> {
        stop_unwinding();
        // SAFETY: the caller runs inside the body (invariant 3), so the body has set its yielder, which lives as long
        // as the body.
        unsafe { (*self.yielder()).suspend(Out(value)) };
        go_on_unwinding();
        if self.head.control.get() == Control::Plain {
            // SAFETY: the body was resumed with `Control::Plain`, so the input is set (invariant 4).
            return Ok(unsafe { self.take_input() });
        }
        Err(self.take_control())
    }

    #[cold]
    #[inline(never)]
    fn take_control(&self) -> Control {
        match self.head.control.get() {
            Control::ThreadEnded => self.stay(),
            control => {
                self.head.control.set(Control::Plain);
                control
            }
        }
    }

    /// Suspends again after every resume, so that the body never continues. The resumer does not read the value.
    #[cold]
    fn stay(&self) -> ! {
        loop {
            stop_unwinding();
            // SAFETY: the body runs here, so its yielder is set and alive, as in `leave`. The control byte stays
            // `ThreadEnded`, so the resumer does not read the uninitialised value.
            unsafe { (*self.yielder()).suspend(Out(MaybeUninit::uninit())) };
            go_on_unwinding();
        }
    }

    /// Registers the control byte, to which the pool writes `ThreadEnded` when this thread ends. The raw yielder must
    /// not move after this call.
    ///
    /// # Safety
    ///
    /// The raw yielder must be stored in the stack of its slot.
    pub(super) unsafe fn register_exit_byte(&self) {
        // `Walk` finds the head by this address too.
        const { assert!(std::mem::offset_of!(Head, control) == 0) };
        // SAFETY: the control byte is one byte, and `ThreadEnded` is one of its values. It lives in the stack of the
        // slot (contract of this function) until the stack's tag is cleared.
        unsafe { self.slot.write_at_thread_end(self.head.control.as_ptr().cast()) };
    }

    /// Panics if a section is open in the body, or if the caller is a task that only borrows the handle (see
    /// [`chain`]), before any state changes.
    ///
    /// The resumer checks whether the body suspends while it unwinds
    /// ([`suspended_in_panic`](Self::suspended_in_panic)): a look at `panicking()` costs five times as much here.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn check(&self) {
        if self.head.open.get() > 0 {
            self.refuse();
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse(&self) -> ! {
        match chain::section_inside(self.slot) {
            Some(section) => panic!("cannot suspend {} inside {section}: close it first", self.label()),
            None => self.refuse_elsewhere(),
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_elsewhere(&self) -> ! {
        panic!("cannot suspend {} from another task: only its own body can, and a scope is open in it", self.label())
    }

    /// Resets the control byte after the body suspended with a message. Panics if the thread is ending. Called on the
    /// resumer's side.
    #[cold]
    #[inline(never)]
    pub(super) fn take_message(&self) {
        if self.head.control.get() == Control::ThreadEnded {
            panic!(
                "cannot resume {}: its thread is ending, and thread-locals that it may use are destroyed",
                self.label()
            );
        }
        self.head.control.set(Control::Plain);
    }

    /// Notes that a panicking thread resumes the body. A suspended body does not unwind: if it was asked to, it caught
    /// the unwinding and continued.
    #[cold]
    #[inline(never)]
    pub(super) fn resumed_by_a_panic(&self) {
        self.head.unwinding.set(false);
        self.head.resumed_in_panic.set(true);
    }

    /// Handles a body that suspended while this thread panics. Aborts the process if the panic is the body's own: an
    /// unfinished panic would leave this thread `panicking()`, perhaps permanently. Called on the resumer's side.
    #[cold]
    #[inline(never)]
    pub(super) fn suspended_in_panic(&self) {
        let outside = self.head.resumed_in_panic.replace(false) || chain::resumed_in_panic_here();
        if self.head.unwinding.get() || !outside {
            let (kind, name) = self.slot.label();
            overflow::abort_naming(
                kind,
                name,
                "suspends while it unwinds, or after it caught the unwinding during a panic; it cannot be resumed",
            );
        }
    }

    /// # Safety
    /// The input must be set, and must not have been taken since.
    #[inline(always)]
    pub(super) unsafe fn take_input(&self) -> I {
        // SAFETY: the input is set (contract of this function), and the `replace` takes it only once.
        unsafe { self.input.replace(MaybeUninit::uninit()).assume_init() }
    }

    /// Returns whether the body is unwinding, so that nothing in it may suspend. Called on the body's side.
    #[inline]
    pub(crate) fn is_unwinding(&self) -> bool {
        panicking() && self.unwinds()
    }

    #[cold]
    #[inline(never)]
    fn unwinds(&self) -> bool {
        let outside = self.head.resumed_in_panic.get() || chain::resumed_in_panic_around(&self.head);
        self.head.unwinding.get() || !outside
    }

    /// Panics if the caller is a task of a scope that borrowed the handle: the frames of such a task are not the
    /// body's, so an unwinding from there would not end the body.
    #[track_caller]
    pub(crate) fn check_unwind(&self) {
        if self.head.open.get() != 0 && !chain::runs_on(self.slot) {
            self.refuse_elsewhere();
        }
    }

    /// Ends the body by unwinding it from here.
    #[cold]
    pub(crate) fn unwind(&self) -> ! {
        self.head.unwinding.set(true);
        resume_unwind(Box::new(Unwound(self.slot)))
    }

    /// Returns the kind and name of the body, for messages.
    pub(crate) fn label(&self) -> Label {
        Label(self.slot)
    }

    /// Returns the name that the builder set. The name lives until the raw coroutine is dropped.
    pub(crate) fn name(&self) -> Option<&str> {
        self.slot.label().1
    }

    /// Returns the stack that the body runs on.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }
}

/// Marks a branch as the rarer one: the code of the other one then needs no jump.
#[cold]
#[inline(always)]
pub(super) fn off_the_path() {}

impl<Y> RawYielder<(), Y> {
    /// Returns the head, for [`Reader::fill`](super::ahead::Reader::fill). Only a body that receives nothing can run ahead.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }
}

/// The kind and name of a body. Prints as `generator 'numbers'` or `an unnamed generator`.
pub(crate) struct Label(pub(super) Slot);

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.label() {
            (kind, Some(name)) => write!(f, "{} '{name}'", kind.text()),
            (kind, None) => write!(f, "an unnamed {}", kind.text()),
        }
    }
}

/// The type to which a body gets a reference. `RawCoroutine` provides the raw yielder, and the handle wraps it.
pub(crate) trait Handle {
    /// The type of the input of a resume.
    type In;
    /// The type of the value of a suspension.
    type Out;
    /// Creates a handle around a raw yielder.
    fn new(raw_yielder: RawYielder<Self::In, Self::Out>) -> Self;
    /// Returns the raw yielder that was passed to [`new`](Self::new).
    fn raw_yielder(&self) -> &RawYielder<Self::In, Self::Out>;
    /// Returns whether a drop of the handle would do nothing.
    #[inline(always)]
    fn is_trivial(&self) -> bool {
        !std::mem::needs_drop::<Self>()
    }
}
