//! Signal handlers for runs and for the listeners of [`signal`](crate::signal).
//!
//! The handler is installed as long as at least one run or listener wants the signal. Afterwards the previous action is
//! restored. The handler also calls the previous handler, if there was one. For the watchdog and the listeners it only
//! records the signal in their self-pipes (`self_pipe`).

use super::self_pipe;
use std::io;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
use std::sync::atomic::AtomicI32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The signal that interrupts a worker's thread for a fence or a sample. Its default action is to ignore it, so a late
/// signal does no harm.
pub(crate) const SAMPLE: libc::c_int = libc::SIGURG;

/// The function that the handler of [`SAMPLE`] calls first. It returns true if this thread was asked for a fence.
///
/// `OnceLock::get` takes no lock, so the handler may call it.
static ON_FENCE: OnceLock<fn() -> bool> = OnceLock::new();

/// Sets the function that the handler of [`SAMPLE`] calls first. Calls after the first have no effect.
pub(crate) fn on_fence(f: fn() -> bool) {
    let _ = ON_FENCE.set(f);
}

/// A function that the handler of [`SAMPLE`] calls with the kernel's context. Returns false if this thread was not
/// asked for a sample.
pub(crate) type OnSample = unsafe fn(*mut libc::c_void) -> bool;

static ON_SAMPLE: OnceLock<OnSample> = OnceLock::new();

/// Sets the function that the handler of [`SAMPLE`] calls with the kernel's context. Calls after the first have no
/// effect.
pub(crate) fn on_sample(f: OnSample) {
    let _ = ON_SAMPLE.set(f);
}

/// All signal numbers are below this number.
const MOST: usize = 65;

/// The previous handler of a signal, which our handler calls. The field for its form (with or without SA_SIGINFO) holds
/// its address, and the other field is 0. Both are 0 if there was no handler.
struct Before {
    plain: AtomicUsize,
    with_info: AtomicUsize,
}

static BEFORE: [Before; MOST] = [const { Before { plain: AtomicUsize::new(0), with_info: AtomicUsize::new(0) } }; MOST];

/// The installation of our handler for one signal.
#[derive(Clone, Copy)]
struct Installed {
    users: usize,
    /// The action to restore. `None` if our handler is not installed.
    old: Option<libc::sigaction>,
}

static INSTALLED: Mutex<[Installed; MOST]> = Mutex::new([const { Installed { users: 0, old: None } }; MOST]);

fn lock() -> MutexGuard<'static, [Installed; MOST]> {
    // Poisoning is ignored: no code panics between two steps of a change.
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A use of our handler for one signal. Dropping the last use restores the previous action.
pub(crate) struct Handled(libc::c_int);

impl Handled {
    /// Installs our handler for `signal`, unless it is installed already.
    ///
    /// # Errors
    ///
    /// The signal does not exist, reports a fault of the machine (the program cannot continue after a fault), or is
    /// refused by the system.
    pub(crate) fn install(signal: libc::c_int) -> io::Result<Handled> {
        let faults =
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS];
        if faults.contains(&signal) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it reports a fault; choose another signal"));
        }
        let at = usize::try_from(signal).ok().filter(|at| (1..MOST).contains(at));
        let at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no such signal"))?;
        let mut installed = lock();
        let this = &mut installed[at];
        // `old` is still set if `drop` found a later handler in place of ours. The later handler may call ours, so
        // installing ours again could make the two handlers call each other endlessly.
        if this.users == 0 && !(this.old.is_some() && is_handled(signal)) {
            this.old = Some(put_handler(signal)?);
        }
        this.users += 1;
        Ok(Handled(signal))
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        let mut installed = lock();
        let this = &mut installed[self.0 as usize];
        this.users -= 1;
        // A handler that was installed after ours is not removed, and may go on calling ours.
        if this.users == 0
            && handler_of(self.0) == ours()
            && let Some(old) = this.old.take()
        {
            // SAFETY: `old` is the action that the system returned for this signal.
            unsafe { libc::sigaction(self.0, &old, null_mut()) };
        }
    }
}

/// A thread of this process that signals are sent to, also after its end.
#[derive(Clone, Copy)]
pub(crate) struct Thread {
    #[cfg(target_os = "linux")]
    number: libc::pid_t,
    #[cfg(not(target_os = "linux"))]
    thread: libc::pthread_t,
}

impl Thread {
    #[cfg(target_os = "linux")]
    pub(crate) fn current() -> Thread {
        // SAFETY: gettid(2) has no arguments and no preconditions.
        Thread { number: unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t } }
    }

    /// Sends the signal to the thread. Returns false if it has ended. A thread that was started later may have its number, and
    /// receives the signal instead.
    #[cfg(target_os = "linux")]
    pub(crate) fn interrupt(self, signal: libc::c_int) -> bool {
        // SAFETY: tgkill(2) and getpid(2) take integers only. tgkill(2) fails for a thread that is not of this process.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.number, signal) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn current() -> Thread {
        // SAFETY: `pthread_self` has no preconditions.
        Thread { thread: unsafe { libc::pthread_self() } }
    }

    /// Sends the signal to the thread, which must not have ended.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn interrupt(self, signal: libc::c_int) -> bool {
        // SAFETY: a thread with an open run has not ended. The exception is a thread that has forgotten a fiber with a watched run in it.
        // Only the thread of its watchdog calls this function then, for a turn that it saw, and a forgotten run has no turn.
        unsafe { libc::pthread_kill(self.thread, signal) == 0 }
    }
}

fn ours() -> usize {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
    handler as usize
}

fn handler_of(signal: libc::c_int) -> usize {
    // SAFETY: the struct is plain data that may be zero. The call writes it and changes no action.
    unsafe {
        let mut now: libc::sigaction = zeroed();
        libc::sigaction(signal, null(), &mut now);
        now.sa_sigaction
    }
}

/// Returns true if our handler is the current one for the signal.
pub(crate) fn is_ours(signal: libc::c_int) -> bool {
    handler_of(signal) == ours()
}

/// Returns true if any handler is installed for the signal.
fn is_handled(signal: libc::c_int) -> bool {
    !matches!(handler_of(signal), libc::SIG_DFL | libc::SIG_IGN)
}

/// Returns true if the process ignores the signal, for example because a shell started it in the background.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    handler_of(signal) == libc::SIG_IGN
}

fn put_handler(signal: libc::c_int) -> io::Result<libc::sigaction> {
    // SAFETY: both structs are plain data that may be zero and live during the calls. The handler is async-signal-safe.
    let old = unsafe {
        let (mut new, mut old): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
        if libc::sigaction(signal, null(), &mut old) != 0 {
            return Err(io::Error::last_os_error());
        }
        // Stored before our handler is installed, so that the handler sees it.
        let handler = if matches!(old.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) { 0 } else { old.sa_sigaction };
        let info = old.sa_flags & libc::SA_SIGINFO != 0;
        BEFORE[signal as usize].plain.store(if info { 0 } else { handler }, Ordering::Release);
        BEFORE[signal as usize].with_info.store(if info { handler } else { 0 }, Ordering::Release);
        new.sa_sigaction = ours();
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&mut new.sa_mask);
        if libc::sigaction(signal, &new, null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        old
    };
    Ok(old)
}

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = Errno::save();
    if signal == SAMPLE {
        // The kernel merges pending signals, so one signal may have to answer both requests.
        let fenced = ON_FENCE.get().is_some_and(|answer| answer());
        // SAFETY: the kernel passes a context to a SA_SIGINFO handler that is valid until the handler returns.
        if ON_SAMPLE.get().is_some_and(|answer| unsafe { answer(context) }) || fenced {
            return errno.restore();
        }
    }
    let ends = self_pipe::record(signal);
    let before = &BEFORE[signal as usize];
    // SAFETY: each address is that of a handler that was installed in this form. The arguments are the kernel's.
    unsafe {
        match (before.plain.load(Ordering::Acquire), before.with_info.load(Ordering::Acquire)) {
            (0, 0) => {}
            (0, handler) => {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
            (handler, _) => {
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
    if ends {
        end_by_default(signal);
    }
    errno.restore();
}

/// Ends the process by the default action of `signal`, so that its exit status names the signal. Async-signal-safe.
fn end_by_default(signal: libc::c_int) -> ! {
    // SAFETY: the structs are plain data that may be zero and live during the calls, which are async-signal-safe. The
    // default action ends the process at the latest when the signal, which is blocked in its handler, is unblocked.
    unsafe {
        let mut default: libc::sigaction = zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &default, null_mut());
        libc::raise(signal);
        let mut only: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut only);
        libc::sigaddset(&mut only, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &only, null_mut());
        // Process 1 of a container ignores signals by default. The shell gives an exit by a signal this status.
        libc::_exit(128 + signal)
    }
}

/// The `errno` of the interrupted code. The handler restores it, because the code may be about to read it.
struct Errno(libc::c_int);

impl Errno {
    #[cfg(target_os = "linux")]
    fn place() -> *mut libc::c_int {
        // SAFETY: the function has no preconditions.
        unsafe { libc::__errno_location() }
    }

    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    fn place() -> *mut libc::c_int {
        // SAFETY: the function has no preconditions.
        unsafe { libc::__error() }
    }

    #[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
    fn place() -> *mut libc::c_int {
        static NOT_KNOWN: AtomicI32 = AtomicI32::new(0);
        NOT_KNOWN.as_ptr()
    }

    fn save() -> Errno {
        // SAFETY: `place` returns the `errno` of this thread, which lives as long as the thread.
        Errno(unsafe { *Errno::place() })
    }

    fn restore(self) {
        // SAFETY: `place` returns the `errno` of this thread, which lives as long as the thread.
        unsafe { *Errno::place() = self.0 };
    }
}
