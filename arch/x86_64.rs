//! The context switch for x86-64 (System V ABI).
//!
//! ```text
//! Context   +--------+--------+--------+--------+
//!           | rsp    | rip    | rbp    | rbx    |
//!           +--------+--------+--------+--------+
//!           0        8        16       24       32
//!
//! fresh     rsp = top of the stack, rip = root + 1, rbp = entry, rbx = its argument
//! suspended rsp, rbp, rbx as they were, rip = the label behind the switch's jump
//! ```
//!
//! LLVM reserves rbx and rbp and refuses them as clobbers, so the switch saves them. Every other register is declared
//! as clobbered: `clobber_abi("sysv64")` covers rax, rcx, rdx, rsi, rdi, r8 to r11, the whole vector registers
//! (including the upper halves of ymm and zmm), the mask registers, x87, mmx and the flags; r12 to r15 are named.

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
    root as *const () as usize + 1
}

/// # Safety
///
/// The conditions of [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch(save: *const Context, to: *const Context) {
    // SAFETY: writes the four words of `save` and reads the four words of `to`. The caller ensures that `save` is
    // unused and `to` is suspended (conditions of `super::switch`). Every register that other code may change is
    // declared. `nostack` is absent, so the compiler keeps nothing in the red zone here.
    unsafe {
        asm!(
            // Save the address at which this context resumes.
            "lea rax, [rip + 2f]",
            "mov [rdi], rsp",
            "mov [rdi + 8], rax",
            "mov [rdi + 16], rbp",
            "mov [rdi + 24], rbx",
            // From here on the registers belong to the other context. The stack pointer is loaded last: before that a
            // signal frame goes onto this stack, after that onto the other one, and both stacks are consistent at every
            // instruction. An unwinder stops here: the tables of this function no longer match the registers, and the
            // tables of the other function do not match yet.
            cfi!(".cfi_remember_state"),
            "mov rbp, [rsi + 16]",
            cfi!(".cfi_undefined rip"),
            "mov rbx, [rsi + 24]",
            "mov rsp, [rsi]",
            // An indirect jump, not a return: the return predictor would miss every time.
            "jmp [rsi + 8]",
            cfi!(".cfi_restore_state"),
            // Never executed. Unwinders look up the address before the one at which a suspended context resumes. That
            // address must not be part of the jump, or the backtrace would end here.
            "int3",
            // The target of the jump of a later switch. Only rsp, rbp and rbx have their old values.
            "2:",
            "endbr64",
            inout("rdi") save => _,
            inout("rsi") to => _,
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
}

/// The first frame of every stack. Entered at its second instruction, with rsp = top (a multiple of 16), rbp = entry,
/// rbx = its argument. Backtraces end here: the return address is undefined and the frame pointer is 0.
#[unsafe(naked)]
unsafe extern "C" fn root() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "nop", // see `root_address`
        "endbr64",
        "mov rdi, rbx",
        "mov rax, rbp",
        "xor ebp, ebp",
        "call rax",
        // rax = the context to enter. This stack is unused as soon as rsp has changed.
        "mov rbp, [rax + 16]",
        "mov rbx, [rax + 24]",
        "mov rsp, [rax]",
        "jmp [rax + 8]",
        "ud2",
        ".cfi_endproc",
    )
}

/// Implements [`super::unwind_from`]. The unwind tables of this frame find the caller's rsp, rip, rbp and rbx in the
/// context.
///
/// 0x0f is def_cfa_expression, 0x10 expression (of register 16 = rip, 6 = rbp, 3 = rbx); 0x73 is breg3, rbx plus an
/// offset; 0x06 is deref.
///
/// # Safety
///
/// The conditions of [`super::unwind_from`].
#[unsafe(naked)]
pub(super) unsafe extern "C" fn unwind_from(context: *const Context, f: unsafe extern "C" fn(*mut u8), arg: *mut u8) {
    naked_asm!(
        ".cfi_startproc",
        "endbr64",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "mov rbx, rdi",
        ".cfi_remember_state",
        ".cfi_escape 0x0f, 3, 0x73, 0, 0x06",
        ".cfi_escape 0x10, 16, 2, 0x73, 8",
        ".cfi_escape 0x10, 6, 2, 0x73, 16",
        ".cfi_escape 0x10, 3, 2, 0x73, 24",
        "mov rdi, rdx",
        "call rsi",
        // From here on the tables describe the real caller: `f` preserved rbx, and the caller's rbx is on the stack.
        ".cfi_restore_state",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
    )
}

/// Like [`super::unwind_from`], but to an unwinder the caller of `f` is code that a signal interrupted. The unwind
/// tables of such code may name any register. Always returns true.
///
/// # Safety
///
/// The stack that the registers point to exists and does not change during the call, and `f` does not switch.
pub(crate) unsafe fn unwind_from_registers(
    registers: &Registers,
    f: unsafe extern "C" fn(*mut u8),
    arg: *mut u8,
) -> bool {
    // One past the interrupted instruction: unwinders look up the address before the return address. x86-64 has no link
    // register; the word keeps the general registers at the same offset on all machines.
    let &Registers { sp, pc, fp, bx, link, general } = registers;
    let words = Words { first: [sp, pc + 1, fp, bx, link], general };
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
/// General register `n` is the word at 40 + 8n: in each expression its length is followed by breg3 and the offset, a
/// signed LEB128.
///
/// # Safety
///
/// The conditions of [`unwind_from_registers`].
#[unsafe(naked)]
unsafe extern "C" fn unwind_from_words(words: &Words, f: unsafe extern "C" fn(*mut u8), arg: *mut u8) {
    naked_asm!(
        ".cfi_startproc",
        "endbr64",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "mov rbx, rdi",
        ".cfi_remember_state",
        ".cfi_escape 0x0f, 3, 0x73, 0, 0x06",
        ".cfi_escape 0x10, 16, 2, 0x73, 8",
        ".cfi_escape 0x10, 6, 2, 0x73, 16",
        ".cfi_escape 0x10, 3, 2, 0x73, 24",
        ".cfi_escape 0x10, 0, 2, 0x73, 0x28",
        ".cfi_escape 0x10, 1, 2, 0x73, 0x30",
        ".cfi_escape 0x10, 2, 2, 0x73, 0x38",
        ".cfi_escape 0x10, 4, 3, 0x73, 0xc8, 0x00",
        ".cfi_escape 0x10, 5, 3, 0x73, 0xd0, 0x00",
        ".cfi_escape 0x10, 8, 3, 0x73, 0xe8, 0x00",
        ".cfi_escape 0x10, 9, 3, 0x73, 0xf0, 0x00",
        ".cfi_escape 0x10, 10, 3, 0x73, 0xf8, 0x00",
        ".cfi_escape 0x10, 11, 3, 0x73, 0x80, 0x01",
        ".cfi_escape 0x10, 12, 3, 0x73, 0x88, 0x01",
        ".cfi_escape 0x10, 13, 3, 0x73, 0x90, 0x01",
        ".cfi_escape 0x10, 14, 3, 0x73, 0x98, 0x01",
        ".cfi_escape 0x10, 15, 3, 0x73, 0xa0, 0x01",
        "mov rdi, rdx",
        "call rsi",
        // From here on the tables describe the real caller: `f` preserved rbx, and the caller's rbx is on the stack.
        ".cfi_restore_state",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
    )
}

#[cfg(target_os = "linux")]
pub(super) fn interrupted(context: &libc::ucontext_t) -> Registers {
    let register = |at: libc::c_int| context.uc_mcontext.gregs[at as usize] as usize;
    let mut general = [0; super::super::GENERAL];
    // DWARF's order: rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, and the rest by number.
    let order = [
        libc::REG_RAX,
        libc::REG_RDX,
        libc::REG_RCX,
        libc::REG_RBX,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_RBP,
        libc::REG_RSP,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    general.iter_mut().zip(order).for_each(|(word, at)| *word = register(at));
    Registers {
        sp: register(libc::REG_RSP),
        pc: register(libc::REG_RIP),
        fp: register(libc::REG_RBP),
        bx: register(libc::REG_RBX),
        link: 0,
        general,
    }
}

impl Registers {
    /// Returns true if the next instruction is the last of a switch. The stack then belongs to the next context already
    /// and the code does not, so the unwind tables of the code do not fit the stack. `pc` must point into code.
    pub(crate) fn is_switching(&self) -> bool {
        // SAFETY: reads three bytes at `pc`, which points into mapped code (condition of this function). No function
        // ends within these bytes, so the mapping does not end there either.
        let bytes = unsafe { (self.pc as *const [u8; 3]).read_unaligned() };
        // jmp [rsi + 8] and jmp [rax + 8]
        bytes == [0xff, 0x66, 0x08] || bytes == [0xff, 0x60, 0x08]
    }
}

/// Returns the address of the thread's control block, which is unique among live threads, without a function call. By
/// the ABI of thread-local storage the first word of the block is its own address. Returns 0 on systems other than
/// Linux.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    #[cfg(target_os = "linux")]
    {
        let pointer: usize;
        // SAFETY: only reads one word, which exists in every thread by the ABI. Not `pure`: the compiler must read the
        // word again after a switch, not reuse the value from before.
        unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
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
                "mov {}, qword ptr [rip + {}@GOTPCREL]",
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
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address as *const i8) };
}

/// Reads a clock for comparing the durations of short pieces of code. The unit is unspecified.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction.
    unsafe { std::arch::x86_64::_rdtsc() }
}
