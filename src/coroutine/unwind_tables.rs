//! True unwind tables at each instruction of corosensei's switch, for profilers whose signal handler unwinds there.
//!
//! Upstream they are not: arch/x86_64.rs pushes and loads stack pointers within functions whose tables count from the stack
//! pointer, and an unwinder takes a saved register for a return address and crashes. A function with a frame pointer is
//! immune: its tables count from that one, and whichever of the two sides it belongs to, it leads to a true return address.
//! Outside of x86-64 functions that call have one by default. On x86-64 an alignment that the stack pointer alone does not
//! have brings it: of a local of [`Anchor`] for who resumes, of the result [`Last`] for the first frame of a body.
//! Around a suspension two directives say that the stack ends, which takes no register from the body. All this rests on
//! corosensei's functions being inlined between ours, as they are with `opt-level` 1 to 3.
//!
//! In debug builds they are not; there what crosses the switch is aligned so too, and
//! `Anchor::before_resume` does the rest. Not under ASan, which gives no fake frame to a function that holds assembly.
//! tests/unwinding.rs unwinds at each instruction.

pub(super) use true_tables::*;

#[cfg(all(target_arch = "x86_64", not(cede_no_unwind_tables), not(feature = "asan")))]
mod true_tables {
    use std::arch::asm;
    use std::mem::MaybeUninit;

    /// Gives the function that it is a local of a frame pointer.
    #[repr(align(32))]
    pub(crate) struct Anchor([MaybeUninit<u8>; 32]);

    impl Anchor {
        #[inline(always)]
        pub(crate) fn new() -> Anchor {
            Anchor([MaybeUninit::uninit(); 32])
        }

        /// In debug builds corosensei's switch into a coroutine is a function of its own, without a frame pointer, that
        /// saves r15 right below its return address: an unwinder takes that for one, and 0 ends it.
        #[inline(always)]
        pub(crate) fn before_resume(&self) {
            #[cfg(debug_assertions)]
            // SAFETY: the register is declared.
            unsafe {
                asm!("xor r15d, r15d", out("r15") _, options(nostack, nomem))
            };
        }

        /// Keeps the compiler from leaving it out. Stands on a path that the plain switch does not take, so it is free.
        #[inline(always)]
        pub(crate) fn hold(&self) {
            // SAFETY: no instruction.
            unsafe { asm!("/* {} */", in(reg) &raw const self.0, options(nostack, preserves_flags)) };
        }
    }

    /// What comes out of a body at its end.
    #[repr(align(32))]
    pub(crate) struct Last<R>(pub(crate) R);

    /// What goes in with a resume: nothing.
    #[cfg_attr(debug_assertions, allow(dead_code, reason = "its size is what it is for"))]
    #[cfg_attr(debug_assertions, repr(align(32)))]
    pub(crate) struct In(#[cfg(debug_assertions)] [MaybeUninit<u8>; 32]);

    impl In {
        #[inline(always)]
        pub(crate) fn new() -> In {
            In(
                #[cfg(debug_assertions)]
                [MaybeUninit::uninit(); 32],
            )
        }
    }

    /// What comes out with a suspension.
    #[cfg_attr(debug_assertions, repr(align(32)))]
    pub(crate) struct Out<Y>(pub(crate) MaybeUninit<Y>);

    /// From here on, where this is inlined, the unwind tables say that the stack ends if the registers are in the middle of
    /// corosensei's suspension, and what they always say if not. So where the compiler lays out other code behind the
    /// suspension than [`go_on_unwinding`], nothing is lost; an end by `.cfi_undefined` would end panics there too.
    ///
    /// In the middle: the stack pointer is no multiple of 16, as it is wherever a function is not pushing; or it is one by
    /// two pushes, at one of five instructions, which are told by their bytes.
    #[inline(always)]
    pub(crate) fn stop_unwinding() {
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
    pub(crate) fn go_on_unwinding() {
        // SAFETY: no instruction.
        unsafe { asm!(".cfi_offset rip, -8", options(nostack, preserves_flags)) };
    }
}

#[cfg(not(all(target_arch = "x86_64", not(cede_no_unwind_tables), not(feature = "asan"))))]
mod true_tables {
    use std::mem::MaybeUninit;

    pub(crate) struct Anchor;

    impl Anchor {
        #[inline(always)]
        pub(crate) fn new() -> Anchor {
            Anchor
        }

        #[inline(always)]
        pub(crate) fn before_resume(&self) {}

        #[inline(always)]
        pub(crate) fn hold(&self) {}
    }

    pub(crate) struct Last<R>(pub(crate) R);

    pub(crate) struct In;

    impl In {
        #[inline(always)]
        pub(crate) fn new() -> In {
            In
        }
    }

    pub(crate) struct Out<Y>(pub(crate) MaybeUninit<Y>);

    #[inline(always)]
    pub(crate) fn stop_unwinding() {}

    #[inline(always)]
    pub(crate) fn go_on_unwinding() {}
}
