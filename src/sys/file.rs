//! Reads and writes of any descriptor, in the descriptor's mode: the calls of `std::fs::File` for a borrowed descriptor. On Linux also the
//! same calls with `RWF_NOWAIT`, which fail instead of waiting.
//!
//! Each call is repeated after `EINTR`.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The place in a file at which a read or write begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The cursor of the open file, which the call moves.
    Cursor,
    /// The number of bytes from the start. The call does not move the cursor.
    Offset(u64),
}

impl At {
    /// Returns the place for the rest of a call that has transferred `count` bytes.
    pub(crate) fn after(self, count: usize) -> At {
        match self {
            At::Cursor => At::Cursor,
            // A sum that is too large is refused by the call.
            At::Offset(offset) => At::Offset(offset.saturating_add(count as u64)),
        }
    }
}

/// The largest number of bytes that a call takes. Apple's systems refuse more.
const MAX_LEN: usize = if cfg!(target_vendor = "apple") { libc::c_int::MAX as usize - 1 } else { isize::MAX as usize };

/// The largest number of buffers that a call takes (IOV_MAX). Further buffers are left to the next call.
const MAX_BUFFERS: usize = 1024;

fn count_of(len: usize) -> libc::c_int {
    len.min(MAX_BUFFERS) as libc::c_int
}

/// Repeats a system call while a signal interrupts it.
#[inline]
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Returns an offset as the kernel takes it.
///
/// # Errors
///
/// `EINVAL` if it is too large, as the kernel's answer would be.
#[inline]
fn offset_of(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// read(2) or pread(2). Waits as the descriptor does.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8], at: At) -> io::Result<usize> {
    let (fd, len) = (fd.as_raw_fd(), buffer.len().min(MAX_LEN));
    match at {
        // SAFETY: the kernel writes at most `len` bytes into `buffer`, which is borrowed for the call.
        At::Cursor => retry(|| unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), len) }),
        At::Offset(offset) => {
            let offset = offset_of(offset)?;
            // SAFETY: as above.
            retry(|| unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), len, offset) })
        }
    }
}

/// write(2) or pwrite(2). Waits as the descriptor does.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8], at: At) -> io::Result<usize> {
    let (fd, len) = (fd.as_raw_fd(), bytes.len().min(MAX_LEN));
    match at {
        // SAFETY: the kernel reads at most `len` bytes of `bytes`, which is borrowed for the call.
        At::Cursor => retry(|| unsafe { libc::write(fd, bytes.as_ptr().cast(), len) }),
        At::Offset(offset) => {
            let offset = offset_of(offset)?;
            // SAFETY: as above.
            retry(|| unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), len, offset) })
        }
    }
}

/// readv(2), at the cursor. Waits as the descriptor does.
pub(crate) fn read_vectored(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let count = count_of(buffers.len());
    // SAFETY: `IoSliceMut` has the layout of `iovec` on Unix. `buffers` are borrowed mutably for the call.
    retry(|| unsafe { libc::readv(fd.as_raw_fd(), buffers.as_ptr().cast(), count) })
}

/// writev(2), at the cursor. Waits as the descriptor does.
pub(crate) fn write_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = count_of(buffers.len());
    // SAFETY: `IoSlice` has the layout of `iovec` on Unix. `buffers` are borrowed for the call, and the kernel only reads.
    retry(|| unsafe { libc::writev(fd.as_raw_fd(), buffers.as_ptr().cast(), count) })
}

/// preadv2(2) with `RWF_NOWAIT`. Does not wait for a pipe or socket that is empty, nor for data of a file that is not in the page cache.
///
/// A file that was opened with `O_DIRECT` has no data in the page cache, and the call waits for the device.
///
/// # Errors
///
/// `EAGAIN` if it would have to wait, even for the first byte; an error of another kind if the descriptor or the kernel does not
/// support the call.
#[cfg(target_os = "linux")]
#[inline]
pub(crate) fn read_nowait(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>], at: At) -> io::Result<usize> {
    let offset = match at {
        At::Cursor => -1,
        At::Offset(offset) => offset_of(offset)?,
    };
    let count = count_of(buffers.len());
    // SAFETY: `IoSliceMut` has the layout of `iovec` on Unix. `buffers` are borrowed mutably for the call.
    retry(|| unsafe { libc::preadv2(fd.as_raw_fd(), buffers.as_ptr().cast(), count, offset, libc::RWF_NOWAIT) })
}

/// pwritev2(2) with `RWF_NOWAIT`, at the cursor. Does not wait for room in a pipe or socket.
///
/// # Errors
///
/// `EAGAIN` if it would have to wait; an error of another kind if the descriptor or the kernel does not support the call. Most file
/// systems and terminals do not.
#[cfg(target_os = "linux")]
pub(crate) fn write_nowait(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = count_of(buffers.len());
    // SAFETY: `IoSlice` has the layout of `iovec` on Unix. `buffers` are borrowed for the call, and the kernel only reads.
    retry(|| unsafe { libc::pwritev2(fd.as_raw_fd(), buffers.as_ptr().cast(), count, -1, libc::RWF_NOWAIT) })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn read_nowait(_fd: BorrowedFd<'_>, _buffers: &mut [IoSliceMut<'_>], _at: At) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn write_nowait(_fd: BorrowedFd<'_>, _buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// fsync(2): waits until the data and the metadata of the file are on the device.
pub(crate) fn sync_all(fd: BorrowedFd<'_>) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    // SAFETY: the calls take no pointer.
    let call = || unsafe {
        // Apple's fsync(2) does not wait for the device.
        #[cfg(target_vendor = "apple")]
        return libc::fcntl(fd, libc::F_FULLFSYNC);
        #[cfg(not(target_vendor = "apple"))]
        libc::fsync(fd)
    };
    retry(|| call() as isize).map(drop)
}

/// fdatasync(2): like [`sync_all`], without the metadata that a reader of the data does not need. fsync(2) where it does not exist.
pub(crate) fn sync_data(fd: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd"
    ))]
    {
        // SAFETY: the call takes no pointer.
        retry(|| unsafe { libc::fdatasync(fd.as_raw_fd()) } as isize).map(drop)
    }
    #[cfg(not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd"
    )))]
    sync_all(fd)
}

/// Returns whether the file was opened with `O_DIRECT`, which bypasses the page cache.
pub(crate) fn is_direct(fd: BorrowedFd<'_>) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: the call takes no pointer.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        flags >= 0 && flags & libc::O_DIRECT != 0
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = fd;
        false
    }
}
