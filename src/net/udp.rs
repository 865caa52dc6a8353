//! UDP sockets.
#![forbid(unsafe_code)]

use super::addresses::ToSocketAddrs;
use super::resolve::{each, first};
use super::socket::{Socket, common};
use crate::reactor::Interest;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// A UDP socket, as [`std::net::UdpSocket`].
pub struct UdpSocket {
    socket: Socket<std::net::UdpSocket>,
}

common!(UdpSocket, std::net::UdpSocket, nonblocking: true);

impl UdpSocket {
    /// Binds a socket to an address. Waits only for the lookup of a name. Of several addresses the first that can be bound counts.
    ///
    /// # Errors
    ///
    /// The error of the last address, `InvalidInput` without an address, and those of [`lookup_host`](super::lookup_host).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does, for a name.
    #[track_caller]
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each(address, std::net::UdpSocket::bind).map(UdpSocket::from)
    }

    /// Waits for a datagram, and returns its length and its sender. What does not fit into `buffer` is lost.
    ///
    /// Cancel safety: a cancelled receive takes no datagram.
    ///
    /// # Errors
    ///
    /// The error of recvfrom(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let receive = |socket: &std::net::UdpSocket, buffer: &mut [u8]| {
            socket.recv_from(buffer).map(|(len, sender)| (len, sender.into()))
        };
        let (len, sender) = self.socket.receive_from(buffer, receive)?;
        let sender = sender.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok((len, sender))
    }

    /// Waits for a datagram, and copies it into `buffer` without taking it. Returns its length and its sender. What does not fit is left
    /// out, and the next receive still gets the whole datagram.
    ///
    /// # Errors
    ///
    /// The error of recvfrom(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.call(Interest::Readable, |socket| socket.peek_from(buffer))
    }

    /// Waits until a datagram can be queued, and sends it to `address`, of several to the first. Returns its length. A name is looked up
    /// for each datagram: see [`lookup_host`](super::lookup_host).
    ///
    /// # Errors
    ///
    /// The error of sendto(2), `InvalidInput` without an address, the errors of [`lookup_host`](super::lookup_host), and the errors of a
    /// wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn send_to(&self, bytes: &[u8], address: impl ToSocketAddrs) -> io::Result<usize> {
        let address = first(address)?;
        self.socket.call(Interest::Writable, |socket| socket.send_to(bytes, address))
    }

    /// Sets the peer of [`send`](Self::send) and [`recv`](Self::recv). Waits only for the lookup of a name. Of several addresses the first
    /// that the system has a route to counts.
    ///
    /// # Errors
    ///
    /// The error of connect(2) for the last address, `InvalidInput` without an address, and those of
    /// [`lookup_host`](super::lookup_host).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does, for a name.
    #[track_caller]
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        each(address, |address| self.socket.get().connect(address))
    }

    /// Waits for a datagram of the peer, and returns its length. Otherwise like [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// The error of recv(2), for example `ConnectionRefused` after an earlier send, and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv_datagram(buffer)
    }

    /// Waits for a datagram of the peer, and copies it into `buffer` without taking it. Returns its length. Otherwise like
    /// [`peek_from`](Self::peek_from).
    ///
    /// # Errors
    ///
    /// The error of recv(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buffer)
    }

    /// Sends a datagram to the peer. Otherwise like [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// The error of send(2), and the errors of a wait ([`io`](crate::io)).
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[track_caller]
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.call(Interest::Writable, |socket| socket.send(bytes))
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// The error of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get().local_addr()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// The error of getpeername(2), `NotConnected` without a peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get().peer_addr()
    }

    /// Returns a second handle to the same socket, with a descriptor of its own.
    ///
    /// The clone has the timeouts that the socket has now. A later change of one has no effect on the other.
    ///
    /// # Errors
    ///
    /// The error of dup(2).
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        self.socket.duplicate(std::net::UdpSocket::try_clone).map(|socket| UdpSocket { socket })
    }

    /// Sets whether datagrams may be sent to a broadcast address (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.socket.get().set_broadcast(broadcast)
    }

    /// Returns whether datagrams may be sent to a broadcast address.
    ///
    /// # Errors
    ///
    /// The error of getsockopt(2).
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket.get().broadcast()
    }

    /// Sets the time to live of datagrams (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.get().set_ttl(ttl)
    }

    /// Returns the time to live of datagrams.
    ///
    /// # Errors
    ///
    /// The error of getsockopt(2).
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.get().ttl()
    }

    /// Sets whether multicast datagrams over IPv4 are also delivered to this host (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_multicast_loop_v4(&self, enabled: bool) -> io::Result<()> {
        self.socket.get().set_multicast_loop_v4(enabled)
    }

    /// Returns whether multicast datagrams over IPv4 are also delivered to this host.
    ///
    /// # Errors
    ///
    /// The error of getsockopt(2).
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.socket.get().multicast_loop_v4()
    }

    /// Sets the time to live of multicast datagrams over IPv4 (`IP_MULTICAST_TTL`). The default of 1
    /// keeps them in the local network.
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.socket.get().set_multicast_ttl_v4(ttl)
    }

    /// Returns the time to live of multicast datagrams over IPv4.
    ///
    /// # Errors
    ///
    /// The error of getsockopt(2).
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.socket.get().multicast_ttl_v4()
    }

    /// Sets whether multicast datagrams over IPv6 are also delivered to this host (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn set_multicast_loop_v6(&self, enabled: bool) -> io::Result<()> {
        self.socket.get().set_multicast_loop_v6(enabled)
    }

    /// Returns whether multicast datagrams over IPv6 are also delivered to this host.
    ///
    /// # Errors
    ///
    /// The error of getsockopt(2).
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.socket.get().multicast_loop_v6()
    }

    /// Joins a multicast group of IPv4 on the interface with this address. The unspecified address lets the system choose.
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.get().join_multicast_v4(group, interface)
    }

    /// Joins a multicast group of IPv6 on the interface with this index. An index of 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.get().join_multicast_v6(group, interface)
    }

    /// Leaves a multicast group of IPv4. The arguments are those of [`join_multicast_v4`](Self::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.get().leave_multicast_v4(group, interface)
    }

    /// Leaves a multicast group of IPv6. The arguments are those of [`join_multicast_v6`](Self::join_multicast_v6).
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.get().leave_multicast_v6(group, interface)
    }
}
