//! The system calls on sockets that `std` makes only in blocking mode: each has `MSG_DONTWAIT`, so the mode of the descriptor, which
//! other processes may share, stays as it is.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

fn checked(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// recv(2). `flags` is added to `MSG_DONTWAIT`.
#[inline]
pub(super) fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`, which is borrowed for the call.
    checked(unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT | flags) })
}

/// send(2), without SIGPIPE.
#[inline]
pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `bytes.len()` bytes of `bytes`, which is borrowed for the call.
    checked(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

fn message() -> libc::msghdr {
    // SAFETY: all zeros is a valid `msghdr`: null pointers and lengths of 0.
    unsafe { std::mem::zeroed() }
}

/// The largest number of buffers that a call takes (IOV_MAX).
const MAX_BUFFERS: usize = 1024;

/// recvmsg(2) into several buffers.
pub(super) fn recv_vectored(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let mut message = message();
    // `IoSliceMut` has the layout of `iovec` on Unix.
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len().min(MAX_BUFFERS) as _;
    // SAFETY: `message` names `buffers`, which are borrowed mutably for the call.
    checked(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })
}

/// sendmsg(2) from several buffers, without SIGPIPE.
pub(super) fn send_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut message = message();
    // `IoSlice` has the layout of `iovec` on Unix. The kernel only reads.
    message.msg_iov = buffers.as_ptr().cast_mut().cast();
    message.msg_iovlen = buffers.len().min(MAX_BUFFERS) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `message` names `buffers`, which are borrowed for the call.
    checked(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) })
}
