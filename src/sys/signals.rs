//! Signal handlers for runs, and the self-pipe through which a handler wakes a run's watchdog.
//!
//! The handler is installed as long as at least one run wants the signal. Afterwards the previous action is restored.
//! The handler also calls the previous handler, if there was one. For the watchdog it only counts the signal and writes
//! a byte to the self-pipe. Self-pipes are never freed and their descriptors never closed, so the handler may search
//! the list of self-pipes at any moment, without a lock.

use std::io;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

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
    let mut pipe = PIPES.load(Ordering::Acquire);
    // SAFETY: pipes are initialised before they are published, and are never freed.
    while let Some(this) = unsafe { pipe.as_ref() } {
        if this.signal.load(Ordering::Acquire) == signal {
            this.notify();
        }
        pipe = this.next.cast_mut();
    }
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
    errno.restore();
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

/// A self-pipe: a watchdog sleeps on it, and a write to it wakes the watchdog. The signal handler, the worker and the
/// end of the run write to it.
struct Pipe {
    /// The signal whose handler writes to this pipe; 0 for none.
    signal: AtomicI32,
    taken: AtomicBool,
    signals: AtomicU32,
    read: libc::c_int,
    write: libc::c_int,
    next: *const Pipe,
}

// SAFETY: `next` is written only before the pipe is published, and points to another pipe, which is never freed. The
// other fields are atomic or never change.
unsafe impl Sync for Pipe {}

/// The list of all pipes. It grows to the largest number of pipes in use at once. Pipes are never removed.
static PIPES: AtomicPtr<Pipe> = AtomicPtr::new(null_mut());

impl Pipe {
    fn notify(&self) {
        self.signals.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    fn wake(&self) {
        // A full pipe is fine: its bytes wake the watchdog.
        // SAFETY: the descriptor is never closed, and the byte lives during the call.
        unsafe { libc::write(self.write, [0u8].as_ptr().cast(), 1) };
    }

    fn new() -> io::Result<&'static Pipe> {
        let mut ends = [0; 2];
        // SAFETY: pipe writes two new descriptors, which only this pipe uses; fcntl sets their flags.
        unsafe {
            if libc::pipe(ends.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            for end in ends {
                libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC);
                libc::fcntl(end, libc::F_SETFL, libc::O_NONBLOCK);
            }
        }
        let pipe = Box::leak(Box::new(Pipe {
            signal: AtomicI32::new(0),
            taken: AtomicBool::new(true),
            signals: AtomicU32::new(0),
            read: ends[0],
            write: ends[1],
            next: PIPES.load(Ordering::Acquire),
        }));
        while let Err(now) = PIPES.compare_exchange(pipe.next.cast_mut(), pipe, Ordering::AcqRel, Ordering::Acquire) {
            pipe.next = now;
        }
        Ok(pipe)
    }

    /// Takes an unused pipe, or makes a new one.
    ///
    /// # Errors
    ///
    /// The process has no file descriptors left for a new pipe.
    fn take() -> io::Result<&'static Pipe> {
        let mut pipe = PIPES.load(Ordering::Acquire);
        // SAFETY: pipes are initialised before they are published, and are never freed.
        while let Some(this) = unsafe { pipe.as_ref() } {
            if !this.taken.swap(true, Ordering::AcqRel) {
                return Ok(this);
            }
            pipe = this.next.cast_mut();
        }
        Pipe::new()
    }
}

/// A self-pipe in use by one run. Dropping it frees the pipe for another run.
pub(crate) struct SelfPipe {
    pipe: &'static Pipe,
    /// The number of signals at the last call of `was_signalled`.
    seen: AtomicU32,
}

impl SelfPipe {
    /// Takes an unused self-pipe, or makes a new one.
    ///
    /// # Errors
    ///
    /// The process has no file descriptors left for a new pipe.
    pub(crate) fn new() -> io::Result<SelfPipe> {
        let pipe = Pipe::take()?;
        Ok(SelfPipe { pipe, seen: AtomicU32::new(pipe.signals.load(Ordering::Acquire)) })
    }

    /// Makes the handler of `signal` write to this pipe.
    pub(crate) fn listen(&self, signal: libc::c_int) {
        self.pipe.signal.store(signal, Ordering::Release);
    }

    /// Wakes the thread that waits on this pipe.
    pub(crate) fn wake(&self) {
        self.pipe.wake();
    }

    /// Returns true if the signal arrived since the last call.
    pub(crate) fn was_signalled(&self) -> bool {
        let now = self.pipe.signals.load(Ordering::Acquire);
        self.seen.swap(now, Ordering::AcqRel) != now
    }

    /// Waits for a call of `wake` or a signal, at most for `limit`. May return early.
    pub(crate) fn wait(&self, limit: Option<Duration>) {
        let millis = limit.map_or(-1, |limit| limit.as_millis().clamp(1, 60_000) as libc::c_int);
        let mut poll = libc::pollfd { fd: self.pipe.read, events: libc::POLLIN, revents: 0 };
        let mut bytes = [0u8; 64];
        // An interrupted poll returns early, which callers accept.
        // SAFETY: the descriptor is never closed. `poll` is one pollfd, and the buffer has the given size.
        unsafe {
            libc::poll(&mut poll, 1, millis);
            while libc::read(self.pipe.read, bytes.as_mut_ptr().cast(), bytes.len()) > 0 {}
        }
    }
}

impl Drop for SelfPipe {
    fn drop(&mut self) {
        self.pipe.signal.store(0, Ordering::Release);
        self.pipe.taken.store(false, Ordering::Release);
    }
}
