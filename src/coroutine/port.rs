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

/// True unwind tables at each instruction of corosensei's switch, for profilers whose signal handler unwinds there.
///
/// Upstream they are not: arch/x86_64.rs pushes and loads stack pointers within functions whose tables count from the stack
/// pointer, and an unwinder takes a saved register for a return address and crashes. A function with a frame pointer is
/// immune: its tables count from that one, and whichever of the two sides it belongs to, it leads to a true return address.
/// Outside of x86-64 functions that call have one by default. On x86-64 an alignment that the stack pointer alone does not
/// have brings it: of a local of [`Anchor`] for who resumes, of the result [`Last`] for the first frame of a body.
/// Around a suspension two directives say that the stack ends, which takes no register from the body. All this rests on
/// corosensei's functions being inlined between ours, as they are with `opt-level` 1 to 3.
///
/// In debug builds they are not; there what crosses the switch is aligned so too, and
/// `Anchor::before_resume` does the rest. Not under ASan, which gives no fake frame to a function that holds assembly.
/// tests/unwinding.rs unwinds at each instruction.
pub(super) use true_tables::*;

#[cfg(all(target_arch = "x86_64", not(cede_no_unwind_tables), not(feature = "asan")))]
mod true_tables {
    use std::arch::asm;
    use std::mem::MaybeUninit;

    /// Gives the function that it is a local of a frame pointer.
    #[repr(align(32))]
    pub(in super::super) struct Anchor([MaybeUninit<u8>; 32]);

    impl Anchor {
        #[inline(always)]
        pub(in super::super) fn new() -> Anchor {
            Anchor([MaybeUninit::uninit(); 32])
        }

        /// In debug builds corosensei's switch into a coroutine is a function of its own, without a frame pointer, that
        /// saves r15 right below its return address: an unwinder takes that for one, and 0 ends it.
        #[inline(always)]
        pub(in super::super) fn before_resume(&self) {
            #[cfg(debug_assertions)]
            // SAFETY: the register is declared.
            unsafe {
                asm!("xor r15d, r15d", out("r15") _, options(nostack, nomem))
            };
        }

        /// Keeps the compiler from leaving it out. Stands on a path that the plain switch does not take, so it is free.
        #[inline(always)]
        pub(in super::super) fn hold(&self) {
            // SAFETY: no instruction.
            unsafe { asm!("/* {} */", in(reg) &raw const self.0, options(nostack, preserves_flags)) };
        }
    }

    /// What comes out of a body at its end.
    #[repr(align(32))]
    pub(in super::super) struct Last<R>(pub(in super::super) R);

    /// What goes in with a resume: nothing.
    #[cfg_attr(debug_assertions, allow(dead_code, reason = "its size is what it is for"))]
    #[cfg_attr(debug_assertions, repr(align(32)))]
    pub(in super::super) struct In(#[cfg(debug_assertions)] [MaybeUninit<u8>; 32]);

    impl In {
        #[inline(always)]
        pub(in super::super) fn new() -> In {
            In(
                #[cfg(debug_assertions)]
                [MaybeUninit::uninit(); 32],
            )
        }
    }

    /// What comes out with a suspension.
    #[cfg_attr(debug_assertions, repr(align(32)))]
    pub(in super::super) struct Out<Y>(pub(in super::super) MaybeUninit<Y>);

    /// From here on, where this is inlined, the unwind tables say that the stack ends if the registers are in the middle of
    /// corosensei's suspension, and what they always say if not. So where the compiler lays out other code behind the
    /// suspension than [`go_on_unwinding`], nothing is lost; an end by `.cfi_undefined` would end panics there too.
    ///
    /// In the middle: the stack pointer is no multiple of 16, as it is wherever a function is not pushing; or it is one by
    /// two pushes, at one of five instructions, which are told by their bytes.
    #[inline(always)]
    pub(super) fn stop_unwinding() {
        // SAFETY: no instruction.
        unsafe {
            asm!(
                ".cfi_escape 0x16, 0x10, 0x60", // the rule of register 16, rip, is the value of these bytes
                ".cfi_escape 0x77, 0x00, 0x38, 0x1a, 0x28, 0x58, 0x00", // rsp & 8: pushed
                ".cfi_escape 0x80, 0x00, 0x06, 0x0e, 0x48, 0x8d, 0x05, 0x09, 0x00, 0x00, 0x00, 0x50, 0x29, 0x28, 0x48, 0x00", // lea rax, [rip + 2f]
                ".cfi_escape 0x80, 0x00, 0x06, 0x0e, 0x50, 0x48, 0x89, 0xe6, 0x48, 0x8b, 0x22, 0x5d, 0x29, 0x28, 0x38, 0x00", // push rax
                ".cfi_escape 0x80, 0x00, 0x06, 0x0e, 0xc3, 0x55, 0x48, 0x89, 0x66, 0xf0, 0x48, 0x8d, 0x29, 0x28, 0x28, 0x00", // ret
                ".cfi_escape 0x80, 0x00, 0x06, 0x0e, 0x55, 0x48, 0x89, 0x66, 0xf0, 0x48, 0x8d, 0x62, 0x29, 0x28, 0x18, 0x00", // 2: push rbp
                ".cfi_escape 0x80, 0x7c, 0x06, 0x40, 0x24, 0x0e, 0x00, 0x00, 0x48, 0x8d, 0x62, 0x08, 0x5b, 0x5d, 0x29, 0x28, 0x06, 0x00", // pop rbx, by what comes before it
                ".cfi_escape 0x38, 0x1c, 0x06, 0x2f, 0x01, 0x00", // else the word below the CFA
                ".cfi_escape 0x30",                               // 0: the stack ends
                options(nostack, preserves_flags)
            )
        };
    }

    /// From here on they say again where the return address of every function is.
    #[inline(always)]
    pub(super) fn go_on_unwinding() {
        // SAFETY: no instruction.
        unsafe { asm!(".cfi_offset rip, -8", options(nostack, preserves_flags)) };
    }
}

#[cfg(not(all(target_arch = "x86_64", not(cede_no_unwind_tables), not(feature = "asan"))))]
mod true_tables {
    use std::mem::MaybeUninit;

    pub(in super::super) struct Anchor;

    impl Anchor {
        #[inline(always)]
        pub(in super::super) fn new() -> Anchor {
            Anchor
        }

        #[inline(always)]
        pub(in super::super) fn before_resume(&self) {}

        #[inline(always)]
        pub(in super::super) fn hold(&self) {}
    }

    pub(in super::super) struct Last<R>(pub(in super::super) R);

    pub(in super::super) struct In;

    impl In {
        #[inline(always)]
        pub(in super::super) fn new() -> In {
            In
        }
    }

    pub(in super::super) struct Out<Y>(pub(in super::super) MaybeUninit<Y>);

    #[inline(always)]
    pub(super) fn stop_unwinding() {}

    #[inline(always)]
    pub(super) fn go_on_unwinding() {}
}

/// The body's side of the seam; a field of every handle.
#[repr(C)]
pub(crate) struct Port<I, Y> {
    /// How the body suspends. Null until it has started.
    pub(super) seam: Cell<*const corosensei::Yielder<In, Out<Y>>>,
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
        stop_unwinding();
        // SAFETY: invariant 3: the body runs, so it has set the seam, and corosensei's yielder lives as long as it.
        unsafe { (*self.seam.get()).suspend(Out(value)) };
        go_on_unwinding();
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
            stop_unwinding();
            // SAFETY: as in `leave`. The note stays, so the value is not taken for one.
            unsafe { (*self.seam.get()).suspend(Out(MaybeUninit::uninit())) };
            go_on_unwinding();
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
