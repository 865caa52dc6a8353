//! The standard streams as files, so that access to a closed stream, or to one open in the wrong direction, is an error.
//!
//! std hides both errors. Before `main` it opens the null device in place of each closed standard stream, and its handles
//! report a write that failed with EBADF as success.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A standard stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Input,
    Output,
    Error,
}

/// Whether each stream was closed when the process started.
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Records which streams are closed, before std replaces them. Runs before `main`.
#[ctor::ctor(unsafe)]
fn note_closed_streams() {
    for stream in [Stream::Input, Stream::Output, Stream::Error] {
        let closed = stream.duplicate().is_err_and(|error| error.raw_os_error() == Some(libc::EBADF));
        CLOSED[stream as usize].store(closed, Relaxed);
    }
}

impl Stream {
    /// Returns the stream as a file with a descriptor of its own.
    ///
    /// # Errors
    ///
    /// EBADF if the stream was closed when the process started.
    pub(crate) fn file(self) -> io::Result<File> {
        if CLOSED[self as usize].load(Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        self.duplicate()
    }

    fn duplicate(self) -> io::Result<File> {
        let descriptor = match self {
            Stream::Input => io::stdin().as_fd().try_clone_to_owned(),
            Stream::Output => io::stdout().as_fd().try_clone_to_owned(),
            Stream::Error => io::stderr().as_fd().try_clone_to_owned(),
        };
        descriptor.map(File::from)
    }
}

/// A stream for writing. If the stream is closed, each write fails.
#[derive(Debug)]
pub(crate) struct Writer(io::Result<File>);

impl Writer {
    pub(crate) fn new(stream: Stream) -> Self {
        Writer(stream.file())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Ok(file) => file.write(bytes),
            Err(error) => Err(error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a message to standard error. Returns whether that succeeded.
#[must_use]
pub(crate) fn complain(text: &[u8]) -> bool {
    Writer::new(Stream::Error).write_all(text).is_ok()
}
