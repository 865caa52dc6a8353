//! A source of I/O events: the link of a descriptor to the reactor of the run that waits for it.
#![forbid(unsafe_code)]

use super::error::{cancelled, interrupted, timed_out};
use super::plain_thread::block;
use crate::reactor::{Interest, Reactor, Registration, Token};
use crate::wait::{WaitSpec, Worker, can_suspend, consume_budget_of, now, refill_budget, sleep_in_fiber, wait, worker};
use std::io::{self, ErrorKind};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The next number of a source. Numbers are unique in a process; 0 is none.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The token of no slot.
const NO_TOKEN: Token = Token::from_bits(u64::MAX);

/// The first and the longest pause of [`Source::call_with_pauses`].
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));

/// Hints about the data of a source.
mod hint {
    pub(super) const UNKNOWN: u8 = 0;
    pub(super) const MORE: u8 = 1;
    pub(super) const NOTHING: u8 = 2;
}

/// The cost of a system call for the cooperative budget.
const CALL_COST: u32 = 64;

/// The link of one descriptor to reactors. Each owner of a descriptor has one. Any thread may use it: it caches the slot in the reactor of
/// the run that used it last, and any other run finds its own slot by the source's number.
#[derive(Debug)]
pub(crate) struct Source {
    pub(super) number: u64,
    /// The descriptor transfers messages: a short one does not tell that there is no further one.
    has_messages: bool,
    /// The run whose reactor has the slot `token`; 0 for none. If two threads use the source at once, a thread may read the number of
    /// its run with the token of the other one. Such a token may name a slot of another source, so each use of a token names the
    /// source, too.
    run: AtomicU64,
    token: AtomicU64,
    /// A hint for the next receive: one of `hint`.
    hint: AtomicU8,
}

impl Source {
    pub(crate) fn new() -> Source {
        Source::with_messages(false)
    }

    /// Returns the source of a descriptor that transfers bytes, or messages whose limits are kept.
    pub(crate) fn with_messages(has_messages: bool) -> Source {
        let number = NEXT.fetch_add(1, Relaxed);
        Source {
            number,
            has_messages,
            run: AtomicU64::new(0),
            token: AtomicU64::new(0),
            hint: AtomicU8::new(hint::UNKNOWN),
        }
    }

    pub(crate) fn has_messages(&self) -> bool {
        self.has_messages
    }

    /// Returns whether the last receive told that data is likely there.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.hint.load(Relaxed) == hint::MORE
    }

    /// Returns whether the last receive told that nothing is left.
    #[inline]
    pub(crate) fn has_nothing(&self) -> bool {
        self.hint.load(Relaxed) == hint::NOTHING
    }

    /// Tells whether data is likely there.
    #[inline]
    pub(crate) fn set_has_more(&self, has_more: bool) {
        self.hint.store(if has_more { hint::MORE } else { hint::NOTHING }, Relaxed);
    }

    /// The cached token, if it is one of this run's.
    #[inline]
    fn cached(&self, worker: &Worker) -> Option<Token> {
        (self.run.load(Relaxed) == worker.run()).then(|| Token::from_bits(self.token.load(Relaxed)))
    }

    pub(super) fn register(&self, worker: &Worker, reactor: &Reactor, fd: BorrowedFd<'_>) -> io::Result<Registration> {
        // Without a cached token the reactor looks the source up by its number.
        let cached = self.cached(worker).unwrap_or(NO_TOKEN);
        let registration =
            reactor.register(self.number, fd.as_raw_fd(), cached, |waiter| worker.wake_io_waiter(waiter))?;
        self.token.store(registration.token.to_bits(), Relaxed);
        self.run.store(worker.run(), Relaxed);
        Ok(registration)
    }

    /// Calls `f` until it does not fail with `WouldBlock`, and waits in between. The call completes without a wait if it can.
    #[inline]
    #[track_caller]
    pub(crate) fn call<T>(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
        mut f: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let f = || f().map(|value| Moved { value, took_all: false });
        self.attempt(worker(), fd, interest, timeout, &mut None, f)
    }

    /// Like [`call`](Self::call), for a read or write of bytes. After a call that took all there was, the next one waits first, and saves
    /// the system call that would fail.
    #[inline]
    #[track_caller]
    pub(crate) fn transfer<T>(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
        mut f: impl FnMut() -> io::Result<Moved<T>>,
    ) -> io::Result<T> {
        let mut deadline = None;
        let worker = worker();
        if let Some(known) = self.known(worker)
            && !known.reactor.may_be_ready(self.number, known.token, interest)
            && can_suspend(known.worker)
            && let Err(error) = self.wait_for_event(known, fd, interest, timeout, &mut deadline)
        {
            // The event may not have been polled yet: a call that can complete does so, even if the task is cancelled.
            return match f() {
                Err(again) if matches!(again.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Err(error),
                result => result.map(|moved| moved.value),
            };
        }
        self.attempt(worker, fd, interest, timeout, &mut deadline, f)
    }

    /// Makes a call of [`transfer`](Self::transfer) that does not wait. Returns `None` if it would have to.
    #[inline]
    pub(crate) fn try_transfer<T>(
        &self,
        interest: Interest,
        mut f: impl FnMut() -> io::Result<Moved<T>>,
    ) -> io::Result<Option<T>> {
        let worker = worker();
        let known = self.known(worker);
        if known.is_some_and(|known| !known.reactor.may_be_ready(self.number, known.token, interest)) {
            return Ok(None);
        }
        loop {
            match f() {
                Ok(moved) => {
                    if moved.took_all {
                        self.took_all(worker, interest);
                    }
                    return Ok(Some(moved.value));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if let Some(known) = known {
                        known.reactor.was_not_ready(self.number, known.token, interest);
                    }
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The slot in the reactor of this run, if the source has used it last.
    #[inline]
    pub(super) fn known<'w>(&self, worker: Option<&'w Worker>) -> Option<Known<'w>> {
        let worker = worker?;
        Some(Known { worker, reactor: worker.reactor_if_any()?, token: self.cached(worker)? })
    }

    /// The loop of [`call`](Self::call) and [`transfer`](Self::transfer).
    #[inline]
    #[track_caller]
    fn attempt<T>(
        &self,
        worker: Option<&Worker>,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
        deadline: &mut Option<Instant>,
        mut f: impl FnMut() -> io::Result<Moved<T>>,
    ) -> io::Result<T> {
        loop {
            match f() {
                Ok(moved) => {
                    // Before the task can yield: an event that is polled during the yield is newer than the call.
                    if moved.took_all {
                        self.took_all(worker, interest);
                    }
                    consume_io_budget_of(worker);
                    return Ok(moved.value);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(fd, interest, timeout, deadline)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    consume_io_budget_of(worker);
                    return Err(error);
                }
            }
        }
    }

    #[inline]
    fn took_all(&self, worker: Option<&Worker>, interest: Interest) {
        if !self.has_messages
            && let Some(known) = self.known(worker)
        {
            known.reactor.took_all(self.number, known.token, interest);
        }
    }

    /// Like [`call`](Self::call), for a send that may fail with `WouldBlock` although the descriptor is writable. An event may never come,
    /// so the call is also repeated after pauses.
    #[track_caller]
    pub(crate) fn call_with_pauses<T>(
        &self,
        fd: BorrowedFd<'_>,
        timeout: Option<Duration>,
        mut f: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let deadline = timeout.and_then(|timeout| now().checked_add(timeout));
        let mut pause = PAUSES.0;
        loop {
            match f() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => {
                    consume_io_budget();
                    return result;
                }
            }
            let now = now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(timed_out());
            }
            // A time that cannot be represented is none.
            let end = now.checked_add(pause).unwrap_or(now);
            self.wait_or_pause(fd, deadline.map_or(end, |deadline| deadline.min(end)))?;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Waits until `fd` becomes writable, but at most until `end`. A plain thread sleeps until `end`: for it the descriptor is writable all
    /// the time.
    #[track_caller]
    fn wait_or_pause(&self, fd: BorrowedFd<'_>, end: Instant) -> io::Result<()> {
        if worker().is_none() {
            return match sleep_in_fiber(Some(end)) {
                Some(outcome) => outcome.map_err(interrupted),
                None => {
                    std::thread::sleep(end.saturating_duration_since(now()));
                    Ok(())
                }
            };
        }
        match self.wait(fd, Interest::Writable, None, &mut Some(end)) {
            // If a deadline around the wait has passed, too, the next wait returns its error.
            Err(error) if error.kind() == ErrorKind::TimedOut && end <= now() => Ok(()),
            outcome => outcome,
        }
    }

    /// Waits until a call in this direction may succeed, after one has failed with `WouldBlock`. `deadline` is that of `timeout`, once it
    /// is known.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
        deadline: &mut Option<Instant>,
    ) -> io::Result<()> {
        let Some(worker) = worker() else { return block(fd, interest, timeout, deadline) };
        let reactor = worker.reactor()?;
        let Registration { token, is_new } = self.register(worker, reactor, fd)?;
        // A new registration reports the present readiness, so there is nothing to forget.
        if !is_new {
            reactor.was_not_ready(self.number, token, interest);
        }
        self.wait_for_event(Known { worker, reactor, token }, fd, interest, timeout, deadline)
    }

    #[track_caller]
    pub(super) fn wait_for_event(
        &self,
        Known { worker, reactor, token }: Known<'_>,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
        deadline: &mut Option<Instant>,
    ) -> io::Result<()> {
        if deadline.is_none()
            && let Some(timeout) = timeout
        {
            *deadline = worker.clock.now().checked_add(timeout);
        }
        let reason = match interest {
            Interest::Readable => "data to read",
            Interest::Writable => "room to write",
        };
        let spec = WaitSpec { reason, external: true, fd: fd.as_raw_fd(), ..WaitSpec::DEFAULT };
        let waiter = worker.io_waiter();
        while reactor.begin_wait(self.number, token, interest, waiter) {
            let waiting = Waiting { reactor, source: self.number, token, interest, waiter };
            if wait(worker, spec, *deadline).is_err() {
                return Err(cancelled(worker));
            }
            // The task forked during the wait, or another one did: this is the child.
            worker.reactor()?;
            refill_budget(worker);
            if waiting.end() {
                break;
            }
            if deadline.is_some_and(|deadline| deadline <= worker.clock.now()) {
                return Err(timed_out());
            }
        }
        Ok(())
    }

    /// Adds the running task to the waiters of a descriptor that was not ready just now. Returns whether it did: if not, an event has
    /// been seen since. For a task that waits for several things; [`end_wait`](Self::end_wait) ends the wait.
    pub(super) fn begin_wait(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<bool> {
        let Some(worker) = worker() else { return Ok(false) };
        let reactor = worker.reactor()?;
        let Registration { token, is_new } = self.register(worker, reactor, fd)?;
        if !is_new {
            reactor.was_not_ready(self.number, token, interest);
        }
        Ok(reactor.begin_wait(self.number, token, interest, worker.io_waiter()))
    }

    /// Removes the running task from the waiters.
    pub(super) fn end_wait(&self, interest: Interest) {
        if let Some(known) = self.known(worker()) {
            known.reactor.end_wait(self.number, known.token, interest, known.worker.io_waiter());
        }
    }

    /// Returns whether an event has been seen since [`begin_wait`](Self::begin_wait).
    pub(super) fn may_be_ready(&self, interest: Interest) -> bool {
        self.known(worker()).is_none_or(|known| known.reactor.may_be_ready(self.number, known.token, interest))
    }

    /// Waits until the descriptor is ready, or returns at once if it is.
    #[track_caller]
    pub(crate) fn wait_once(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        // A new registration reports the present readiness.
        self.wait(fd, interest, timeout, &mut None)
    }

    /// Forgets the descriptor, which the caller closes next.
    pub(crate) fn close(&self, fd: BorrowedFd<'_>) {
        // A source that no run has registered needs no look-up.
        if self.run.load(Relaxed) != 0
            && let Some(worker) = worker()
            && let Some(reactor) = worker.reactor_if_any()
        {
            let cached = self.cached(worker).unwrap_or(NO_TOKEN);
            reactor.deregister(self.number, fd.as_raw_fd(), cached, |waiter| worker.wake_io_waiter(waiter));
        }
        // Closed elsewhere the descriptor leaves its slot without events, until its number is used again.
    }
}

/// The outcome of a read or write.
pub(crate) struct Moved<T> {
    /// The number of bytes, and where they are.
    pub(crate) value: T,
    /// A read emptied the socket, or a write filled it: the next call fails with `EAGAIN` unless there is an event before. Without effect
    /// if the source has messages.
    pub(crate) took_all: bool,
}

impl<T> Moved<T> {
    /// The outcome of a call that does not tell whether it took all there was.
    #[inline]
    pub(crate) fn untold(value: T) -> Moved<T> {
        Moved { value, took_all: false }
    }
}

/// The slot of a source in the reactor of the calling task's run.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) worker: &'a Worker,
    pub(super) reactor: &'a Reactor,
    pub(super) token: Token,
}

/// Counts a call for the cooperative budget, as `CALL_COST` calls that stay in this process: a system call takes that much longer.
pub(crate) fn consume_io_budget() {
    consume_io_budget_of(worker());
}

#[inline]
fn consume_io_budget_of(worker: Option<&Worker>) {
    if let Some(worker) = worker {
        worker.budget.set(worker.budget.get().saturating_sub(CALL_COST - 1).max(1));
        consume_budget_of(Some(worker));
    }
}

/// A waiter in a slot, removed when the wait ends in any way.
struct Waiting<'a> {
    reactor: &'a Reactor,
    source: u64,
    token: Token,
    interest: Interest,
    waiter: crate::reactor::Waiter,
}

impl Waiting<'_> {
    /// Ends the wait. Returns whether a call may succeed now.
    #[inline]
    fn end(self) -> bool {
        let this = ManuallyDrop::new(self);
        this.reactor.end_wait(this.source, this.token, this.interest, this.waiter)
    }
}

impl Drop for Waiting<'_> {
    #[cold]
    fn drop(&mut self) {
        self.reactor.end_wait(self.source, self.token, self.interest, self.waiter);
    }
}
