//! Copies inside the kernel, between descriptors that it can connect.
#![forbid(unsafe_code)]

use super::known::{Known, KnownStream};
use super::source::{Source, consume_io_budget};
use crate::reactor::Interest;
use crate::sys::{FileType, file_type, is_nonblocking, poll_fd, sendfile, splice};
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The largest number of bytes of one call: a task that copies a large file gives way to the other tasks in between.
const CHUNK: usize = 64 * 1024;

/// The outcome of a copy inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The input has ended.
    Ended,
    /// The kernel cannot connect the two: the caller copies the rest.
    NotConnected,
}

/// An end of a copy.
struct End<'a> {
    fd: BorrowedFd<'a>,
    file_type: FileType,
    stream: Option<&'a dyn KnownStream>,
    /// The link to the reactor of a pipe that has one.
    link: Option<&'a Source>,
    /// The link to the reactor of a descriptor that has none of its own.
    source: Source,
}

impl<'a> End<'a> {
    /// Returns the end, unless a call in the kernel could block the thread on it.
    fn new(known: &Known<'a>) -> Option<End<'a>> {
        let (fd, stream, link) = match *known {
            Known::Stream(stream) => (stream.fd(), Some(stream), None),
            Known::Pipe(fd, source) => (fd, None, Some(source)),
            Known::Fd(fd) => (fd, None, None),
        };
        let file_type = if stream.is_some() { FileType::Other } else { file_type(fd) };
        let end = End { fd, file_type, stream, link, source: Source::new() };
        let waits = match file_type {
            FileType::Regular | FileType::Pipe => true,
            FileType::Other => stream.is_some() && is_nonblocking(fd),
        };
        waits.then_some(end)
    }

    fn is(&self, file_type: FileType) -> bool {
        self.file_type == file_type
    }

    /// Returns whether the end is ready. A file always is.
    fn is_ready(&self, interest: Interest) -> io::Result<bool> {
        poll_fd(self.fd, interest == Interest::Readable, Some(Duration::ZERO))
    }

    #[track_caller]
    fn wait(&self, interest: Interest) -> io::Result<()> {
        let (source, timeout) = match self.stream {
            Some(stream) => (stream.source(), stream.timeout(interest)),
            None => (self.link.unwrap_or(&self.source), None),
        };
        source.wait_once(self.fd, interest, timeout)
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.source.close(self.fd);
    }
}

/// Copies until the input ends, or until it turns out that the kernel cannot connect the two. Adds the bytes that were written to
/// `count`, also before an error.
#[track_caller]
pub(super) fn copy(from: &Known<'_>, to: &Known<'_>, count: &mut u64) -> io::Result<Outcome> {
    let (Some(from), Some(to)) = (End::new(from), End::new(to)) else { return Ok(Outcome::NotConnected) };
    let call = match (from.file_type, to.file_type) {
        // Neither call waits for anything but the disk.
        (FileType::Regular, FileType::Regular) => sendfile,
        (FileType::Regular, FileType::Other) => sendfile,
        (FileType::Pipe, _) | (_, FileType::Pipe) => splice,
        _ => return Ok(Outcome::NotConnected),
    };
    let mut is_first = true;
    loop {
        match call(from.fd, to.fd, CHUNK) {
            // Files of procfs and sysfs have contents that their size does not tell.
            Ok(0) if is_first && from.is(FileType::Regular) => return Ok(Outcome::NotConnected),
            Ok(0) => return Ok(Outcome::Ended),
            Ok(len) => {
                *count += len as u64;
                is_first = false;
                consume_io_budget();
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => wait(&from, &to)?,
                _ if is_refusal(&error) => return Ok(Outcome::NotConnected),
                _ => return Err(error),
            },
        }
    }
}

/// Waits for the end that is not ready.
#[track_caller]
fn wait(from: &End<'_>, to: &End<'_>) -> io::Result<()> {
    // poll(2) and the wait read no events, so an event between them is not lost.
    if !from.is_ready(Interest::Readable)? {
        from.wait(Interest::Readable)
    } else if !to.is_ready(Interest::Writable)? {
        to.wait(Interest::Writable)
    } else {
        // Both are ready by now. If the kernel disagrees again, the other tasks have their turns nevertheless.
        consume_io_budget();
        Ok(())
    }
}

/// Returns whether the kernel or a sandbox does not support the call for these files.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP | libc::EOVERFLOW | libc::ETXTBSY)
    )
}
