//! Self-pipes, through which a signal handler wakes a watchdog or a listener.
//!
//! Self-pipes are never freed and their descriptors never closed, so the handler may search the list of self-pipes at any moment,
//! without a lock. A self-pipe that is no longer in use is used again. A child process makes new ones, because it shares the pipes
//! themselves with its parent: what one process reads, the other cannot.

use super::fork::{self, Generation};
use super::mode::set_nonblocking;
use std::io::{self, PipeReader, PipeWriter, Read};
#[cfg(feature = "io")]
use std::os::fd::BorrowedFd;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

/// A self-pipe: a thread or task waits for it, and a write to it ends the wait. Signals are bits: see `bit`.
struct Pipe {
    /// The signals that the handler records here.
    listened: AtomicU64,
    /// The signals that have arrived and were not taken.
    arrived: AtomicU64,
    /// The signals that end the process when they arrive for the second time.
    ending: AtomicU64,
    /// The `ending` signals that have arrived once.
    warned: AtomicU64,
    taken: AtomicBool,
    made_in: Generation,
    reader: PipeReader,
    writer: PipeWriter,
    next: *const Pipe,
}

// SAFETY: `next` is written only before the pipe is published, and points to another pipe, which is never freed. The
// other fields are atomic or never change, and the ends of a pipe are `Sync`.
unsafe impl Sync for Pipe {}

/// The list of all pipes. It grows to the largest number of pipes in use at once. Pipes are never removed.
static PIPES: AtomicPtr<Pipe> = AtomicPtr::new(null_mut());

/// Returns the bit of a signal. Signals have the numbers 1 to 64.
fn bit(signal: libc::c_int) -> u64 {
    let shift = u32::try_from(signal).ok().and_then(|number| number.checked_sub(1));
    shift.and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0)
}

/// Returns the pipes of this process.
fn pipes() -> impl Iterator<Item = &'static Pipe> {
    // SAFETY: pipes are initialised before they are published, and are never freed.
    let first = unsafe { PIPES.load(Ordering::Acquire).as_ref() };
    // SAFETY: as above.
    let all = std::iter::successors(first, |pipe| unsafe { pipe.next.as_ref() });
    all.filter(|pipe| !pipe.made_in.is_over())
}

/// Records `signal` in the self-pipes that listen to it. Returns true if it must end the process. Async-signal-safe.
pub(super) fn record(signal: libc::c_int) -> bool {
    let bit = bit(signal);
    let mut ends = false;
    for pipe in pipes() {
        if pipe.listened.load(Ordering::Acquire) & bit == 0 {
            continue;
        }
        // Before the write: a reader of the byte must find the signal.
        pipe.arrived.fetch_or(bit, Ordering::AcqRel);
        if pipe.ending.load(Ordering::Acquire) & bit != 0 {
            ends |= pipe.warned.fetch_or(bit, Ordering::AcqRel) & bit != 0;
        }
        pipe.wake();
    }
    ends
}

impl Pipe {
    fn wake(&self) {
        // A full pipe is fine: its bytes end the wait.
        // SAFETY: the descriptor is never closed, and the byte lives during the call.
        unsafe { libc::write(self.writer.as_raw_fd(), [0u8].as_ptr().cast(), 1) };
    }

    /// Reads all bytes.
    fn clear(&self) {
        let mut bytes = [0u8; 64];
        while (&self.reader).read(&mut bytes).is_ok_and(|count| count > 0) {}
    }

    fn new() -> io::Result<&'static Pipe> {
        fork::watch()?;
        let (reader, writer) = io::pipe()?;
        set_nonblocking(reader.as_fd(), true)?;
        set_nonblocking(writer.as_fd(), true)?;
        let pipe = Box::leak(Box::new(Pipe {
            listened: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            ending: AtomicU64::new(0),
            warned: AtomicU64::new(0),
            taken: AtomicBool::new(true),
            made_in: Generation::current(),
            reader,
            writer,
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
        let Some(pipe) = pipes().find(|pipe| !pipe.taken.swap(true, Ordering::AcqRel)) else { return Pipe::new() };
        pipe.clear();
        pipe.arrived.store(0, Ordering::Release);
        pipe.warned.store(0, Ordering::Release);
        Ok(pipe)
    }
}

/// A self-pipe in use by one run or listener. Dropping it frees the pipe for another one.
pub(crate) struct SelfPipe(&'static Pipe);

impl SelfPipe {
    /// Takes an unused self-pipe, or makes a new one.
    ///
    /// # Errors
    ///
    /// The process has no file descriptors left for a new pipe.
    pub(crate) fn new() -> io::Result<SelfPipe> {
        Pipe::take().map(SelfPipe)
    }

    /// Makes the handler of `signal` record it here.
    pub(crate) fn listen(&self, signal: libc::c_int) {
        self.0.listened.fetch_or(bit(signal), Ordering::AcqRel);
    }

    /// Makes the handler end the process, as the default action of `signal` does, when `signal` arrives for the second time.
    pub(crate) fn end_at_second(&self, signal: libc::c_int) {
        self.0.ending.fetch_or(bit(signal), Ordering::AcqRel);
    }

    /// Wakes the thread that waits on this pipe.
    pub(crate) fn wake(&self) {
        self.0.wake();
    }

    /// Returns true if the signal arrived since the last call.
    pub(crate) fn take_signal(&self, signal: libc::c_int) -> bool {
        self.0.arrived.fetch_and(!bit(signal), Ordering::AcqRel) & bit(signal) != 0
    }

    /// Waits for a call of `wake` or a signal, at most for `limit`. May return early.
    pub(crate) fn wait(&self, limit: Option<Duration>) {
        let millis = limit.map_or(-1, |limit| limit.as_millis().clamp(1, 60_000) as libc::c_int);
        let mut poll = libc::pollfd { fd: self.0.reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // An interrupted poll returns early, which callers accept.
        // SAFETY: the descriptor is never closed, and `poll` is one pollfd.
        unsafe { libc::poll(&mut poll, 1, millis) };
        self.0.clear();
    }
}

#[cfg(feature = "io")]
impl SelfPipe {
    /// The descriptor that becomes readable.
    pub(crate) fn reader(&self) -> BorrowedFd<'static> {
        self.0.reader.as_fd()
    }

    /// Makes the pipe not readable until the next signal or `wake`. A caller checks [`take_signal`](Self::take_signal) afterwards.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }

    /// Returns whether the pipe was made in the parent of this process, which still uses it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.0.made_in.is_over()
    }
}

impl Drop for SelfPipe {
    fn drop(&mut self) {
        self.0.listened.store(0, Ordering::Release);
        self.0.ending.store(0, Ordering::Release);
        self.0.taken.store(false, Ordering::Release);
    }
}
