//! The methods and traits that the sockets share with those of `std`: each has an effect that the kernel or a peer shows.
#![cfg(all(feature = "io", target_os = "linux"))]

use cede::io::{Async, CopiedBoth, Interest};
use cede::net::{Incoming, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixIncoming, UnixListener, UnixStream};
use cede::{run, spawn, yield_now};
use socket2::SockRef;
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as unix;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, net, thread};

const SECOND: Duration = Duration::from_secs(1);

// The table of the traits, which the compiler checks.

trait Movable: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug {}
impl<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug> Movable for T {}

trait Descriptor: Movable + AsFd + AsRawFd + IntoRawFd + FromRawFd + From<OwnedFd> + Into<OwnedFd> {}
impl<T: Movable + AsFd + AsRawFd + IntoRawFd + FromRawFd + From<OwnedFd> + Into<OwnedFd>> Descriptor for T {}

fn socket<T: Descriptor + From<S> + Into<S>, S>() {}
fn stream<T: Read + Write + cede::io::HalfClose>()
where
    for<'a> &'a T: Read + Write,
{
}
fn movable<T: Movable>() {}
fn report<T: Send + Sync + Debug>() {}
fn wrapper<T: Movable + AsFd + AsRawFd + IntoRawFd + AsRef<S>, S>() {}
fn connections<T, S>()
where
    for<'a> &'a T: IntoIterator<Item = std::io::Result<S>>,
{
}

const _: fn() = || {
    socket::<TcpListener, net::TcpListener>();
    socket::<TcpStream, net::TcpStream>();
    socket::<UdpSocket, net::UdpSocket>();
    socket::<UnixDatagram, unix::UnixDatagram>();
    socket::<UnixListener, unix::UnixListener>();
    socket::<UnixStream, unix::UnixStream>();
    stream::<TcpStream>();
    stream::<UnixStream>();
    movable::<Incoming<'_>>();
    movable::<UnixIncoming<'_>>();
    movable::<Interest>();
    report::<CopiedBoth>();
    wrapper::<Async<net::TcpStream>, net::TcpStream>();
    wrapper::<Async<OwnedFd>, OwnedFd>();
    connections::<UnixListener, UnixStream>();
};

/// A directory of its own for a test, which the drop removes.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cede-net-api-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn address(&self, name: &str) -> unix::SocketAddr {
        unix::SocketAddr::from_pathname(self.0.join(name)).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn udp_pair() -> (UdpSocket, UdpSocket) {
    let (a, b) = (udp(), udp());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (a, b)
}

fn is_nonblocking(fd: &impl AsFd) -> bool {
    SockRef::from(fd).nonblocking().unwrap()
}

/// Converts a socket to an owned and to a raw descriptor and back.
fn through_descriptors<T: Descriptor>(socket: T) -> T {
    let number = socket.as_raw_fd();
    let fd: OwnedFd = socket.into();
    assert_eq!(fd.as_raw_fd(), number);
    assert!(!is_nonblocking(&fd), "an owned descriptor is in blocking mode");
    let fd: RawFd = T::from(fd).into_raw_fd();
    assert_eq!(fd, number);
    // SAFETY: `into_raw_fd` has given the ownership of the open descriptor to this function.
    let socket = unsafe { T::from_raw_fd(fd) };
    assert_eq!((socket.as_raw_fd(), socket.as_fd().as_raw_fd()), (number, number));
    socket
}

#[test]
fn tcp_converts_to_descriptors() {
    run(|| {
        let listener = through_descriptors(TcpListener::bind("127.0.0.1:0").unwrap());
        assert!(is_nonblocking(&listener), "accept4(2) has no flag for one call");
        let address = listener.local_addr().unwrap();
        let mut accept = spawn(move || listener.accept().unwrap().0);
        yield_now();
        let client = through_descriptors(TcpStream::connect(address).unwrap());
        let server = accept.join().unwrap();
        let mut reader = spawn(move || (&server).read(&mut [0; 8]).unwrap());
        yield_now();
        (&client).write_all(b"four").unwrap();
        assert_eq!(reader.join().unwrap(), 4);
    });
}

#[test]
fn datagram_sockets_convert_to_descriptors() {
    run(|| {
        let (a, b) = udp_pair();
        let (a, b) = (through_descriptors(a), through_descriptors(b));
        let mut receiver = spawn(move || b.recv(&mut [0; 8]).unwrap());
        yield_now();
        assert_eq!(a.send(b"four").unwrap(), 4);
        assert_eq!(receiver.join().unwrap(), 4);

        let (a, b) = UnixDatagram::pair().unwrap();
        let (a, b) = (through_descriptors(a), through_descriptors(b));
        let mut receiver = spawn(move || b.recv(&mut [0; 8]).unwrap());
        yield_now();
        assert_eq!(a.send(b"three").unwrap(), 5);
        assert_eq!(receiver.join().unwrap(), 5);
    });
}

#[test]
fn unix_streams_convert_to_descriptors() {
    run(|| {
        let dir = Dir::new();
        let listener = through_descriptors(UnixListener::bind_addr(&dir.address("listener")).unwrap());
        let client = through_descriptors(UnixStream::connect_addr(&dir.address("listener")).unwrap());
        let (mut server, _) = listener.accept().unwrap();
        let mut reader = spawn(move || server.read(&mut [0; 8]).unwrap());
        yield_now();
        (&client).write_all(b"six666").unwrap();
        assert_eq!(reader.join().unwrap(), 6);
    });
}

#[test]
fn conversions_keep_the_timeouts() {
    let (client, _server) = tcp_pair();
    let std = net::TcpStream::from(client);
    assert_eq!((std.read_timeout().unwrap(), std.write_timeout().unwrap()), (None, None));
    std.set_read_timeout(Some(7 * SECOND)).unwrap();
    std.set_write_timeout(Some(9 * SECOND)).unwrap();
    let stream = TcpStream::from(std);
    assert_eq!(stream.read_timeout().unwrap(), Some(7 * SECOND));
    assert_eq!(stream.write_timeout().unwrap(), Some(9 * SECOND));
    stream.set_read_timeout(None).unwrap();
    stream.set_write_timeout(Some(3 * SECOND)).unwrap();
    let std = net::TcpStream::from(stream);
    assert_eq!((std.read_timeout().unwrap(), std.write_timeout().unwrap()), (None, Some(3 * SECOND)));
    // Less than the kernel can count is still a timeout.
    let stream = TcpStream::from(std);
    stream.set_read_timeout(Some(Duration::from_nanos(1))).unwrap();
    assert!(net::TcpStream::from(stream).read_timeout().unwrap().is_some());
}

#[test]
fn timeout_of_std_ends_a_wait() {
    let (here, _there) = unix::UnixDatagram::pair().unwrap();
    here.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let here = UnixDatagram::from(here);
    run(move || assert_eq!(here.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut));
}

/// Checks that the timeouts of a clone are those of the moment of the call.
macro_rules! clone_copies_timeouts {
    ($socket:expr) => {{
        let socket = $socket;
        socket.set_read_timeout(Some(7 * SECOND)).unwrap();
        socket.set_write_timeout(Some(9 * SECOND)).unwrap();
        let clone = socket.try_clone().unwrap();
        assert_ne!(clone.as_raw_fd(), socket.as_raw_fd());
        socket.set_read_timeout(None).unwrap();
        clone.set_write_timeout(Some(SECOND)).unwrap();
        assert_eq!((socket.read_timeout().unwrap(), clone.read_timeout().unwrap()), (None, Some(7 * SECOND)));
        assert_eq!(socket.write_timeout().unwrap(), Some(9 * SECOND));
        assert_eq!(clone.write_timeout().unwrap(), Some(SECOND));
    }};
}

#[test]
fn clones_copy_the_timeouts() {
    let dir = Dir::new();
    clone_copies_timeouts!(tcp_pair().0);
    clone_copies_timeouts!(TcpListener::bind("127.0.0.1:0").unwrap());
    clone_copies_timeouts!(udp());
    clone_copies_timeouts!(UnixStream::pair().unwrap().0);
    clone_copies_timeouts!(UnixListener::bind_addr(&dir.address("listener")).unwrap());
    clone_copies_timeouts!(UnixDatagram::unbound().unwrap());
}

#[test]
fn tcp_options_are_set() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_ttl(41).unwrap();
    assert_eq!((listener.ttl().unwrap(), SockRef::from(&listener).ttl_v4().unwrap()), (41, 41));
    assert!(listener.take_error().unwrap().is_none());
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(listener.accept().unwrap().0.ttl().unwrap(), 41);
    assert_eq!(stream.linger().unwrap(), None);
    stream.set_linger(Some(3 * SECOND)).unwrap();
    assert_eq!(stream.linger().unwrap(), Some(3 * SECOND));
    stream.set_linger(None).unwrap();
    assert_eq!(stream.linger().unwrap(), None);
}

#[test]
fn errors_are_taken_once() {
    let gone = udp().local_addr().unwrap();
    let socket = udp();
    socket.connect(gone).unwrap();
    socket.send(b"to a closed port").unwrap();
    let begin = Instant::now();
    let error = loop {
        match socket.take_error().unwrap() {
            Some(error) => break error,
            None => assert!(begin.elapsed() < 10 * SECOND, "no error arrives"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(socket.take_error().unwrap().is_none());

    let dir = Dir::new();
    assert!(UnixListener::bind_addr(&dir.address("listener")).unwrap().take_error().unwrap().is_none());
    assert!(UnixStream::pair().unwrap().0.take_error().unwrap().is_none());
    assert!(UnixDatagram::unbound().unwrap().take_error().unwrap().is_none());
    assert!(tcp_pair().0.take_error().unwrap().is_none());
}

#[test]
fn peeks_wait_and_take_nothing() {
    run(|| {
        let (here, there) = udp_pair();
        let address = there.local_addr().unwrap();
        let mut reader = spawn(move || {
            let mut buffer = [0; 3];
            assert_eq!(here.peek(&mut buffer).unwrap(), 3, "a datagram is cut to the buffer");
            assert_eq!(&buffer, b"dat");
            assert_eq!(here.peek_from(&mut [0; 16]).unwrap(), (8, address));
            assert_eq!(here.recv(&mut [0; 16]).unwrap(), 8);
            // The first call that waits.
            assert_eq!(here.peek_from(&mut [0; 16]).unwrap(), (4, address));
            here.recv_from(&mut [0; 16]).unwrap()
        });
        yield_now();
        there.send(b"datagram").unwrap();
        yield_now();
        cede::time::sleep(Duration::from_millis(1)).unwrap();
        there.send(b"next").unwrap();
        assert_eq!(reader.join().unwrap(), (4, address));
    });
}

#[test]
fn udp_options_are_set() {
    let socket = udp();
    let other = socket.try_clone().unwrap();
    let raw = SockRef::from(&other);
    for on in [true, false] {
        socket.set_broadcast(on).unwrap();
        assert_eq!((socket.broadcast().unwrap(), raw.broadcast().unwrap()), (on, on));
        socket.set_multicast_loop_v4(on).unwrap();
        assert_eq!((socket.multicast_loop_v4().unwrap(), raw.multicast_loop_v4().unwrap()), (on, on));
    }
    socket.set_ttl(41).unwrap();
    assert_eq!((socket.ttl().unwrap(), raw.ttl_v4().unwrap()), (41, 41));
    socket.set_multicast_ttl_v4(42).unwrap();
    assert_eq!((socket.multicast_ttl_v4().unwrap(), raw.multicast_ttl_v4().unwrap()), (42, 42));
}

#[test]
fn multicast_groups_are_joined_once() {
    let socket = udp();
    let (group, interface) = (Ipv4Addr::new(239, 41, 42, 43), Ipv4Addr::LOCALHOST);
    socket.join_multicast_v4(&group, &interface).unwrap();
    assert_eq!(socket.join_multicast_v4(&group, &interface).unwrap_err().kind(), ErrorKind::AddrInUse);
    socket.leave_multicast_v4(&group, &interface).unwrap();
    assert_eq!(socket.leave_multicast_v4(&group, &interface).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn ipv6_multicast_options_are_set() {
    // A container may have no IPv6.
    let Ok(socket) = UdpSocket::bind("[::1]:0") else { return };
    for on in [false, true] {
        socket.set_multicast_loop_v6(on).unwrap();
        assert_eq!(socket.multicast_loop_v6().unwrap(), on);
        assert_eq!(SockRef::from(&socket).multicast_loop_v6().unwrap(), on);
    }
    let (group, loopback) = (Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 41, 42), 1);
    socket.join_multicast_v6(&group, loopback).unwrap();
    assert_eq!(socket.join_multicast_v6(&group, loopback).unwrap_err().kind(), ErrorKind::AddrInUse);
    socket.leave_multicast_v6(&group, loopback).unwrap();
    assert_eq!(socket.leave_multicast_v6(&group, loopback).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn unix_listener_yields_connections() {
    run(|| {
        let dir = Dir::new();
        let address = dir.address("listener");
        let listener = UnixListener::bind_addr(&address).unwrap();
        assert_eq!(UnixListener::bind_addr(&address).unwrap_err().kind(), ErrorKind::AddrInUse);
        let clone = listener.try_clone().unwrap();
        let mut server = spawn(move || {
            let mut streams = (&clone).into_iter();
            streams.next().unwrap().unwrap().read(&mut [0; 8]).unwrap()
        });
        yield_now();
        UnixStream::connect_addr(&address).unwrap().write_all(b"four").unwrap();
        assert_eq!(server.join().unwrap(), 4);
        let clients: Vec<_> = (0..3).map(|_| UnixStream::connect_addr(&address).unwrap()).collect();
        let servers: Vec<_> = listener.incoming().take(3).map(Result::unwrap).collect();
        clients.iter().for_each(|mut client| client.write_all(b"ok").unwrap());
        servers.iter().for_each(|mut server| assert_eq!(server.read(&mut [0; 8]).unwrap(), 2));
    });
}

#[test]
fn unix_addresses_may_be_abstract() {
    run(|| {
        let name = |kind| format!("cede net_api {kind} {}", std::process::id());
        let address = unix::SocketAddr::from_abstract_name(name("stream")).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let client = UnixStream::connect_addr(&address).unwrap();
        assert_eq!(client.peer_addr().unwrap().as_abstract_name(), address.as_abstract_name());
        listener.accept().unwrap();

        let address = unix::SocketAddr::from_abstract_name(name("datagram")).unwrap();
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        assert_eq!(sender.send_to_addr(b"four", &address).unwrap(), 4);
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn unix_connect_refuses_unnamed_addresses() {
    let unnamed = UnixStream::pair().unwrap().0.local_addr().unwrap();
    assert!(unnamed.is_unnamed());
    let error = UnixStream::connect_addr(&unnamed).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("unnamed"), "{error}");
    let missing = unix::SocketAddr::from_pathname("/nonexistent/socket").unwrap();
    assert_eq!(UnixStream::connect_addr(&missing).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn unix_datagrams_have_addresses() {
    run(|| {
        let dir = Dir::new();
        let (here, there) = (dir.address("here"), dir.address("there"));
        let a = UnixDatagram::bind_addr(&here).unwrap();
        let b = UnixDatagram::bind(there.as_pathname().unwrap()).unwrap();
        assert_eq!(a.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        a.connect_addr(&there).unwrap();
        assert_eq!(a.peer_addr().unwrap().as_pathname(), there.as_pathname());
        assert_eq!(a.try_clone().unwrap().send(b"four").unwrap(), 4);
        let (len, sender) = b.recv_from(&mut [0; 8]).unwrap();
        assert_eq!((len, sender.as_pathname()), (4, here.as_pathname()));
        assert_eq!(b.send_to_addr(b"three", &sender).unwrap(), 5);
        assert_eq!(a.recv(&mut [0; 8]).unwrap(), 5);
    });
}

#[test]
fn unix_datagram_shutdown_ends_waits() {
    run(|| {
        let (here, there) = UnixDatagram::pair().unwrap();
        // Without the end of the receives, the test fails instead of hanging. The clone has the timeout, too.
        here.set_read_timeout(Some(10 * SECOND)).unwrap();
        let waiting = here.try_clone().unwrap();
        let mut receiver = spawn(move || waiting.recv(&mut [0; 8]).unwrap());
        yield_now();
        here.shutdown(Shutdown::Both).unwrap();
        assert_eq!(receiver.join().unwrap(), 0);
        assert_eq!(here.recv(&mut [0; 8]).unwrap(), 0);
        let (len, sender) = here.recv_from(&mut [0; 8]).unwrap();
        assert!(len == 0 && sender.is_unnamed());
        thread::scope(|threads| {
            let in_a_thread = threads.spawn(|| here.recv(&mut [0; 8]).unwrap());
            assert_eq!(in_a_thread.join().unwrap(), 0);
        });
        assert_eq!(here.send(b"late").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(there.send(b"late").is_err());
    });
}

#[test]
fn async_gives_its_descriptor_back() {
    run(|| {
        let (mut here, there) = unix::UnixStream::pair().unwrap();
        there.set_nonblocking(true).unwrap();
        let number = there.as_raw_fd();
        let there = Async::new(there);
        assert_eq!((there.as_raw_fd(), there.as_ref().as_raw_fd()), (number, number));
        let mut reader = spawn(move || {
            let count = there.read_with(|mut stream| stream.read(&mut [0; 8])).unwrap();
            (count, there.into_raw_fd())
        });
        yield_now();
        here.write_all(b"four").unwrap();
        assert_eq!(reader.join().unwrap(), (4, number));
        // SAFETY: `into_raw_fd` has given the ownership of the open descriptor to this test.
        let mut there = unsafe { unix::UnixStream::from_raw_fd(number) };
        there.write_all(b"back").unwrap();
        assert_eq!(here.read(&mut [0; 8]).unwrap(), 4);
    });
}
