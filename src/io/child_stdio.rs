//! The pipes to a child process, which `process` exports: here, because `copy` knows them.
#![forbid(unsafe_code)]

use super::pipe::{PipeReader, PipeWriter};
use super::source::Source;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::{self, Stdio};

/// The stdin of a child: a pipe to write to, as [`std::process::ChildStdin`]. Its drop closes the pipe, and the child reads the end.
#[derive(Debug)]
pub struct ChildStdin(PipeWriter);

/// The stdout of a child: a pipe to read from, as [`std::process::ChildStdout`].
#[derive(Debug)]
pub struct ChildStdout(PipeReader);

/// The stderr of a child: a pipe to read from, as [`std::process::ChildStderr`].
#[derive(Debug)]
pub struct ChildStderr(PipeReader);

macro_rules! reader {
    ($Pipe:ident) => {
        impl $Pipe {
            pub(crate) fn into_pipe(self) -> PipeReader {
                self.0
            }
        }

        impl Read for &$Pipe {
            #[track_caller]
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&self.0).read(buffer)
            }

            #[track_caller]
            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&self.0).read_vectored(buffers)
            }
        }

        impl Read for $Pipe {
            #[track_caller]
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }

            #[track_caller]
            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.0.read_vectored(buffers)
            }
        }
    };
}

macro_rules! conversions {
    ($Pipe:ident, $End:ty) => {
        impl $Pipe {
            /// Wraps a pipe that the start of a child has just made.
            pub(crate) fn new(std: process::$Pipe) -> io::Result<$Pipe> {
                <$End>::of_child(std.into()).map($Pipe)
            }

            pub(super) fn source(&self) -> &Source {
                self.0.source()
            }
        }

        impl From<process::$Pipe> for $Pipe {
            /// Wraps a pipe of `std`. Its mode, blocking or not, stays as it is.
            fn from(std: process::$Pipe) -> $Pipe {
                $Pipe(OwnedFd::from(std).into())
            }
        }

        impl From<$Pipe> for OwnedFd {
            /// Returns the descriptor in blocking mode, unless the program brought it in another one.
            fn from(pipe: $Pipe) -> OwnedFd {
                pipe.0.into()
            }
        }

        impl From<$Pipe> for Stdio {
            /// Returns the pipe for another child, in blocking mode, unless the program brought it in another one.
            fn from(pipe: $Pipe) -> Stdio {
                pipe.0.into()
            }
        }

        impl IntoRawFd for $Pipe {
            /// Returns the descriptor like the conversion to `OwnedFd`. The caller must close it.
            fn into_raw_fd(self) -> RawFd {
                self.0.into_raw_fd()
            }
        }

        impl AsFd for $Pipe {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $Pipe {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }
    };
}

reader!(ChildStdout);
reader!(ChildStderr);
conversions!(ChildStdin, PipeWriter);
conversions!(ChildStdout, PipeReader);
conversions!(ChildStderr, PipeReader);

impl Write for &ChildStdin {
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    #[track_caller]
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.0).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for ChildStdin {
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    #[track_caller]
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
