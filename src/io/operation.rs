//! Operations of the kernel, by io_uring(7): each borrows its buffers until it has completed.
//!
//! A call that returns an operation's value waits for it like any other wait: a cancel, a deadline or a timeout ends it early.
//! Where no operation can begin, [`Operator::of_task`] returns `None`, and the caller transfers the data itself.

use super::buffer::{Chunk, Lent};
use super::error::{cancelled, timed_out};
use crate::reactor::{GROUP, Operation, Ring};
use crate::sys::file::At;
use crate::wait::{
    Ended, WaitSpec, Worker, can_suspend, forked, is_interrupted, refill_budget, wait_for_kernel, worker,
};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{cqueue, opcode};
use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The largest number of bytes of one operation, as of one system call.
const MAX_LEN: usize = i32::MAX as usize & !0xFFF;

/// The offset of an operation at the cursor of a file.
const AT_CURSOR: u64 = u64::MAX;

/// The part of a task that gives operations to the kernel.
#[derive(Clone, Copy)]
pub(crate) struct Operator<'w> {
    worker: &'w Worker,
    ring: &'w Ring,
}

/// The outcome of a receive.
pub(crate) struct Received {
    pub(crate) len: usize,
    /// There are more bytes in the socket: an attempt without a wait would succeed.
    pub(crate) left_more: bool,
}

impl<'w> Operator<'w> {
    /// Returns the operator of the calling task, if its run uses io_uring and has a reactor already. `None` where the task cannot
    /// suspend, and if its wait would be interrupted.
    #[inline]
    pub(crate) fn of_task() -> Option<Operator<'w>> {
        let worker = worker()?;
        let ring = worker.ring_if_any()?;
        (can_suspend(worker) && !is_interrupted(worker)).then_some(Operator { worker, ring })
    }

    /// Like [`of_task`](Self::of_task), but makes the reactor if there is none and it could have a ring. A caller without an operator
    /// then waits for readiness, or uses the pool.
    #[inline]
    pub(crate) fn of_task_or_new() -> Option<Operator<'w>> {
        if Operator::is_first()
            && let Some(worker) = worker()
        {
            // Without a reactor the caller finds another way.
            let _ = worker.reactor();
        }
        Operator::of_task()
    }

    /// Returns the end of a timeout that begins now.
    #[inline]
    pub(crate) fn deadline(self, timeout: Option<Duration>) -> Option<Instant> {
        // A time that cannot be represented never comes.
        timeout.and_then(|timeout| self.worker.clock.now().checked_add(timeout))
    }

    /// Returns whether the next wait would be the first of a run that may use io_uring.
    #[inline]
    pub(crate) fn is_first() -> bool {
        worker().is_some_and(|worker| !worker.has_reactor() && worker.may_have_ring() && can_suspend(worker))
    }

    /// Returns whether no other task is ready: then a system call costs no more than an operation.
    #[inline]
    pub(crate) fn is_alone(self) -> bool {
        self.worker.is_alone()
    }

    /// recv(2). Waits for data; `waits_first` saves an attempt that is likely to fail.
    #[inline]
    pub(crate) fn receive(
        self,
        fd: BorrowedFd<'_>,
        buffer: &mut [u8],
        waits_first: bool,
        deadline: Option<Instant>,
    ) -> io::Result<Received> {
        // Condition 10: the address is taken once.
        let (place, len) = (buffer.as_mut_ptr(), buffer.len().min(MAX_LEN) as u32);
        let entry = opcode::Recv::new(Fd(fd.as_raw_fd()), place, len).ioprio(poll_first(waits_first)).build();
        // SAFETY: `buffer` is borrowed mutably until this call returns, and `complete` returns after the completion.
        let (len, flags) = unsafe { self.complete(entry, readable(fd), deadline) }?;
        Ok(Received { len, left_more: cqueue::sock_nonempty(flags) })
    }

    /// recv(2) into a buffer of the ring, which the kernel takes when data is there. Returns the bytes, and whether there are more of
    /// them. Returns `None` when data is there, but no buffer. `waits_first` is that of [`receive`](Self::receive).
    #[inline]
    pub(crate) fn receive_lent(
        self,
        fd: BorrowedFd<'_>,
        waits_first: bool,
        deadline: Option<Instant>,
    ) -> io::Result<Option<(Chunk, bool)>> {
        if !self.ring.provides(|| Lent::take().into()) {
            return self.wait_readable(fd, deadline).map(|()| None);
        }
        let entry = opcode::Recv::new(Fd(fd.as_raw_fd()), std::ptr::null_mut(), 0)
            .ioprio(poll_first(waits_first))
            .buf_group(GROUP);
        let entry = entry.build().flags(Flags::BUFFER_SELECT);
        // SAFETY: the operation names no memory of the caller.
        match unsafe { self.complete(entry, readable(fd), deadline) } {
            Ok((len, flags)) => {
                let buffer = self.ring.exchange(flags, Lent::take().into()).into();
                Ok(Some((Chunk { buffer, len }, cqueue::sock_nonempty(flags))))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// send(2), without SIGPIPE. Waits for room.
    #[inline]
    pub(crate) fn send(self, fd: BorrowedFd<'_>, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        let len = bytes.len().min(MAX_LEN) as u32;
        let entry = opcode::Send::new(Fd(fd.as_raw_fd()), bytes.as_ptr(), len).flags(libc::MSG_NOSIGNAL).build();
        // SAFETY: `bytes` is borrowed until this call returns, and `complete` returns after the completion.
        unsafe { self.complete(entry, writable(fd), deadline) }.map(|(len, _)| len)
    }

    /// recvfrom(2): waits for a datagram.
    pub(crate) fn receive_from(
        self,
        fd: BorrowedFd<'_>,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<(usize, SockAddr)> {
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let receive = |storage: *mut SockAddrStorage, len: *mut libc::socklen_t| {
            // SAFETY: all zeros is a valid `msghdr`: null pointers and lengths of 0.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_name = storage.cast();
            // SAFETY: `len` is valid for this closure.
            message.msg_namelen = unsafe { *len };
            (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
            let entry = opcode::RecvMsg::new(Fd(fd.as_raw_fd()), &raw mut message).ioprio(POLL_FIRST).build();
            // SAFETY: `message`, `part`, `storage` and the buffer, which the caller borrows, are valid until this closure returns, and
            // `complete` returns after the completion.
            let (count, _) = unsafe { self.complete(entry, readable(fd), deadline) }?;
            // SAFETY: `len` is valid for this closure.
            unsafe { *len = message.msg_namelen };
            Ok(count)
        };
        // SAFETY: the call has stored the address and its length.
        unsafe { SockAddr::try_init(receive) }
    }

    /// pread(2), or read(2) at the cursor. Waits for the data. Fails with `EAGAIN` if the open file is in non-blocking mode.
    pub(crate) fn read(self, fd: BorrowedFd<'_>, buffer: &mut [u8], at: At) -> io::Result<usize> {
        let len = buffer.len().min(MAX_LEN) as u32;
        let entry = opcode::Read::new(Fd(fd.as_raw_fd()), buffer.as_mut_ptr(), len).offset(offset_of(at)?).build();
        // SAFETY: `buffer` is borrowed mutably until this call returns, and `complete` returns after the completion.
        unsafe { self.complete(entry, of_file("data of a file", fd), None) }.map(|(len, _)| len)
    }

    /// pwrite(2), or write(2) at the cursor. Waits until the data is taken. Fails with `EAGAIN` if the open file is in non-blocking mode.
    pub(crate) fn write(self, fd: BorrowedFd<'_>, bytes: &[u8], at: At) -> io::Result<usize> {
        let len = bytes.len().min(MAX_LEN) as u32;
        let entry = opcode::Write::new(Fd(fd.as_raw_fd()), bytes.as_ptr(), len).offset(offset_of(at)?).build();
        // SAFETY: `bytes` is borrowed until this call returns, and `complete` returns after the completion.
        unsafe { self.complete(entry, of_file("a file to take data", fd), None) }.map(|(len, _)| len)
    }

    /// fsync(2), or fdatasync(2) if `data_only`.
    pub(crate) fn sync(self, fd: BorrowedFd<'_>, data_only: bool) -> io::Result<()> {
        let flags = if data_only { FsyncFlags::DATASYNC } else { FsyncFlags::empty() };
        let entry = opcode::Fsync::new(Fd(fd.as_raw_fd())).flags(flags).build();
        let spec = of_file("a file to reach the disk", fd);
        // SAFETY: the operation names no memory.
        unsafe { self.complete(entry, spec, None) }.map(|_| ())
    }

    /// Waits until a descriptor is readable. Takes no registration.
    pub(crate) fn wait_readable(self, fd: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), (libc::POLLIN | libc::POLLRDHUP) as u32).build();
        // SAFETY: the operation names no memory.
        unsafe { self.complete(entry, readable(fd), deadline) }.map(|_| ())
    }

    /// Gives an operation to the kernel, and waits until it has completed. Returns its value and its flags.
    ///
    /// After a request for a forced unwind, unwinds instead of returning an error. A value is returned even then, since the kernel has taken it
    /// from the socket or given it to it: the next wait unwinds.
    ///
    /// # Safety
    ///
    /// The memory that `entry` names is valid until this call has returned or unwound. Until then no other code accesses the part that the
    /// kernel writes, and no other code writes the part that the kernel reads.
    #[inline]
    unsafe fn complete(self, entry: Entry, spec: WaitSpec, deadline: Option<Instant>) -> io::Result<(usize, u32)> {
        let Operator { worker, ring } = self;
        loop {
            while !ring.make_room() {
                // The kernel lacks memory, or waits until completions are taken. The event loop enters it between two turns.
                worker.turn();
                worker.unwind_if_requested();
                if worker.is_forked() {
                    // Another task forked during the turn. The child has no queues (condition 6).
                    return Err(forked());
                }
                if is_interrupted(worker) {
                    return Err(cancelled(worker));
                }
            }
            let operation = Operation::new(worker.io_waiter());
            // Condition 1: nothing between here and the end of the wait panics.
            // SAFETY: `operation` stays in this frame. `wait_for_kernel` does not unwind, and returns when the operation is done, or in a
            // child process. Until then the caller keeps the memory valid (condition 2).
            unsafe { ring.start(entry.clone(), &operation) };
            let ended = wait_for_kernel(worker, spec, deadline, || operation.is_done(), || ring.cancel(&operation));
            if ended == Ended::Forked {
                return Err(forked());
            }
            refill_budget(worker);
            let error = match operation.result() {
                Ok(value) => return Ok((value, operation.flags())),
                Err(error) => error,
            };
            worker.unwind_if_requested();
            // A cancelled operation ends with `ECANCELED`, or with `EINTR` if a thread of the kernel had begun it.
            let is_cancelled = matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR));
            match ended {
                Ended::Cancelled if is_cancelled => return Err(cancelled(worker)),
                Ended::TimedOut if is_cancelled => return Err(timed_out()),
                // A request to cancel an earlier operation at this address came too late, or a signal came.
                Ended::Done if is_cancelled => {}
                _ => return Err(error),
            }
        }
    }
}

/// The flag of a receive that waits before it tries: `IORING_RECVSEND_POLL_FIRST`.
const POLL_FIRST: u16 = 1;

#[inline]
fn poll_first(waits_first: bool) -> u16 {
    if waits_first { POLL_FIRST } else { 0 }
}

/// Returns an offset as the kernel takes it, in which -1 is the cursor.
///
/// # Errors
///
/// `EINVAL` if it is too large, as the answer of pread(2) would be.
#[inline]
fn offset_of(at: At) -> io::Result<u64> {
    match at {
        At::Cursor => Ok(AT_CURSOR),
        At::Offset(offset) if i64::try_from(offset).is_ok() => Ok(offset),
        At::Offset(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

#[inline]
fn readable(fd: BorrowedFd<'_>) -> WaitSpec {
    WaitSpec { reason: "data to read", external: true, fd: fd.as_raw_fd(), ..WaitSpec::DEFAULT }
}

/// The wait for an operation on a file, which ends without an event from outside. As with a call on the pool, a paused clock does not
/// advance during it.
#[inline]
fn of_file(reason: &'static str, fd: BorrowedFd<'_>) -> WaitSpec {
    WaitSpec { reason, in_progress: true, ..readable(fd) }
}

#[inline]
fn writable(fd: BorrowedFd<'_>) -> WaitSpec {
    WaitSpec { reason: "room to write", external: true, fd: fd.as_raw_fd(), ..WaitSpec::DEFAULT }
}
