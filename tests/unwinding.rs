//! A profiler's signal handler may unwind at any instruction: a backtrace taken there neither faults nor leaves the code, also in
//! the middle of a switch of stacks.
//!
//! On x86-64 the trap flag stops the code at each of its instructions. On aarch64, whose user code has no such flag, each
//! instruction near a jump of a switch is replaced by a breakpoint, one after the other, and the code runs again for each.
//!
//! Not under ASan, which turns off the code that keeps the unwind tables of coroutines correct (see
//! src/coroutine/unwind_tables.rs).

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(feature = "asan")))]

mod common;

use cede::{Coroutine, Generator, Inbox, Sink, Suspender, Yielder};
use common::child::in_child;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem::zeroed;
use std::ptr::null_mut;
#[cfg(target_arch = "aarch64")]
use std::sync::atomic::AtomicU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Whether the library's own code switches tasks.
const NATIVE: bool = cfg!(not(cede_portable_switch));
/// No backtrace here has more frames, in debug builds either.
const MOST_FRAMES: usize = 200;

unsafe extern "C" {
    fn _Unwind_Backtrace(frame: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

/// The address ranges of code.
static CODE: [[AtomicUsize; 2]; 64] = [const { [const { AtomicUsize::new(0) }; 2] }; 64];
/// How often the code was interrupted, how often that was right before a jump to another stack, and how often the caller was
/// found.
static STEPS: AtomicUsize = AtomicUsize::new(0);
static JUMPS: AtomicUsize = AtomicUsize::new(0);
static CALLERS: AtomicUsize = AtomicUsize::new(0);
/// The addresses at which the backtrace was wrong, each with the reason: 1 a fault, 2 no frame, 3 no end, 4 a frame that is no
/// code, 5 an end that is neither 0 nor in a stack.
static WRONG: [[AtomicUsize; 2]; 64] = [const { [const { AtomicUsize::new(0) }; 2] }; 64];

fn is_code(address: usize) -> bool {
    CODE.iter().any(|range| (range[0].load(SeqCst)..range[1].load(SeqCst)).contains(&address))
}

fn find_code() {
    unsafe extern "C" fn object(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid entry with its headers.
        let (base, headers) = unsafe {
            let info = &*info;
            (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
        };
        for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)
        {
            let start = (base + header.p_vaddr) as usize;
            let free = CODE.iter().find(|range| range[1].load(SeqCst) == 0).expect("more objects than expected");
            free[0].store(start, SeqCst);
            free[1].store(start + header.p_memsz as usize, SeqCst);
        }
        0
    }
    // SAFETY: `object` has the signature that dl_iterate_phdr calls, and keeps no pointer.
    unsafe { libc::dl_iterate_phdr(Some(object), null_mut()) };
}

/// A backtrace of the interrupted code.
#[repr(C)]
struct Trace {
    pc: usize,
    /// The number of frames, counted from the one at `pc`.
    frames: usize,
    last: usize,
    /// Whether a frame other than the last one is no code.
    astray: bool,
}

extern "C" fn frame(context: *mut c_void, trace: *mut c_void) -> c_int {
    // SAFETY: `look` passes a `Trace` that lives through the backtrace.
    let trace = unsafe { &mut *trace.cast::<Trace>() };
    // SAFETY: the unwinder passes a valid context.
    let ip = unsafe { _Unwind_GetIP(context) };
    if trace.frames > 0 || ip == trace.pc {
        trace.astray |= trace.frames > 0 && trace.last != 0 && !is_code(trace.last);
        trace.frames += 1;
        trace.last = ip;
    }
    // A value other than 0 ends the walk.
    c_int::from(trace.frames > MOST_FRAMES)
}

extern "C" fn look(trace: *mut Trace) {
    // SAFETY: `trace` is the pointer that `frame` expects, and its caller keeps it alive.
    unsafe { _Unwind_Backtrace(frame, trace.cast()) };
}

fn pc(context: *mut c_void) -> usize {
    let context = context.cast::<libc::ucontext_t>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel passes a valid context.
    return unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] } as usize;
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel passes a valid context.
    return unsafe { (*context).uc_mcontext.pc } as usize;
}

/// Whether the instruction at `pc` is the jump of a switch: the library's own or, for coroutines, corosensei's.
fn is_jump(pc: usize, own: bool) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: no function ends within three bytes of an instruction that is not its last.
        let bytes = unsafe { (pc as *const [u8; 3]).read_unaligned() };
        // jmp [rsi + 8], jmp [rax + 8]; call [rdx]
        if own { bytes == [0xff, 0x66, 0x08] || bytes == [0xff, 0x60, 0x08] } else { bytes[..2] == [0xff, 0x12] }
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: `pc` is the address of the interrupted instruction, which is one aligned word.
        let word = unsafe { (pc as *const u32).read() };
        // br x16; blr x3
        word == if own { 0xd61f_0200 } else { 0xd63f_0060 }
    }
}

/// Whether the address is near the stack pointer or the frame pointer, which points into the stack of the resumer.
#[cfg(target_arch = "x86_64")]
fn is_near_a_stack(address: usize, context: *mut c_void) -> bool {
    // SAFETY: the kernel passes a valid context.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    [libc::REG_RSP, libc::REG_RBP].iter().any(|&at| (registers[at as usize] as usize).abs_diff(address) < 1 << 20)
}

/// How often each instruction was checked, by its address.
static SEEN: [AtomicUsize; 1 << 20] = [const { AtomicUsize::new(0) }; 1 << 20];

/// Whether the expected jumps are those of the library's own switch.
static OWN: AtomicBool = AtomicBool::new(false);

extern "C" fn on_step(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let pc = pc(context);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel passes a valid context.
    unsafe {
        const TRAP: i64 = 0x100;
        let flags = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_EFL as usize];
        *flags = if ARMED.load(SeqCst) { *flags | TRAP } else { *flags & !TRAP };
    }
    #[cfg(target_arch = "aarch64")]
    let jump = {
        patch(BREAKPOINT[1].load(SeqCst) as u32);
        is_jump(pc, OWN.load(SeqCst))
    };
    // Only the code of this program: an unwinder in C that is about to enter a landing pad has no correct tables there.
    if !(CODE[0][0].load(SeqCst)..CODE[0][1].load(SeqCst)).contains(&pc) {
        return;
    }
    // Each instruction a few times, on whichever stack it runs then: every execution in a debug build would take minutes.
    let seen = &SEEN[pc % SEEN.len()];
    if seen.fetch_add(1, SeqCst) >= 8 {
        return;
    }
    let mut trace = Trace { pc, frames: 0, last: 0, astray: false };
    let faulted = guard::call(look, &mut trace);
    STEPS.fetch_add(1, SeqCst);
    #[cfg(target_arch = "x86_64")]
    let jump = is_jump(pc, OWN.load(SeqCst));
    JUMPS.fetch_add(usize::from(jump), SeqCst);
    CALLERS.fetch_add(usize::from(trace.frames > 1), SeqCst);
    let why = match &trace {
        _ if faulted => 1,
        Trace { frames: 0, .. } => 2,
        Trace { frames, .. } if *frames > MOST_FRAMES => 3,
        Trace { astray: true, .. } => 4,
        // An unwinder must stop at 0 or at an address in a stack, not at a value that only happened not to fault.
        #[cfg(target_arch = "x86_64")]
        Trace { last, .. } if *last != 0 && !is_code(*last) && !is_near_a_stack(*last, context) => 5,
        _ => return,
    };
    if let Some(free) = WRONG.iter().find(|wrong| [0, pc].contains(&wrong[0].load(SeqCst))) {
        free[0].store(pc, SeqCst);
        free[1].store(why, SeqCst);
    }
}

/// Calls a function that may fault.
mod guard {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    static mut LANDING: usize = 0;

    /// Returns 0, or 1 if it faulted.
    #[cfg(target_arch = "x86_64")]
    #[unsafe(naked)]
    unsafe extern "C" fn call_guarded(f: extern "C" fn(*mut Trace), trace: *mut Trace) -> usize {
        std::arch::naked_asm!(
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "sub rsp, 8",
            "mov rax, rdi",
            "mov rdi, rsi",
            "mov [rip + {landing}], rbp",
            "call rax",
            "xor eax, eax",
            "jmp {land}",
            ".cfi_endproc",
            landing = sym LANDING,
            land = sym land,
        )
    }

    #[cfg(target_arch = "x86_64")]
    #[unsafe(naked)]
    unsafe extern "C" fn land() {
        std::arch::naked_asm!(
            "mov rbp, [rip + {landing}]",
            "lea rsp, [rbp - 40]",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "pop rbp",
            "ret",
            landing = sym LANDING,
        )
    }

    pub(super) fn call(f: extern "C" fn(*mut Trace), trace: &mut Trace) -> bool {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: after a fault the handler below continues in `land`, which restores the callee-saved registers and returns.
        return unsafe { call_guarded(f, trace) } != 0;
        #[cfg(target_arch = "aarch64")]
        {
            f(trace);
            false
        }
    }

    extern "C" fn on_fault(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
        let context = context.cast::<libc::ucontext_t>();
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the kernel passes a valid context; a fault outside of `call` would jump to nowhere and end the child.
        unsafe {
            (*context).uc_mcontext.gregs[libc::REG_RIP as usize] = land as *const () as i64;
            (*context).uc_mcontext.gregs[libc::REG_RAX as usize] = 1;
        }
        #[cfg(target_arch = "aarch64")]
        {
            let _ = context;
            std::process::abort();
        }
    }

    /// Installs the fault handler, after that of the library, which is installed with the first stack.
    pub(super) fn install() {
        Coroutine::new(|_: &Suspender<(), ()>, ()| ()).resume(());
        // SAFETY: the structs are plain data for which zero is valid. The handlers are async-signal-safe as far as this test needs.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
            action.sa_sigaction = handler as usize;
            // Without SA_ONSTACK: the handler runs on the stack of the handler that faulted, and is left by a jump.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            libc::sigaction(libc::SIGSEGV, &action, null_mut());
            libc::sigaction(libc::SIGBUS, &action, null_mut());
        }
    }
}

/// Runs `code` in a child process, with a handler that unwinds at each instruction, and checks the backtraces.
#[track_caller]
fn unwinds_everywhere(name: &str, own: bool, code: fn()) {
    let told = in_child(name, || {
        find_code();
        guard::install();
        OWN.store(own, SeqCst);
        // A first run initializes everything lazy: the loader's bindings, the thread's caches, the unwinder itself.
        code();
        look(&mut Trace { pc: 0, frames: 0, last: 0, astray: false });
        // SAFETY: the alternate stack is leaked, so it stays valid. The handlers are async-signal-safe as in `install`.
        unsafe {
            let size = 256 * 1024;
            let stack = Vec::<u8>::leak(vec![0; size]);
            let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: size };
            assert_eq!(libc::sigaltstack(&stack, null_mut()), 0);
            let mut action: libc::sigaction = zeroed();
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_step;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigaction(libc::SIGTRAP, &action, null_mut());
        }
        ARMED.store(true, SeqCst);
        code();
        let wrong =
            WRONG.iter().map(|wrong| [wrong[0].load(SeqCst), wrong[1].load(SeqCst)]).filter(|wrong| wrong[0] != 0);
        let (steps, jumps, callers) = (STEPS.load(SeqCst), JUMPS.load(SeqCst), CALLERS.load(SeqCst));
        eprintln!("{steps} steps, {jumps} at a jump, {callers} found a caller");
        for [pc, why] in wrong {
            let why = ["", "a fault", "no frame", "no end", "a frame that is no code", "an end anywhere"][why];
            // SAFETY: `pc` is the address of code, and no mapping of code ends within 16 bytes of an instruction of a switch.
            let bytes = unsafe { (pc as *const [u8; 16]).read_unaligned() };
            eprintln!("wrong at {:#x}: {why}; code {bytes:02x?}", pc - CODE[0][0].load(SeqCst));
        }
        assert!(steps > 20 && jumps > 0, "the code was not interrupted in its switches");
        // On x86-64 most of the code is no switch.
        assert!(
            callers * 10 > steps * if cfg!(target_arch = "x86_64") { 9 } else { 3 },
            "few backtraces found a caller"
        );
    });
    println!("{told}");
    assert!(told.ends_with("exit code Some(0)"), "{told}");
    assert!(!told.contains("wrong at"), "{told}");
}

/// Whether `interrupted` interrupts. False in the first run, which initializes everything lazy.
static ARMED: AtomicBool = AtomicBool::new(false);

/// Runs the code, with a signal at each of its instructions.
fn interrupted(code: impl Fn()) {
    if ARMED.load(SeqCst) { interrupt_everywhere(code) } else { code() }
}

/// Sets the trap flag for the code, in the handler: pushing the flags here would move the stack pointer without an entry in the
/// unwind tables, which this test checks.
#[cfg(target_arch = "x86_64")]
fn interrupt_everywhere(code: impl Fn()) {
    // SAFETY: the handler of the trap is installed, and returns to the next instruction.
    unsafe { std::arch::asm!("int3") };
    code();
    ARMED.store(false, SeqCst);
}

/// Puts a breakpoint at each instruction near a switch, one after the other. The handler removes it.
#[cfg(target_arch = "aarch64")]
fn interrupt_everywhere(code: impl Fn()) {
    let text = CODE[0][0].load(SeqCst) & !0xfff..CODE[0][1].load(SeqCst);
    // SAFETY: the text stays readable and executable, and no other thread runs code near a switch.
    unsafe {
        let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        assert_eq!(libc::mprotect(text.start as *mut _, text.len(), all), 0);
    }
    // SAFETY: the slice covers the segment from its first to its last whole instruction, and the segment stays mapped.
    let words = unsafe {
        let first = CODE[0][0].load(SeqCst);
        std::slice::from_raw_parts(first as *const AtomicU32, (text.end - first) / 4)
    };
    let word = |at: usize| words.get(at).map_or(0, |word| word.load(SeqCst));
    let switches = (0..words.len()).filter(|&at| {
        matches!(
            [word(at), word(at + 1)],
            // mov sp, x3; br x16: the library's own. ldr x3, [x2, #16]; blr x3: corosensei's resume. ldp x29, x30, [x2]; ret:
            // its suspension and end. str x3, [x1, #-16]!: its first entry.
            [0x9100_007f, 0xd61f_0200] | [0xf940_0843, 0xd63f_0060] | [0xa940_785d, 0xd65f_03c0] | [0xf81f_0c23, _]
        )
    });
    let mut near: Vec<usize> = switches.flat_map(|at| at.saturating_sub(8)..words.len().min(at + 12)).collect();
    near.sort_unstable();
    near.dedup();
    for at in near {
        let original = words[at].load(SeqCst);
        BREAKPOINT[0].store(words[at].as_ptr() as usize, SeqCst);
        BREAKPOINT[1].store(original as usize, SeqCst);
        patch(0xd420_0000); // brk #0
        code();
        patch(original);
    }
}

/// The address of the replaced instruction, and the original instruction.
#[cfg(target_arch = "aarch64")]
static BREAKPOINT: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

#[cfg(target_arch = "aarch64")]
fn patch(instruction: u32) {
    let at = BREAKPOINT[0].load(SeqCst);
    // SAFETY: `at` is in the text that `interrupt_everywhere` made writable, and no other thread runs it.
    unsafe {
        (*(at as *const AtomicU32)).store(instruction, SeqCst);
        std::arch::asm!("dc cvau, {0}", "dsb ish", "ic ivau, {0}", "dsb ish", "isb", in(reg) at);
    }
}

/// Runs tasks from their first entry to their end, with yields and with a wait of all tasks.
fn tasks() {
    cede::run(|| {
        interrupted(|| {
            let mut other = cede::spawn(|| {
                cede::yield_now();
                cede::yield_now();
                black_box(1)
            });
            cede::yield_now();
            cede::time::sleep(Duration::from_micros(100)).unwrap();
            assert_eq!(other.join().unwrap() + cede::spawn(|| 2).join().unwrap(), 3);
        })
    });
}

#[test]
#[cfg_attr(all(cede_portable_switch, target_arch = "x86_64"), ignore = "corosensei's switch has no true tables there")]
fn unwinding_anywhere_in_tasks_works() {
    unwinds_everywhere("unwinding_anywhere_in_tasks_works", NATIVE, tasks);
}

fn a_coroutine() {
    interrupted(|| {
        let mut c = Coroutine::new(|s: &Suspender<u64, u64>, i| s.suspend(s.suspend(i) + 1) + 1);
        assert_eq!(c.resume(1).yielded(), Some(1));
        assert_eq!(c.resume(2).yielded(), Some(3));
        assert_eq!(c.resume(3).complete(), Some(4));
    });
}

#[test]
fn unwinding_anywhere_in_a_coroutine_works() {
    unwinds_everywhere("unwinding_anywhere_in_a_coroutine_works", false, a_coroutine);
}

fn a_generator() {
    interrupted(|| {
        let g = Generator::new(|y: &Yielder<u64>| (0..3).for_each(|i| y.yield_(i)));
        assert_eq!(g.sum::<u64>(), 3);
    });
}

#[test]
fn unwinding_anywhere_in_a_generator_works() {
    unwinds_everywhere("unwinding_anywhere_in_a_generator_works", false, a_generator);
}

fn a_sink() {
    interrupted(|| {
        let mut s = Sink::new(|inbox: &Inbox<u64>| inbox.iter().sum::<u64>());
        s.send(1).unwrap();
        s.send(2).unwrap();
        assert_eq!(s.finish(), 3);
    });
}

#[test]
fn unwinding_anywhere_in_a_sink_works() {
    unwinds_everywhere("unwinding_anywhere_in_a_sink_works", false, a_sink);
}

fn a_scoped_coroutine() {
    interrupted(|| {
        let mut n = 0;
        cede::scoped(
            |s: &Suspender<u64, u64>, i| {
                n = s.suspend(i);
                n
            },
            |mut c| {
                c.resume(1);
                c.resume(2);
            },
        );
        assert_eq!(n, 2);
    });
}

#[test]
fn unwinding_anywhere_in_a_scoped_coroutine_works() {
    unwinds_everywhere("unwinding_anywhere_in_a_scoped_coroutine_works", false, a_scoped_coroutine);
}

/// Dropped while it is suspended, so that it is unwound.
fn an_unwound_generator() {
    interrupted(|| {
        let mut g = Generator::new(|y: &Yielder<u64>| (0..3).for_each(|i| y.yield_(i)));
        assert_eq!(g.next(), Some(0));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn unwinding_anywhere_in_a_dropped_generator_works() {
    unwinds_everywhere("unwinding_anywhere_in_a_dropped_generator_works", false, an_unwound_generator);
}
