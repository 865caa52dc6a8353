//! Copying from one stream to another.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

/// The size of the buffer, in bytes.
const BUFFER: usize = 16 * 1024;

/// Copies from `reader` to `writer` until the reader ends, and returns the number of bytes. Waits where the two wait.
///
/// Cancel safety: a cancel loses the bytes that were read and not written yet, at most 16 KiB.
///
/// # Errors
///
/// The first error of either side.
///
/// ```
/// cede::run(|| {
///     let mut out = Vec::new();
///     assert_eq!(cede::io::copy(&mut &b"some bytes"[..], &mut out)?, 10);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy(reader: &mut (impl Read + ?Sized), writer: &mut (impl Write + ?Sized)) -> io::Result<u64> {
    // On the heap: a task's stack is small.
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        writer.write_all(&buffer[..count])?;
        total += count as u64;
    }
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
/// Cancel safety: a cancel ends both directions, and the counts are returned.
///
/// # Panics
///
/// If called outside a run.
#[track_caller]
pub fn copy_both<A, B>(a: &A, b: &B) -> CopiedBoth
where
    for<'x> &'x A: Read + Write,
    for<'x> &'x B: Read + Write,
    A: HalfClose,
    B: HalfClose,
{
    let outcome = crate::scope(|scope| {
        let mut forth = scope.spawn(|| one_way(a, b, || scope.cancel()));
        let back = one_way(b, a, || scope.cancel());
        (forth.join(), back)
    });
    let (forth, back) = match outcome {
        Ok(pair) => pair,
        Err(error) => panic!("{error}"),
    };
    // The task neither panics nor is cancelled before its first turn: a scope's cancel comes from the other direction, whose error is kept.
    let (forth, forth_error) = forth.unwrap_or_else(|error| (0, Some(io::Error::other(error.to_string()))));
    CopiedBoth { forth, back: back.0, forth_error, back_error: back.1 }
}

fn one_way<R, W>(reader: &R, writer: &W, on_error: impl FnOnce()) -> (u64, Option<io::Error>)
where
    for<'x> &'x R: Read,
    for<'x> &'x W: Write,
    W: HalfClose,
{
    let mut counted = Counting { inner: writer, count: 0 };
    let result = copy(&mut { reader }, &mut counted).and_then(|_| writer.close_write());
    let error = result.err();
    if error.is_some() {
        on_error();
    }
    (counted.count, error)
}

/// Counts what was written, also when a later write fails.
struct Counting<'a, W> {
    inner: &'a W,
    count: u64,
}

impl<W> Write for Counting<'_, W>
where
    for<'x> &'x W: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
