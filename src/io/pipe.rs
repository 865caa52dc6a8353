//! Pipes whose reads and writes wait.
#![forbid(unsafe_code)]

use super::any::wait_for_any;
use super::buffer::Lent;
use super::error::interrupted;
use super::source::{Moved, Source, consume_io_budget};
use crate::reactor::Interest;
use crate::sys::{is_nonblocking, read_nowait, set_nonblocking, write_nowait};
use crate::task::check;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Creates a pipe, as [`std::io::pipe`], and returns its two ends.
///
/// A read waits until there is data, or until all writers are closed; a write waits until there is room. In a task the wait suspends
/// the task; in a plain thread it blocks the thread.
///
/// # Errors
///
/// The error of pipe(2), as if no descriptor is left.
///
/// ```
/// use std::io::{Read, Write};
/// cede::run(|| {
///     let (mut reader, mut writer) = cede::io::pipe()?;
///     let mut text = String::new();
///     cede::spawn(move || writer.write_all(b"through the pipe")); // its drop closes the pipe
///     reader.read_to_string(&mut text)?;
///     assert_eq!(text, "through the pipe");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((PipeReader(End::own(reader, Source::new())?), PipeWriter(End::own(writer, Source::new())?)))
}

/// The largest number of buffers that a call takes (IOV_MAX). Further buffers are left to the next call.
const MAX_BUFFERS: usize = 1024;

/// The mode of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Non-blocking, set by this module.
    Own,
    /// Non-blocking, as the program brought it.
    Nonblocking,
    /// Blocking, as the program brought it: each call says that it must not wait.
    Blocking,
}

/// An end of a pipe of `std`, with its link to the reactor.
///
/// Only for a pipe that `pipe` made, a short read tells that there is no more: a writer of another pipe may write packets (`O_DIRECT`).
#[derive(Debug)]
struct End<P: AsFd> {
    source: Source,
    mode: Mode,
    /// A duplicate of the descriptor was made, whose conversion may set blocking mode for both: each call says that it must not wait.
    has_duplicate: AtomicBool,
    /// Present until the drop or `release`.
    inner: Option<P>,
}

impl<P: AsFd> End<P> {
    /// Wraps an end that the library made and that nothing else uses, and sets its mode.
    fn own(inner: P, source: Source) -> io::Result<End<P>> {
        set_nonblocking(inner.as_fd(), true)?;
        Ok(End { source, mode: Mode::Own, has_duplicate: AtomicBool::new(false), inner: Some(inner) })
    }

    /// Wraps an end that the program brought, whose mode stays as it is.
    fn adopt(inner: P) -> End<P> {
        let mode = if is_nonblocking(inner.as_fd()) { Mode::Nonblocking } else { Mode::Blocking };
        End { source: Source::with_messages(true), mode, has_duplicate: AtomicBool::new(false), inner: Some(inner) }
    }

    #[inline]
    fn get(&self) -> &P {
        self.inner.as_ref().expect("present until the drop")
    }

    fn try_clone(&self, clone: impl FnOnce(&P) -> io::Result<P>) -> io::Result<End<P>> {
        let inner = Some(clone(self.get())?);
        let source = Source::with_messages(self.source.has_messages());
        self.has_duplicate.store(true, Relaxed);
        Ok(End { source, mode: self.mode, has_duplicate: AtomicBool::new(true), inner })
    }

    /// Returns whether a plain read or write could wait.
    fn may_block(&self) -> bool {
        self.mode == Mode::Blocking || self.has_duplicate.load(Relaxed)
    }

    /// Returns the end of `std`. An end that the library made is set to blocking mode, in which other programs expect it.
    fn release(mut self) -> P {
        if self.mode == Mode::Own {
            // Fails only for a descriptor that is none.
            let _ = set_nonblocking(self.get().as_fd(), false);
        }
        self.source.close(self.get().as_fd());
        self.inner.take().expect("present until the drop")
    }
}

impl<P: AsFd> Drop for End<P> {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            self.source.close(inner.as_fd());
        }
    }
}

/// The reading end of a pipe, as [`std::io::PipeReader`]. `Read` is also implemented for a shared reference.
///
/// The conversion from a pipe of `std` or from a descriptor keeps the mode of the descriptor, blocking or not, because other processes may
/// share it. In blocking mode each read asks the kernel not to wait (`RWF_NOWAIT`). Where the kernel cannot do that for pipes, before Linux
/// 6.4 and on other systems, a read checks first that there is data; if another reader of the same pipe takes that data in between, the
/// read blocks the thread.
#[derive(Debug)]
pub struct PipeReader(End<io::PipeReader>);

/// The writing end of a pipe, as [`std::io::PipeWriter`]. `Write` is also implemented for a shared reference.
///
/// A write to a pipe without a reader fails with `BrokenPipe`. (It raises SIGPIPE, which a Rust program ignores by default.)
///
/// The conversion from a pipe of `std` or from a descriptor keeps the mode of the descriptor, as that of [`PipeReader`] does. Where the
/// kernel has no `RWF_NOWAIT` for pipes, a write to one in blocking mode transfers at most 512 bytes.
#[derive(Debug)]
pub struct PipeWriter(End<io::PipeWriter>);

impl PipeReader {
    /// Returns a second reading end of the same pipe, with a descriptor of its own. Each byte goes to one of them.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<PipeReader> {
        self.0.try_clone(io::PipeReader::try_clone).map(PipeReader)
    }

    fn read_once(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Moved<usize>> {
        let len = buffers.iter().take(MAX_BUFFERS).map(|buffer| buffer.len()).fold(0, usize::saturating_add);
        let mut inner = self.0.get();
        let count =
            if self.0.may_block() { read_nowait(inner.as_fd(), buffers)? } else { inner.read_vectored(buffers)? };
        // A short read has emptied the pipe. No byte is its end.
        Ok(Moved { value: count, took_all: 0 < count && count < len })
    }
}

impl PipeWriter {
    /// Returns a second writing end of the same pipe, with a descriptor of its own. A reader sees the end of the pipe when all writers
    /// are closed.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<PipeWriter> {
        self.0.try_clone(io::PipeWriter::try_clone).map(PipeWriter)
    }

    fn write_once(&self, buffers: &[IoSlice<'_>]) -> io::Result<Moved<usize>> {
        let mut inner = self.0.get();
        let value =
            if self.0.may_block() { write_nowait(inner.as_fd(), buffers)? } else { inner.write_vectored(buffers)? };
        // A short write of a kernel without `RWF_NOWAIT` does not fill the pipe.
        Ok(Moved { value, took_all: false })
    }
}

impl Read for &PipeReader {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    #[track_caller]
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let fd = self.0.get().as_fd();
        self.0.source.transfer(fd, Interest::Readable, None, || self.read_once(buffers))
    }
}

impl Write for &PipeWriter {
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    #[track_caller]
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = self.0.get().as_fd();
        self.0.source.transfer(fd, Interest::Writable, None, || self.write_once(buffers))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for PipeReader {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    #[track_caller]
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for PipeWriter {
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    #[track_caller]
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! conversions {
    ($($End:ident: $Std:ty;)*) => {$(
        impl From<$Std> for $End {
            /// Wraps an end of a pipe. Its mode, blocking or not, stays as it is.
            fn from(end: $Std) -> $End {
                $End(End::adopt(end))
            }
        }

        impl From<OwnedFd> for $End {
            /// Wraps a descriptor, whose mode stays as it is. Meant for pipes and FIFOs. Any descriptor that can be waited for works.
            fn from(fd: OwnedFd) -> $End {
                <$Std>::from(fd).into()
            }
        }

        impl From<$End> for $Std {
            /// Returns the end. One that [`pipe`] made is set to blocking mode, which each duplicate of the descriptor shares.
            fn from(end: $End) -> $Std {
                end.0.release()
            }
        }

        impl From<$End> for OwnedFd {
            /// Returns the descriptor, in the mode in which the conversion to the type of `std` returns it.
            fn from(end: $End) -> OwnedFd {
                <$Std>::from(end).into()
            }
        }

        impl From<$End> for Stdio {
            /// Returns the end for a child process, in the mode in which the conversion to the type of `std` returns it.
            fn from(end: $End) -> Stdio {
                <$Std>::from(end).into()
            }
        }

        impl IntoRawFd for $End {
            /// Returns the descriptor, in the mode in which the conversion to the type of `std` returns it. The caller must close it.
            fn into_raw_fd(self) -> RawFd {
                <$Std>::from(self).into_raw_fd()
            }
        }

        impl $End {
            pub(super) fn source(&self) -> &Source {
                &self.0.source
            }
        }

        impl AsFd for $End {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.get().as_fd()
            }
        }

        impl AsRawFd for $End {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }
    )*};
}

conversions! {
    PipeReader: io::PipeReader;
    PipeWriter: io::PipeWriter;
}

impl PipeReader {
    /// Wraps the reading end of a pipe to a child process, which only this process has.
    pub(crate) fn of_child(fd: OwnedFd) -> io::Result<PipeReader> {
        End::own(fd.into(), Source::with_messages(true)).map(PipeReader)
    }

    /// Reads what is there, and appends it to `bytes`. Returns false if a read would wait. Closes the pipe at its end.
    fn read_some(pipe: &mut Option<PipeReader>, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let Some(reader) = pipe else { return Ok(false) };
        let mut buffer = Lent::take();
        match reader.read_once(&mut [IoSliceMut::new(&mut buffer[..])]) {
            Ok(Moved { value: 0, .. }) => *pipe = None,
            Ok(Moved { value: count, .. }) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

impl PipeWriter {
    /// Wraps the writing end of a pipe to a child process, which only this process has.
    pub(crate) fn of_child(fd: OwnedFd) -> io::Result<PipeWriter> {
        End::own(fd.into(), Source::with_messages(true)).map(PipeWriter)
    }
}

/// Reads several pipes to their ends at once, each into its vector: a pipe that is full does not keep another one from being read.
/// A pipe that has ended becomes `None`. After an error the vectors have what was read, and a later call goes on.
#[track_caller]
pub(crate) fn read_all(pipes: &mut [(&mut Option<PipeReader>, &mut Vec<u8>)]) -> io::Result<()> {
    loop {
        for (pipe, bytes) in pipes.iter_mut() {
            while PipeReader::read_some(pipe, bytes)? {
                // A writer that never pauses must neither starve the other tasks nor keep a cancel or a deadline from being seen.
                consume_io_budget();
                check().map_err(interrupted)?;
            }
        }
        let open = pipes.iter().filter_map(|(pipe, _)| pipe.as_ref());
        let open: Vec<_> = open.map(|pipe| (&pipe.0.source, pipe.as_fd())).collect();
        if open.is_empty() {
            return Ok(());
        }
        wait_for_any(&open, Interest::Readable, None)?;
    }
}
