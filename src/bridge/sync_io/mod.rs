//! `SyncIo`: the I/O traits of std over those of async Rust, one wait for each call.
//!
//! tokio and futures-io have traits of the same names and methods, and a type may implement both. Features are additive, so one
//! program may have both families, and `Read` cannot be implemented for "tokio's trait, or else the other". The second type
//! parameter of `SyncIo` therefore names the family, and each family has a constructor and a file of its own. The alternative, a wrapper
//! type for each family, would repeat all that is not a trait method.
#![forbid(unsafe_code)]

#[cfg(feature = "futures-io")]
mod futures;
#[cfg(feature = "tokio")]
mod tokio;

use super::block_on;
use crate::wait::io_error::interrupted;
use std::fmt;
use std::future::poll_fn;
use std::io::{Error, Result};
use std::marker::PhantomData;
use std::task::{Context, Poll};

/// The family of tokio's I/O traits: the second parameter of a [`SyncIo`] that [`SyncIo::tokio`] made.
#[derive(Clone, Copy, Debug)]
pub enum Tokio {}

/// The family of the I/O traits of futures-io: the second parameter of a [`SyncIo`] that [`SyncIo::futures_io`] made.
#[derive(Clone, Copy, Debug)]
pub enum FuturesIo {}

/// A synchronous reader and writer over an async stream: for libraries that take a [`Read`](std::io::Read) or
/// [`Write`](std::io::Write).
///
/// Each call waits by [`block_on`]: it suspends the calling task, and blocks the thread outside of a run.
/// [`SyncIo::tokio`] takes streams with the traits of tokio (feature `tokio`), and [`SyncIo::futures_io`] those with the traits of
/// futures-io (feature `futures-io`), which smol and async-std have. The parameter `F` says which:
///
/// | async trait | trait of std |
/// |---|---|
/// | `AsyncRead` | [`Read`](std::io::Read) |
/// | `AsyncBufRead` | [`BufRead`](std::io::BufRead) |
/// | `AsyncWrite` | [`Write`](std::io::Write), and a method for the end of the output: `shutdown` of tokio, `close` of futures-io |
/// | `AsyncSeek` | [`Seek`](std::io::Seek) |
///
/// The stream must be [`Unpin`], as almost all streams are. `Box::pin(stream)` makes it so. `&mut stream` is a stream, too. Calls need
/// `&mut SyncIo`: for a task that reads and another that writes, split the stream first (`tokio::io::split`).
///
/// `SyncIo` has no buffer. Small reads and writes are cheaper in a [`BufReader`](std::io::BufReader) or
/// [`BufWriter`](std::io::BufWriter) around it. The drop sends nothing: call [`flush`](std::io::Write::flush), and `shutdown` or `close`,
/// if the stream needs them.
///
/// # Errors
///
/// Each call passes the stream's own errors on. If a cancel, a deadline or a timeout ends the wait of a call, the call returns an
/// [`io::Error`](std::io::Error) whose source is [`Cancelled`](crate::task::Cancelled), as the calls of [`net`](crate::net) do: of kind
/// [`TimedOut`](std::io::ErrorKind::TimedOut) after a deadline or timeout, and of kind [`Other`](std::io::ErrorKind::Other) otherwise.
/// Never `Interrupted`, on which std would try again, and never `WouldBlock`.
///
/// Cancel safety: the stream can be used after the error.
/// * A cancelled `read`, `fill_buf`, `write` or `write_vectored` has taken no byte from the stream, and accepted none. Call it again.
/// * Calls of std that loop, such as `read_exact`, `read_to_end` and `write_all`, keep or lose their progress as with any other error:
///   `read_exact` and `write_all` do not tell how many bytes they had moved.
/// * A cancelled `flush`, `shutdown` or `close` may have sent a part. The rest remains with the stream, and the next call goes on.
/// * A cancelled `seek` may still take effect: seek to a place that does not depend on it.
///
/// # Panics
///
/// If the stream panics, and if a call has to wait in a callback or inside [`no_suspend`](crate::no_suspend).
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// use cede::bridge::SyncIo;
/// use std::io::{BufRead, Error, Write};
///
/// fn shout(input: impl BufRead, mut output: impl Write) -> Result<(), Error> { // knows nothing of async Rust
///     input.lines().try_for_each(|line| writeln!(output, "{}!", line?))
/// }
/// cede::run(|| {
///     let input: &[u8] = b"one\ntwo\n"; // or a `BufReader<TcpStream>` of tokio
///     let mut output = SyncIo::tokio(Vec::new()); // or a `TcpStream`
///     shout(SyncIo::tokio(input), &mut output)?;
///     assert_eq!(output.into_inner(), b"one!\ntwo!\n");
///     Ok::<_, Error>(())
/// }).unwrap();
/// # }
/// ```
#[doc(alias = "SyncIoBridge")]
#[doc(alias = "AllowStdIo")]
#[doc(alias = "AsyncRead")]
#[doc(alias = "AsyncWrite")]
pub struct SyncIo<T, F = Tokio> {
    inner: T,
    family: PhantomData<F>,
}

impl<T, F> SyncIo<T, F> {
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    fn new(inner: T) -> SyncIo<T, F> {
        SyncIo { inner, family: PhantomData }
    }

    /// Returns the stream.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Returns a reference to the stream.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Returns a mutable reference to the stream, for example to use it in async code.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug, F> fmt::Debug for SyncIo<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SyncIo").field(&self.inner).finish()
    }
}

/// Polls until the operation is ready, with a wait after each poll that returned `Pending`.
#[inline]
#[track_caller]
fn wait<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T>>) -> Result<T> {
    block_on(poll_fn(poll)).unwrap_or_else(|cancelled| Err(interrupted(cancelled)))
}

/// Returns the buffer of a stream whose previous poll has returned data, which was not consumed. The borrow checker lets no
/// closure of [`wait`] return a reference into the stream, so a second poll gets it.
fn buffered(second: Poll<Result<&[u8]>>) -> Result<&[u8]> {
    match second {
        Poll::Ready(buffer) => buffer,
        Poll::Pending => Err(Error::other(
            "the stream has no buffered data, although its last poll_fill_buf returned some: report it to the stream's authors",
        )),
    }
}
