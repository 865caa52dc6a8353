//! The raw yielder: the body's side of a coroutine, through which it suspends.
//!
//! The invariants are those of [`raw`](super::raw).

use super::chain::{self, Control, Head, Link};
use super::unwind_tables::{In, Out, go_on_unwinding, stop_unwinding};
use crate::stack::arena::Slot;
use crate::stack::overflow;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::resume_unwind;
use std::thread::panicking;

/// The payload that unwinds a body which will not be resumed: the one on this stack. It runs no panic hook.
pub(super) struct Unwound(pub(super) Slot);

/// The body's side of the seam; the first field of every handle.
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

    /// How the body suspends.
    #[inline(always)]
    fn yielder(&self) -> *const corosensei::Yielder<In, Out<Y>> {
        // A yielder is `repr(transparent)` around the parent link, whatever its types.
        self.head.link().cast()
    }

    /// The body starts.
    #[inline(always)]
    pub(super) fn set_seam(&self, yielder: &corosensei::Yielder<In, Out<Y>>) {
        self.head.set_link(std::ptr::from_ref(yielder).cast::<Link>());
    }

    /// Suspends the body with a value. Returns the input of the next resume, or the control byte that came instead.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn suspend(&self, value: Y) -> Result<I, Control> {
        // A refusal drops the value: so first this.
        self.check();
        self.leave(MaybeUninit::new(value))
    }

    /// Suspends the body with a message, which the caller has put into the handle.
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
        // SAFETY: invariant 3: the body runs, so it has set the seam, and corosensei's yielder lives as long as it.
        unsafe { (*self.yielder()).suspend(Out(value)) };
        go_on_unwinding();
        if self.head.control.get() == Control::Plain {
            // SAFETY: invariant 4.
            return Ok(unsafe { self.take_input() });
        }
        Err(self.take_control())
    }

    #[cold]
    fn take_control(&self) -> Control {
        match self.head.control.get() {
            Control::ThreadEnded => self.stay(),
            control => {
                self.head.control.set(Control::Plain);
                control
            }
        }
    }

    /// Goes back to whoever resumed the body, every time. Nobody looks at the value.
    #[cold]
    fn stay(&self) -> ! {
        loop {
            stop_unwinding();
            // SAFETY: as in `leave`. The control byte stays, so the value is not taken for one.
            unsafe { (*self.yielder()).suspend(Out(MaybeUninit::uninit())) };
            go_on_unwinding();
        }
    }

    /// Has the control byte written when this thread ends. The raw yielder must not move from now on.
    ///
    /// # Safety
    ///
    /// The raw yielder lives in the stack of its slot.
    pub(super) unsafe fn ask_for_last_word(&self) {
        // The head of a walk is found by this address too.
        const { assert!(std::mem::offset_of!(Head, control) == 0) };
        // SAFETY: the control byte is one byte, ThreadEnded is one of its values, and it lives until the stack's tag is
        // cleared.
        unsafe { self.slot.tell_at_thread_end(self.head.control.as_ptr().cast()) };
    }

    /// Refuses to suspend out of a section that is open in the body, or from a task that only borrows the handle (see
    /// [`chain`]), before anything is touched.
    ///
    /// That a body does not suspend while it unwinds is looked at by its resumer ([`suspended_in_panic`](Self::suspended_in_panic)): the same look at
    /// `panicking()` costs five times as much here.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn check(&self) {
        if self.head.open.get() != 0 {
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

    /// The body suspended with something else than a value. For the resumer's side.
    #[cold]
    #[inline(never)]
    pub(super) fn take_message(&self) {
        if self.head.control.get() == Control::ThreadEnded {
            panic!("cannot resume {}: its thread is ending, and thread-locals that it may use are gone", self.label());
        }
        self.head.control.set(Control::Plain);
    }

    /// A suspended body does not unwind: if it was told to, it has caught that and gone on.
    #[cold]
    #[inline(never)]
    pub(super) fn resumed_by_a_panic(&self) {
        self.head.unwinding.set(false);
        self.head.resumed_in_panic.set(true);
    }

    /// The body has suspended while this thread panics. Ends the process if that is the body's own panic: half-way through, it
    /// would leave this thread `panicking()`, perhaps permanently. For the resumer's side.
    #[cold]
    #[inline(never)]
    pub(super) fn suspended_in_panic(&self) {
        let outside = self.head.resumed_in_panic.replace(false) || chain::resumed_in_panic_here();
        if self.head.unwinding.get() || !outside {
            let (kind, name) = self.slot.label();
            overflow::abort_naming(
                kind,
                name,
                "suspends while it unwinds, or after it caught that during a panic; it cannot be gone on with",
            );
        }
    }

    /// # Safety
    /// The input was set and not taken since.
    #[inline(always)]
    pub(super) unsafe fn take_input(&self) -> I {
        // SAFETY: the caller's.
        unsafe { self.input.replace(MaybeUninit::uninit()).assume_init() }
    }

    /// Whether the body is unwinding, so that nothing in it may suspend. For the body's side.
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

    /// Refuses to unwind the body from a task of a scope that borrowed the handle: those frames are not the body's.
    #[track_caller]
    pub(crate) fn check_unwind(&self) {
        if self.head.open.get() != 0 && !chain::runs_on(self.slot) {
            self.refuse_elsewhere();
        }
    }

    /// Leaves the body by unwinding it.
    #[cold]
    pub(crate) fn unwind(&self) -> ! {
        self.head.unwinding.set(true);
        resume_unwind(Box::new(Unwound(self.slot)))
    }

    /// What runs here, for messages.
    pub(crate) fn label(&self) -> Label {
        Label(self.slot)
    }

    /// The name that the builder gave. It is kept until the raw coroutine is dropped.
    pub(crate) fn name(&self) -> Option<&str> {
        self.slot.label().1
    }

    /// The stack that the body runs on.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }
}

/// Prints as `generator 'numbers'` or `an unnamed generator`.
pub(crate) struct Label(pub(super) Slot);

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.label() {
            (kind, Some(name)) => write!(f, "{} '{name}'", kind.text()),
            (kind, None) => write!(f, "an unnamed {}", kind.text()),
        }
    }
}

/// What a body gets a reference to. Made around the raw yielder that the `RawCoroutine` provides.
pub(crate) trait Handle {
    /// What comes in with a resume.
    type In;
    /// What goes out with a suspension.
    type Out;
    /// Puts the raw yielder into a new handle.
    fn new(raw_yielder: RawYielder<Self::In, Self::Out>) -> Self;
    /// The raw yielder that was put in.
    fn raw_yielder(&self) -> &RawYielder<Self::In, Self::Out>;
}
