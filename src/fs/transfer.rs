//! The transfers of files: reads, writes and syncs of a borrowed descriptor. All data of [`File`](super::File) passes here.
//!
//! A read first asks the page cache, by a call that does not wait (preadv2(2) with `RWF_NOWAIT`), and needs no switch if the data is there.
//! All else of a regular file is an operation of the kernel in a run with io_uring. (The operation on a terminal could block the thread: the
//! kernel reads a terminal in place when it is readable, and the read then waits if it wants more bytes, or if another process takes them.)
//! Otherwise it is a call on the pool of `blocking`, which borrows the caller's buffer and therefore ends before the caller returns. Outside
//! of a task the calls run in place.
#![forbid(unsafe_code)]

use crate::blocking::unblock;
use crate::io::operation::Operator;
use crate::io::source::consume_io_budget;
pub(super) use crate::sys::file::At;
use crate::sys::file::{self, is_direct, read_nowait};
use crate::sys::{FileType, file_type};
use crate::wait::{can_suspend, worker};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

/// The way in which a file is read and written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The file bypasses the page cache (`O_DIRECT`): there `RWF_NOWAIT` waits for the device.
    is_direct: bool,
    is_regular: bool,
}

impl Kind {
    pub(super) fn of(fd: BorrowedFd<'_>) -> Kind {
        Kind { is_direct: is_direct(fd), is_regular: file_type(fd) == FileType::Regular }
    }

    /// Returns the operator for this file, if its transfers are operations.
    #[inline]
    fn operator<'w>(self) -> Option<Operator<'w>> {
        if self.is_regular { Operator::of_task_or_new() } else { None }
    }
}

/// Returns whether a call that waits must not block this thread.
#[inline]
fn is_in_task() -> bool {
    worker().is_some_and(can_suspend)
}

/// Reads up to `buffer.len()` bytes. Returns fewer only at the end of the file, or where the system's read does, too.
///
/// A caller that reads at the cursor ensures that no other call uses the cursor until this one has returned: a read that the page cache
/// serves in part has two steps.
pub(super) fn read(fd: BorrowedFd<'_>, kind: Kind, buffer: &mut [u8], at: At) -> io::Result<usize> {
    if !is_in_task() {
        return file::read(fd, buffer, at);
    }
    let mut done = 0;
    while !kind.is_direct
        && let Ok(count) = read_nowait(fd, &mut [IoSliceMut::new(&mut buffer[done..])], at.after(done))
    {
        done += count;
        // A short count is the end of the file, or the end of what the page cache has. The next call tells.
        if count == 0 || done == buffer.len() {
            consume_io_budget();
            return Ok(done);
        }
    }
    match read_uncached(kind.operator(), fd, &mut buffer[done..], at.after(done)) {
        Ok(count) => Ok(done + count),
        // The next read returns the error.
        Err(_) if done > 0 => Ok(done),
        Err(error) => Err(error),
    }
}

/// Reads without asking the page cache first.
fn read_uncached(operator: Option<Operator<'_>>, fd: BorrowedFd<'_>, buffer: &mut [u8], at: At) -> io::Result<usize> {
    match operator {
        Some(operator) => operator.read(fd, buffer, at),
        None => unblock(|| file::read(fd, buffer, at)),
    }
}

/// Reads at the cursor into several buffers in sequence. Returns fewer bytes than they take at the end of the file, and where the page
/// cache serves a part.
pub(super) fn read_vectored(fd: BorrowedFd<'_>, kind: Kind, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    if is_in_task()
        && !kind.is_direct
        && let Ok(count) = read_nowait(fd, buffers, At::Cursor)
    {
        consume_io_budget();
        return Ok(count);
    }
    unblock(|| file::read_vectored(fd, buffers))
}

/// Writes up to `bytes.len()` bytes.
pub(super) fn write(fd: BorrowedFd<'_>, kind: Kind, bytes: &[u8], at: At) -> io::Result<usize> {
    match kind.operator() {
        Some(operator) => operator.write(fd, bytes, at),
        None => unblock(|| file::write(fd, bytes, at)),
    }
}

/// Writes several buffers in sequence, at the cursor.
pub(super) fn write_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    unblock(|| file::write_vectored(fd, buffers))
}

/// fsync(2).
pub(super) fn sync_all(fd: BorrowedFd<'_>, kind: Kind) -> io::Result<()> {
    match kind.operator() {
        Some(operator) => operator.sync(fd, false),
        None => unblock(|| file::sync_all(fd)),
    }
}

/// fdatasync(2).
pub(super) fn sync_data(fd: BorrowedFd<'_>, kind: Kind) -> io::Result<()> {
    match kind.operator() {
        Some(operator) => operator.sync(fd, true),
        None => unblock(|| file::sync_data(fd)),
    }
}
