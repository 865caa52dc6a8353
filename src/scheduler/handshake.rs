//! A fence in another thread, by asking that thread for it: where membarrier(2) was granted and is refused later.
//!
//! A lock that belongs to a run (see `lock`) can be taken away only after the owner's thread has passed a fence. A sandbox that
//! is installed while locks have owners may refuse membarrier(2). Then the thread is asked, in two ways at once, and answers
//! in the first that comes:
//!
//! * Its worker finds a remote wake when it polls for events, or is woken by it.
//! * If that takes longer than a millisecond, a signal interrupts it: a task may compute, or block the thread.
//!
//! ```text
//! other thread                              owner's thread, in its handler or between two turns
//!   bias = SHARED
//!   asked = (number, thread)  --------->      asked names this thread?
//!   wait until answered                       full fence
//!                             <---------      answered = asked
//!   read inside
//! ```
//!
//! Why that is enough. The handler runs between two instructions of the owner's program, and
//! `membarrier::asymmetric_light` keeps the compiler from moving the owner's write of `inside` and its read of `bias`
//! over each other. If the answer comes after the write, the write happens before the answer, which the other thread
//! has read: it sees `inside`. If it comes before the write, the store of `SHARED` happens before the read of the bias,
//! since `asked` was read in between: the owner turns back. This is what membarrier promises, for one thread instead of
//! all, and holds on every architecture.
//!
//! A run that is not registered has ended, or owns nothing. Its last stores happen before the registry's lock was released.

use super::Worker;

/// Makes the run of this thread one that can be asked. Before it owns its first lock.
#[inline]
pub(crate) fn register(worker: &Worker) {
    if !worker.registered.replace(true) {
        imp::register(worker);
    }
}

/// The run owns nothing any more.
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

    /// A run that owns locks.
    #[derive(Clone, Copy)]
    struct Owner {
        run: u64,
        process: u64,
        thread: u64,
        queue: &'static RemoteQueue,
    }

    static OWNERS: Mutex<Vec<Owner>> = Mutex::new(Vec::new());
    /// Held by the one thread that asks.
    static ASKS: Mutex<()> = Mutex::new(());
    /// The request under way: its number, and the system's number of the thread that is asked in the low bits; or 0.
    static ASKED: AtomicU64 = AtomicU64::new(0);
    /// The newest request that was answered. Only grows, whatever handler is late.
    static ANSWERED: AtomicU64 = AtomicU64::new(0);

    /// Linux gives threads numbers of up to 22 bits.
    const THREAD_BITS: u32 = 24;
    /// How long the worker has to find the remote wake before its thread is interrupted.
    const PATIENCE: Duration = Duration::from_millis(1);

    fn owners() -> MutexGuard<'static, Vec<Owner>> {
        OWNERS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process() -> u64 {
        // SAFETY: it has no preconditions.
        u64::from(unsafe { libc::getpid() }.unsigned_abs())
    }

    fn thread() -> u64 {
        // SAFETY: it has no arguments and no preconditions.
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

    /// Answers, if this thread is asked: in a signal handler, or between two turns. Whether there was a request for it that had
    /// no answer yet.
    pub(crate) fn answer() -> bool {
        let asked = ASKED.load(Ordering::Acquire);
        if asked == 0 || asked % (1 << THREAD_BITS) != thread() {
            return false;
        }
        fence(Ordering::SeqCst);
        ANSWERED.fetch_max(asked, Ordering::AcqRel) < asked
    }

    /// Returns true when the thread of this run has passed a full fence since the call, and false when the run or the thread has
    /// ended.
    #[cold]
    pub(crate) fn ask(run: u64) -> bool {
        fence(Ordering::SeqCst);
        let Some(owner) = find(run) else { return false };
        // In a child of fork there is one thread that was there before, and the process is called by its number. If that is not
        // the owner's, then the owner's is gone.
        let of_parent = owner.process != process();
        let asked_thread = if of_parent { process() } else { owner.thread };
        if asked_thread == thread() {
            return true; // what it did before comes before
        }
        let _asks = turn();
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        let request = number << THREAD_BITS | asked_thread;
        ASKED.store(request, Ordering::SeqCst);
        // A run that has ended meanwhile is found out below.
        let _ = owner.queue.notify(run);
        let (began, mut handled, mut told) = (Instant::now(), None, 1);
        while ANSWERED.load(Ordering::Acquire) < request && find(run).is_some() {
            if began.elapsed() < PATIENCE / 10 {
                std::thread::yield_now();
                continue;
            }
            if began.elapsed() >= PATIENCE && handled.is_none() {
                // Without a handler the remote wake remains.
                handled = Some(Handled::install(SAMPLE).ok());
                if !interrupt(asked_thread) {
                    break; // it is gone, and its stores are visible since it has ended
                }
            }
            if began.elapsed() >= told * Duration::from_secs(1) {
                told *= 2;
                insist(asked_thread);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        ASKED.store(0, Ordering::Release);
        fence(Ordering::SeqCst);
        ANSWERED.load(Ordering::Acquire) >= request
    }

    /// The right to ask. Whoever waits for it may be asked meanwhile.
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

    /// False if there is no such thread.
    fn interrupt(thread: u64) -> bool {
        // SAFETY: it takes numbers. A thread that has ended is none of this process, and one that has got its number since
        // answers in its place: the one that is meant has passed many fences by then.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process() as libc::pid_t, thread as libc::pid_t, SAMPLE) };
        sent == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
    }

    /// No answer for a second and more: if the signal cannot arrive, and the worker does not poll for events either,
    /// waiting may never end, and going on would be a race.
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

/// Without membarrier no lock has an owner.
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
