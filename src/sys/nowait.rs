//! Reads and writes that fail instead of waiting, on a pipe whose mode stays as it is: preadv2(2) and pwritev2(2) with
//! `RWF_NOWAIT`, since Linux 6.4. Elsewhere poll(2) says first whether the call would wait.
#![forbid(unsafe_code)]

use super::file::{self, At};
use super::poll::poll_fd;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The bytes that a writable pipe takes without a wait, of one writer: POSIX asks for 512, Linux has a page.
const ROOM: usize = 512;

#[cfg(test)]
thread_local! {
    /// Makes the calls of this thread behave as on a kernel without `RWF_NOWAIT` for pipes.
    static IS_REFUSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Returns the outcome of a call with `RWF_NOWAIT`, and `None` if the kernel does not support it for this file.
fn supported(outcome: io::Result<usize>) -> Option<io::Result<usize>> {
    let error = outcome.as_ref().err().and_then(io::Error::raw_os_error);
    if matches!(error, Some(libc::EOPNOTSUPP | libc::ENOSYS)) { None } else { Some(outcome) }
}

/// Returns whether calls with `RWF_NOWAIT` are tried.
fn is_tried() -> bool {
    #[cfg(test)]
    if IS_REFUSED.get() {
        return false;
    }
    true
}

/// Reads into the buffers. Fails with `WouldBlock` where the read would wait.
pub(crate) fn read_nowait(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    if is_tried()
        && let Some(outcome) = supported(file::read_nowait(fd, buffers, At::Cursor))
    {
        return outcome;
    }
    // Another reader may take the data in between, and then the read waits. Nothing else can be asked of an old kernel.
    if !poll_fd(fd, true, Some(Duration::ZERO))? {
        return Err(ErrorKind::WouldBlock.into());
    }
    file::read_vectored(fd, buffers)
}

/// Writes the buffers, or a part of them. Fails with `WouldBlock` where the write would wait.
pub(crate) fn write_nowait(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    if is_tried()
        && let Some(outcome) = supported(file::write_nowait(fd, buffers))
    {
        return outcome;
    }
    if !poll_fd(fd, false, Some(Duration::ZERO))? {
        return Err(ErrorKind::WouldBlock.into());
    }
    // A blocking write waits until all is written, so it gets no more than there is room for.
    let first = buffers.iter().find(|buffer| !buffer.is_empty()).map_or(&[][..], |buffer| buffer);
    file::write(fd, &first[..first.len().min(ROOM)], At::Cursor)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    /// A pipe in blocking mode, with `RWF_NOWAIT` and without: no call waits, and no byte is lost.
    #[test]
    fn blocking_pipe_never_waits() {
        for refused in [false, true] {
            IS_REFUSED.set(refused);
            let (mut reader, mut writer) = io::pipe().unwrap();
            let mut bytes = [0; 100];
            let read = |bytes: &mut [u8]| read_nowait(reader.as_fd(), &mut [IoSliceMut::new(bytes)]);
            assert_eq!(read(&mut bytes).unwrap_err().kind(), ErrorKind::WouldBlock, "{refused}");
            writer.write_all(b"some").unwrap();
            assert_eq!(read(&mut bytes).unwrap(), 4, "{refused}");
            assert_eq!(&bytes[..4], b"some");
            let mut sent = 0;
            let chunk = vec![7; 5000];
            let full = loop {
                match write_nowait(writer.as_fd(), &[IoSlice::new(&[]), IoSlice::new(&chunk)]) {
                    Ok(count) => sent += count,
                    Err(error) => break error.kind(),
                }
            };
            assert_eq!(full, ErrorKind::WouldBlock, "{refused}");
            assert!(sent >= 4096, "{refused}: {sent}");
            drop(writer);
            let mut all = Vec::new();
            assert_eq!(reader.read_to_end(&mut all).unwrap(), sent, "{refused}");
        }
    }
}
