//! Switching stacks, by hand: straight from one task to the next.
//!
//! corosensei goes to a child and back; a round-robin turn through it costs two switches and a visit to the loop between
//! them. Here a turn is one switch. Everything above this folder sees [`Context`], [`switch`] and, natively,
//! [`unwind_from`]; which file it comes from is decided by the four lines below.
//!
//! # The contract
//!
//! Each file keeps all of it, in the same order, and `tests` in `tests.rs` checks it on each.
//!
//! * A [`Context`] is 32 bytes on a 32-byte boundary (more under AddressSanitizer). It is meaningful only while suspended:
//!   from the `init` or `switch` that saved it to the `switch` that enters it.
//! * [`Context::init`]`(limit, top, entry, arg)` makes one that will call `entry(arg)` on an empty stack. `entry` does not
//!   unwind. **The context that it returns is entered next**, and from then on its own stack is nobody's: there is no last
//!   switch of another kind, which is what lets one contract fit the hand-written files, corosensei and ASan.
//! * [`switch`]`(save, to)` saves the stack pointer, the resume address, the frame pointer and the one other register that
//!   the compiler keeps for itself. Every other register is declared clobbered, so the compiler spills what is live and
//!   nothing else: that is what makes a switch cost 1 ns.
//! * It may be called on any stack of this thread, so inside a coroutine that runs nested in a task too.
//! * Floating-point modes and the signal mask belong to the thread and are not saved. Rust says that changing them is
//!   undefined behaviour anyway.
//! * Nothing is ever stored below the stack pointer, and it is loaded last: a signal may arrive between any two
//!   instructions.
//! * The unwind tables are true at each instruction of a switch, for profilers whose signal handler unwinds. Between the
//!   first register of the other side and the jump they say that the stack ends: that is `.cfi_undefined`, without cost. An
//!   instruction that is never executed comes behind the jump, since unwinders look up the address before the one at which
//!   a suspended context resumes, and its backtrace must not end. `tests/unwinding.rs` unwinds at each instruction.
//!
//! # Rejected
//!
//! The figures are those of the prototype that was built to choose.
//!
//! * A switch that ends in `ret`: the return address is another task's, so the CPU's return predictor misses every time
//!   (7.9 ns for 2.1 in a ring of tasks). The switch leaves by an indirect jump.
//! * Registers pushed onto the stack: every switch then touches a line of it (7, 8, 15 and 78 ns a yield at 2, 100, 10,000
//!   and 1,000,000 tasks, for 3.2, 2.9, 3.2 and 15 with the context in a dense array).
//! * `global_asm!` with fixed names: two versions of this crate in one program would collide.

#[cfg(all(
    not(cede_portable_switch),
    any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))
))]
mod native;
#[cfg(all(
    not(cede_portable_switch),
    any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))
))]
pub(crate) use native::{
    Context, clock, fresh_address, interrupted, prefetch, switch, thread_pointer, unwind_from, unwind_from_registers,
};

#[cfg(not(all(
    not(cede_portable_switch),
    any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))
)))]
mod portable;
#[cfg(not(all(
    not(cede_portable_switch),
    any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))
)))]
pub(crate) use portable::{
    Context, clock, fresh_address, interrupted, prefetch, switch, thread_pointer, unwind_from, unwind_from_registers,
};

/// Whether the switch is hand-written.
pub(crate) const NATIVE: bool = cfg!(all(
    not(cede_portable_switch),
    any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))
));
pub(crate) mod valgrind;

#[cfg(test)]
mod tests;
#[cfg(all(test, target_arch = "aarch64", target_os = "linux", not(cede_portable_switch)))]
mod bti;

/// The stack pointer of the caller: an address on the stack that it runs on.
///
/// Not the address of a local variable, which AddressSanitizer may keep on a stack of its own.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    // SAFETY: reads a register.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let local = std::hint::black_box(0u8);
        sp = std::ptr::from_ref(&local).addr();
    }
    sp
}

/// What an unwinder needs of code that was interrupted by a signal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) sp: usize,
    pub(crate) pc: usize,
    /// rbp or x29.
    pub(crate) fp: usize,
    /// rbx or x19.
    pub(crate) bx: usize,
    /// The link register, where there is one.
    pub(crate) link: usize,
    /// The general registers, by the numbers that DWARF gives them. Those above are here again, but count there. Unwind tables may
    /// name any of them at an interrupted instruction: a function with a large frame touches it page by page first, and
    /// meanwhile its caller is found by r11 or x9.
    pub(crate) general: [usize; GENERAL],
}

/// How many general registers a machine has at most.
pub(crate) const GENERAL: usize = 31;

impl Registers {
    /// The same, with all that may point to a stack translated.
    pub(crate) fn map(self, f: impl Fn(usize) -> usize) -> Registers {
        let general = self.general.map(&f);
        Registers { sp: f(self.sp), pc: self.pc, fp: f(self.fp), bx: f(self.bx), link: f(self.link), general }
    }
}

/// What a fresh context calls. What it returns is entered next.
pub(crate) type Entry = unsafe extern "C" fn(arg: usize) -> *const Context;
