//! A full fence in another thread, by request: the replacement for membarrier(2) where a sandbox forbids it later.
//!
//! The bias of a lock (see `wait::lock`) can be revoked only after the owner's thread has passed a full fence. A seccomp
//! filter that is installed while locks have owners may forbid membarrier(2). Then the revoking thread sends a request to the
//! owner's thread, in two ways, and the owner answers the first that arrives:
//!
//! * A remote wake: the owner's worker finds it when it polls, or is woken by it.
//! * After a millisecond without an answer, a signal: it also reaches a task that computes, or that blocks the thread.
//!
//! ```text
//! revoking thread                           owner's thread, in its signal handler or between two turns
//!   bias = SHARED
//!   asked = (number, thread)  --------->      asked names this thread?
//!   wait until answered                       full fence
//!                             <---------      answered = asked
//!   read the owner word
//! ```
//!
//! Correctness: the signal handler runs between two instructions of the owner's program, and `membarrier::asymmetric_light`
//! keeps the compiler from reordering the owner's write of `INSIDE` and its read of `bias`. If the owner answers after the
//! write, the write happens before the answer, which the revoking thread has read: that thread sees `INSIDE`. If the owner
//! answers before the write, the store of `SHARED` happens before the read of `bias`, since the owner read `asked` in between:
//! the owner backs out. The handshake gives the guarantee of membarrier for one thread instead of all, on every architecture.
//!
//! A run that is not registered has ended, or owns no lock. Its last stores happen before it released the registry's lock.

use super::Worker;

/// Registers the run of this thread as one that can be asked for a fence. Must be called before the run owns its first lock.
#[inline]
pub(crate) fn register(worker: &Worker) {
    if !worker.registered.replace(true) {
        imp::register(worker);
    }
}

/// Unregisters the run of this thread. The caller ensures that the run takes no lock as its owner any more.
#[inline]
pub(crate) fn unregister(worker: &Worker) {
    if worker.registered.replace(false) {
        imp::unregister(worker.run());
    }
}

pub(crate) use self::imp::{answer, ask};

#[cfg(target_os = "linux")]
mod imp {
    use super::super::remote::RemoteQueue;
    use super::Worker;
    use crate::report::report;
    use crate::sys::signals::{Handled, SAMPLE, is_ours};
    use std::sync::atomic::{AtomicU64, Ordering, fence};
    use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
    use std::time::{Duration, Instant};

    /// A registered run, which may own locks.
    #[derive(Clone, Copy)]
    struct Owner {
        run: u64,
        process: u64,
        thread: u64,
        queue: &'static RemoteQueue,
    }

    static OWNERS: Mutex<Vec<Owner>> = Mutex::new(Vec::new());
    /// Locked by the asking thread: one request is open at a time.
    static ASKS: Mutex<()> = Mutex::new(());
    /// The open request, or 0: its number, with the kernel's id of the asked thread in the low bits.
    static ASKED: AtomicU64 = AtomicU64::new(0);
    /// The newest answered request. Never decreases, even if an older handler finishes late.
    static ANSWERED: AtomicU64 = AtomicU64::new(0);

    /// The width of the thread id in `ASKED`. Linux thread ids have at most 22 bits.
    const THREAD_BITS: u32 = 24;
    /// The time for the worker to find the remote wake before a signal interrupts its thread.
    const PATIENCE: Duration = Duration::from_millis(1);

    fn owners() -> MutexGuard<'static, Vec<Owner>> {
        OWNERS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process() -> u64 {
        // SAFETY: getpid(2) has no preconditions.
        u64::from(unsafe { libc::getpid() }.unsigned_abs())
    }

    fn thread() -> u64 {
        // SAFETY: gettid(2) has no arguments and no preconditions.
        unsafe { libc::syscall(libc::SYS_gettid) as u64 }
    }

    pub(super) fn register(worker: &Worker) {
        crate::sys::signals::on_fence(answer);
        let queue = worker.remote.queue();
        owners().push(Owner { run: worker.run(), process: process(), thread: thread(), queue });
    }

    pub(super) fn unregister(run: u64) {
        owners().retain(|owner| owner.run != run);
    }

    fn find(run: u64) -> Option<Owner> {
        owners().iter().find(|owner| owner.run == run).copied()
    }

    /// Answers the open request if this thread is asked. Called from the signal handler and between turns. Returns whether
    /// there was such a request without an answer yet.
    pub(crate) fn answer() -> bool {
        let asked = ASKED.load(Ordering::Acquire);
        if asked == 0 || asked % (1 << THREAD_BITS) != thread() {
            return false;
        }
        fence(Ordering::SeqCst);
        ANSWERED.fetch_max(asked, Ordering::AcqRel) < asked
    }

    /// Waits until the thread of `run` has passed a full fence, and returns true. Returns false if the run or its thread has
    /// ended; the stores of that thread are visible then.
    #[cold]
    pub(crate) fn ask(run: u64) -> bool {
        fence(Ordering::SeqCst);
        let Some(owner) = find(run) else { return false };
        // A child process after fork keeps one thread, whose id equals the process id. If the owner had another thread, that
        // thread does not exist in the child.
        let of_parent = owner.process != process();
        let asked_thread = if of_parent { process() } else { owner.thread };
        if asked_thread == thread() {
            return true; // the owner's stores precede this call in program order
        }
        let _asks = turn();
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        let request = number << THREAD_BITS | asked_thread;
        ASKED.store(request, Ordering::SeqCst);
        // False if the run has ended: the loop below checks that.
        let _ = owner.queue.notify(run);
        let (began, mut handled, mut interval) = (Instant::now(), None, 1);
        while ANSWERED.load(Ordering::Acquire) < request && find(run).is_some() {
            if began.elapsed() < PATIENCE / 10 {
                std::thread::yield_now();
                continue;
            }
            if began.elapsed() >= PATIENCE && handled.is_none() {
                // If the handler cannot be installed, the remote wake can still succeed.
                handled = Some(Handled::install(SAMPLE).ok());
                if !interrupt(asked_thread) {
                    break; // the thread has ended, so its stores are visible
                }
            }
            if began.elapsed() >= interval * Duration::from_secs(1) {
                interval *= 2;
                insist(asked_thread);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        ASKED.store(0, Ordering::Release);
        fence(Ordering::SeqCst);
        ANSWERED.load(Ordering::Acquire) >= request
    }

    /// Waits for the right to ask. Answers requests meanwhile, so that two owners that ask each other do not deadlock.
    fn turn() -> MutexGuard<'static, ()> {
        loop {
            match ASKS.try_lock() {
                Ok(turn) => return turn,
                Err(TryLockError::Poisoned(error)) => return error.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    answer();
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
        }
    }

    /// Sends the signal. Returns false if the thread does not exist.
    fn interrupt(thread: u64) -> bool {
        // SAFETY: tgkill(2) takes integers only, and fails for a thread that is not of this process. A newer thread that reuses
        // the id answers instead, which is correct: the owner's thread has ended, so its stores are visible.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process() as libc::pid_t, thread as libc::pid_t, SAMPLE) };
        sent == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
    }

    /// Called when an answer is missing for a second or longer. Aborts the process if the signal cannot arrive: then the wait
    /// may never end, since the worker does not poll either, and revoking the bias without the fence would be a data race.
    fn insist(thread: u64) {
        let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap_or_default();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let blocked = blocked.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        let is_blocked = blocked >> (SAMPLE - 1) & 1 == 1;
        if !is_blocked && is_ours(SAMPLE) {
            return;
        }
        report!(
            "the kernel refuses membarrier(2), which it had granted before, and thread {thread}, whose run owns a lock that \
             another thread wants, cannot be asked instead: {}. Allow membarrier in the seccomp filter, install the filter before \
             the first run, or let that thread receive SIGURG",
            if is_blocked {
                "it blocks SIGURG, and takes no turns"
            } else {
                "another handler of SIGURG has replaced cede's"
            }
        );
        std::process::abort();
    }
}

/// The handshake on systems without membarrier(2): no lock has an owner there, so no thread is ever asked.
#[cfg(not(target_os = "linux"))]
mod imp {
    use super::Worker;

    pub(super) fn register(_: &Worker) {}

    pub(super) fn unregister(_: u64) {}

    pub(crate) fn answer() -> bool {
        false
    }

    pub(crate) fn ask(_: u64) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "handshake_tests.rs"]
mod tests;
