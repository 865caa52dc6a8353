//! The traits of std over those of futures-io.
#![forbid(unsafe_code)]

use super::{FuturesIo, SyncIo, buffered, wait};
use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
use std::io::{BufRead, IoSlice, IoSliceMut, Read, Result, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::task::{Context, Waker};

impl<T> SyncIo<T, FuturesIo> {
    /// Wraps a stream with the traits of futures-io: `AsyncRead`, `AsyncWrite`, `AsyncBufRead`, `AsyncSeek`, as far as it has them.
    ///
    /// ```
    /// # #[cfg(feature = "futures-io")] {
    /// use cede::bridge::{FuturesIo, SyncIo};
    /// let stream: &[u8] = b"text";
    /// let stream: SyncIo<&[u8], FuturesIo> = SyncIo::futures_io(stream);
    /// assert_eq!(std::io::read_to_string(stream).unwrap(), "text"); // in a plain thread
    /// # }
    /// ```
    pub fn futures_io(stream: T) -> SyncIo<T, FuturesIo> {
        SyncIo::new(stream)
    }
}

impl<T: AsyncWrite + Unpin> SyncIo<T, FuturesIo> {
    /// Waits until the stream has sent its output and is closed (`poll_close`).
    ///
    /// # Errors
    ///
    /// Those of the stream, and that of a [cancelled wait](SyncIo#errors), after which another call goes on.
    ///
    /// ```
    /// # #[cfg(feature = "futures-io")] {
    /// use std::io::Write;
    /// let mut output = cede::bridge::SyncIo::futures_io(Vec::new());
    /// output.write_all(b"text").unwrap();
    /// output.close().unwrap();
    /// # }
    /// ```
    #[track_caller]
    pub fn close(&mut self) -> Result<()> {
        wait(|cx| Pin::new(&mut self.inner).poll_close(cx))
    }
}

impl<T: AsyncRead + Unpin> Read for SyncIo<T, FuturesIo> {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        wait(|cx| Pin::new(&mut self.inner).poll_read(cx, buffer))
    }

    #[track_caller]
    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<usize> {
        wait(|cx| Pin::new(&mut self.inner).poll_read_vectored(cx, slices))
    }
}

impl<T: AsyncBufRead + Unpin> BufRead for SyncIo<T, FuturesIo> {
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

impl<T: AsyncWrite + Unpin> Write for SyncIo<T, FuturesIo> {
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

impl<T: AsyncSeek + Unpin> Seek for SyncIo<T, FuturesIo> {
    #[track_caller]
    fn seek(&mut self, place: SeekFrom) -> Result<u64> {
        wait(|cx| Pin::new(&mut self.inner).poll_seek(cx, place))
    }
}
