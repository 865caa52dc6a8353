//! The standard output and the standard error.
#![forbid(unsafe_code)]

use super::source::consume_io_budget;
use super::stdio::{Pending, Shared, begin, block, finish, or_if_closed, unless_it_waits, was_ready};
use crate::blocking::{Lane, unblock};
use crate::reactor::Interest;
use crate::sync::{Mutex, MutexGuard};
use crate::sys::file::{self, At, write_nowait};
use crate::sys::{FileType, file_type};
use crate::wait::worker;
use std::fmt;
use std::io::{self, IoSlice, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The largest number of bytes that a write passes to the pool.
const MAX_LEN: usize = 4096;

/// The writes on the pool. There is one per stream at a time, because it begins under the lock of the stream.
static WRITES: Lane = Lane::new(2);

/// The output of a stream.
struct Output {
    /// A write of bytes that were accepted.
    pending: Pending<()>,
}

static STDOUT: Shared<Output> = Shared::new(|| Mutex::new(Output { pending: None }));
static STDERR: Shared<Output> = Shared::new(|| Mutex::new(Output { pending: None }));

impl Output {
    /// Waits until the accepted bytes are written, and returns the error of their write.
    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        finish(&mut self.pending, "room in a standard stream")?.unwrap_or(Ok(()))
    }

    /// Writes a part of `bytes` to the stream that `handle` returns.
    #[track_caller]
    fn write<H: AsFd + 'static>(&mut self, handle: fn() -> H, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let stream = handle();
        let fd = stream.as_fd();
        // Before these bytes, and not after a cancel: then none of them is written.
        self.flush()?;
        if worker().is_none() {
            return block(fd, Interest::Writable, || file::write(fd, bytes, At::Cursor));
        }
        loop {
            if let Some(result) = unless_it_waits(write_nowait(fd, &[IoSlice::new(bytes)])) {
                return result;
            }
            if was_ready(fd, Interest::Writable)? {
                break;
            }
        }
        if file_type(fd) == FileType::Regular {
            // Waits for the file system only.
            return unblock(|| file::write(fd, bytes, At::Cursor));
        }
        // A terminal, which can be stopped at any time: only the write itself tells whether it waits. The copy outlives a cancel.
        let copy = bytes[..bytes.len().min(MAX_LEN)].to_vec();
        let len = copy.len();
        begin(&mut self.pending, &WRITES, move || {
            let stream = handle();
            let fd = stream.as_fd();
            let mut rest = &copy[..];
            while !rest.is_empty() {
                let count = block(fd, Interest::Writable, || file::write(fd, rest, At::Cursor))?;
                rest = &rest[count..];
            }
            Ok(())
        })?;
        match finish(&mut self.pending, "room in a standard stream") {
            Ok(Some(Err(error))) => Err(error),
            // After a cancel the pending write has the bytes: they are accepted, and the next call waits.
            Ok(_) | Err(_) => Ok(len),
        }
    }
}

/// Writes all bytes, without those of another call in between.
#[track_caller]
fn write_all<H: AsFd + 'static>(
    mut output: MutexGuard<'_, Output>,
    handle: fn() -> H,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match or_if_closed(output.write(handle, bytes), bytes.len())? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => bytes = &bytes[count..],
        }
        consume_io_budget();
    }
    Ok(())
}

/// Formats a text and writes it, without that of another call in between.
#[track_caller]
fn write_fmt<H: AsFd + 'static>(
    output: MutexGuard<'_, Output>,
    handle: fn() -> H,
    text: fmt::Arguments<'_>,
) -> io::Result<()> {
    match text.as_str() {
        Some(text) => write_all(output, handle, text.as_bytes()),
        None => write_all(output, handle, fmt::format(text).as_bytes()),
    }
}

/// Returns a handle to the standard output of the process.
///
/// ```
/// use std::io::Write;
/// cede::run(|| writeln!(cede::io::stdout(), "{} tasks", 3))?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdout() -> Stdout {
    Stdout(io::stdout())
}

/// Returns a handle to the standard error of the process.
///
/// ```
/// use std::io::Write;
/// cede::run(|| writeln!(cede::io::stderr(), "warning: {} tasks", 3))?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stderr() -> Stderr {
    Stderr(io::stderr())
}

/// A handle to the standard output of the process, whose writes suspend the task instead of the thread. In a plain thread they block the
/// thread.
///
/// A full pipe, a stopped terminal or a slow file delays a write. A cancel or a [`timeout`](crate::timeout) ends it, except on a file. The
/// mode of the descriptor is neither used nor changed, because other processes share it.
///
/// There is no buffer, unlike in [`std::io::stdout`]. `write_all` and each `write!` or `writeln!` write their bytes without those of
/// another call in between, and calls of tasks and threads take turns in arrival order. For many small writes use a
/// [`BufWriter`](io::BufWriter) or a [`LineWriter`](io::LineWriter).
///
/// # Terminals
///
/// Only the write to a terminal tells whether it waits. So a thread of the pool of [`blocking`](crate::blocking) makes it, with a copy of at
/// most 4,096 bytes. After a cancel these bytes count as written: the write returns `Ok`, and the thread continues. The next call waits
/// for it, and returns its error. [`flush`](Write::flush) waits, too: the end of the process does not.
///
/// Cancel safety: a cancelled write has written nothing. A cancelled `write_all` has written a part: [`io::write_all`](crate::io::write_all)
/// says how much.
///
/// # Errors
///
/// Those of write(2), and the errors of a wait ([`io`](crate::io)). A closed descriptor takes all bytes, as with std.
///
/// # Panics
///
/// If a call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
#[derive(Debug)]
pub struct Stdout(io::Stdout);

/// A handle to the standard error of the process, whose writes suspend the task instead of the thread. All that [`Stdout`] says holds for
/// it, too.
#[derive(Debug)]
pub struct Stderr(io::Stderr);

macro_rules! output {
    ($type:ident, $handle:path, $shared:ident) => {
        impl $type {
            /// Returns whether the stream is a terminal. Does not wait.
            pub fn is_terminal(&self) -> bool {
                self.0.is_terminal()
            }
        }

        impl Write for &$type {
            #[track_caller]
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let result = or_if_closed($shared.lock()?.write($handle, bytes), bytes.len());
                consume_io_budget();
                result
            }

            #[track_caller]
            fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
                write_all($shared.lock()?, $handle, bytes)
            }

            #[track_caller]
            fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
                write_fmt($shared.lock()?, $handle, text)
            }

            /// Waits until a write that a cancel has left to the pool has ended, and returns its error.
            #[track_caller]
            fn flush(&mut self) -> io::Result<()> {
                or_if_closed($shared.lock()?.flush(), ())
            }
        }

        impl Write for $type {
            #[track_caller]
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                (&*self).write(bytes)
            }

            #[track_caller]
            fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
                (&*self).write_all(bytes)
            }

            #[track_caller]
            fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
                (&*self).write_fmt(text)
            }

            /// Waits until a write that a cancel has left to the pool has ended, and returns its error.
            #[track_caller]
            fn flush(&mut self) -> io::Result<()> {
                (&*self).flush()
            }
        }

        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }
    };
}

output!(Stdout, io::stdout, STDOUT);
output!(Stderr, io::stderr, STDERR);
