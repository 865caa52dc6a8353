//! The system calls on sockets that `std` makes only in blocking mode: each has `MSG_DONTWAIT`, so the mode of the descriptor, which
//! other processes may share, stays as it is.

use crate::io::source::Moved;
#[cfg(not(target_vendor = "apple"))]
use socket2::SockAddrStorage;
use socket2::{Domain, SockAddr, Type};
use std::io::{self, IoSlice, IoSliceMut};
#[cfg(not(target_vendor = "apple"))]
use std::os::fd::FromRawFd;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The flag that keeps a send from raising SIGPIPE. Apple's systems have an option of the socket instead, which std and socket2 set, and
/// programs in Rust ignore the signal.
#[cfg(target_vendor = "apple")]
pub(super) const NO_SIGNAL: libc::c_int = 0;
#[cfg(not(target_vendor = "apple"))]
pub(super) const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;

#[inline]
fn checked(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Returns the outcome of a call for up to `len` bytes. On a stream a short one has taken all there was: see epoll(7), question 9. No byte
/// is the end of the stream.
#[inline]
fn moved(count: isize, len: usize) -> io::Result<Moved<usize>> {
    checked(count).map(|count| Moved { value: count, took_all: 0 < count && count < len })
}

/// Accepts a connection. The new socket is in non-blocking mode.
#[cfg(target_vendor = "apple")]
pub(super) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let (socket, peer) = socket2::SockRef::from(&fd).accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), peer))
}

/// accept4(2): the new socket is in non-blocking mode.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let accept = |storage: *mut SockAddrStorage, len: *mut libc::socklen_t| {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: `storage` has room for `len` bytes, and both are valid for the call.
        let fd = unsafe { libc::accept4(fd.as_raw_fd(), storage.cast(), len, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: the call has stored the address and its length.
    unsafe { SockAddr::try_init(accept) }
}

/// Makes a socket in non-blocking mode.
pub(super) fn nonblocking_socket(domain: Domain, kind: Type) -> io::Result<socket2::Socket> {
    // Apple's systems have no flag of socket(2) for that.
    #[cfg(target_vendor = "apple")]
    let socket = {
        let socket = socket2::Socket::new(domain, kind, None)?;
        socket.set_nonblocking(true)?;
        socket
    };
    #[cfg(not(target_vendor = "apple"))]
    let socket = socket2::Socket::new(domain, kind.nonblocking().cloexec(), None)?;
    Ok(socket)
}

/// Makes two connected sockets in non-blocking mode.
pub(super) fn nonblocking_pair(domain: Domain, kind: Type) -> io::Result<(socket2::Socket, socket2::Socket)> {
    #[cfg(target_vendor = "apple")]
    let (a, b) = {
        let (a, b) = socket2::Socket::pair(domain, kind, None)?;
        a.set_nonblocking(true)?;
        b.set_nonblocking(true)?;
        (a, b)
    };
    #[cfg(not(target_vendor = "apple"))]
    let (a, b) = socket2::Socket::pair(domain, kind.nonblocking().cloexec(), None)?;
    Ok((a, b))
}

/// recv(2). `flags` is added to `MSG_DONTWAIT`.
#[inline]
pub(super) fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: libc::c_int) -> io::Result<Moved<usize>> {
    let flags = libc::MSG_DONTWAIT | flags;
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`, which is borrowed for the call.
    let count = unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    moved(count, buffer.len())
}

/// recv(2) of bytes of a stream.
#[inline]
pub(super) fn recv_stream(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Moved<usize>> {
    recv(fd, buffer, 0)
}

/// Like [`recv_stream`], for a socket whose peer may send descriptors between the bytes.
#[inline]
pub(super) fn recv_unix(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Moved<usize>> {
    recv_vectored(fd, &mut [IoSliceMut::new(buffer)])
}

/// send(2), without SIGPIPE.
#[inline]
pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Moved<usize>> {
    let flags = libc::MSG_DONTWAIT | NO_SIGNAL;
    // SAFETY: the kernel reads at most `bytes.len()` bytes of `bytes`, which is borrowed for the call.
    let count = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    moved(count, bytes.len())
}

fn message() -> libc::msghdr {
    // SAFETY: all zeros is a valid `msghdr`: null pointers and lengths of 0.
    unsafe { std::mem::zeroed() }
}

/// The largest number of buffers that a call takes (IOV_MAX). Further buffers are left to the next call.
const MAX_BUFFERS: usize = 1024;

/// Returns the number of bytes of the buffers that a call takes.
fn len_of(lens: impl Iterator<Item = usize>) -> usize {
    lens.take(MAX_BUFFERS).fold(0, usize::saturating_add)
}

/// recvmsg(2) into several buffers.
#[inline]
pub(super) fn recv_vectored(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Moved<usize>> {
    let len = len_of(buffers.iter().map(|buffer| buffer.len()));
    let mut message = message();
    // `IoSliceMut` has the layout of `iovec` on Unix.
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len().min(MAX_BUFFERS) as _;
    // SAFETY: `message` names `buffers`, which are borrowed mutably for the call.
    let count = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let mut moved = moved(count, len)?;
    // A read from a Unix socket stops behind descriptors or credentials, which are dropped here. There may be more data.
    moved.took_all &= message.msg_flags & (libc::MSG_CTRUNC | libc::MSG_OOB) == 0;
    Ok(moved)
}

/// sendmsg(2) from several buffers, without SIGPIPE.
pub(super) fn send_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<Moved<usize>> {
    let len = len_of(buffers.iter().map(|buffer| buffer.len()));
    let mut message = message();
    // `IoSlice` has the layout of `iovec` on Unix. The kernel only reads.
    message.msg_iov = buffers.as_ptr().cast_mut().cast();
    message.msg_iovlen = buffers.len().min(MAX_BUFFERS) as _;
    let flags = libc::MSG_DONTWAIT | NO_SIGNAL;
    // SAFETY: `message` names `buffers`, which are borrowed for the call.
    moved(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) }, len)
}
