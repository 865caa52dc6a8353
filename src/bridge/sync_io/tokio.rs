//! The traits of std over those of tokio.
#![forbid(unsafe_code)]

use super::{SyncIo, Tokio, buffered, wait};
use std::io::{BufRead, IoSlice, Read, Result, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::task::{Context, Waker};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

impl<T> SyncIo<T, Tokio> {
    /// Wraps a stream with the traits of tokio: `AsyncRead`, `AsyncWrite`, `AsyncBufRead`, `AsyncSeek`, as far as it has them.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// use cede::bridge::SyncIo;
    /// let stream: &[u8] = b"text";
    /// assert_eq!(std::io::read_to_string(SyncIo::tokio(stream)).unwrap(), "text"); // in a plain thread
    /// # }
    /// ```
    pub fn tokio(stream: T) -> SyncIo<T, Tokio> {
        SyncIo::new(stream)
    }
}

impl<T: AsyncWrite + Unpin> SyncIo<T, Tokio> {
    /// Waits until the stream has sent its output and the end of it (`poll_shutdown`). A socket then sends no more, and can be read.
    ///
    /// # Errors
    ///
    /// Those of the stream, and that of a [cancelled wait](SyncIo#errors), after which another call goes on.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// use std::io::Write;
    /// let mut output = cede::bridge::SyncIo::tokio(Vec::new());
    /// output.write_all(b"text").unwrap();
    /// output.shutdown().unwrap();
    /// # }
    /// ```
    #[track_caller]
    pub fn shutdown(&mut self) -> Result<()> {
        wait(|cx| Pin::new(&mut self.inner).poll_shutdown(cx))
    }
}

impl<T: AsyncRead + Unpin> Read for SyncIo<T, Tokio> {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        wait(|cx| Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl<T: AsyncBufRead + Unpin> BufRead for SyncIo<T, Tokio> {
    #[track_caller]
    fn fill_buf(&mut self) -> Result<&[u8]> {
        // At the end a second poll could ask the system once more, and wait.
        if wait(|cx| Pin::new(&mut self.inner).poll_fill_buf(cx).map_ok(<[u8]>::is_empty))? {
            return Ok(&[]);
        }
        buffered(Pin::new(&mut self.inner).poll_fill_buf(&mut Context::from_waker(Waker::noop())))
    }

    fn consume(&mut self, count: usize) {
        Pin::new(&mut self.inner).consume(count);
    }
}

impl<T: AsyncWrite + Unpin> Write for SyncIo<T, Tokio> {
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        wait(|cx| Pin::new(&mut self.inner).poll_write(cx, bytes))
    }

    #[track_caller]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Result<usize> {
        wait(|cx| Pin::new(&mut self.inner).poll_write_vectored(cx, slices))
    }

    #[track_caller]
    fn flush(&mut self) -> Result<()> {
        wait(|cx| Pin::new(&mut self.inner).poll_flush(cx))
    }
}

impl<T: AsyncSeek + Unpin> Seek for SyncIo<T, Tokio> {
    #[track_caller]
    fn seek(&mut self, place: SeekFrom) -> Result<u64> {
        // `start_seek` fails while an earlier seek, whose wait was cancelled, is in progress.
        wait(|cx| Pin::new(&mut self.inner).poll_complete(cx))?;
        Pin::new(&mut self.inner).start_seek(place)?;
        wait(|cx| Pin::new(&mut self.inner).poll_complete(cx))
    }
}
