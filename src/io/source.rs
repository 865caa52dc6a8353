//! A source of I/O events: the link of a descriptor to the reactor of the run that waits for it.
#![forbid(unsafe_code)]

use super::error::{cancelled, timed_out};
use crate::reactor::{Interest, Reactor, Token};
use crate::sys::poll_fd;
use crate::wait::{WaitSpec, Worker, consume_budget, wait, worker};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The next number of a source. Numbers are unique in a process; 0 is none.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The link of one descriptor to reactors. Each owner of a descriptor has one. Any thread may use it: it caches the slot in the reactor of
/// the run that used it last, and any other run finds its own slot by the source's number.
#[derive(Debug)]
pub(crate) struct Source {
    number: u64,
    /// The run whose reactor has the slot `token`; 0 for none. The two are read together only by the thread of that run, and a mixture
    /// of two runs' values names a slot of another source, which the reactor refuses.
    run: AtomicU64,
    token: AtomicU64,
}

impl Source {
    pub(crate) fn new() -> Source {
        Source { number: NEXT.fetch_add(1, Relaxed), run: AtomicU64::new(0), token: AtomicU64::new(0) }
    }

    /// The cached token, if it is one of this run's.
    #[inline]
    fn cached(&self, worker: &Worker) -> Option<Token> {
        (self.run.load(Relaxed) == worker.run()).then(|| Token::from_bits(self.token.load(Relaxed)))
    }

    fn register(&self, worker: &Worker, reactor: &Reactor, fd: BorrowedFd<'_>) -> io::Result<Token> {
        // Without a cached token the reactor looks the source up by its number.
        let cached = self.cached(worker).unwrap_or(Token::from_bits(u64::MAX));
        let token = reactor.register(self.number, fd.as_raw_fd(), cached)?;
        self.token.store(token.to_bits(), Relaxed);
        self.run.store(worker.run(), Relaxed);
        Ok(token)
    }

    /// Calls `f` until it does not fail with `WouldBlock`, and waits in between. The call completes without a wait if it can.
    #[inline]
    #[track_caller]
    pub(crate) fn call<T>(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
        f: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        self.call_from(None, fd, interest, timeout, f)
    }

    /// Like [`call`](Self::call), for a read or write of up to `len` bytes. A short one has taken all there was, so the next call waits
    /// first, and saves the system call that would fail.
    #[inline]
    #[track_caller]
    pub(crate) fn transfer(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
        len: usize,
        mut f: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut deadline = None;
        if let Some(worker) = worker()
            && let Some(token) = self.cached(worker)
            && let Some(reactor) = worker.reactor_if_any()
        {
            if !reactor.may_be_ready(token, interest) {
                self.wait_for_event(worker, reactor, token, fd, interest, timeout, &mut deadline)?;
            }
            let count = self.call_from(deadline, fd, interest, timeout, &mut f)?;
            if count > 0 && count < len {
                reactor.took_all(token, interest);
            }
            return Ok(count);
        }
        self.call_from(deadline, fd, interest, timeout, f)
    }

    #[inline]
    #[track_caller]
    fn call_from<T>(
        &self,
        mut deadline: Option<Instant>,
        fd: BorrowedFd<'_>,
        interest: Interest,
        timeout: Option<Duration>,
        mut f: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match f() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(fd, interest, timeout, &mut deadline)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => {
                    consume_budget();
                    return result;
                }
            }
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
        let before = self.cached(worker);
        let token = self.register(worker, reactor, fd)?;
        // A new registration reports the present readiness, so there is nothing to forget.
        if before == Some(token) {
            reactor.was_not_ready(token, interest);
        }
        self.wait_for_event(worker, reactor, token, fd, interest, timeout, deadline)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one wait, in a private function")]
    #[track_caller]
    fn wait_for_event(
        &self,
        worker: &Worker,
        reactor: &Reactor,
        token: Token,
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
        while !reactor.may_be_ready(token, interest) {
            reactor.add_waiter(token, interest, waiter);
            let _waiting = Waiting { reactor, token, interest, waiter };
            if wait(worker, spec, *deadline).is_err() {
                return Err(cancelled(worker));
            }
            if deadline.is_some_and(|deadline| deadline <= worker.clock.now()) && !reactor.may_be_ready(token, interest)
            {
                return Err(timed_out());
            }
        }
        Ok(())
    }

    /// Waits until the descriptor is ready, or returns at once if it is.
    #[track_caller]
    pub(crate) fn wait_once(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        // A new registration reports the present readiness.
        self.wait(fd, interest, None, &mut None)
    }

    /// Forgets the descriptor, which the caller closes next.
    pub(crate) fn close(&self) {
        if let Some(worker) = worker()
            && let Some(token) = self.cached(worker)
            && let Some(reactor) = worker.reactor_if_any()
        {
            reactor.deregister(self.number, token);
        }
        // Closed elsewhere the descriptor leaves its slot without events, until its number is used again.
    }
}

/// A waiter in a slot, removed when the wait ends in any way.
struct Waiting<'a> {
    reactor: &'a Reactor,
    token: Token,
    interest: Interest,
    waiter: crate::reactor::Waiter,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.reactor.remove_waiter(self.token, self.interest, self.waiter);
    }
}

/// Blocks a plain thread until the descriptor is ready.
fn block(
    fd: BorrowedFd<'_>,
    interest: Interest,
    timeout: Option<Duration>,
    deadline: &mut Option<Instant>,
) -> io::Result<()> {
    if deadline.is_none()
        && let Some(timeout) = timeout
    {
        *deadline = Instant::now().checked_add(timeout);
    }
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if poll_fd(fd, interest == Interest::Readable, left)? {
            return Ok(());
        }
        if left == Some(Duration::ZERO) {
            return Err(timed_out());
        }
    }
}
