//! The report of a stack overflow: names the coroutine or task that overflowed its stack, and aborts the process.
//!
//! An access to a guard page raises SIGSEGV (SIGBUS on some systems). The handler finds the stack by the address of the
//! fault, not by the thread. By the stack pointer it distinguishes an overflow from a wrong pointer. So it needs no
//! thread-local and takes no lock. It allocates nothing, writes one line with `write(2)` and aborts. It never returns
//! to the code that overflowed and never switches away from it: other libraries tried that, and destructors that ran
//! halfway were the least of the problems.
//!
//! Every other fault goes to the handler that was installed before, so std's own report for threads still works.

use super::arena::{self, Place};
use super::shape::signal_frame_size;
use crate::sys::page_size;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::OnceLock;

/// The previous actions for SIGSEGV and SIGBUS, which may differ.
static PREVIOUS: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The signal code of a signal without an address. One cause is a stack without room for the frame of another signal.
#[cfg(target_os = "linux")]
const SI_KERNEL: libc::c_int = 0x80;

/// Installs the handler, once per process.
pub(crate) fn install() {
    PREVIOUS.get_or_init(|| {
        SIGNALS.map(|signal| {
            // SAFETY: both structs are plain data that may be zero and live during the calls. The handler is
            // async-signal-safe.
            unsafe {
                let mut new: libc::sigaction = zeroed();
                let mut old: libc::sigaction = zeroed();
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
                new.sa_sigaction = handler as usize;
                new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut new.sa_mask);
                libc::sigaction(signal, &new, &mut old);
                old
            }
        })
    });
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a siginfo to a SA_SIGINFO handler that is valid until the handler returns.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // A signal that a process sent (code 0 or below) has no address.
    if code > 0 {
        if let Some(Place::Guard(slot)) = arena::find(address)
            && is_overflow(slot, address, context)
        {
            report(slot, None);
        }
        #[cfg(target_os = "linux")]
        if code == SI_KERNEL
            && let Some(sp) = interrupted_sp(context)
        {
            // Only close to the limit: with more room left, the fault has another cause.
            match arena::find(sp) {
                Some(Place::Stack(slot, left)) if left < signal_frame_size() + 512 => report(slot, Some(left)),
                Some(Place::Guard(slot)) => report(slot, Some(0)),
                _ => {}
            }
        }
    }
    pass_on(signal, code, info, context);
}

/// Returns true if the code that accessed the guard at `address` runs on the stack above the guard, close to its limit.
/// Otherwise code on any stack has followed a wrong pointer: for example a profiler's signal handler that unwinds.
///
/// Code that grows its stack accesses it at the stack pointer or above. Below the stack pointer it accesses at most the
/// first store of a frame or a red zone, which are within a page. A large frame of C code without stack probes moves
/// the stack pointer into the guard, or, if it is larger than the guard, below this slot. The second case looks the
/// same as a read beyond the top of the stack below, so such an overflow is not reported.
fn is_overflow(slot: arena::Slot, address: usize, context: *mut libc::c_void) -> bool {
    #[cfg(target_os = "linux")]
    if let Some(sp) = interrupted_sp(context) {
        let here = matches!(arena::find(sp), Some(Place::Stack(on, _) | Place::Guard(on)) if on == slot);
        return here && sp <= address.saturating_add(page_size());
    }
    // Without the stack pointer, assume an overflow: most accesses to a guard are one.
    let _ = (slot, address, context);
    true
}

/// Returns the stack pointer of the code that the signal interrupted, or `None` on machines where it is not known.
#[cfg(target_os = "linux")]
fn interrupted_sp(context: *mut libc::c_void) -> Option<usize> {
    let context = context.cast::<libc::ucontext_t>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel passes a ucontext to a SA_SIGINFO handler that is valid until the handler returns.
    return Some(unsafe { (*context).uc_mcontext.gregs[libc::REG_RSP as usize] } as usize);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as for x86-64.
    return Some(unsafe { (*context).uc_mcontext.sp } as usize);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return None;
}

/// Reports an overflow of the stack and aborts the process. If there was no room for a signal frame, `left` is the
/// number of bytes that were left.
fn report(slot: arena::Slot, left: Option<usize>) -> ! {
    let (kind, name) = slot.label();
    let size = slot.shape().size;
    let mut line = Line::new();
    line.text("cede: ");
    line.label(kind, name);
    match left {
        None => {
            line.text(" overflowed its ");
            line.size(size);
            line.text(" stack");
        }
        Some(left) => {
            line.text(" has no room for a signal frame: ");
            line.number(left);
            line.text(" bytes left of ");
            line.size(size);
        }
    }
    line.text(" (give it more with Builder::stack_size)\n");
    line.write();
    // SAFETY: abort has no preconditions.
    unsafe { libc::abort() }
}

/// Prints a message that names a coroutine or task to stderr, with `write(2)`, and aborts the process. For failures
/// that no error can report.
pub(crate) fn abort_naming(kind: arena::Kind, name: Option<&str>, what: &str) -> ! {
    let mut line = Line::new();
    line.text("cede: ");
    line.label(kind, name);
    line.text(" ");
    line.text(what);
    line.text("\n");
    line.write();
    std::process::abort()
}

/// Passes a fault that is not a stack overflow to the previous action.
fn pass_on(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let at = usize::from(signal != libc::SIGSEGV);
    let Some(previous) = PREVIOUS.get().map(|previous| &previous[at]) else { return };
    // SAFETY: a previous handler is called in the form in which it was installed (SA_SIGINFO or not), with the kernel's
    // arguments. A default action is restored, and the fault occurs again under it.
    unsafe {
        match previous.sa_sigaction {
            // The signal was sent by a process and was ignored before: ignore it, and keep this handler.
            libc::SIG_IGN if code <= 0 => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, previous, null_mut());
                // A signal that a process sent does not occur again when this handler returns, so raise it again.
                if code <= 0 && previous.sa_sigaction == libc::SIG_DFL {
                    libc::raise(signal);
                }
            }
            handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                one_shot(signal, previous);
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                one_shot(signal, previous);
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

/// Restores the default action if the previous handler may run only once (SA_RESETHAND), as the kernel would do.
/// Otherwise the same fault would call that handler endlessly.
///
/// # Safety
///
/// `previous` is the action of `signal` before [`install`].
unsafe fn one_shot(signal: libc::c_int, previous: &libc::sigaction) {
    if previous.sa_flags & libc::SA_RESETHAND != 0 {
        // SAFETY: the struct is plain data that may be zero, which means SIG_DFL.
        unsafe { libc::sigaction(signal, &zeroed(), null_mut()) };
    }
}

/// A line of text that is built without an allocation. Text that does not fit is cut off.
struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Line {
    fn new() -> Line {
        Line { bytes: [0; 512], len: 0 }
    }

    fn text(&mut self, text: &str) {
        let n = text.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&text.as_bytes()[..n]);
        self.len += n;
    }

    fn label(&mut self, kind: arena::Kind, name: Option<&str>) {
        match name {
            Some(name) => {
                self.text(kind.text());
                self.text(" '");
                // A long name must leave room for the rest of the line.
                let end = (0..=name.len().min(200)).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
                self.text(&name[..end]);
                self.text("'");
            }
            None => {
                self.text("an unnamed ");
                self.text(kind.text());
            }
        }
    }

    fn number(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.text(std::str::from_utf8(&digits[at..]).unwrap_or("?"));
    }

    fn size(&mut self, bytes: usize) {
        self.number(bytes / 1024);
        self.text(" KiB");
    }

    fn write(&self) {
        // A failure of write is ignored: there is no other place to report it.
        // SAFETY: `len` bytes of the buffer are initialised, and the buffer lives during the call.
        unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.len) };
    }
}

/// An alternate signal stack for a thread that had none. Unmapped when dropped.
pub(crate) struct AlternateStack {
    start: *mut libc::c_void,
    len: usize,
}

/// Installs an alternate signal stack for this thread if it has none: the handler cannot run on the stack that
/// overflowed. std installs one for the main thread and its own threads; a thread created by C code has none.
pub(crate) fn prepare_thread() -> Option<AlternateStack> {
    // ASan installs its own alternate stack.
    if cfg!(feature = "asan") {
        return None;
    }
    let guard = page_size();
    let size = (signal_frame_size() + 8 * 1024).next_multiple_of(guard);
    // If a step fails, the thread stays without an alternate stack.
    // SAFETY: the structs are plain data and live during the calls. The new mapping has a guard page at its low end,
    // and the returned `AlternateStack` owns the mapping until the thread ends.
    unsafe {
        let mut current: libc::stack_t = zeroed();
        if libc::sigaltstack(null_mut(), &mut current) != 0 || current.ss_flags & libc::SS_DISABLE == 0 {
            return None;
        }
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let start = libc::mmap(null_mut(), guard + size, prot, flags, -1, 0);
        if start == libc::MAP_FAILED {
            return None;
        }
        let own = AlternateStack { start, len: guard + size };
        libc::mprotect(start, guard, libc::PROT_NONE);
        let new = libc::stack_t { ss_sp: start.byte_add(guard), ss_flags: 0, ss_size: size };
        (libc::sigaltstack(&new, null_mut()) == 0).then_some(own)
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        // Another alternate stack may have been installed since; that one stays.
        // SAFETY: runs at the end of the thread that installed this stack. It is disabled before it is unmapped.
        unsafe {
            let mut current: libc::stack_t = zeroed();
            libc::sigaltstack(null_mut(), &mut current);
            if (self.start..self.start.byte_add(self.len)).contains(&current.ss_sp) {
                let off = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
                libc::sigaltstack(&off, null_mut());
            }
            libc::munmap(self.start, self.len);
        }
    }
}
