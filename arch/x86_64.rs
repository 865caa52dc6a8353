//! The switch for x86-64, System V.
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
//! LLVM refuses rbx and rbp as clobbers (it keeps them for itself), so they are saved. Everything else is declared
//! clobbered: `clobber_abi("sysv64")` covers rax, rcx, rdx, rsi, rdi, r8 to r11, the vector registers whole (also the upper
//! halves of ymm and zmm), the mask registers, x87, mmx and the flags; r12 to r15 are named.

use super::{Context, Registers};
use std::arch::{asm, naked_asm};

/// Where a fresh context begins: one past the root's first instruction, because unwinders look up the address before the one
/// they stand at. With the root itself, a task that never ran would be shown in whatever function lies before it.
///
/// This must stay an ordinary function that is not inlined: in a codegen unit in which no function needs unwind tables LLVM
/// puts those of the naked functions into .debug_frame, where only debuggers look, and unwinding stops without an error.
#[inline(never)]
pub(super) fn root_address() -> usize {
    root as *const () as usize + 1
}

/// # Safety
///
/// As [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch(save: *const Context, to: *const Context) {
    // SAFETY: the four words of `save` are written and those of `to` read, as the contract says; everything that the other
    // side may change is declared. `nostack` is absent, so the red zone is empty here.
    unsafe {
        asm!(
            // Where this context goes on.
            "lea rax, [rip + 2f]",
            "mov [rdi], rsp",
            "mov [rdi + 8], rax",
            "mov [rdi + 16], rbp",
            "mov [rdi + 24], rbx",
            // From here on the registers are the other's. The stack pointer comes last: until then a signal's frame lies on
            // this stack, from then on on that one, and both are whole at each moment. An unwinder stops here: the tables
            // of this function no longer fit the registers, and those of the other one do not fit yet.
            cfi!(".cfi_remember_state"),
            "mov rbp, [rsi + 16]",
            cfi!(".cfi_undefined rip"),
            "mov rbx, [rsi + 24]",
            "mov rsp, [rsi]",
            // An indirect jump, not a return: the predictor of returns would miss every time.
            "jmp [rsi + 8]",
            cfi!(".cfi_restore_state"),
            // Never executed. Unwinders look up the address before the one at which a suspended context resumes, which
            // must not be a part of the jump: its backtrace would end here.
            "int3",
            // Entered by somebody's jump, with rsp, rbp and rbx as they were and nothing else.
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

/// The first frame of every stack. Entered one instruction in, with rsp = top (a multiple of 16), rbp = entry, rbx = its
/// argument. Backtraces end here: the return address is undefined and the frame pointer is 0.
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
        // rax = the context to enter. This stack is nobody's as soon as rsp has changed.
        "mov rbp, [rax + 16]",
        "mov rbx, [rax + 24]",
        "mov rsp, [rax]",
        "jmp [rax + 8]",
        "ud2",
        ".cfi_endproc",
    )
}

/// See [`super::unwind_from`]. The unwind tables of this frame say: the caller's rsp, rip, rbp and rbx are in the context.
///
/// 0x0f is def_cfa_expression, 0x10 expression (of register 16 = rip, 6 = rbp, 3 = rbx); 0x73 is breg3, rbx plus an offset;
/// 0x06 is deref.
///
/// # Safety
///
/// As [`super::unwind_from`].
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
        // Back on the truth: rbx was kept by `f`, and our own caller's is on the stack.
        ".cfi_restore_state",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
    )
}

/// As [`super::unwind_from`], with a caller that was interrupted instead of suspended: its unwind tables may name any register.
///
/// # Safety
///
/// As [`super::unwind_from`]: the stack that the registers point to is still there, unchanged.
pub(crate) unsafe fn unwind_from_registers(
    registers: &Registers,
    f: unsafe extern "C" fn(*mut u8),
    arg: *mut u8,
) -> bool {
    // One past the interrupted instruction: unwinders look up the address before the one they are given. The link is no
    // register here, and keeps the place of the general ones the same on all machines.
    let &Registers { sp, pc, fp, bx, link, general } = registers;
    let words = Words { first: [sp, pc + 1, fp, bx, link], general };
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

/// As `unwind_from`; and the caller's general register `n` is the word at 40 + 8n: after the length of an expression follow
/// breg3 and its offset, a signed LEB128.
///
/// # Safety
///
/// As [`unwind_from_registers`].
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
        // Back on the truth: rbx was kept by `f`, and our own caller's is on the stack.
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
    /// Whether the next instruction is the last of a switch: the stack is the next one's by then, the code not yet, and
    /// what the tables say of the one is nonsense for the other. `pc` is in code.
    pub(crate) fn is_switching(&self) -> bool {
        // SAFETY: three bytes of code: no function ends within them, so the mapping does not either.
        let bytes = unsafe { (self.pc as *const [u8; 3]).read_unaligned() };
        // jmp [rsi + 8] and jmp [rax + 8]
        bytes == [0xff, 0x66, 0x08] || bytes == [0xff, 0x60, 0x08]
    }
}

/// What tells this thread from all others that live, without a call: the thread's control block, whose first word is its own
/// address by the ABI of thread-local storage. 0 where that is not so.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    #[cfg(target_os = "linux")]
    {
        let pointer: usize;
        // SAFETY: reads one word that the ABI puts there, and changes nothing. Not `pure`, so that it is read anew after a
        // switch instead of being kept over it.
        unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
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

/// Asks for the cache line at an address, whatever it is.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    // SAFETY: a prefetch never faults.
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address as *const i8) };
}

/// A clock for comparing short stretches of code with each other; its unit is unknown.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction.
    unsafe { std::arch::x86_64::_rdtsc() }
}
