//! Correct unwind tables at every instruction of corosensei's switch, for profilers whose signal handler unwinds there.
//!
//! Upstream's tables are wrong there: corosensei's arch/x86_64.rs pushes values and replaces the stack pointer in
//! functions whose tables compute the frame from the stack pointer. An unwinder then takes a saved register for a
//! return address and crashes. A function with a frame pointer is immune: its tables compute the frame from the frame
//! pointer, which leads to a valid return address, whichever of the two stacks it points into. On targets other than
//! x86-64, functions that make calls have a frame pointer by default. On x86-64 a larger alignment than that of the
//! stack pointer forces one: the alignment of a local [`Anchor`] in the resumer, and of the result [`Last`] in the
//! first frame of a body. Around a suspension two directives mark the end of the stack instead, and take no register
//! from the body. All of this requires that corosensei's functions are inlined into ours, as they are with `opt-level`
//! 1 to 3.
//!
//! In debug builds they are not inlined. There the values that cross the switch have the same alignment, and
//! `Anchor::before_resume` covers the remaining case. Under ASan this module does nothing, because ASan gives no fake
//! frame to a function that contains assembly. tests/unwinding.rs unwinds at every instruction.

pub(super) use true_tables::*;

#[cfg(all(target_arch = "x86_64", not(cede_no_unwind_tables), not(feature = "asan")))]
mod true_tables {
    use std::arch::asm;
    use std::mem::MaybeUninit;

    /// A local that gives its function a frame pointer.
    #[repr(align(32))]
    pub(crate) struct Anchor([MaybeUninit<u8>; 32]);

    impl Anchor {
        #[inline(always)]
        pub(crate) fn new() -> Anchor {
            Anchor([MaybeUninit::uninit(); 32])
        }

        /// Sets r15 to 0, in debug builds only. There corosensei's switch into a coroutine is a function of its own
        /// without a frame pointer, and saves r15 directly below its return address: an unwinder takes the saved r15
        /// for a return address, and 0 ends the stack.
        #[inline(always)]
        pub(crate) fn before_resume(&self) {
            #[cfg(debug_assertions)]
            // SAFETY: the assembly only clears r15, which it declares as clobbered.
            unsafe {
                asm!("xor r15d, r15d", out("r15") _, options(nostack, nomem))
            };
        }

        /// Keeps the compiler from removing the anchor. Called only off the fast path, so it costs nothing.
        #[inline(always)]
        pub(crate) fn hold(&self) {
            // SAFETY: the assembly contains no instruction.
            unsafe { asm!("/* {} */", in(reg) &raw const self.0, options(nostack, preserves_flags)) };
        }
    }

    /// The result of a body.
    #[repr(align(32))]
    pub(crate) struct Last<R>(pub(crate) R);

    /// The input of a resume: empty.
    #[cfg_attr(debug_assertions, allow(dead_code, reason = "only its size matters"))]
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

    /// The value of a suspension.
    #[cfg_attr(debug_assertions, repr(align(32)))]
    pub(crate) struct Out<Y>(pub(crate) MaybeUninit<Y>);

    /// Starts a range of code in the function that this call is inlined into. In that range the unwind tables mark the
    /// end of the stack if the registers are those of corosensei's suspension, and otherwise give the usual return
    /// address. The compiler may place other code between the suspension and [`go_on_unwinding`]: the condition keeps
    /// the tables correct there, where `.cfi_undefined` would also stop panics.
    ///
    /// The registers are those of a suspension in two cases. Either the stack pointer is not a multiple of 16; outside
    /// of pushes it always is. Or two pushes made it a multiple of 16 again, and the instruction is one of five,
    /// recognised by their bytes.
    #[inline(always)]
    pub(crate) fn stop_unwinding() {
        // SAFETY: the assembly contains only directives and no instruction.
        unsafe {
            asm!(
                ".cfi_escape 0x16, 0x10, 0x60", // register 16 (rip) has the value of this expression
                ".cfi_escape 0x77, 0x00, 0x38, 0x1a, 0x28, 0x58, 0x00", // rsp & 8: after one push
                ".cfi_escape 0x80, 0x00, 0x06, 0x0e, 0x48, 0x8d, 0x05, 0x09, 0x00, 0x00, 0x00, 0x50, 0x29, 0x28, 0x48, 0x00", // lea rax, [rip + 2f]
                ".cfi_escape 0x80, 0x00, 0x06, 0x0e, 0x50, 0x48, 0x89, 0xe6, 0x48, 0x8b, 0x22, 0x5d, 0x29, 0x28, 0x38, 0x00", // push rax
                ".cfi_escape 0x80, 0x00, 0x06, 0x0e, 0xc3, 0x55, 0x48, 0x89, 0x66, 0xf0, 0x48, 0x8d, 0x29, 0x28, 0x28, 0x00", // ret
                ".cfi_escape 0x80, 0x00, 0x06, 0x0e, 0x55, 0x48, 0x89, 0x66, 0xf0, 0x48, 0x8d, 0x62, 0x29, 0x28, 0x18, 0x00", // 2: push rbp
                ".cfi_escape 0x80, 0x7c, 0x06, 0x40, 0x24, 0x0e, 0x00, 0x00, 0x48, 0x8d, 0x62, 0x08, 0x5b, 0x5d, 0x29, 0x28, 0x06, 0x00", // pop rbx, by the bytes before it
                ".cfi_escape 0x38, 0x1c, 0x06, 0x2f, 0x01, 0x00", // else the word below the CFA
                ".cfi_escape 0x30",                               // 0: the stack ends
                options(nostack, preserves_flags)
            )
        };
    }

    /// Ends that range: from here on the tables again give the usual return address everywhere.
    #[inline(always)]
    pub(crate) fn go_on_unwinding() {
        // SAFETY: the assembly contains only a directive and no instruction.
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
