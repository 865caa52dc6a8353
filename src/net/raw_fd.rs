//! The conversions of sockets from and to descriptors.

use super::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use std::net;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix;

/// Implements the conversions by way of the type of `std`, which define the mode and the timeouts.
macro_rules! descriptors {
    ($($Socket:ident: $Std:ty;)*) => {$(
        impl From<OwnedFd> for $Socket {
            /// Wraps a descriptor like the conversion from the type of `std`. If it is no socket of this kind, its use returns
            /// errors.
            fn from(fd: OwnedFd) -> $Socket {
                <$Std>::from(fd).into()
            }
        }

        impl From<$Socket> for OwnedFd {
            /// Returns the descriptor in blocking mode, like the conversion to the type of `std`.
            fn from(socket: $Socket) -> OwnedFd {
                <$Std>::from(socket).into()
            }
        }

        impl FromRawFd for $Socket {
            /// Wraps a descriptor like the conversion from the type of `std`.
            ///
            /// # Safety
            ///
            /// `fd` must be an owned descriptor; in particular, it must be open. The caller gives the ownership to the socket.
            unsafe fn from_raw_fd(fd: RawFd) -> $Socket {
                // SAFETY: the caller ensures that `fd` is open and that nothing else owns it, and the socket owns it until its drop.
                unsafe { OwnedFd::from_raw_fd(fd) }.into()
            }
        }

        impl IntoRawFd for $Socket {
            /// Returns the descriptor in blocking mode, like the conversion to the type of `std`. The caller must close it.
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }
    )*};
}

descriptors! {
    TcpListener: net::TcpListener;
    TcpStream: net::TcpStream;
    UdpSocket: net::UdpSocket;
    UnixDatagram: unix::UnixDatagram;
    UnixListener: unix::UnixListener;
    UnixStream: unix::UnixStream;
}
