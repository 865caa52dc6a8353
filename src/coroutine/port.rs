//! The port: the body's side of a coroutine, through which it suspends.
//!
//! The invariants are those of [`core`](super::core).

use crate::section;
use crate::stack::arena::Slot;
use crate::stack::overflow;
use crate::stack::pool::THREAD_ENDED;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::panic::resume_unwind;
use std::ptr::null;
use std::thread::panicking;

/// The payload that unwinds a body which will not be resumed: the one on this stack. It runs no panic hook.
pub(super) struct Unwound(pub(super) Slot);

/// The announcement beside a switch. `Plain` is what nobody has to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Note {
    /// A value and nothing else.
    Plain,
    /// To the body: unwind. (A body that has not started: do not.)
    Unwind,
    /// Either way: the message is in the handle, in words that only the two sides know.
    Mail,
    /// The thread ends, and thread-locals that lie on this stack may be gone: the body runs no more. Written by the pool.
    ThreadEnded = THREAD_ENDED,
}

/// The body's side of the seam; a field of every handle.
#[repr(C)]
pub(crate) struct Port<I, Y> {
    /// How the body suspends. Null until it has started.
    pub(super) seam: Cell<*const corosensei::Yielder<(), MaybeUninit<Y>>>,
    pub(super) note: Cell<Note>,
    /// Whoever resumed the body was panicking at that moment, so `panicking()` says nothing about the body.
    pub(super) resumed_in_panic: Cell<bool>,
    /// The body has been told to unwind.
    unwinding: Cell<bool>,
    pub(super) input: Cell<MaybeUninit<I>>,
    /// How many sections were open when the body was resumed. Debug builds only.
    pub(super) sections: Cell<u32>,
    slot: Slot,
}

impl<I, Y> Port<I, Y> {
    pub(super) fn new(slot: Slot) -> Self {
        Port {
            seam: Cell::new(null()),
            note: Cell::new(Note::Plain),
            resumed_in_panic: Cell::new(false),
            unwinding: Cell::new(false),
            input: Cell::new(MaybeUninit::uninit()),
            sections: Cell::new(0),
            slot,
        }
    }

    /// Suspends the body with a value. Returns the input of the next resume, or the note that came instead.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn suspend(&self, value: Y) -> Result<I, Note> {
        self.leave(MaybeUninit::new(value))
    }

    /// Suspends the body with a message, which the caller has put into the handle.
    #[track_caller]
    pub(crate) fn call(&self) -> Result<I, Note> {
        self.check();
        self.note.set(Note::Mail);
        self.leave(MaybeUninit::uninit())
    }

    #[inline(always)]
    #[track_caller]
    fn leave(&self, value: MaybeUninit<Y>) -> Result<I, Note> {
        self.check();
        // SAFETY: invariant 3: the body runs, so it has set the seam, and corosensei's yielder lives as long as it.
        unsafe { (*self.seam.get()).suspend(value) };
        if self.note.get() == Note::Plain {
            // SAFETY: invariant 4.
            return Ok(unsafe { self.take_input() });
        }
        Err(self.take_note())
    }

    #[cold]
    fn take_note(&self) -> Note {
        match self.note.get() {
            Note::ThreadEnded => self.stay(),
            note => {
                self.note.set(Note::Plain);
                note
            }
        }
    }

    /// Goes back to whoever resumed the body, every time. Nobody looks at the value.
    #[cold]
    fn stay(&self) -> ! {
        loop {
            // SAFETY: as in `leave`. The note stays, so the value is not taken for one.
            unsafe { (*self.seam.get()).suspend(MaybeUninit::uninit()) };
        }
    }

    /// Has the note written when this thread ends. The port must not move from now on.
    ///
    /// # Safety
    ///
    /// The port lives in the stack of its slot.
    pub(super) unsafe fn ask_for_last_word(&self) {
        // SAFETY: the note is one byte, ThreadEnded is one of its values, and it lives until the stack's tag is cleared.
        unsafe { self.slot.tell_at_thread_end(self.note.as_ptr().cast()) };
    }

    /// Refuses what may not suspend, before anything is touched.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn check(&self) {
        if panicking() {
            self.refuse_if_unwinding();
        }
        if cfg!(debug_assertions)
            && let Some(section) = section::left_open(self.sections.get())
        {
            panic!("cannot suspend {} inside {section}: close it first", self.label());
        }
    }

    /// A suspended body does not unwind: if it was told to, it has caught that and gone on.
    #[cold]
    pub(super) fn resumed_by_a_panic(&self) {
        self.unwinding.set(false);
        self.resumed_in_panic.set(true);
    }

    /// # Safety
    /// The input was set and not taken since.
    #[inline(always)]
    pub(super) unsafe fn take_input(&self) -> I {
        // SAFETY: the caller's.
        unsafe { self.input.replace(MaybeUninit::uninit()).assume_init() }
    }

    /// Whether the body is unwinding, so that nothing in it may suspend: half-way through a panic it would leave this
    /// thread `panicking()`, perhaps for ever.
    pub(crate) fn is_unwinding(&self) -> bool {
        panicking() && (self.unwinding.get() || !self.resumed_in_panic.get())
    }

    #[cold]
    fn refuse_if_unwinding(&self) {
        if self.is_unwinding() {
            let (kind, name) = self.slot.label();
            overflow::abort_naming(
                kind,
                name,
                "suspends while it unwinds, or after it caught that during a panic; it cannot be gone on with",
            );
        }
    }

    /// Leaves the body by unwinding it.
    #[cold]
    pub(crate) fn unwind(&self) -> ! {
        self.unwinding.set(true);
        resume_unwind(Box::new(Unwound(self.slot)))
    }

    /// What runs here, for messages.
    pub(crate) fn label(&self) -> Label {
        Label(self.slot)
    }

    /// The name that the builder gave. It is kept until the core is dropped.
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

/// What a body gets a reference to. Made around the port that the `Core` provides.
pub(crate) trait Handle {
    /// What comes in with a resume.
    type In;
    /// What goes out with a suspension.
    type Out;
    /// Puts the port into a new handle.
    fn new(port: Port<Self::In, Self::Out>) -> Self;
    /// The port that was put in.
    fn port(&self) -> &Port<Self::In, Self::Out>;
}
