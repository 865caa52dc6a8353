//! Context switching: each task switches directly to the next task, in hand-written assembly where the target has it.
//!
//! corosensei switches to a child and back. With it, a turn of a round-robin scheduler costs two switches and one pass
//! through the loop between them; here a turn is one switch. The rest of the crate uses [`Context`], [`switch`] and,
//! with a hand-written switch, [`unwind_from`]. The `cfg` attributes below select the file that implements them.
//!
//! # The contract
//!
//! Each implementation keeps the whole contract and defines its items in the same order. `tests.rs` tests the compiled
//! implementation.
//!
//! * A [`Context`] is 32 bytes on a 32-byte boundary (more under AddressSanitizer). Its contents have a meaning only
//!   while the context is suspended: from the `init` or `switch` that saved it until the `switch` that enters it.
//! * [`Context::init`]`(limit, top, entry, arg)` prepares a context that calls `entry(arg)` on an empty stack. `entry`
//!   must not unwind. **`entry` returns the context to enter next**; once that context is entered, the stack of `entry`
//!   is unused. An ending task therefore needs no second kind of switch, and one contract fits the hand-written files,
//!   corosensei and ASan.
//! * `init` does not access the stack. So several contexts may be prepared on one stack, as long as at most one of them uses it
//!   after it was entered. `entry` may prepare its own context again, on another stack, and return it.
//! * [`switch`]`(save, to)` saves the stack pointer, the resume address, the frame pointer and the one other register
//!   that the compiler reserves. Every other register is declared as clobbered, so the compiler spills live registers
//!   only. A switch costs 1 ns for this reason.
//! * `switch` may be called on any stack of this thread, including the stack of a coroutine that runs nested in a task.
//! * Floating-point modes and the signal mask belong to the thread and are not saved. In Rust, changing the
//!   floating-point modes is undefined behaviour anyway.
//! * Memory below the stack pointer is never written, and the stack pointer is loaded last: a signal may arrive between
//!   any two instructions.
//! * The unwind tables are correct at each instruction of a switch, for profilers whose signal handler unwinds. From
//!   the load of the other context's first register to the jump, the tables say that the stack ends (`.cfi_undefined`),
//!   which costs nothing. An instruction that is never executed follows the jump: unwinders look up the address before
//!   the one at which a suspended context resumes, and its backtrace must not end there. `tests/unwinding.rs` unwinds
//!   at each instruction.
//!
//! # Rejected alternatives
//!
//! The figures come from the prototype that compared the alternatives.
//!
//! * A switch that ends in `ret`: the return address belongs to another task, so the CPU's return predictor misses
//!   every time (7.9 ns instead of 2.1 ns in a ring of tasks). The switch ends in an indirect jump instead.
//! * Registers pushed onto the stack: every switch then touches a cache line of the stack (7, 8, 15 and 78 ns a yield
//!   at 2, 100, 10,000 and 1,000,000 tasks, instead of 3.2, 2.9, 3.2 and 15 ns with the contexts in a dense array).
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

/// True if the switch is hand-written.
pub(crate) const NATIVE: bool = cfg!(all(
    not(cede_portable_switch),
    any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))
));
pub(crate) mod valgrind;

#[cfg(test)]
mod tests;
#[cfg(all(test, target_arch = "aarch64", target_os = "linux", not(cede_portable_switch)))]
mod bti;

/// Returns the caller's stack pointer: an address on the stack that the caller runs on.
///
/// The address of a local variable would not do: AddressSanitizer may place the variable on a fake stack.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: the instruction only reads a register.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    // SAFETY: the instruction only reads a register.
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

/// The registers of code that a signal interrupted, for an unwinder.
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
    /// The general registers by DWARF number. They include the registers above, whose own fields take precedence. The
    /// unwind tables of an interrupted instruction may name any general register: a function with a large frame first
    /// probes the frame page by page, and during the probes its caller is found through r11 or x9.
    pub(crate) general: [usize; GENERAL],
}

/// The number of general registers of the machine with the most.
pub(crate) const GENERAL: usize = 31;

impl Registers {
    /// Applies `f` to every register that may point to a stack.
    pub(crate) fn map(self, f: impl Fn(usize) -> usize) -> Registers {
        let general = self.general.map(&f);
        Registers { sp: f(self.sp), pc: self.pc, fp: f(self.fp), bx: f(self.bx), link: f(self.link), general }
    }
}

/// The function that a fresh context calls. Returns the context to enter next.
pub(crate) type Entry = unsafe extern "C" fn(arg: usize) -> *const Context;
