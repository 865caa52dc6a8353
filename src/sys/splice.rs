//! Copies between descriptors inside the kernel: splice(2) and sendfile(2) of Linux. On other systems both fail with `ENOSYS`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
#[cfg(target_os = "linux")]
use std::ptr::null_mut;

#[cfg(target_os = "linux")]
fn checked(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Moves up to `len` bytes from or to a pipe. Does not wait for the pipe; another end waits if it is in blocking mode. Returns 0 at the end
/// of the input.
#[cfg(target_os = "linux")]
pub(crate) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: both offsets are null: the kernel uses those of the files.
    checked(unsafe { libc::splice(from.as_raw_fd(), null_mut(), to.as_raw_fd(), null_mut(), len, flags) })
}

/// Sends up to `len` bytes of a file, from its offset on. Returns 0 at its end.
#[cfg(target_os = "linux")]
pub(crate) fn sendfile(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    // SAFETY: the offset is null: the kernel uses that of the file.
    checked(unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), null_mut(), len) })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn splice(_from: BorrowedFd<'_>, _to: BorrowedFd<'_>, _len: usize) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sendfile(_from: BorrowedFd<'_>, _to: BorrowedFd<'_>, _len: usize) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    Regular,
    Pipe,
    Other,
}

/// Returns the type of the file that `fd` names.
pub(crate) fn file_type(fd: BorrowedFd<'_>) -> FileType {
    // SAFETY: all zeros is a valid `stat`, which has only numbers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for the call.
    if unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) } != 0 {
        return FileType::Other;
    }
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => FileType::Regular,
        libc::S_IFIFO => FileType::Pipe,
        _ => FileType::Other,
    }
}

/// Returns whether the descriptor is in non-blocking mode.
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the call takes no pointer.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
}
