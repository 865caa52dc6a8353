//! Signals that a run asks for, and the self-pipe by which the handler wakes the run's watchdog.
//!
//! A handler is installed for as long as some run wants the signal; then what was there before is put back. What was a
//! handler before is called too. The handler itself only counts and writes a byte to a pipe: pipes are never freed and their
//! pipes never closed, so it may find one at any moment, without a lock.

use std::io;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// What interrupts a worker to see what it does. Ignored by default, so one that comes late harms nobody.
pub(crate) const SAMPLE: libc::c_int = libc::SIGURG;

/// Called first by the handler of [`SAMPLE`]. Returns whether this thread was asked for a fence.
static ON_FENCE: OnceLock<fn() -> bool> = OnceLock::new();

/// Sets what the handler of [`SAMPLE`] calls first; the first call counts. `get` takes no lock, so the handler may use it.
pub(crate) fn on_fence(f: fn() -> bool) {
    let _ = ON_FENCE.set(f);
}

/// Called by the handler of [`SAMPLE`] with the kernel's context. Returns false if this thread was not asked for a sample.
pub(crate) type OnSample = unsafe fn(*mut libc::c_void) -> bool;

static ON_SAMPLE: OnceLock<OnSample> = OnceLock::new();

/// Sets what the handler of [`SAMPLE`] calls; the first call counts. `get` takes no lock, so the handler may use it.
pub(crate) fn on_sample(f: OnSample) {
    let _ = ON_SAMPLE.set(f);
}

/// Signals are numbers below this.
const MOST: usize = 65;

/// What handled a signal before us, for the handler to call: in either of the two forms, or 0.
struct Before {
    plain: AtomicUsize,
    with_info: AtomicUsize,
}

static BEFORE: [Before; MOST] = [const { Before { plain: AtomicUsize::new(0), with_info: AtomicUsize::new(0) } }; MOST];

/// One signal's installation.
#[derive(Clone, Copy)]
struct Installed {
    users: usize,
    /// What is to be put back; none if our handler does not stand.
    old: Option<libc::sigaction>,
}

static INSTALLED: Mutex<[Installed; MOST]> = Mutex::new([const { Installed { users: 0, old: None } }; MOST]);

fn lock() -> MutexGuard<'static, [Installed; MOST]> {
    // Nothing panics half-way.
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Our handler for one signal. Dropping the last one puts back what was there before.
pub(crate) struct Handled(libc::c_int);

impl Handled {
    /// # Errors
    ///
    /// If the signal cannot be handled, or is one by which the machine reports a fault, after which nothing can go on.
    pub(crate) fn install(signal: libc::c_int) -> io::Result<Handled> {
        let faults =
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS];
        if faults.contains(&signal) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it reports a fault, from which nothing goes on"));
        }
        let at = usize::try_from(signal).ok().filter(|at| (1..MOST).contains(at));
        let at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no such signal"))?;
        let mut installed = lock();
        let this = &mut installed[at];
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
        // Somebody who came after us and calls us in turn keeps doing so: what they put there is not ours to remove.
        if this.users == 0
            && handler_of(self.0) == ours()
            && let Some(old) = this.old.take()
        {
            // SAFETY: the action is what the system gave us for this signal.
            unsafe { libc::sigaction(self.0, &old, null_mut()) };
        }
    }
}

fn ours() -> usize {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
    handler as usize
}

fn handler_of(signal: libc::c_int) -> usize {
    // SAFETY: the struct is plain data that may be zero, and is written by the call.
    unsafe {
        let mut now: libc::sigaction = zeroed();
        libc::sigaction(signal, null(), &mut now);
        now.sa_sigaction
    }
}

/// Whether the handler that stands is ours.
pub(crate) fn is_ours(signal: libc::c_int) -> bool {
    handler_of(signal) == ours()
}

/// Whether anybody's handler stands.
fn is_handled(signal: libc::c_int) -> bool {
    !matches!(handler_of(signal), libc::SIG_DFL | libc::SIG_IGN)
}

fn put_handler(signal: libc::c_int) -> io::Result<libc::sigaction> {
    // SAFETY: both structs are plain data that may be zero; the handler keeps to what a signal handler may do.
    let old = unsafe {
        let (mut new, mut old): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
        if libc::sigaction(signal, null(), &mut old) != 0 {
            return Err(io::Error::last_os_error());
        }
        // Before ours stands, so that it finds them.
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
        // Two signals that come at once are one.
        let fenced = ON_FENCE.get().is_some_and(|answer| answer());
        // SAFETY: the kernel passes a valid context to a SA_SIGINFO handler.
        if ON_SAMPLE.get().is_some_and(|answer| unsafe { answer(context) }) || fenced {
            return errno.restore();
        }
    }
    let mut pipe = PIPES.load(Ordering::Acquire);
    // SAFETY: pipes are published complete and never freed.
    while let Some(this) = unsafe { pipe.as_ref() } {
        if this.signal.load(Ordering::Acquire) == signal {
            this.notify();
        }
        pipe = this.next.cast_mut();
    }
    let before = &BEFORE[signal as usize];
    // SAFETY: each was installed as a handler of its form, and is called with the kernel's own arguments.
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

/// The interrupted code's `errno`, which it may be about to read.
struct Errno(libc::c_int);

impl Errno {
    #[cfg(target_os = "linux")]
    fn place() -> *mut libc::c_int {
        // SAFETY: it has no preconditions.
        unsafe { libc::__errno_location() }
    }

    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    fn place() -> *mut libc::c_int {
        // SAFETY: it has no preconditions.
        unsafe { libc::__error() }
    }

    #[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
    fn place() -> *mut libc::c_int {
        static NOT_KNOWN: AtomicI32 = AtomicI32::new(0);
        NOT_KNOWN.as_ptr()
    }

    fn save() -> Errno {
        // SAFETY: this thread's own.
        Errno(unsafe { *Errno::place() })
    }

    fn restore(self) {
        // SAFETY: this thread's own.
        unsafe { *Errno::place() = self.0 };
    }
}

/// What a watchdog sleeps on. Written to by the signal handler, by the worker, and by whoever ends the run.
struct Pipe {
    /// Which signal is written to it; 0 for none.
    signal: AtomicI32,
    taken: AtomicBool,
    signals: AtomicU32,
    read: libc::c_int,
    write: libc::c_int,
    next: *const Pipe,
}

// SAFETY: `next` is written once, before the self-pipe is published, and points to another that lives for ever.
unsafe impl Sync for Pipe {}

/// All pipes. Only ever grows, to as many as were ever used at once.
static PIPES: AtomicPtr<Pipe> = AtomicPtr::new(null_mut());

impl Pipe {
    fn notify(&self) {
        self.signals.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    fn wake(&self) {
        // SAFETY: the pipe is never closed. If it is full there is enough in it.
        unsafe { libc::write(self.write, [0u8].as_ptr().cast(), 1) };
    }

    fn new() -> io::Result<&'static Pipe> {
        let mut ends = [0; 2];
        // SAFETY: pipe writes two descriptors, which are ours from then on; fcntl sets their flags.
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

    /// An unused one, or a new one.
    fn take() -> io::Result<&'static Pipe> {
        let mut pipe = PIPES.load(Ordering::Acquire);
        // SAFETY: pipes are published complete and never freed.
        while let Some(this) = unsafe { pipe.as_ref() } {
            if !this.taken.swap(true, Ordering::AcqRel) {
                return Ok(this);
            }
            pipe = this.next.cast_mut();
        }
        Pipe::new()
    }
}

/// The use of a self-pipe, for one run.
pub(crate) struct SelfPipe {
    pipe: &'static Pipe,
    /// How often it had been signalled when that was last asked.
    seen: AtomicU32,
}

impl SelfPipe {
    /// # Errors
    ///
    /// Without descriptors for a pipe.
    pub(crate) fn new() -> io::Result<SelfPipe> {
        let pipe = Pipe::take()?;
        Ok(SelfPipe { pipe, seen: AtomicU32::new(pipe.signals.load(Ordering::Acquire)) })
    }

    /// From now on `signal` is written to it.
    pub(crate) fn listen(&self, signal: libc::c_int) {
        self.pipe.signal.store(signal, Ordering::Release);
    }

    /// Ends the sleep of whoever waits.
    pub(crate) fn wake(&self) {
        self.pipe.wake();
    }

    /// Whether the signal has come since this was last asked.
    pub(crate) fn was_signalled(&self) -> bool {
        let now = self.pipe.signals.load(Ordering::Acquire);
        self.seen.swap(now, Ordering::AcqRel) != now
    }

    /// Sleeps until it is woken or signalled, or for `limit`.
    pub(crate) fn wait(&self, limit: Option<Duration>) {
        let millis = limit.map_or(-1, |limit| limit.as_millis().clamp(1, 60_000) as libc::c_int);
        let mut poll = libc::pollfd { fd: self.pipe.read, events: libc::POLLIN, revents: 0 };
        let mut bytes = [0u8; 64];
        // SAFETY: one descriptor, which is never closed, and a buffer of the given size. An interrupted wait is a short one.
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
