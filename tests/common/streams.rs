//! Async streams that follow a script: pending polls, short reads and writes, errors, ends. Each step is used by the next operation that
//! fits it.

use super::futures::Flag;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, IoSlice, Result, SeekFrom};
use std::rc::Rc;
use std::task::{Context, Poll};

/// A step of a script.
#[derive(Clone)]
pub(crate) enum Step {
    /// Input; a read takes a part, and leaves the rest for the next.
    Bytes(&'static [u8]),
    /// Input that only one poll sees: a breach of the contract.
    Lost(&'static [u8]),
    /// The end of the input for one read.
    End,
    /// Room for at most as many bytes in one write.
    Room(usize),
    /// A pending poll that has woken itself.
    Pending,
    /// Pending polls until the flag is set.
    Until(Flag),
    /// An error of one operation.
    Fail(ErrorKind),
}

/// A stream that has the traits of each family. Without a step, reads are at the end, and writes accept all.
#[derive(Clone, Default)]
pub(crate) struct Scripted {
    steps: Rc<RefCell<VecDeque<Step>>>,
    /// What was written.
    pub(crate) output: Rc<RefCell<Vec<u8>>>,
    /// The completed flushes, ends and seeks.
    pub(crate) log: Rc<RefCell<Vec<String>>>,
    seek: Option<SeekFrom>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Scripted {
        let stream = Scripted::default();
        stream.extend(steps);
        stream
    }

    /// Adds steps.
    pub(crate) fn extend(&self, steps: impl IntoIterator<Item = Step>) {
        self.steps.borrow_mut().extend(steps);
    }

    pub(crate) fn written(&self) -> String {
        String::from_utf8(self.output.borrow().clone()).unwrap()
    }

    /// Waits as the first steps say, and returns the next one.
    fn poll_step(&self, cx: &Context<'_>) -> Poll<Result<Option<Step>>> {
        let mut steps = self.steps.borrow_mut();
        loop {
            match steps.front() {
                Some(Step::Until(flag)) if flag.poll(cx).is_pending() => return Poll::Pending,
                Some(Step::Until(_)) => drop(steps.pop_front()),
                Some(Step::Pending) => {
                    steps.pop_front();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Fail(kind)) => {
                    let error = Error::from(*kind);
                    steps.pop_front();
                    return Poll::Ready(Err(error));
                }
                _ => return Poll::Ready(Ok(steps.front().cloned())),
            }
        }
    }

    pub(crate) fn poll_fill_buf(&self, cx: &Context<'_>) -> Poll<Result<&'static [u8]>> {
        self.poll_step(cx).map_ok(|step| match step {
            Some(Step::Bytes(bytes)) => bytes,
            Some(Step::Lost(bytes)) => {
                self.steps.borrow_mut().pop_front();
                bytes
            }
            Some(Step::End) => {
                self.steps.borrow_mut().pop_front();
                &[]
            }
            _ => &[],
        })
    }

    pub(crate) fn consume(&self, count: usize) {
        if count == 0 {
            return;
        }
        let mut steps = self.steps.borrow_mut();
        match steps.pop_front() {
            Some(Step::Bytes(bytes)) if count < bytes.len() => steps.push_front(Step::Bytes(&bytes[count..])),
            Some(Step::Bytes(bytes)) => assert_eq!(count, bytes.len(), "there is less to consume"),
            _ => panic!("there is nothing to consume"),
        }
    }

    pub(crate) fn poll_read(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        self.poll_fill_buf(cx).map_ok(|bytes| {
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            self.consume(count);
            count
        })
    }

    pub(crate) fn poll_write_vectored(&self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        self.poll_write(cx, &slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>())
    }

    pub(crate) fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.poll_step(cx).map_ok(|step| {
            let room = match step {
                Some(Step::Room(room)) => {
                    self.steps.borrow_mut().pop_front();
                    room
                }
                _ => usize::MAX,
            };
            let count = room.min(bytes.len());
            self.output.borrow_mut().extend(&bytes[..count]);
            count
        })
    }

    /// A flush or another operation that completes with a line in the log.
    pub(crate) fn poll_logged(&self, cx: &Context<'_>, what: impl Into<String>) -> Poll<Result<()>> {
        self.poll_step(cx).map_ok(|_| self.log.borrow_mut().push(what.into()))
    }

    /// Begins a seek, as tokio's trait does: fails if another one is in progress.
    pub(crate) fn start_seek(&mut self, place: SeekFrom) -> Result<()> {
        match self.seek.replace(place) {
            Some(_) => Err(Error::other("another seek is in progress")),
            None => Ok(()),
        }
    }

    /// Ends the seek in progress, if any. The new position is that of `Start`, and 0 otherwise.
    pub(crate) fn poll_complete(&mut self, cx: &Context<'_>) -> Poll<Result<u64>> {
        let Some(place) = self.seek else { return Poll::Ready(Ok(0)) };
        let poll = self.poll_logged(cx, format!("{place:?}"));
        if poll.is_ready() {
            self.seek = None;
        }
        poll.map_ok(|()| if let SeekFrom::Start(at) = place { at } else { 0 })
    }
}

#[cfg(feature = "tokio")]
mod of_tokio {
    use super::Scripted;
    use std::io::{IoSlice, Result, SeekFrom};
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};
    use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

    impl AsyncRead for Scripted {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
            let count = ready!(Scripted::poll_read(&self, cx, buffer.initialize_unfilled()))?;
            buffer.advance(count);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncBufRead for Scripted {
        fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<&[u8]>> {
            Scripted::poll_fill_buf(&self, cx)
        }

        fn consume(self: Pin<&mut Self>, count: usize) {
            Scripted::consume(&self, count);
        }
    }

    impl AsyncWrite for Scripted {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            Scripted::poll_write(&self, cx, bytes)
        }

        fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, all: &[IoSlice<'_>]) -> Poll<Result<usize>> {
            Scripted::poll_write_vectored(&self, cx, all)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            self.poll_logged(cx, "flush")
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            self.poll_logged(cx, "end")
        }
    }

    impl AsyncSeek for Scripted {
        fn start_seek(mut self: Pin<&mut Self>, place: SeekFrom) -> Result<()> {
            Scripted::start_seek(&mut self, place)
        }

        fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<u64>> {
            Scripted::poll_complete(&mut self, cx)
        }
    }
}

#[cfg(feature = "futures-io")]
mod of_futures {
    use super::Scripted;
    use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
    use std::io::{IoSlice, IoSliceMut, Result, SeekFrom};
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    impl AsyncRead for Scripted {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
            Scripted::poll_read(&self, cx, buffer)
        }

        fn poll_read_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffers: &mut [IoSliceMut<'_>],
        ) -> Poll<Result<usize>> {
            let mut sum = 0;
            for buffer in buffers {
                sum += ready!(Scripted::poll_read(&self, cx, buffer))?;
            }
            Poll::Ready(Ok(sum))
        }
    }

    impl AsyncBufRead for Scripted {
        fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<&[u8]>> {
            Scripted::poll_fill_buf(&self, cx)
        }

        fn consume(self: Pin<&mut Self>, count: usize) {
            Scripted::consume(&self, count);
        }
    }

    impl AsyncWrite for Scripted {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            Scripted::poll_write(&self, cx, bytes)
        }

        fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, all: &[IoSlice<'_>]) -> Poll<Result<usize>> {
            Scripted::poll_write_vectored(&self, cx, all)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            self.poll_logged(cx, "flush")
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            self.poll_logged(cx, "end")
        }
    }

    impl AsyncSeek for Scripted {
        fn poll_seek(mut self: Pin<&mut Self>, cx: &mut Context<'_>, place: SeekFrom) -> Poll<Result<u64>> {
            // A seek to another place replaces the one in progress.
            self.seek = Some(place);
            Scripted::poll_complete(&mut self, cx)
        }
    }
}
