//! Batches of datagrams.
#![forbid(unsafe_code)]

use super::batch_calls::Calls;
use super::sys_batch::{Headers, Piece, Received};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// The largest number of messages of a call (UIO_MAXIOV).
const MAX_MESSAGES: usize = 1024;

/// The largest number of datagrams that one message may have (UDP_MAX_SEGMENTS of the first kernels with GSO).
const MAX_SEGMENTS: usize = 64;

/// The largest number of bytes of such a message: a packet of 65,535 bytes, less the largest header of IPv4 and that of UDP.
const MAX_MESSAGE_LEN: usize = 65_535 - 60 - 8;

/// The slot of a message that may hold joined datagrams, and the largest number of such slots.
const JOINED_LEN: usize = 65_536;
const JOINED_SLOTS: usize = 64;

/// A batch of datagrams, for [`UdpSocket::recv_batch`](super::UdpSocket::recv_batch) and
/// [`UdpSocket::send_batch`](super::UdpSocket::send_batch).
///
/// A batch owns the memory of its datagrams, and is meant to be used again: no call but the first allocates. The datagrams that were
/// received can be sent as they are: to their senders.
///
/// ```
/// use cede::net::{Batch, UdpSocket};
/// # let outcome: std::io::Result<()> =
/// cede::run(|| {
///     let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
///     let mut batch = Batch::new(32, 1500);
///     for text in ["one", "two", "three"] {
///         batch.push(text.as_bytes(), there.local_addr()?).expect("there is room");
///     }
///     assert_eq!(here.send_batch(&mut batch)?, 3);
///
///     let mut received = Vec::new();
///     while received.len() < 3 {
///         there.recv_batch(&mut batch)?;
///         received.extend(batch.iter().map(|datagram| datagram.bytes.to_vec()));
///     }
///     assert_eq!(received, [&b"one"[..], b"two", b"three"]);
///     Ok(())
/// });
/// # outcome.unwrap();
/// ```
#[doc(alias("recvmmsg", "sendmmsg", "mmsghdr", "GRO", "GSO"))]
pub struct Batch {
    /// The bytes of the runs, in their order, with gaps.
    bytes: Vec<u8>,
    runs: VecDeque<Run>,
    /// The number of datagrams of all runs.
    len: usize,
    capacity: usize,
    max_len: usize,
    headers: Headers,
}

/// Datagrams of one peer, one behind the other in memory. All have the same length, but the last may be shorter.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: usize,
    /// The number of bytes. 0 for one datagram without bytes.
    len: usize,
    /// The length of each datagram but the last, at least 1.
    segment: usize,
    is_truncated: bool,
    peer: SocketAddr,
}

impl Run {
    fn count(&self) -> usize {
        self.len.div_ceil(self.segment).max(1)
    }

    fn end(&self) -> usize {
        self.start + self.len
    }

    /// The place of a datagram.
    fn place(&self, index: usize) -> std::ops::Range<usize> {
        let start = self.start + index * self.segment;
        start..self.end().min(start + self.segment)
    }
}

/// A datagram of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// The bytes. There may be none.
    pub bytes: &'a [u8],
    /// The sender of a received datagram, or the receiver of a pushed one.
    pub peer: SocketAddr,
    /// Whether the datagram was longer than the batch allows, and the rest is lost.
    pub truncated: bool,
}

/// The error of [`Batch::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The batch has as many datagrams as it can hold.
    #[error("the batch is full: send its datagrams first")]
    Full,
    /// The datagram is longer than the batch allows.
    #[error("the datagram is too long for the batch: make the batch with a greater length")]
    TooLong,
}

impl Batch {
    /// Creates an empty batch for `capacity` datagrams of at most `max_len` bytes each.
    ///
    /// A call on a socket handles at most 1,024 messages. 32 to 64 datagrams have nearly the whole effect.
    ///
    /// # Panics
    ///
    /// If `capacity` or `max_len` is 0, or the product of both is greater than the address space.
    pub fn new(capacity: usize, max_len: usize) -> Batch {
        assert!(capacity > 0 && max_len > 0, "a batch needs room for a datagram of at least one byte");
        let bytes = capacity.checked_mul(max_len).expect("a batch fits into the address space");
        Batch {
            // The allocator gets memory of zeros from the kernel, whose pages take no space before their first use.
            bytes: vec![0; bytes],
            runs: VecDeque::with_capacity(capacity),
            len: 0,
            capacity,
            max_len,
            headers: Headers::new(capacity.min(MAX_MESSAGES)),
        }
    }

    /// Returns the number of datagrams.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no datagram.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of datagrams that can be pushed into an empty batch.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the greatest length of a datagram.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// Removes all datagrams.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.len = 0;
    }

    /// Returns an iterator over the datagrams, in the order in which they were received or pushed.
    pub fn iter(&self) -> Datagrams<'_> {
        Datagrams { batch: self, run: 0, index: 0 }
    }

    /// Appends a datagram for `peer`. Copies the bytes. Datagrams that were received before stay in the batch:
    /// [`clear`](Self::clear) removes them.
    ///
    /// # Errors
    ///
    /// [`BatchError`]: the batch is full, or the datagram is too long. The batch stays as it was.
    pub fn push(&mut self, bytes: &[u8], peer: SocketAddr) -> Result<(), BatchError> {
        if bytes.len() > self.max_len {
            return Err(BatchError::TooLong);
        }
        if self.len >= self.capacity {
            return Err(BatchError::Full);
        }
        if self.end() + bytes.len() > self.bytes.len() {
            self.compact();
        }
        let start = self.end();
        self.bytes[start..][..bytes.len()].copy_from_slice(bytes);
        self.len += 1;
        if let Some(last) = self.runs.back_mut()
            && last.peer == peer
            && !bytes.is_empty()
            && last.len > 0
            && last.len % last.segment == 0
            && bytes.len() <= last.segment
            && !last.is_truncated
        {
            last.len += bytes.len();
        } else {
            self.runs.push_back(Run {
                start,
                len: bytes.len(),
                segment: bytes.len().max(1),
                is_truncated: false,
                peer,
            });
        }
        Ok(())
    }

    /// Removes the first datagram, and returns it. After an error of [`send_batch`](super::UdpSocket::send_batch) that is the datagram
    /// that could not be sent.
    pub fn pop_front(&mut self) -> Option<Datagram<'_>> {
        let first = *self.runs.front()?;
        self.advance(1);
        Some(Datagram { bytes: &self.bytes[first.place(0)], peer: first.peer, truncated: first.is_truncated })
    }

    /// The end of the last datagram.
    fn end(&self) -> usize {
        self.runs.back().map_or(0, Run::end)
    }

    /// Closes the gaps. All datagrams fit then: there are at most `capacity`, and none is longer than `max_len`.
    fn compact(&mut self) {
        let mut end = 0;
        for run in &mut self.runs {
            self.bytes.copy_within(run.start..run.end(), end);
            run.start = end;
            end = run.end();
        }
    }

    /// Removes `count` datagrams from the front.
    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while count > 0 {
            let first = self.runs.front_mut().expect("there are `len` datagrams");
            let here = first.count();
            if here <= count {
                count -= here;
                self.runs.pop_front();
            } else {
                first.start += count * first.segment;
                first.len -= count * first.segment;
                count = 0;
            }
        }
    }

    /// Adds a message that a call has received into a slot. Returns the number of its datagrams.
    fn add(runs: &mut VecDeque<Run>, start: usize, max_len: usize, peer: SocketAddr, received: &Received) -> usize {
        let Received { len, is_truncated, segment, .. } = *received;
        let run = Run { start, len, segment: segment.unwrap_or(len).max(1), is_truncated, peer };
        let count = run.count();
        if run.segment.min(len) <= max_len {
            runs.push_back(run);
        } else {
            // Without the kernel's joining each of these datagrams would have been cut.
            runs.extend((0..count).map(|index| {
                let place = run.place(index);
                let len = place.len().min(max_len);
                Run { start: place.start, len, segment: len.max(1), is_truncated: place.len() > max_len, peer }
            }));
        }
        count
    }

    /// Makes one call that receives. The batch must be empty.
    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>, calls: &Calls) -> io::Result<usize> {
        debug_assert!(self.is_empty());
        if let Some(error) = calls.take_later_error() {
            return Err(error);
        }
        let mut stride = self.max_len;
        if calls.joins(fd) {
            // A joined message is lost in part if its slot is too small, whatever the length of its datagrams.
            stride = JOINED_LEN.max(self.max_len);
            let bytes = self.capacity.min(JOINED_SLOTS) * stride;
            if self.bytes.len() < bytes {
                self.bytes = vec![0; bytes];
            }
        }
        let Batch { bytes, runs, len, max_len, headers, .. } = self;
        let (mut later, mut stranger) = (None, false);
        headers.recv(fd, bytes, stride, calls.one_by_one(), &mut later, |slot, received| match received.peer {
            Some(peer) => *len += Batch::add(runs, slot * stride, *max_len, peer, &received),
            None => stranger = true,
        })?;
        calls.keep_later_error(later);
        if stranger && self.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is no socket of IPv4 or IPv6"));
        }
        Ok(self.len)
    }

    /// Makes calls that send, until one succeeds or would wait. Removes the datagrams that were sent. The batch must not be empty.
    pub(super) fn send(&mut self, fd: BorrowedFd<'_>, calls: &Calls) -> io::Result<()> {
        let has_runs = self.runs.iter().any(|run| run.count() > 1);
        let known = if has_runs { calls.gso_limit(fd) } else { 0 };
        let mut limit = known;
        loop {
            let pieces = pieces(&self.runs, limit);
            match self.headers.send(fd, &self.bytes, pieces, calls.one_by_one()) {
                Ok(sent) => {
                    if limit < known {
                        calls.lower_gso_limit(limit);
                    }
                    let count: usize = messages(&self.runs, limit).take(sent).map(|(_, _, count)| count).sum();
                    self.advance(count);
                    return Ok(());
                }
                // The route or the device may not divide messages of this length. Single datagrams have the error, too, if it is theirs.
                Err(error) if refuses_segments(&error) => match messages(&self.runs, limit).next() {
                    Some((run, _, count)) if count > 1 => limit = run.segment - 1,
                    _ => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }
}

fn refuses_segments(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT)
    )
}

/// The messages that send the runs: the run, the number of its first datagram, and the number of datagrams. Datagrams of up to
/// `gso_limit` bytes are sent together.
fn messages(runs: &VecDeque<Run>, gso_limit: usize) -> impl Iterator<Item = (&Run, usize, usize)> {
    runs.iter().flat_map(move |run| {
        let together =
            if run.segment <= gso_limit { (MAX_MESSAGE_LEN / run.segment).clamp(1, MAX_SEGMENTS) } else { 1 };
        let count = run.count();
        (0..count).step_by(together).map(move |first| (run, first, together.min(count - first)))
    })
}

fn pieces(runs: &VecDeque<Run>, gso_limit: usize) -> impl Iterator<Item = Piece> {
    messages(runs, gso_limit).map(|(run, first, count)| {
        let (start, end) = (run.place(first).start, run.place(first + count - 1).end);
        let segment = u16::try_from(run.segment).ok().filter(|_| count > 1);
        Piece { start, len: end - start, segment, peer: run.peer }
    })
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Batch { len, capacity, max_len, .. } = self;
        let mut fields = f.debug_struct("Batch");
        fields.field("len", len).field("capacity", capacity).field("max_len", max_len).finish_non_exhaustive()
    }
}

/// An iterator over the datagrams of a [`Batch`]: see [`Batch::iter`].
#[derive(Clone, Debug)]
pub struct Datagrams<'a> {
    batch: &'a Batch,
    run: usize,
    index: usize,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Datagram<'a>;

    #[inline]
    fn next(&mut self) -> Option<Datagram<'a>> {
        let run = self.batch.runs.get(self.run)?;
        let place = run.place(self.index);
        self.index += 1;
        if place.end == run.end() {
            (self.run, self.index) = (self.run + 1, 0);
        }
        Some(Datagram { bytes: &self.batch.bytes[place], peer: run.peer, truncated: run.is_truncated })
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = Datagram<'a>;
    type IntoIter = Datagrams<'a>;

    fn into_iter(self) -> Datagrams<'a> {
        self.iter()
    }
}
