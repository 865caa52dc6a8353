//! Copying from one stream to another.
#![forbid(unsafe_code)]

use super::buffer::Lent;
use super::error::interrupted;
use super::kernel_copy::{self, Outcome};
use super::known::{Known, known};
use crate::task::JoinError;
use crate::wait::Cancelled;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::panic::resume_unwind;

/// Copies from `reader` to `writer` until the reader ends, and returns the number of bytes. Waits where the two wait.
///
/// Like [`std::io::copy`], takes any reader and writer. On Linux, the kernel copies between these types, and between references to
/// them, by sendfile(2) and splice(2): from a [`File`](std::fs::File) to a stream of [`net`](crate::net) or a pipe; from a pipe
/// to a stream, a file or a pipe; and from a stream to a pipe. The stream must be in non-blocking mode, as a connected or accepted one
/// is. A pipe is one of this library or of `std`, also that of a child process, and may be in blocking mode: the copy waits for it as
/// for a stream.
///
/// Everything else is copied through a buffer of 16 KiB that the thread lends. A copy from a stream of [`net`](crate::net) holds it
/// only while there is data.
///
/// A file blocks the thread while the disk reads or writes. A copy in the kernel to a stream whose peer has closed it raises SIGPIPE. The
/// main function of a Rust program ignores that signal.
///
/// Cancel safety: a copy inside the kernel loses nothing. A cancel of another copy loses the bytes that were read and not written yet, at
/// most 16 KiB.
///
/// # Errors
///
/// The first error of either side. After an error of the reader, all bytes that were read before it have been written. After an error
/// of the writer, up to 16 KiB that were read may be lost, except in a copy inside the kernel.
///
/// ```
/// cede::run(|| {
///     let mut out = Vec::new();
///     assert_eq!(cede::io::copy(&mut &b"some bytes"[..], &mut out)?, 10);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "splice")]
#[doc(alias = "sendfile")]
#[track_caller]
pub fn copy(reader: &mut (impl Read + ?Sized), writer: &mut (impl Write + ?Sized)) -> io::Result<u64> {
    let mut count = 0;
    copy_counting(reader, writer, &mut count).map(|()| count)
}

/// Copies as [`copy`] does. `count` is the number of bytes that were written, also after an error.
#[track_caller]
fn copy_counting<R, W>(reader: &mut R, writer: &mut W, count: &mut u64) -> io::Result<()>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let from = known(&*reader);
    if let (Some(from), Some(to)) = (&from, known(&*writer))
        && kernel_copy::copy(from, &to, count)? == Outcome::Ended
    {
        return Ok(());
    }
    if let Some(Known::Stream(stream)) = from {
        loop {
            let chunk = stream.receive()?;
            if chunk.bytes().is_empty() {
                return Ok(());
            }
            write_counting(writer, chunk.bytes(), count)?;
        }
    }
    let mut buffer = Lent::take();
    loop {
        match reader.read(&mut buffer[..]) {
            Ok(0) => return Ok(()),
            Ok(len) => write_counting(writer, &buffer[..len], count)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[track_caller]
fn write_counting(writer: &mut (impl Write + ?Sized), bytes: &[u8], count: &mut u64) -> io::Result<()> {
    let outcome = super::write_all(&mut *writer, bytes);
    *count += outcome.as_ref().map_or_else(|partial| partial.sent, |()| bytes.len()) as u64;
    outcome.map_err(|partial| partial.error)
}

/// A stream whose two directions end apart.
pub trait HalfClose {
    /// Ends the writing side: the peer reads the end of the stream.
    ///
    /// # Errors
    ///
    /// The error of shutdown(2).
    fn close_write(&self) -> io::Result<()>;
}

/// The outcome of [`copy_both`]: the bytes of each direction, and the first error of each.
#[derive(Debug)]
#[non_exhaustive]
pub struct CopiedBoth {
    /// The number of bytes from the first stream to the second, also if an error ended that direction.
    pub forth: u64,
    /// The number of bytes from the second stream to the first.
    pub back: u64,
    /// The error that ended the first direction.
    pub forth_error: Option<io::Error>,
    /// The error that ended the second direction.
    pub back_error: Option<io::Error>,
}

/// Copies between two streams in both directions at once, until both have ended: a proxy. When one stream ends, the
/// writing side of the other stream is closed ([`HalfClose::close_write`]), so that its peer reads the end. The other
/// direction continues. If a direction fails, the other one ends, too.
///
/// Cancel safety: a cancel ends both directions, and the counts are returned. For the error of each direction that it ended,
/// [`is_cancelled`](super::is_cancelled) returns true.
///
/// # Panics
///
/// If called outside a run. Propagates a panic of a read or write.
#[track_caller]
pub fn copy_both<A, B>(a: &A, b: &B) -> CopiedBoth
where
    for<'x> &'x A: Read + Write,
    for<'x> &'x B: Read + Write,
    A: HalfClose,
    B: HalfClose,
{
    // The outcome of a task that was cancelled before its first turn. A cancel also ends the join, so the task stores its outcome here.
    let forth = Cell::new((0, Some(interrupted(Cancelled))));
    let outcome = crate::scope(|scope| {
        let mut task = scope.spawn(|| forth.set(one_way(a, b, || scope.cancel())));
        let back = one_way(b, a, || scope.cancel());
        (task.join(), back)
    });
    let (joined, (back, back_error)) = match outcome {
        Ok(pair) => pair,
        Err(error) => panic!("{error}"),
    };
    if let Err(JoinError::Panicked(payload)) = joined {
        resume_unwind(payload);
    }
    let (forth, forth_error) = forth.into_inner();
    CopiedBoth { forth, back, forth_error, back_error }
}

fn one_way<R, W>(reader: &R, writer: &W, on_error: impl FnOnce()) -> (u64, Option<io::Error>)
where
    for<'x> &'x R: Read,
    for<'x> &'x W: Write,
    W: HalfClose,
{
    let mut count = 0;
    let result = copy_counting(&mut { reader }, &mut { writer }, &mut count).and_then(|()| writer.close_write());
    let error = result.err();
    if error.is_some() {
        on_error();
    }
    (count, error)
}
