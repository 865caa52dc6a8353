//! Valgrind client requests, by which a program reports its stacks to Valgrind.
//!
//! Valgrind must guess from a change of the stack pointer whether a frame was pushed or the stack was switched. Every
//! change of less than 2 MB counts as a push or a pop. The stacks of a slab are 68 KiB apart, so without these requests
//! memcheck marks the frames of suspended bodies as inaccessible.
//!
//! A request is an instruction sequence without any effect on a real CPU: four rotations of one register, by 128 bits
//! in all, and an exchange of a register with itself. The sequences and the numbers are part of Valgrind's ABI
//! (`include/valgrind.h` and `memcheck/memcheck.h` of Valgrind; unlike the rest of Valgrind, both files are under a BSD
//! licence).
//!
//! The requests are hand-written because no crate fits: `crabgrind` and `valgrind-requests` read Valgrind's C headers
//! at build time, `valgrind_request` needs a compiler from before 2022, and `corosensei::stack::valgrind` (0.3.4) has
//! the last two rotations for aarch64 in the wrong order, so Valgrind does not recognise its requests.

/// Request for the number of nested Valgrinds.
const RUNNING_ON_VALGRIND: usize = 0x1001;
/// Request to register a stack, from the lowest to the highest address, both inclusive.
const STACK_REGISTER: usize = 0x1501;
/// Request to memcheck to mark a range of memory as accessible and uninitialised.
const MAKE_MEM_UNDEFINED: usize = ((b'M' as usize) << 24 | (b'C' as usize) << 16) + 1;

/// Returns true if the program runs under Valgrind.
#[inline]
pub(crate) fn is_running() -> bool {
    request([RUNNING_ON_VALGRIND, 0, 0]) != 0
}

/// Registers a stack permanently. Both addresses are inclusive. When the stack pointer leaves the current stack,
/// Valgrind looks it up among the registered stacks, and a hit counts as a switch.
#[cold]
pub(crate) fn register_stack(lowest: usize, highest: usize) {
    request([STACK_REGISTER, lowest, highest]);
}

/// Marks memory as accessible and uninitialised, without any effect on its contents. Returns true if memcheck answered:
/// no other tool of Valgrind keeps such marks.
#[cold]
pub(crate) fn mark_undefined(start: usize, len: usize) -> bool {
    request([MAKE_MEM_UNDEFINED, start, len]) != 0
}

/// Sends a request and returns the answer. Without Valgrind the answer is 0.
#[cfg(target_arch = "x86_64")]
#[inline]
fn request([number, first, second]: [usize; 3]) -> usize {
    let arguments = [number, first, second, 0, 0, 0];
    let answer;
    // SAFETY: on a real CPU the sequence changes only the flags, which are declared (`preserves_flags` is absent): rdi
    // is rotated by 128 bits and rbx exchanged with itself. Valgrind reads the six words of `arguments`, which live
    // until the end of this function, and writes rdx.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            inout("rdx") 0usize => answer,
            in("rax") arguments.as_ptr(),
            options(nostack),
        );
    }
    answer
}

/// Sends a request and returns the answer. Without Valgrind the answer is 0.
#[cfg(target_arch = "aarch64")]
#[inline]
fn request([number, first, second]: [usize; 3]) -> usize {
    let arguments = [number, first, second, 0, 0, 0];
    let answer;
    // SAFETY: on a real CPU the sequence changes nothing: x12 is rotated by 128 bits, x10 combined with itself.
    // Valgrind reads the six words of `arguments`, which live until the end of this function, and writes x3.
    unsafe {
        std::arch::asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            inout("x3") 0usize => answer,
            in("x4") arguments.as_ptr(),
            options(nostack),
        );
    }
    answer
}

/// Sends nothing and returns 0: there is no request sequence for this target.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn request(_: [usize; 3]) -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Valgrind preloads a library into every program that it runs, and `LD_PRELOAD` names the library.
    #[test]
    fn valgrind_is_recognised_where_it_runs() {
        let preloaded = std::env::var("LD_PRELOAD").unwrap_or_default();
        assert_eq!(is_running(), preloaded.contains("vgpreload"));
    }

    #[test]
    fn requests_leave_memory_as_it_is() {
        let memory = [0x5a_u8; 256];
        assert!(!mark_undefined(memory.as_ptr() as usize, 0) || is_running());
        assert_eq!(request([0x1, memory.as_ptr() as usize, memory.len()]), 0, "an unknown request");
        assert_eq!(memory, [0x5a; 256]);
    }
}
