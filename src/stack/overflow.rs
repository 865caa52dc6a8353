//! The overflow report: who ran out of stack, by name, and then the end of the process.
//!
//! A guard that is touched raises SIGSEGV (SIGBUS on some systems). The handler finds the stack by the fault's address,
//! not by the thread, and by the stack pointer tells an overflow from a wrong pointer, so it needs no thread-local and takes no lock; it allocates nothing, writes one line with `write(2)`
//! and aborts. It never returns to the code that ran out of stack and never leaves it for another: that has been tried
//! elsewhere, and half-run destructors were the least of it.
//!
//! A fault that is not ours goes to the handler that was there before, so std's own report for threads still works.

use super::arena::{self, Place};
use super::page_size;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::OnceLock;

/// What handled SIGSEGV and SIGBUS before us, one each: they may differ.
static PREVIOUS: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The kernel raised the signal without an address: among other things, when the frame of another signal found no room.
#[cfg(target_os = "linux")]
const SI_KERNEL: libc::c_int = 0x80;

/// Installs the handler, once in a process.
pub(crate) fn install() {
    PREVIOUS.get_or_init(|| {
        SIGNALS.map(|signal| {
            // SAFETY: both structs are plain data that may be zero; the handler keeps to what a signal handler may do.
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
    // SAFETY: the kernel passes a valid siginfo to a SA_SIGINFO handler.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // What a process sent (a code of 0 and below) has no address.
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
            // Near the limit only: a fault of another kind on a roomy stack is not ours.
            match arena::find(sp) {
                Some(Place::Stack(slot, left)) if left < super::signal_frame_size() + 512 => report(slot, Some(left)),
                Some(Place::Guard(slot)) => report(slot, Some(0)),
                _ => {}
            }
        }
    }
    pass_on(signal, code, info, context);
}

/// Whether the code that touched the guard at `address` runs on the stack above it, at its end. Otherwise it has followed a
/// wrong pointer, on whatever stack: a profiler's signal handler that unwinds, for one.
///
/// Code that grows its stack touches it at the stack pointer or above, and below by no more than a frame's first store or a
/// red zone, which are within a page. A large frame of C code without probes puts the stack pointer into the guard or, by
/// more than a guard, below this slot; the latter is not told apart from a read beyond the top of the stack below, so its
/// fault goes unnamed.
fn is_overflow(slot: arena::Slot, address: usize, context: *mut libc::c_void) -> bool {
    #[cfg(target_os = "linux")]
    if let Some(sp) = interrupted_sp(context) {
        let here = matches!(arena::find(sp), Some(Place::Stack(on, _) | Place::Guard(on)) if on == slot);
        return here && sp <= address.saturating_add(page_size());
    }
    // Where the stack pointer is not known, most who touch a guard have run out of stack.
    let _ = (slot, address, context);
    true
}

/// The stack pointer of the code that the signal interrupted.
#[cfg(target_os = "linux")]
fn interrupted_sp(context: *mut libc::c_void) -> Option<usize> {
    let context = context.cast::<libc::ucontext_t>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel passes a valid ucontext to a SA_SIGINFO handler.
    return Some(unsafe { (*context).uc_mcontext.gregs[libc::REG_RSP as usize] } as usize);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    return Some(unsafe { (*context).uc_mcontext.sp } as usize);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return None;
}

/// Names the stack and ends the process. `left` is set when a signal's frame found no room, with the bytes that were left.
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

/// Prints a line on stderr with `write(2)`, naming a coroutine, and aborts: for the ends that no error can report.
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

/// Hands a fault that is not ours to whoever was there before.
fn pass_on(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let at = usize::from(signal != libc::SIGSEGV);
    let Some(previous) = PREVIOUS.get().map(|previous| &previous[at]) else { return };
    // SAFETY: the previous action is called in the form in which it was installed, with the kernel's own arguments; for a
    // default action it is put back, and the fault happens again under it.
    unsafe {
        match previous.sa_sigaction {
            // Sent by somebody, and ignored before: so it is now, and we stay.
            libc::SIG_IGN if code <= 0 => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, previous, null_mut());
                // A signal that somebody sent does not come again by itself.
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

/// A handler that was to run once (SA_RESETHAND) leaves the default action behind, as the kernel would have done it; else
/// the fault would come back to it for ever.
unsafe fn one_shot(signal: libc::c_int, previous: &libc::sigaction) {
    if previous.sa_flags & libc::SA_RESETHAND != 0 {
        // SAFETY: the struct is plain data that may be zero, which is SIG_DFL.
        unsafe { libc::sigaction(signal, &zeroed(), null_mut()) };
    }
}

/// One line of text without an allocation. What does not fit is cut.
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
        // SAFETY: the bytes are ours. A failure has nobody to go to.
        unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.len) };
    }
}

/// An alternate signal stack of our own, for a thread that had none.
pub(crate) struct AlternateStack {
    start: *mut libc::c_void,
    len: usize,
}

/// Gives this thread an alternate signal stack if it has none: the handler cannot run on the stack that overflowed. std
/// makes them for main and its own threads; a thread that C code made comes without.
pub(crate) fn prepare_thread() -> Option<AlternateStack> {
    // ASan brings its own.
    if cfg!(feature = "asan") {
        return None;
    }
    let guard = page_size();
    let size = (super::signal_frame_size() + 8 * 1024).next_multiple_of(guard);
    // SAFETY: the structs are plain data; a fresh mapping is made, guarded at its low end, and owned by what is returned.
    // If anything fails the thread goes without, as it came.
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
        // SAFETY: runs on the thread that installed it, at its end. If somebody put another in its place meanwhile, that
        // one stays.
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
