//! The calls of a socket in a run with io_uring: operations of the kernel, and attempts where one is likely to succeed.
//!
//! An operation waits in the kernel, so none needs a registration. The kernel tells whether it left data (`SOCK_NONEMPTY`). If it did, the
//! next call makes the system call itself, which takes less time than an operation.
#![forbid(unsafe_code)]

use super::socket::{Call, Socket, StdSocket, receive_once};
use super::sys;
use crate::io::buffer::Chunk;
use crate::io::operation::{Operator, Received};
use crate::io::source::{Moved, consume_io_budget};
use crate::io::way::Way;
use crate::reactor::Interest;
use crate::sys::poll_fd;
use socket2::SockAddr;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

impl<S: StdSocket> Socket<S> {
    /// Returns the way of a call that receives. Makes the call `f` where it is likely to succeed, and before the first wait of a run: the
    /// run needs no ring if nothing waits.
    #[inline]
    pub(super) fn way<'w, T>(&self, f: &mut impl FnMut() -> io::Result<Moved<T>>) -> io::Result<Way<'w, T>> {
        match Operator::of_task() {
            Some(operator) => Ok(self.attempt_if_likely(f)?.map_or(Way::Operate(operator), Way::Done)),
            None if Operator::is_first() => self.first_way(f),
            None => Ok(Way::Wait),
        }
    }

    #[cold]
    fn first_way<'w, T>(&self, f: &mut impl FnMut() -> io::Result<Moved<T>>) -> io::Result<Way<'w, T>> {
        self.source.set_has_more(true);
        match self.attempt_if_likely(f)? {
            Some(value) => Ok(Way::Done(value)),
            None => Ok(Operator::of_task_or_new().map_or(Way::Wait, Way::Operate)),
        }
    }

    /// Receives by an operation of the kernel.
    #[inline]
    pub(super) fn receive_by(&self, operator: Operator<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = operator.deadline(self.timeout(Interest::Readable));
        let Received { len, left_more } = operator.receive(self.fd(), buffer, self.source.has_nothing(), deadline)?;
        self.source.set_has_more(left_more);
        Ok(len)
    }

    /// Makes a call that receives, if data is likely there. Returns `None` if it would have to wait.
    #[inline]
    pub(super) fn attempt_if_likely<T>(&self, mut f: impl FnMut() -> io::Result<Moved<T>>) -> io::Result<Option<T>> {
        if !self.source.has_more() {
            return Ok(None);
        }
        match f() {
            Ok(moved) => {
                self.source.set_has_more(!moved.took_all);
                consume_io_budget();
                Ok(Some(moved.value))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.source.set_has_more(false);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for a connection. `accept` is the system call.
    #[track_caller]
    pub(super) fn accept_by<T>(&self, mut accept: impl FnMut(&S) -> io::Result<T>) -> io::Result<T> {
        let operator = match self.way(&mut || self.accept_if_likely(&mut accept).map(Moved::untold))? {
            Way::Done(accepted) => return Ok(accepted),
            Way::Operate(operator) => operator,
            Way::Wait => return self.call(Interest::Readable, |_| self.accept_if_likely(&mut accept)),
        };
        let deadline = operator.deadline(self.timeout(Interest::Readable));
        loop {
            operator.wait_readable(self.fd(), deadline)?;
            match self.accept_if_likely(&mut accept) {
                // Another task or process has taken the connection.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                outcome => return outcome,
            }
        }
    }

    /// Makes the system call `accept`. After a connection, poll(2) tells first whether there is another one: the kernel makes the new
    /// socket before it looks for a connection, so an attempt that fails takes the time of ten polls.
    #[inline]
    fn accept_if_likely<T>(&self, accept: &mut impl FnMut(&S) -> io::Result<T>) -> io::Result<T> {
        let poll = || poll_fd(self.fd(), true, Some(Duration::ZERO));
        // If poll(2) fails, the attempt tells.
        if self.source.has_more() && !poll().unwrap_or(true) {
            self.source.set_has_more(false);
            return Err(ErrorKind::WouldBlock.into());
        }
        let accepted = accept(self.get());
        self.source.set_has_more(accepted.is_ok());
        accepted
    }

    /// Waits for a connection, and returns its socket, in non-blocking mode, and the peer's address.
    #[track_caller]
    pub(super) fn accept(&self) -> io::Result<(OwnedFd, SockAddr)> {
        self.accept_by(|_| sys::accept(self.fd()))
    }

    /// Receives one datagram, and returns its length and the sender's address.
    #[track_caller]
    pub(super) fn receive_from(
        &self,
        buffer: &mut [u8],
        mut call: impl FnMut(&S, &mut [u8]) -> io::Result<(usize, SockAddr)>,
    ) -> io::Result<(usize, SockAddr)> {
        let operator = match self.way(&mut || call(self.get(), buffer).map(Moved::untold))? {
            Way::Done(received) => return Ok(received),
            Way::Operate(operator) => operator,
            Way::Wait => return self.call(Interest::Readable, |inner| call(inner, buffer)),
        };
        operator.receive_from(self.fd(), buffer, operator.deadline(self.timeout(Interest::Readable)))
    }

    /// Receives by an operation of the kernel, which takes the buffer when data is there.
    #[inline]
    pub(super) fn receive_lent_by(&self, operator: Operator<'_>, call: Call) -> io::Result<Chunk> {
        let fd = self.fd();
        let deadline = operator.deadline(self.timeout(Interest::Readable));
        loop {
            if let Some(chunk) = self.attempt_if_likely(|| receive_once(call, fd))? {
                return Ok(chunk);
            }
            if let Some((chunk, left_more)) = operator.receive_lent(fd, self.source.has_nothing(), deadline)? {
                self.source.set_has_more(left_more);
                return Ok(chunk);
            }
            self.source.set_has_more(true);
        }
    }

    /// Sends by an operation of the kernel, together with those of the other tasks that are ready. If there are none, a system call takes
    /// less time.
    #[inline]
    pub(super) fn send_by(&self, operator: Operator<'_>, bytes: &[u8]) -> io::Result<usize> {
        if operator.is_alone() {
            match sys::send(self.fd(), bytes) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                outcome => {
                    consume_io_budget();
                    return outcome.map(|moved| moved.value);
                }
            }
        }
        operator.send(self.fd(), bytes, operator.deadline(self.timeout(Interest::Writable)))
    }

    /// Receives one datagram. What does not fit into the buffer is lost.
    #[track_caller]
    pub(super) fn recv_datagram(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.fd();
        match self.way(&mut || sys::recv(fd, buffer, 0).map(|moved| Moved::untold(moved.value)))? {
            Way::Done(len) => Ok(len),
            Way::Operate(operator) => self.receive_by(operator, buffer),
            Way::Wait => self.call(Interest::Readable, |_| sys::recv(fd, buffer, 0).map(|moved| moved.value)),
        }
    }
}
