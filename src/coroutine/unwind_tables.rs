//! True unwind tables at each instruction of corosensei's switch, for profilers whose signal handler unwinds there.
//!
//! Upstream they are not: arch/x86_64.rs pushes and loads stack pointers within functions whose tables count from the stack
//! pointer, and an unwinder takes a saved register for a return address and crashes. A function with a frame pointer is
//! immune: its tables count from that one, and whichever of the two sides it belongs to, it leads to a true return address.
//! Outside of x86-64 functions that call have one by default. On x86-64 an alignment that the stack pointer alone does not
//! have brings it: of a local of [`Anchor`] for who resumes, of the result [`Last`] for the first frame of a body.
//! Around a suspension two directives say that the stack ends, which takes no register from the body.
//!
//! In debug builds corosensei's functions are not inlined between ours; there what crosses the switch is aligned so too, and
//! `Anchor::before_resume` does the rest. Not under ASan, which gives no fake frame to a function that holds assembly.
//! tests/unwinding.rs unwinds at each instruction.

pub(super) use true_tables::*;

#[cfg(all(target_arch = "x86_64", not(cede_no_unwind_tables), not(feature = "asan")))]
mod true_tables {
    use std::arch::asm;
    use std::mem::MaybeUninit;

    /// Gives the function that it is a local of a frame pointer.
    #[repr(align(32))]
    pub(in crate::coroutine) struct Anchor([MaybeUninit<u8>; 32]);

    impl Anchor {
        #[inline(always)]
        pub(in crate::coroutine) fn new() -> Anchor {
            Anchor([MaybeUninit::uninit(); 32])
        }

        /// In debug builds corosensei's switch into a coroutine is a function of its own, without a frame pointer, that
        /// saves r15 right below its return address: an unwinder takes that for one, and 0 ends it.
        #[inline(always)]
        pub(in crate::coroutine) fn before_resume(&self) {
            #[cfg(debug_assertions)]
            // SAFETY: the register is declared.
            unsafe {
                asm!("xor r15d, r15d", out("r15") _, options(nostack, nomem))
            };
        }

        /// Keeps the compiler from leaving it out. Stands on a path that the plain switch does not take, so it is free.
        #[inline(always)]
        pub(in crate::coroutine) fn hold(&self) {
            // SAFETY: no instruction.
            unsafe { asm!("/* {} */", in(reg) &raw const self.0, options(nostack, preserves_flags)) };
        }
    }

    /// What comes out of a body at its end.
    #[repr(align(32))]
    pub(in crate::coroutine) struct Last<R>(pub(in crate::coroutine) R);

    /// What goes in with a resume: nothing.
    #[cfg_attr(debug_assertions, allow(dead_code, reason = "its size is what it is for"))]
    #[cfg_attr(debug_assertions, repr(align(32)))]
    pub(in crate::coroutine) struct In(#[cfg(debug_assertions)] [MaybeUninit<u8>; 32]);

    impl In {
        #[inline(always)]
        pub(in crate::coroutine) fn new() -> In {
            In(
                #[cfg(debug_assertions)]
                [MaybeUninit::uninit(); 32],
            )
        }
    }

    /// What comes out with a suspension.
    #[cfg_attr(debug_assertions, repr(align(32)))]
    pub(in crate::coroutine) struct Out<Y>(pub(in crate::coroutine) MaybeUninit<Y>);

    /// From here on, where this is inlined, the unwind tables say that the stack ends. corosensei's suspension must be all
    /// that follows, without a branch, so that [`go_on_unwinding`] stays behind it: its feature `unwind` is off for that.
    #[inline(always)]
    pub(in crate::coroutine) fn stop_unwinding() {
        // SAFETY: no instruction.
        unsafe { asm!(".cfi_undefined rip", options(nostack, preserves_flags)) };
    }

    /// From here on they say again where the return address of every function is.
    #[inline(always)]
    pub(in crate::coroutine) fn go_on_unwinding() {
        // SAFETY: no instruction.
        unsafe { asm!(".cfi_offset rip, -8", options(nostack, preserves_flags)) };
    }
}

#[cfg(not(all(target_arch = "x86_64", not(cede_no_unwind_tables), not(feature = "asan"))))]
mod true_tables {
    use std::mem::MaybeUninit;

    pub(in crate::coroutine) struct Anchor;

    impl Anchor {
        #[inline(always)]
        pub(in crate::coroutine) fn new() -> Anchor {
            Anchor
        }

        #[inline(always)]
        pub(in crate::coroutine) fn before_resume(&self) {}

        #[inline(always)]
        pub(in crate::coroutine) fn hold(&self) {}
    }

    pub(in crate::coroutine) struct Last<R>(pub(in crate::coroutine) R);

    pub(in crate::coroutine) struct In;

    impl In {
        #[inline(always)]
        pub(in crate::coroutine) fn new() -> In {
            In
        }
    }

    pub(in crate::coroutine) struct Out<Y>(pub(in crate::coroutine) MaybeUninit<Y>);

    #[inline(always)]
    pub(in crate::coroutine) fn stop_unwinding() {}

    #[inline(always)]
    pub(in crate::coroutine) fn go_on_unwinding() {}
}
