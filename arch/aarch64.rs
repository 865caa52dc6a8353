//! The switch for aarch64, AAPCS64, little-endian.
//!
//! ```text
//! Context   +--------+--------+--------+--------+
//!           | sp     | pc     | x29    | x19    |
//!           +--------+--------+--------+--------+
//!           0        8        16       24       32
//!
//! fresh     sp = top of the stack, pc = root + 4, x29 = entry, x19 = its argument
//! suspended sp, x29, x19 as they were, pc = the label behind the switch's jump
//! ```
//!
//! LLVM refuses x19 and x29 as clobbers (it keeps them for itself), so they are saved. Everything else is declared
//! clobbered: `clobber_abi("C")` covers x0 to x17, x18 where it is not reserved, x30, the vector registers whole (so d8 to
//! d15 too), the predicates and the flags; x20 to x28 are named. Return addresses that were signed (PAC) were signed with
//! their own stack pointer and come back with it, so nothing is to be done for them.

use super::{Context, Registers};
use std::arch::{asm, naked_asm};

/// Where a fresh context begins: one past the root's first instruction, because unwinders look up the address before the one
/// they stand at. With the root itself, a task that never ran would be shown in whatever function lies before it.
///
/// This must stay an ordinary function that is not inlined: in a codegen unit in which no function needs unwind tables LLVM
/// puts those of the naked functions into .debug_frame, where only debuggers look, and unwinding stops without an error.
#[inline(never)]
pub(super) fn root_address() -> usize {
    root as *const () as usize + 4
}

/// # Safety
///
/// As [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch(save: *const Context, to: *const Context) {
    // SAFETY: the four words of `save` are written and those of `to` read, as the contract says; everything that the other
    // side may change is declared.
    unsafe {
        asm!(
            // Where this context goes on.
            "adr x2, 2f",
            "mov x3, sp",
            "stp x3, x2, [x0]",
            "stp x29, x19, [x0, #16]",
            // From here on the registers are the other's. The stack pointer comes last: until then a signal's frame lies on
            // this stack, from then on on that one, and both are whole at each moment. An unwinder stops here: the tables
            // of this function no longer fit the registers, and those of the other one do not fit yet.
            "ldp x3, x16, [x1]",
            cfi!(".cfi_remember_state"),
            "ldp x29, x19, [x1, #16]",
            cfi!(".cfi_undefined x30"),
            "mov sp, x3",
            // A jump, not a return: the predictor of returns would miss every time. By x16, so that any landing pad
            // accepts it where branch targets are enforced (BTI).
            "br x16",
            cfi!(".cfi_restore_state"),
            // Never executed. Unwinders look up the address before the one at which a suspended context resumes, which
            // must not be the jump: its backtrace would end here.
            "brk #0xcede",
            // Entered by somebody's jump, with sp, x29 and x19 as they were and nothing else.
            "2:",
            "hint #36", // bti j
            inout("x0") save => _,
            inout("x1") to => _,
            lateout("x20") _,
            lateout("x21") _,
            lateout("x22") _,
            lateout("x23") _,
            lateout("x24") _,
            lateout("x25") _,
            lateout("x26") _,
            lateout("x27") _,
            lateout("x28") _,
            clobber_abi("C"),
        );
    }
}

/// The first frame of every stack. Entered one instruction in, with sp = top (a multiple of 16), x29 = entry, x19 = its
/// argument. Backtraces end here: the return address is undefined, the frame pointer and the link register are 0.
#[unsafe(naked)]
unsafe extern "C" fn root() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        "nop",      // see `root_address`
        "hint #36", // bti j
        "mov x0, x19",
        "mov x16, x29",
        "mov x29, xzr",
        "mov x30, xzr",
        "blr x16",
        // x0 = the context to enter. This stack is nobody's as soon as sp has changed.
        "ldp x3, x16, [x0]",
        "ldp x29, x19, [x0, #16]",
        "mov sp, x3",
        "br x16",
        "brk #0xcede",
        ".cfi_endproc",
    )
}

/// See [`super::unwind_from`]. The unwind tables of this frame say: the caller's sp, pc, x29 and x19 are in the context.
///
/// 0x0f is def_cfa_expression, 0x10 expression (of register 30, 29, 19); 0x83 is breg19, x19 plus an offset; 0x06 is deref.
///
/// # Safety
///
/// As [`super::unwind_from`].
#[unsafe(naked)]
pub(super) unsafe extern "C" fn unwind_from(context: *const Context, f: unsafe extern "C" fn(*mut u8), arg: *mut u8) {
    naked_asm!(
        ".cfi_startproc",
        "hint #34", // bti c
        "stp x19, x30, [sp, #-16]!",
        ".cfi_adjust_cfa_offset 16",
        ".cfi_rel_offset x19, 0",
        ".cfi_rel_offset x30, 8",
        "mov x19, x0",
        ".cfi_remember_state",
        ".cfi_escape 0x0f, 3, 0x83, 0, 0x06",
        ".cfi_escape 0x10, 30, 2, 0x83, 8",
        ".cfi_escape 0x10, 29, 2, 0x83, 16",
        ".cfi_escape 0x10, 19, 2, 0x83, 24",
        "mov x0, x2",
        "blr x1",
        // Back on the truth: x19 was kept by `f`, and our own caller's is on the stack.
        ".cfi_restore_state",
        "ldp x19, x30, [sp], #16",
        ".cfi_adjust_cfa_offset -16",
        ".cfi_restore x19",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
    )
}

/// As [`super::unwind_from`], with a caller that was interrupted instead of suspended.
///
/// The difference is the link register: code that was interrupted may not have saved it, so it must have its own value
/// and not that of the program counter. So this frame's return address is in a column of its own, 96, as it is in the
/// frames of signals.
///
/// # Safety
///
/// As [`super::unwind_from`]: the stack that the registers point to is still there, unchanged.
pub(crate) unsafe fn unwind_from_registers(
    registers: &Registers,
    f: unsafe extern "C" fn(*mut u8),
    arg: *mut u8,
) -> bool {
    // One past the interrupted instruction: unwinders look up the address before the one they are given.
    let &Registers { sp, pc, fp, bx, link, general } = registers;
    let words = Words { first: [sp, pc + 4, fp, bx, link], general };
    // SAFETY: the caller's; the words are those that the tables name.
    unsafe { unwind_from_words(&words, f, arg) };
    true
}

/// The assembly knows the places.
#[repr(C)]
struct Words {
    first: [usize; 5],
    general: [usize; super::super::GENERAL],
}

/// The caller's general register `n` is the word at 40 + 8n: after the length of an expression follow breg19 and its offset,
/// a signed LEB128. Any of them may be named by the tables of an interrupted instruction.
///
/// # Safety
///
/// As [`unwind_from_registers`].
#[unsafe(naked)]
unsafe extern "C" fn unwind_from_words(words: &Words, f: unsafe extern "C" fn(*mut u8), arg: *mut u8) {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_return_column 96",
        "hint #34", // bti c
        "stp x19, x30, [sp, #-16]!",
        ".cfi_adjust_cfa_offset 16",
        ".cfi_rel_offset x19, 0",
        ".cfi_rel_offset x30, 8",
        "mov x19, x0",
        ".cfi_remember_state",
        ".cfi_escape 0x0f, 3, 0x83, 0, 0x06",
        ".cfi_escape 0x10, 96, 2, 0x83, 8",
        ".cfi_escape 0x10, 30, 2, 0x83, 32",
        ".cfi_escape 0x10, 29, 2, 0x83, 16",
        ".cfi_escape 0x10, 19, 2, 0x83, 24",
        ".cfi_escape 0x10, 0, 2, 0x83, 0x28",
        ".cfi_escape 0x10, 1, 2, 0x83, 0x30",
        ".cfi_escape 0x10, 2, 2, 0x83, 0x38",
        ".cfi_escape 0x10, 3, 3, 0x83, 0xc0, 0x00",
        ".cfi_escape 0x10, 4, 3, 0x83, 0xc8, 0x00",
        ".cfi_escape 0x10, 5, 3, 0x83, 0xd0, 0x00",
        ".cfi_escape 0x10, 6, 3, 0x83, 0xd8, 0x00",
        ".cfi_escape 0x10, 7, 3, 0x83, 0xe0, 0x00",
        ".cfi_escape 0x10, 8, 3, 0x83, 0xe8, 0x00",
        ".cfi_escape 0x10, 9, 3, 0x83, 0xf0, 0x00",
        ".cfi_escape 0x10, 10, 3, 0x83, 0xf8, 0x00",
        ".cfi_escape 0x10, 11, 3, 0x83, 0x80, 0x01",
        ".cfi_escape 0x10, 12, 3, 0x83, 0x88, 0x01",
        ".cfi_escape 0x10, 13, 3, 0x83, 0x90, 0x01",
        ".cfi_escape 0x10, 14, 3, 0x83, 0x98, 0x01",
        ".cfi_escape 0x10, 15, 3, 0x83, 0xa0, 0x01",
        ".cfi_escape 0x10, 16, 3, 0x83, 0xa8, 0x01",
        ".cfi_escape 0x10, 17, 3, 0x83, 0xb0, 0x01",
        ".cfi_escape 0x10, 18, 3, 0x83, 0xb8, 0x01",
        ".cfi_escape 0x10, 20, 3, 0x83, 0xc8, 0x01",
        ".cfi_escape 0x10, 21, 3, 0x83, 0xd0, 0x01",
        ".cfi_escape 0x10, 22, 3, 0x83, 0xd8, 0x01",
        ".cfi_escape 0x10, 23, 3, 0x83, 0xe0, 0x01",
        ".cfi_escape 0x10, 24, 3, 0x83, 0xe8, 0x01",
        ".cfi_escape 0x10, 25, 3, 0x83, 0xf0, 0x01",
        ".cfi_escape 0x10, 26, 3, 0x83, 0xf8, 0x01",
        ".cfi_escape 0x10, 27, 3, 0x83, 0x80, 0x02",
        ".cfi_escape 0x10, 28, 3, 0x83, 0x88, 0x02",
        "mov x0, x2",
        "blr x1",
        ".cfi_restore_state",
        "ldp x19, x30, [sp], #16",
        ".cfi_adjust_cfa_offset -16",
        ".cfi_restore x19",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
    )
}

#[cfg(target_os = "linux")]
pub(super) fn interrupted(context: &libc::ucontext_t) -> Registers {
    let machine = &context.uc_mcontext;
    let mut general = [0; super::super::GENERAL];
    general.iter_mut().zip(machine.regs).for_each(|(word, register)| *word = register as usize);
    Registers {
        sp: machine.sp as usize,
        pc: machine.pc as usize,
        fp: machine.regs[29] as usize,
        bx: machine.regs[19] as usize,
        link: machine.regs[30] as usize,
        general,
    }
}

impl Registers {
    /// Whether the next instruction is the last of a switch: the stack is the next one's by then, the code not yet, and
    /// what the tables say of the one is nonsense for the other. `pc` is in code. Other jumps by x16 are taken for one too.
    pub(crate) fn is_switching(&self) -> bool {
        // SAFETY: one instruction of code.
        unsafe { (self.pc as *const u32).read_unaligned() == 0xd61f_0200 } // br x16
    }
}

/// What tells this thread from all others that live, without a call: the thread pointer. 0 where it is not readable so.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    #[cfg(target_os = "linux")]
    {
        let pointer: usize;
        // SAFETY: reads a register that user code may read. Not `pure`, so that it is read anew after a switch instead of
        // being kept over it.
        unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, nomem)) };
        pointer
    }
    #[cfg(not(target_os = "linux"))]
    0
}

/// The address of a static, in a way that the compiler does not keep over a switch.
macro_rules! fresh_address {
    ($name:path) => {{
        let address: usize;
        // SAFETY: reads an entry of the table of global addresses. Not `pure`, for the reason above.
        unsafe {
            std::arch::asm!(
                "adrp {0}, :got:{1}",
                "ldr {0}, [{0}, :got_lo12:{1}]",
                out(reg) address,
                sym $name,
                options(nostack, preserves_flags, readonly)
            )
        };
        address
    }};
}
pub(crate) use fresh_address;

/// Asks for the cache line at an address, whatever it is.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    // SAFETY: a prefetch never faults.
    unsafe { asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly)) };
}

/// A clock for comparing short stretches of code with each other; its unit is unknown.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    let ticks: u64;
    // SAFETY: reads a counter that user code may read.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nostack, preserves_flags, nomem)) };
    ticks
}
