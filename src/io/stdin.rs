//! The standard input.
#![forbid(unsafe_code)]

use super::source::consume_io_budget;
use super::stdio::{Pending, Shared, begin, block, finish, or_if_closed, unless_it_waits, was_ready};
use crate::blocking::Lane;
use crate::reactor::Interest;
use crate::sync::Mutex;
use crate::sys::file::{self, At, read_nowait};
use crate::wait::worker;
use std::io::{self, ErrorKind, IoSliceMut, IsTerminal, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The largest number of bytes of a read on the pool, and of idle room in the buffer.
const MAX_LEN: usize = 64 * 1024;

/// The number of bytes that `read_line` asks for.
const LINE_CHUNK: usize = 8 * 1024;

/// The read on the pool. There is one at a time, because it begins under the lock of `INPUT`.
static READS: Lane = Lane::new(1);

static INPUT: Shared<Input> = Shared::new(|| Mutex::new(Input { bytes: Vec::new(), start: 0, pending: None }));

/// The bytes that the process has read and not returned, and the read under way.
struct Input {
    /// The bytes from `start` on were not returned.
    bytes: Vec<u8>,
    start: usize,
    pending: Pending<Vec<u8>>,
}

impl Input {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(MAX_LEN);
            self.start = 0;
        }
    }

    /// Adds bytes behind the unread ones.
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Reads into `buffer`, not into `bytes`, if no wait is necessary. In a plain thread it may wait.
    fn try_read(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        // The bytes of the pending read come first.
        if self.pending.is_some() {
            return None;
        }
        let stdin = io::stdin();
        let fd = stdin.as_fd();
        if worker().is_none() {
            return Some(block(fd, Interest::Readable, || file::read(fd, buffer, At::Cursor)));
        }
        unless_it_waits(read_nowait(fd, &mut [IoSliceMut::new(buffer)], At::Cursor))
    }

    /// Waits until `try_read` may succeed or `bytes` has more, after `try_read` could not. Returns false at the end of the input.
    ///
    /// `len` is the number of bytes that the caller needs at most.
    #[track_caller]
    fn wait(&mut self, len: usize) -> io::Result<bool> {
        if self.pending.is_none() {
            if !was_ready(io::stdin().as_fd(), Interest::Readable)? {
                return Ok(true);
            }
            // A terminal, or a file that is not in the page cache: only the read itself tells whether it waits.
            begin(&mut self.pending, &READS, move || {
                let mut bytes = vec![0; len.min(MAX_LEN)];
                let stdin = io::stdin();
                let fd = stdin.as_fd();
                let count = block(fd, Interest::Readable, || file::read(fd, &mut bytes, At::Cursor))?;
                bytes.truncate(count);
                Ok(bytes)
            })?;
        }
        let Some(read) = finish(&mut self.pending, "data of stdin")? else { return Ok(true) };
        let read = read?;
        self.add(&read);
        Ok(!read.is_empty())
    }

    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.unread().is_empty() {
                let count = self.unread().read(buffer)?;
                self.consume(count);
                return Ok(count);
            }
            if let Some(result) = self.try_read(buffer) {
                return result;
            }
            if !self.wait(buffer.len())? {
                return Ok(0);
            }
        }
    }

    /// Returns the length of the next line with its line break, or of the rest of the input. Until then all bytes stay in `bytes`.
    #[track_caller]
    fn line(&mut self) -> io::Result<usize> {
        let mut searched = 0;
        loop {
            let unread = self.unread();
            if let Some(at) = unread[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(searched + at + 1);
            }
            searched = unread.len();
            let mut chunk = vec![0; LINE_CHUNK];
            let has_more = match self.try_read(&mut chunk) {
                Some(count) => {
                    let count = count?;
                    self.add(&chunk[..count]);
                    count > 0
                }
                None => self.wait(LINE_CHUNK)?,
            };
            if !has_more {
                return Ok(searched);
            }
        }
    }
}

/// Returns a handle to the standard input of the process.
///
/// ```no_run
/// use std::time::Duration;
/// cede::run(|| {
///     let mut name = String::new();
///     match cede::timeout(Duration::from_secs(10), || cede::io::stdin().read_line(&mut name)) {
///         Ok(count) => println!("{} bytes", count?),
///         Err(_late) => println!("no answer"),
///     }
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdin() -> Stdin {
    Stdin(io::stdin())
}

/// A handle to the standard input of the process, whose reads suspend the task instead of the thread. In a plain thread they block the
/// thread.
///
/// A read can be cancelled, and a [`timeout`](crate::timeout) ends it, whatever the input is: a terminal, a pipe, a socket or a file. The
/// mode of the descriptor is neither used nor changed, because other processes share it: `O_NONBLOCK` on a shared terminal would break the
/// shell.
///
/// # The bytes that a read takes
///
/// A read waits until the kernel reports data, and takes nothing before. From a pipe or a socket it then takes the data by a call
/// that does not wait. From a terminal a thread of the pool of [`blocking`](crate::blocking) reads, at most as many bytes as the caller has
/// asked for, because the data may be gone: another process may have read it. That thread then waits for more data, even if the task
/// that reads is cancelled. The bytes that it gets are kept for the next read of the process. So a cancel loses no data, but a program
/// that is started after such a cancel may miss the next line of the terminal.
///
/// All handles share these bytes, and the calls of all tasks and threads take turns in arrival order. The buffer of [`std::io::stdin`] is
/// another one: use one of the two.
///
/// There is no buffer apart from that, except for [`read_line`](Self::read_line) and [`lines`](Self::lines). For a
/// [`BufRead`](io::BufRead), use `BufReader::new(cede::io::stdin())`; such a reader loses the data in its own buffer with its drop.
///
/// Cancel safety: a cancelled call has taken nothing.
///
/// # Errors
///
/// Those of read(2), and the errors of a wait ([`io`](crate::io)). A closed descriptor is the end of the input, as for std.
///
/// # Panics
///
/// If a call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
#[derive(Debug)]
#[doc(alias = "console")]
#[doc(alias = "tty")]
pub struct Stdin(io::Stdin);

impl Stdin {
    /// Waits for a line, and appends it to `line` with its line break. Returns the number of bytes: 0 at the end of the input.
    ///
    /// May read more than the line. The rest is kept for the next call of any handle.
    ///
    /// Cancel safety: a cancelled call has taken nothing. The start of a line that has arrived is kept for the next call.
    ///
    /// # Errors
    ///
    /// Those of [`Stdin`], and `InvalidData` if the line is not UTF-8. Such a line is lost.
    #[track_caller]
    pub fn read_line(&self, line: &mut String) -> io::Result<usize> {
        let mut input = INPUT.lock()?;
        let len = or_if_closed(input.line(), 0)?;
        consume_io_budget();
        let text = std::str::from_utf8(&input.unread()[..len]).map(|text| line.push_str(text));
        input.consume(len);
        text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "stream did not contain valid UTF-8"))?;
        Ok(len)
    }

    /// Returns an iterator over the lines of the input, without their line breaks. Each call of `next` waits for a line.
    ///
    /// Cancel safety: a cancelled `next` returns an error and has taken nothing.
    ///
    /// ```no_run
    /// use std::io::Write;
    /// cede::run(|| {
    ///     for line in cede::io::stdin().lines() {
    ///         writeln!(cede::io::stdout(), "you said: {}", line?)?;
    ///     }
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lines(self) -> StdinLines {
        StdinLines(self)
    }

    /// Returns whether the input is a terminal. Does not wait.
    pub fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

/// The lines of the standard input: the iterator of [`Stdin::lines`].
#[derive(Debug)]
pub struct StdinLines(Stdin);

impl Iterator for StdinLines {
    type Item = io::Result<String>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<String>> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                if line.ends_with('\n') {
                    line.pop();
                    if line.ends_with('\r') {
                        line.pop();
                    }
                }
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Read for &Stdin {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = or_if_closed(INPUT.lock()?.read(buffer), 0);
        consume_io_budget();
        result
    }
}

impl Read for Stdin {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Stdin {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
