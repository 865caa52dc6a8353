//! UDP sockets.
#![forbid(unsafe_code)]

use super::addresses::ToSocketAddrs;
use super::batch::Batch;
use super::batch_calls::Calls;
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
    calls: Calls,
}

common!(UdpSocket, std::net::UdpSocket, nonblocking: true, field: calls);

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
        self.refuse_joined()?;
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
        self.refuse_joined()?;
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
        self.refuse_joined()?;
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
        self.refuse_joined()?;
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

    /// Waits for a datagram, and receives all that have arrived, as many as fit into `batch`, with one system call. Returns their
    /// number: [`batch.len()`](Batch::len), at least 1. The datagrams that `batch` had before are removed. If a datagram is longer than
    /// [`Batch::max_len`], the rest is lost, and [`truncated`](super::Datagram::truncated) is true.
    ///
    /// Systems without recvmmsg(2) take one system call per datagram.
    ///
    /// Cancel safety: a cancelled receive takes no datagram.
    ///
    /// # Errors
    ///
    /// The error of recvmmsg(2), for example `ConnectionRefused` after an earlier send of a socket with a peer, and the errors of a wait
    /// ([`io`](crate::io)). `batch` is empty then. An error that comes after a datagram is returned by the next call.
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[doc(alias = "recvmmsg")]
    #[track_caller]
    pub fn recv_batch(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.clear();
        self.socket
            .call(Interest::Readable, |socket| self.calls.with_fallback(|calls| batch.receive(socket.as_fd(), calls)))
    }

    /// Sends the datagrams of `batch` in their order, with as few system calls as possible, and waits for room where the queue of the
    /// socket is full. Returns their number. `batch` is empty then.
    ///
    /// Consecutive datagrams of one length and to one address are given to the kernel as one message (`UDP_SEGMENT`), up to 64
    /// datagrams or 64 KiB, if the kernel and the route support that. The receiver sees no difference.
    ///
    /// On systems other than Linux a socket with a peer cannot send a batch.
    ///
    /// Cancel safety: each datagram was either sent or is still in `batch`.
    ///
    /// # Errors
    ///
    /// The error of sendmmsg(2) and the errors of a wait ([`io`](crate::io)). `batch` keeps the datagrams that were not sent, first the
    /// datagram that failed. [`Batch::pop_front`] removes it.
    ///
    /// # Panics
    ///
    /// As [`recv_from`](Self::recv_from) does.
    #[doc(alias = "sendmmsg")]
    #[track_caller]
    pub fn send_batch(&self, batch: &mut Batch) -> io::Result<usize> {
        let count = batch.len();
        while !batch.is_empty() {
            self.socket.call(Interest::Writable, |socket| {
                self.calls.with_fallback(|calls| batch.send(socket.as_fd(), calls))
            })?;
        }
        Ok(count)
    }

    /// Sets whether the kernel may join datagrams of one length from one sender (`UDP_GRO`), which makes
    /// [`recv_batch`](Self::recv_batch) faster. Returns whether it does: `false` on a system that cannot.
    ///
    /// `recv_batch` divides joined datagrams again, and returns each as it was sent. It may then return more datagrams than
    /// [`Batch::capacity`], and a batch uses up to 4 MiB.
    ///
    /// Any other receive would return several datagrams as one. Therefore [`recv_from`](Self::recv_from), [`recv`](Self::recv),
    /// [`peek_from`](Self::peek_from) and [`peek`](Self::peek) fail with `InvalidInput`. The option belongs to the socket in the kernel,
    /// so enable it before [`try_clone`](Self::try_clone): an earlier clone does not refuse such receives. Enable and disable it before
    /// the first datagram arrives: a datagram that was joined stays joined.
    ///
    /// # Errors
    ///
    /// The error of setsockopt(2).
    #[doc(alias("UDP_GRO", "GRO"))]
    pub fn set_gro(&self, enabled: bool) -> io::Result<bool> {
        self.calls.set_joining(self.socket.fd(), enabled)
    }

    /// Makes this socket do without recvmmsg(2) and sendmmsg(2), or without `UDP_SEGMENT`, for tests.
    #[doc(hidden)]
    pub fn restrict_batches(&self, one_by_one: bool, no_gso: bool) {
        if one_by_one {
            self.calls.use_one_by_one();
        }
        if no_gso {
            self.calls.use_no_gso();
        }
    }

    #[inline]
    fn refuse_joined(&self) -> io::Result<()> {
        if self.calls.is_known_to_join() { Err(joined()) } else { Ok(()) }
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
        let socket = self.socket.duplicate(std::net::UdpSocket::try_clone)?;
        Ok(UdpSocket { socket, calls: self.calls.copy() })
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

#[cold]
fn joined() -> io::Error {
    let text = "the socket joins datagrams (set_gro), so only recv_batch can tell them apart";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
