//! recvmmsg(2) and sendmmsg(2), loops of recvmsg(2) and sendmsg(2) where these are missing, and the options of the socket for
//! datagrams of one size in one message: `UDP_GRO` and `UDP_SEGMENT`, see udp(7). Each call has `MSG_DONTWAIT`.

use super::sys::NO_SIGNAL;
use socket2::{SockAddr, SockAddrStorage};
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::{replace, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

/// A message, and the number of its bytes that were received or sent.
#[cfg(any(target_os = "linux", target_os = "android"))]
type Header = libc::mmsghdr;

/// A message, and the number of its bytes that were received or sent.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
struct Header {
    msg_hdr: libc::msghdr,
    msg_len: libc::c_uint,
}

/// The control data of a message: room for the segment size, and for the data that options of the socket add.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// A message that the kernel has received.
pub(super) struct Received {
    pub(super) len: usize,
    /// A part of the datagram did not fit.
    pub(super) is_truncated: bool,
    /// The length of each datagram but the last, if the kernel has joined several.
    pub(super) segment: Option<usize>,
    pub(super) peer: Option<SocketAddr>,
}

/// A message to send: one datagram, or several of the length `segment`, of which the last may be shorter.
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) segment: Option<u16>,
    pub(super) peer: SocketAddr,
}

/// The memory that the system calls need beside the bytes.
pub(super) struct Headers {
    headers: Box<[Header]>,
    names: Box<[SockAddrStorage]>,
    parts: Box<[libc::iovec]>,
    controls: Box<[Control]>,
}

// SAFETY: the pointers in `headers` and `parts` are used only during `recv` and `send`, which set them first and borrow the value
// exclusively. At other times they are plain numbers.
unsafe impl Send for Headers {}
// SAFETY: as above; a shared reference gives access to nothing.
unsafe impl Sync for Headers {}

impl Headers {
    pub(super) fn new(count: usize) -> Headers {
        // SAFETY: all zeros is a valid header: null pointers and lengths of 0.
        let header = || unsafe { zeroed::<Header>() };
        Headers {
            headers: (0..count).map(|_| header()).collect(),
            names: (0..count).map(|_| SockAddrStorage::zeroed()).collect(),
            parts: (0..count).map(|_| libc::iovec { iov_base: null_mut(), iov_len: 0 }).collect(),
            controls: (0..count).map(|_| Control([0; 256])).collect(),
        }
    }

    /// Sets a header for the bytes and the name that the call will use.
    fn set(&mut self, index: usize, base: *mut u8, len: usize, name_len: libc::socklen_t) -> &mut libc::msghdr {
        self.parts[index] = libc::iovec { iov_base: base.cast(), iov_len: len };
        let header = &mut self.headers[index];
        header.msg_len = 0;
        let message = &mut header.msg_hdr;
        message.msg_name = (&raw mut self.names[index]).cast();
        message.msg_namelen = name_len;
        message.msg_iov = &raw mut self.parts[index];
        message.msg_iovlen = 1;
        message.msg_control = null_mut();
        message.msg_controllen = 0;
        message.msg_flags = 0;
        message
    }

    /// Receives messages, each into a slot of `stride` bytes of `bytes`, and calls `each` with the number of the slot. Returns the
    /// number of messages. An error that came after a message is stored in `later`: the kernel does not report it again.
    pub(super) fn recv(
        &mut self,
        fd: BorrowedFd<'_>,
        bytes: &mut [u8],
        stride: usize,
        one_by_one: bool,
        later: &mut Option<io::Error>,
        mut each: impl FnMut(usize, Received),
    ) -> io::Result<usize> {
        let slots = bytes.chunks_exact_mut(stride).take(self.headers.len());
        let count = slots.len();
        for (index, slot) in slots.enumerate() {
            let name_len = self.names[index].size_of();
            let control = self.controls[index].0.as_mut_ptr();
            let message = self.set(index, slot.as_mut_ptr(), slot.len(), name_len);
            message.msg_control = control.cast();
            message.msg_controllen = size_of::<Control>() as _;
        }
        let headers = &mut self.headers[..count];
        // SAFETY: `set` has filled each of `headers` with pointers to `bytes`, `names` and `controls` and with their lengths. All are
        // borrowed mutably until the end of this function.
        let received = unsafe {
            if one_by_one { loop_of(headers, later, |message| recvmsg(fd, message)) } else { recvmmsg(fd, headers) }
        }?;
        for (index, header) in headers[..received].iter().enumerate() {
            let message = &header.msg_hdr;
            let name = replace(&mut self.names[index], SockAddrStorage::zeroed());
            // SAFETY: the kernel has stored an address of this length; more than fits is cut.
            let name = unsafe { SockAddr::new(name, message.msg_namelen.min(size_of::<SockAddrStorage>() as _)) };
            each(
                index,
                Received {
                    len: (header.msg_len as usize).min(stride),
                    is_truncated: message.msg_flags & libc::MSG_TRUNC != 0,
                    // SAFETY: `message` still points to the control data, which the kernel has filled.
                    segment: unsafe { received_segment(message) },
                    peer: name.as_socket(),
                },
            );
        }
        Ok(received)
    }

    /// Sends messages, at most as many as there are headers, from their places in `bytes`. Returns the number of messages that were
    /// sent. An error is that of the first message.
    pub(super) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        bytes: &[u8],
        pieces: impl Iterator<Item = Piece>,
        one_by_one: bool,
    ) -> io::Result<usize> {
        let mut count = 0;
        for piece in pieces.take(self.headers.len()) {
            let part = &bytes[piece.start..][..piece.len];
            let name = SockAddr::from(piece.peer);
            let name_len = name.len();
            self.names[count] = name.as_storage();
            let control = &raw mut self.controls[count];
            // The kernel only reads the bytes.
            let message = self.set(count, part.as_ptr().cast_mut(), part.len(), name_len);
            if let Some(segment) = piece.segment {
                // SAFETY: `control` points into `controls`, which lives longer than the call, and nothing else uses it.
                unsafe { set_segment(message, control, segment) };
            }
            count += 1;
        }
        let headers = &mut self.headers[..count];
        // SAFETY: as in `recv`; the kernel reads the bytes.
        unsafe {
            if one_by_one {
                // As with sendmmsg(2), the next call meets the error again, or the error is that of an earlier datagram.
                loop_of(headers, &mut None, |message| sendmsg(fd, message))
            } else {
                sendmmsg(fd, headers)
            }
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headers").field("count", &self.headers.len()).finish_non_exhaustive()
    }
}

/// Calls `call` for each header until it fails. Returns the number of calls that succeeded.
fn loop_of(
    headers: &mut [Header],
    later: &mut Option<io::Error>,
    mut call: impl FnMut(&mut libc::msghdr) -> isize,
) -> io::Result<usize> {
    for (done, header) in headers.iter_mut().enumerate() {
        match u32::try_from(call(&mut header.msg_hdr)) {
            Ok(len) => header.msg_len = len,
            Err(_) => {
                let error = io::Error::last_os_error();
                if done == 0 {
                    return Err(error);
                }
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                    *later = Some(error);
                }
                return Ok(done);
            }
        }
    }
    Ok(headers.len())
}

/// # Safety
///
/// The pointers of `message` must be valid for their lengths.
unsafe fn recvmsg(fd: BorrowedFd<'_>, message: &mut libc::msghdr) -> isize {
    // SAFETY: the caller guarantees it.
    unsafe { libc::recvmsg(fd.as_raw_fd(), message, libc::MSG_DONTWAIT) }
}

/// # Safety
///
/// The pointers of `message` must be valid for their lengths.
unsafe fn sendmsg(fd: BorrowedFd<'_>, message: &mut libc::msghdr) -> isize {
    // SAFETY: the caller guarantees it.
    unsafe { libc::sendmsg(fd.as_raw_fd(), message, libc::MSG_DONTWAIT | NO_SIGNAL) }
}

/// The calls of Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod mmsg {
    use super::{AsRawFd, BorrowedFd, Control, Header, NO_SIGNAL, io, null_mut};

    fn checked(count: libc::c_int) -> io::Result<usize> {
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// # Safety
    ///
    /// The pointers of each header must be valid for their lengths.
    pub(super) unsafe fn recvmmsg(fd: BorrowedFd<'_>, headers: &mut [Header]) -> io::Result<usize> {
        let (fd, count) = (fd.as_raw_fd(), headers.len() as libc::c_uint);
        // SAFETY: the caller guarantees it; there is no timeout.
        checked(unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, null_mut()) })
    }

    /// # Safety
    ///
    /// The pointers of each header must be valid for their lengths.
    pub(super) unsafe fn sendmmsg(fd: BorrowedFd<'_>, headers: &mut [Header]) -> io::Result<usize> {
        let (fd, count) = (fd.as_raw_fd(), headers.len() as libc::c_uint);
        let flags = libc::MSG_DONTWAIT | NO_SIGNAL;
        // SAFETY: the caller guarantees it.
        checked(unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, flags as _) })
    }

    /// Returns the length of the datagrams that the kernel has joined.
    ///
    /// # Safety
    ///
    /// The control data of `message` must be valid, and filled by the kernel.
    pub(super) unsafe fn received_segment(message: &libc::msghdr) -> Option<usize> {
        // SAFETY: the macros stay inside the control data, which the caller guarantees to be valid.
        unsafe {
            let mut item = libc::CMSG_FIRSTHDR(message);
            while !item.is_null() {
                if (*item).cmsg_level == libc::SOL_UDP && (*item).cmsg_type == libc::UDP_GRO {
                    let segment = libc::CMSG_DATA(item).cast::<libc::c_int>().read_unaligned();
                    return usize::try_from(segment).ok().filter(|segment| *segment > 0);
                }
                item = libc::CMSG_NXTHDR(message, item);
            }
            None
        }
    }

    /// Makes the kernel divide the message into datagrams of this length.
    ///
    /// # Safety
    ///
    /// `control` must be valid for as long as `message` is used, and not be used otherwise.
    pub(super) unsafe fn set_segment(message: &mut libc::msghdr, control: *mut Control, segment: u16) {
        const LEN: libc::c_uint = size_of::<u16>() as libc::c_uint;
        message.msg_control = control.cast();
        // SAFETY: the macros only calculate.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(LEN) } as _;
        // SAFETY: `control` has room for one header and 2 bytes, and is aligned for the header.
        unsafe {
            let item = libc::CMSG_FIRSTHDR(message);
            (*item).cmsg_level = libc::SOL_UDP;
            (*item).cmsg_type = libc::UDP_SEGMENT;
            (*item).cmsg_len = libc::CMSG_LEN(LEN) as _;
            libc::CMSG_DATA(item).cast::<u16>().write_unaligned(segment);
        }
    }

    fn option(fd: BorrowedFd<'_>, name: libc::c_int) -> Option<libc::c_int> {
        let (mut value, mut len) = (0 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: `value` has room for `len` bytes, and both are valid for the call.
        let failed =
            unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_UDP, name, (&raw mut value).cast(), &raw mut len) };
        (failed == 0).then_some(value)
    }

    /// Returns whether the kernel divides messages.
    pub(in crate::net) fn has_gso(fd: BorrowedFd<'_>) -> bool {
        option(fd, libc::UDP_SEGMENT).is_some()
    }

    /// Returns whether the socket joins datagrams.
    pub(in crate::net) fn gro(fd: BorrowedFd<'_>) -> bool {
        option(fd, libc::UDP_GRO).is_some_and(|value| value != 0)
    }

    /// Sets whether the socket joins datagrams. Returns whether it does.
    pub(in crate::net) fn set_gro(fd: BorrowedFd<'_>, enabled: bool) -> io::Result<bool> {
        let value = libc::c_int::from(enabled);
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the kernel reads `len` bytes of `value`, which is valid for the call.
        let failed =
            unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, (&raw const value).cast(), len) };
        match failed {
            0 => Ok(enabled),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(false),
                error => Err(error),
            },
        }
    }
}

/// Other systems: one message a call, one datagram a message.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod mmsg {
    use super::{BorrowedFd, Control, ErrorKind, Header, io};

    pub(super) unsafe fn recvmmsg(_: BorrowedFd<'_>, _: &mut [Header]) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(super) unsafe fn sendmmsg(_: BorrowedFd<'_>, _: &mut [Header]) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(super) unsafe fn received_segment(_: &libc::msghdr) -> Option<usize> {
        None
    }

    pub(super) unsafe fn set_segment(_: &mut libc::msghdr, _: *mut Control, _: u16) {}

    pub(in crate::net) fn has_gso(_: BorrowedFd<'_>) -> bool {
        false
    }

    pub(in crate::net) fn gro(_: BorrowedFd<'_>) -> bool {
        false
    }

    pub(in crate::net) fn set_gro(_: BorrowedFd<'_>, _: bool) -> io::Result<bool> {
        Ok(false)
    }
}

pub(super) use self::mmsg::{gro, has_gso, set_gro};
use self::mmsg::{received_segment, recvmmsg, sendmmsg, set_segment};
