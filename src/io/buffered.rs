//! Buffered reading and writing of one stream.
#![forbid(unsafe_code)]

use super::buffer::{Chunk, LEN, Lent};
use super::stream::Stream;
use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read, Write};

/// A buffered stream: [`BufRead`] and [`Write`] in one, for protocols of requests and answers.
///
/// Both buffers belong to the thread's pool and have 16 KiB. The stream holds the one for input from the arrival of data until the data
/// is consumed, and the one for output from a write until the flush. So a connection that waits for its next request holds no buffer.
///
/// A read that has to wait first flushes the pending output. So an answer is sent without a call of `flush` when the next request is
/// read, and the answers to several requests that arrived together are sent together.
///
/// The drop flushes, except in a panic, and ignores errors, as that of [`BufWriter`](std::io::BufWriter) does: call
/// [`flush`](Write::flush) to see them. Input that was not consumed is lost with the drop.
///
/// Cancel safety: a cancelled read takes nothing from the stream. A cancelled flush has sent a part of the output; the rest is still
/// pending, and the next flush continues with it.
///
/// ```
/// use cede::net::UnixStream;
/// use std::io::{BufRead, Write};
/// cede::run(|| {
///     let (client, server) = UnixStream::pair()?;
///     let mut server = cede::spawn(move || {
///         let mut server = server.buffered();
///         let mut line = String::new();
///         while server.read_line(&mut line)? > 0 {
///             write!(server, "<{}>\n", line.trim_end())?;
///             line.clear();
///         }
///         server.flush()
///     });
///     let mut client = client.buffered();
///     writeln!(client, "hello")?;
///     let mut answer = String::new();
///     client.read_line(&mut answer)?; // sends the request
///     assert_eq!(answer, "<hello>\n");
///     drop(client);
///     # drop(server.cancel());
///     # let _ = server.join();
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Buffered<S: Stream> {
    stream: S,
    /// Input that is not consumed yet, from `read` on.
    input: Option<Chunk>,
    read: usize,
    /// Output that is pending, from `sent` to `written`.
    output: Option<Lent>,
    sent: usize,
    written: usize,
}

impl<S: Stream> Buffered<S> {
    /// Wraps a stream or a shared reference to one. Takes no buffer.
    ///
    /// The method `buffered` of a stream does the same for a reference to it.
    pub fn new(stream: S) -> Buffered<S> {
        Buffered { stream, input: None, read: 0, output: None, sent: 0, written: 0 }
    }

    /// Returns the stream. Data that the buffers hold is not seen by its calls.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the input that was read and not consumed.
    pub fn buffer(&self) -> &[u8] {
        self.input.as_ref().map_or(&[], |input| &input.bytes()[self.read..])
    }

    /// Returns the number of bytes that were written and not sent.
    pub fn pending(&self) -> usize {
        self.written - self.sent
    }

    /// Sends the pending output. What was not sent before an error remains pending.
    #[track_caller]
    fn send_pending(&mut self) -> io::Result<()> {
        while let Some(output) = &self.output
            && self.sent < self.written
        {
            match self.stream.send(&output[self.sent..self.written]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) => return Err(error),
            }
        }
        self.output = None;
        (self.sent, self.written) = (0, 0);
        Ok(())
    }
}

impl<S: Stream> Read for Buffered<S> {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A large read needs no copy.
        if self.input.is_none() && buffer.len() >= LEN {
            if self.output.is_some() {
                if let Some(count) = self.stream.try_receive_into(buffer)? {
                    return Ok(count);
                }
                self.send_pending()?;
            }
            return self.stream.receive_into(buffer);
        }
        let mut input = self.fill_buf()?;
        let count = input.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<S: Stream> BufRead for Buffered<S> {
    /// Returns the input that is not consumed. If there is none, flushes the output and waits for data; no bytes are the end of the
    /// stream.
    #[track_caller]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.input.is_none() {
            // A wait comes after a flush: the peer may wait for the output.
            let at_once = if self.output.is_some() { self.stream.try_receive()? } else { None };
            let chunk = match at_once {
                Some(chunk) => chunk,
                None => {
                    self.send_pending()?;
                    self.stream.receive()?
                }
            };
            self.read = 0;
            // At the end of the stream no buffer is held.
            self.input = (chunk.len > 0).then_some(chunk);
        }
        Ok(self.buffer())
    }

    fn consume(&mut self, count: usize) {
        if let Some(input) = &self.input {
            self.read = input.len.min(self.read.saturating_add(count));
            if self.read == input.len {
                self.input = None;
            }
        }
    }
}

impl<S: Stream> Write for Buffered<S> {
    /// Copies `bytes` to the output, and flushes only if there is no room.
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() > LEN {
            self.send_pending()?;
        }
        // A large write needs no copy.
        if bytes.len() >= LEN {
            return self.stream.send(bytes);
        }
        if !bytes.is_empty() {
            let output = self.output.get_or_insert_with(Lent::take);
            output[self.written..][..bytes.len()].copy_from_slice(bytes);
            self.written += bytes.len();
        }
        Ok(bytes.len())
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        self.send_pending()
    }
}

impl<S: Stream> Drop for Buffered<S> {
    fn drop(&mut self) {
        // As `BufWriter`: a flush in a panicking thread could send half of an answer.
        if !std::thread::panicking() {
            let _ = self.send_pending();
        }
    }
}

impl<S: Stream + fmt::Debug> fmt::Debug for Buffered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = self.buffer().len();
        f.debug_struct("Buffered")
            .field("stream", &self.stream)
            .field("input", &input)
            .field("pending", &self.pending())
            .finish()
    }
}
