//! A pipe as a bell: another thread writes into it, and so ends the sleep of a worker in poll(2). For systems without eventfd(2).

use super::mode::set_nonblocking;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The two ends of a pipe in non-blocking mode. [`ring`] makes it readable until [`clear`](Self::clear).
pub(crate) struct PipeBell {
    reader: PipeReader,
    writer: PipeWriter,
}

impl PipeBell {
    pub(crate) fn new() -> io::Result<PipeBell> {
        let (reader, writer) = io::pipe()?;
        set_nonblocking(reader.as_fd(), true)?;
        set_nonblocking(writer.as_fd(), true)?;
        Ok(PipeBell { reader, writer })
    }

    /// The end that `ring` takes.
    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    /// The end that becomes readable.
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Reads all bytes.
    pub(crate) fn clear(&self) {
        let mut bytes = [0; 64];
        while (&self.reader).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
    }
}

/// Makes the pipe readable whose writing end is `fd`. The caller ensures that `fd` is open during the call: `RemoteQueue::close`
/// waits for threads that ring.
pub(crate) fn ring(fd: RawFd) {
    let byte = 1_u8;
    // A full pipe fails with EAGAIN: then it is readable already.
    // SAFETY: `byte` is one readable byte.
    let _ = unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
}
