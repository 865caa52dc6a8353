//! Reads and writes that fail instead of waiting, on a pipe whose mode stays as it is: preadv2(2) and pwritev2(2) with
//! `RWF_NOWAIT`, since Linux 6.4. Elsewhere poll(2) says first whether the call would wait.

use super::poll::poll_fd;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// The bytes that a writable pipe takes without a wait, of one writer: POSIX asks for 512, Linux has a page.
const ROOM: usize = 512;

/// The largest number of buffers that a call takes (IOV_MAX).
const MAX_BUFFERS: usize = 1024;

#[cfg(test)]
thread_local! {
    /// Makes the calls of this thread behave as on a kernel without `RWF_NOWAIT` for pipes.
    static IS_REFUSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn checked(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Returns the outcome of a call with `RWF_NOWAIT`, and `None` if the kernel does not support it for this file.
#[cfg(target_os = "linux")]
fn supported(count: isize) -> Option<io::Result<usize>> {
    let outcome = checked(count);
    let error = outcome.as_ref().err().and_then(io::Error::raw_os_error);
    if matches!(error, Some(libc::EOPNOTSUPP | libc::ENOSYS)) { None } else { Some(outcome) }
}

/// Returns whether calls with `RWF_NOWAIT` are tried.
#[cfg(target_os = "linux")]
fn is_tried() -> bool {
    #[cfg(test)]
    if IS_REFUSED.get() {
        return false;
    }
    true
}

/// Reads into the buffers. Fails with `WouldBlock` where the read would wait.
pub(crate) fn read_nowait(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let (fd_number, count) = (fd.as_raw_fd(), buffers.len().min(MAX_BUFFERS) as libc::c_int);
    let vectors = buffers.as_mut_ptr().cast::<libc::iovec>();
    #[cfg(target_os = "linux")]
    if is_tried() {
        // SAFETY: `IoSliceMut` has the layout of `iovec` on Unix, and `buffers` is borrowed mutably for the call. The offset -1 is that
        // of the file.
        let count = unsafe { libc::preadv2(fd_number, vectors, count, -1, libc::RWF_NOWAIT) };
        if let Some(outcome) = supported(count) {
            return outcome;
        }
    }
    // Another reader may take the data in between, and then the read waits. Nothing else can be asked of an old kernel.
    if !poll_fd(fd, true, Some(Duration::ZERO))? {
        return Err(ErrorKind::WouldBlock.into());
    }
    // SAFETY: `IoSliceMut` has the layout of `iovec` on Unix, and `buffers` is borrowed mutably for the call.
    checked(unsafe { libc::readv(fd_number, vectors, count) })
}

/// Writes the buffers, or a part of them. Fails with `WouldBlock` where the write would wait.
pub(crate) fn write_nowait(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let fd_number = fd.as_raw_fd();
    #[cfg(target_os = "linux")]
    if is_tried() {
        let (vectors, count) = (buffers.as_ptr().cast::<libc::iovec>(), buffers.len().min(MAX_BUFFERS) as libc::c_int);
        // SAFETY: `IoSlice` has the layout of `iovec` on Unix, `buffers` is borrowed for the call, and the kernel only reads. The
        // offset -1 is that of the file.
        let count = unsafe { libc::pwritev2(fd_number, vectors, count, -1, libc::RWF_NOWAIT) };
        if let Some(outcome) = supported(count) {
            return outcome;
        }
    }
    if !poll_fd(fd, false, Some(Duration::ZERO))? {
        return Err(ErrorKind::WouldBlock.into());
    }
    // A blocking write waits until all is written, so it gets no more than there is room for.
    let first = buffers.iter().find(|buffer| !buffer.is_empty()).map_or(&[][..], |buffer| buffer);
    let len = first.len().min(ROOM);
    // SAFETY: the kernel reads at most `len` bytes of `first`, which is borrowed for the call.
    checked(unsafe { libc::write(fd_number, first.as_ptr().cast(), len) })
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
