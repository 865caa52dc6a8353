//! The context switch for aarch64 (AAPCS64, little-endian).
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
//! LLVM reserves x19 and x29 and refuses them as clobbers, so the switch saves them. Every other register is declared
//! as clobbered: `clobber_abi("C")` covers x0 to x17, x18 where it is not reserved, x30, the whole vector registers
//! (and so d8 to d15), the predicates and the flags; x20 to x28 are named. A signed return address (PAC) was signed
//! with the stack pointer of its own stack, and is checked with the same stack pointer after the switch back, so PAC
//! needs no extra code.

use super::{Context, Registers};
use std::arch::{asm, naked_asm};

/// Returns the address at which a fresh context starts: the second instruction of `root`. Unwinders look up the address
/// before the program counter. With the address of `root` itself, a backtrace would show a task that never ran in the
/// function that precedes `root` in memory.
///
/// `root_address` must stay an ordinary function that is not inlined. In a codegen unit in which no function needs
/// unwind tables, LLVM puts the tables of the naked functions into .debug_frame. Only debuggers read that section, so
/// unwinding would stop without an error.
#[inline(never)]
pub(super) fn root_address() -> usize {
    root as *const () as usize + 4
}

/// # Safety
///
/// The conditions of [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch(save: *const Context, to: *const Context) {
    // SAFETY: writes the four words of `save` and reads the four words of `to`. The caller ensures that `save` is
    // unused and `to` is suspended (conditions of `super::switch`). Every register that other code may change is
    // declared.
    unsafe {
        asm!(
            // Save the address at which this context resumes.
            "adr x2, 2f",
            "mov x3, sp",
            "stp x3, x2, [x0]",
            "stp x29, x19, [x0, #16]",
            // From here on the registers belong to the other context. The stack pointer is loaded last: before that a
            // signal frame goes onto this stack, after that onto the other one, and both stacks are consistent at every
            // instruction. An unwinder stops here: the tables of this function no longer match the registers, and the
            // tables of the other function do not match yet.
            "ldp x3, x16, [x1]",
            cfi!(".cfi_remember_state"),
            "ldp x29, x19, [x1, #16]",
            cfi!(".cfi_undefined x30"),
            "mov sp, x3",
            // A jump, not a return: the return predictor would miss every time. Through x16, because every landing pad
            // accepts a jump through x16 where branch targets are enforced (BTI).
            "br x16",
            cfi!(".cfi_restore_state"),
            // Never executed. Unwinders look up the address before the one at which a suspended context resumes. That
            // address must not be part of the jump, or the backtrace would end here.
            "brk #0xcede",
            // The target of the jump of a later switch. Only sp, x29 and x19 have their old values.
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

/// The first frame of every stack. Entered at its second instruction, with sp = top (a multiple of 16), x29 = entry,
/// x19 = its argument. Backtraces end here: the return address is undefined, the frame pointer and the link register
/// are 0.
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
        // x0 = the context to enter. This stack is unused as soon as sp has changed.
        "ldp x3, x16, [x0]",
        "ldp x29, x19, [x0, #16]",
        "mov sp, x3",
        "br x16",
        "brk #0xcede",
        ".cfi_endproc",
    )
}

/// Implements [`super::unwind_from`]. The unwind tables of this frame find the caller's sp, pc, x29 and x19 in the
/// context.
///
/// 0x0f is def_cfa_expression, 0x10 expression (of register 30, 29, 19); 0x83 is breg19, x19 plus an offset; 0x06 is
/// deref.
///
/// # Safety
///
/// The conditions of [`super::unwind_from`].
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
        // From here on the tables describe the real caller: `f` preserved x19, and the caller's x19 is on the stack.
        ".cfi_restore_state",
        "ldp x19, x30, [sp], #16",
        ".cfi_adjust_cfa_offset -16",
        ".cfi_restore x19",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
    )
}

/// Like [`super::unwind_from`], but to an unwinder the caller of `f` is code that a signal interrupted. Always returns
/// true.
///
/// The difference is the link register. Interrupted code may not have saved it yet, so the unwinder must find the
/// register's own value, not the program counter. The return address of this frame therefore has a separate column, 96,
/// as in signal frames.
///
/// # Safety
///
/// The stack that the registers point to exists and does not change during the call, and `f` does not switch.
pub(crate) unsafe fn unwind_from_registers(
    registers: &Registers,
    f: unsafe extern "C" fn(*mut u8),
    arg: *mut u8,
) -> bool {
    // One past the interrupted instruction: unwinders look up the address before the return address.
    let &Registers { sp, pc, fp, bx, link, general } = registers;
    let words = Words { first: [sp, pc + 4, fp, bx, link], general };
    // SAFETY: the caller ensures the conditions of this function, which are those of `unwind_from_words`. `words` lives
    // until the call returns.
    unsafe { unwind_from_words(&words, f, arg) };
    true
}

/// The registers in the order in which the unwind tables of [`unwind_from_words`] name them.
#[repr(C)]
struct Words {
    first: [usize; 5],
    general: [usize; super::super::GENERAL],
}

/// Calls `f(arg)`. The unwind tables of this frame find the caller's registers in `words`.
///
/// General register `n` is the word at 40 + 8n: in each expression its length is followed by breg19 and the offset, a
/// signed LEB128. The tables of an interrupted instruction may name any general register.
///
/// # Safety
///
/// The conditions of [`unwind_from_registers`].
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
    /// Returns true if the next instruction is the last of a switch. The stack then belongs to the next context already
    /// and the code does not, so the unwind tables of the code do not fit the stack. `pc` must point into code. Any
    /// other jump through x16 also returns true.
    pub(crate) fn is_switching(&self) -> bool {
        // SAFETY: reads one instruction at `pc`, which points into mapped code (condition of this function).
        unsafe { (self.pc as *const u32).read_unaligned() == 0xd61f_0200 } // br x16
    }
}

/// Returns the thread pointer, which is unique among live threads, without a function call. Returns 0 on systems other
/// than Linux.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    #[cfg(target_os = "linux")]
    {
        let pointer: usize;
        // SAFETY: only reads a register that user code may read. Not `pure`: the compiler must read the register again
        // after a switch, not reuse the value from before.
        unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, nomem)) };
        pointer
    }
    #[cfg(not(target_os = "linux"))]
    0
}

/// Evaluates to the address of a static. The compiler does not reuse an address from before a switch.
macro_rules! fresh_address {
    ($name:path) => {{
        let address: usize;
        // SAFETY: only reads an entry of the global offset table, which the dynamic linker filled before this code ran.
        // Not `pure`: the compiler must read the entry again after a switch.
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

/// Prefetches the cache line at an address. Any address is allowed.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    // SAFETY: a prefetch never faults.
    unsafe { asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly)) };
}

/// Reads a clock for comparing the durations of short pieces of code. The unit is unspecified.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    let ticks: u64;
    // SAFETY: only reads a counter that user code may read.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nostack, preserves_flags, nomem)) };
    ticks
}
