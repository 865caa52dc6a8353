//! Calls of a closure of the user, which may suspend the task.
#![forbid(unsafe_code)]

use super::plain_thread::block;
use super::source::{Known, Source, consume_io_budget};
use crate::reactor::{Interest, Token};
use crate::wait::worker;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;

impl Source {
    /// Like [`Source::call`], for an `f` that may suspend the task, or may let other code use the reactor. What was seen is forgotten
    /// before `f`, so that an event during `f` ends the wait.
    #[track_caller]
    pub(super) fn call_suspendable<T>(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        mut f: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            // An unknown slot keeps what was seen. That costs at most one more call of `f`: the wait makes the slot known.
            let forgotten = self.known(worker()).map(|known| Forgotten {
                source: self.number,
                token: known.token,
                interest,
                readiness: known.reactor.forget(self.number, known.token, interest),
            });
            let result = f();
            match result {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::mem::forget(forgotten);
                    match worker() {
                        Some(worker) => {
                            let reactor = worker.reactor()?;
                            let token = self.register(worker, reactor, fd)?.token;
                            self.wait_for_event(Known { worker, reactor, token }, fd, interest, None, &mut None)?;
                        }
                        None => block(fd, interest, None, &mut None)?,
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => {
                    drop(forgotten);
                    consume_io_budget();
                    return result;
                }
            }
        }
    }
}

/// The readiness that a slot had before a call. Its drop restores it: what was seen is valid until a call fails with `WouldBlock`.
struct Forgotten {
    source: u64,
    token: Token,
    interest: Interest,
    readiness: u8,
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        if self.readiness != 0
            && let Some(worker) = worker()
            && let Some(reactor) = worker.reactor_if_any()
        {
            let wake = |waiter| worker.wake_io_waiter(waiter);
            reactor.restore(self.source, self.token, self.interest, self.readiness, wake);
        }
    }
}
