//! The transfers of files: reads, writes and syncs of a borrowed descriptor. All data of [`File`](super::File) passes here.
//!
//! A read first asks the page cache, by a call that does not wait (preadv2(2) with `RWF_NOWAIT`), and needs no other thread if the data is
//! there. All else is a call on the pool of `blocking`, which borrows the caller's buffer and therefore ends before the caller returns.
//! Outside of a task the calls run in place.
#![forbid(unsafe_code)]

use crate::blocking::unblock;
use crate::io::budget::consume_call_budget;
pub(super) use crate::sys::file::At;
use crate::sys::file::{self, read_nowait};
use crate::wait::{can_suspend, worker};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

/// Returns whether a call that waits must not block this thread.
#[inline]
fn is_in_task() -> bool {
    worker().is_some_and(can_suspend)
}

/// Reads up to `buffer.len()` bytes. Returns fewer only at the end of the file, or where the system's read does, too.
///
/// A caller that reads at the cursor ensures that no other call uses the cursor until this one has returned: a read that the page cache
/// serves in part has two steps.
pub(super) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8], at: At) -> io::Result<usize> {
    if !is_in_task() {
        return file::read(fd, buffer, at);
    }
    let mut done = 0;
    while let Ok(count) = read_nowait(fd, &mut [IoSliceMut::new(&mut buffer[done..])], at.after(done)) {
        done += count;
        // A short count is the end of the file, or the end of what the page cache has. The next call tells.
        if count == 0 || done == buffer.len() {
            consume_call_budget();
            return Ok(done);
        }
    }
    match unblock(|| file::read(fd, &mut buffer[done..], at.after(done))) {
        Ok(count) => Ok(done + count),
        // The next read returns the error.
        Err(_) if done > 0 => Ok(done),
        Err(error) => Err(error),
    }
}

/// Like [`read`], for a file that bypasses the page cache (`O_DIRECT`): there `RWF_NOWAIT` waits for the device.
pub(super) fn read_uncached(fd: BorrowedFd<'_>, buffer: &mut [u8], at: At) -> io::Result<usize> {
    unblock(|| file::read(fd, buffer, at))
}

/// Reads at the cursor into several buffers in sequence. Returns fewer bytes than they take at the end of the file, and where the page
/// cache serves a part.
pub(super) fn read_vectored(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    if is_in_task()
        && let Ok(count) = read_nowait(fd, buffers, At::Cursor)
    {
        consume_call_budget();
        return Ok(count);
    }
    read_vectored_uncached(fd, buffers)
}

/// Like [`read_vectored`], for a file that bypasses the page cache (`O_DIRECT`).
pub(super) fn read_vectored_uncached(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    unblock(|| file::read_vectored(fd, buffers))
}

/// Writes up to `bytes.len()` bytes.
pub(super) fn write(fd: BorrowedFd<'_>, bytes: &[u8], at: At) -> io::Result<usize> {
    unblock(|| file::write(fd, bytes, at))
}

/// Writes several buffers in sequence, at the cursor.
pub(super) fn write_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    unblock(|| file::write_vectored(fd, buffers))
}

/// fsync(2).
pub(super) fn sync_all(fd: BorrowedFd<'_>) -> io::Result<()> {
    unblock(|| file::sync_all(fd))
}

/// fdatasync(2).
pub(super) fn sync_data(fd: BorrowedFd<'_>) -> io::Result<()> {
    unblock(|| file::sync_data(fd))
}
