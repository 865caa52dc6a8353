//! Calls that wait for the kernel, each with a way to let it complete, and with marks around the memory that the kernel may write.

use cede::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use cede::spawn;
use socket2::{Domain, SockRef, Socket, Type};
use std::cell::Cell;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The byte of a mark. No data has it.
const MARK: u8 = 0xA5;
/// The bytes before and behind a buffer.
const MARGIN: usize = 64;
/// The size of a buffer, and of what one completion sends.
const SIZE: usize = 96;

/// The byte at a position of a stream of data.
pub(crate) fn byte(at: usize) -> u8 {
    (at % 151) as u8
}

pub(crate) fn bytes(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(byte).collect()
}

/// Calls `read` with a buffer on the stack, and returns what it has read. Nothing but that has changed.
#[inline(never)]
pub(crate) fn read_between_marks(read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut frame = [MARK; MARGIN + SIZE + MARGIN];
    let outcome = read(&mut black_box(&mut frame)[MARGIN..MARGIN + SIZE]);
    let count = *outcome.as_ref().unwrap_or(&0);
    let data = frame[MARGIN..MARGIN + count].to_vec();
    let is_mark = |byte: &u8| *byte == MARK;
    assert!(frame[..MARGIN].iter().all(is_mark), "written before the buffer");
    assert!(frame[MARGIN + count..].iter().all(is_mark), "written behind the {count} bytes of the call");
    outcome.map(|_| data)
}

/// Calls `f` with marks in the part of the stack that an earlier call of the caller has used. The kernel writes to none.
#[inline(never)]
pub(crate) fn with_marked_stack<T>(f: impl FnOnce() -> T) -> T {
    let mut frame = [MARK; 12 << 10];
    let value = f();
    let changed = black_box(&mut frame).iter().position(|byte| *byte != MARK);
    assert_eq!(changed, None, "the kernel wrote to a frame that had ended");
    value
}

/// A call that waits until `complete` is called.
pub(crate) trait Pending {
    fn name(&self) -> &'static str;
    /// Returns whether io_uring makes the call as an operation. Otherwise it tells when the descriptor is ready.
    fn is_operation(&self) -> bool {
        true
    }
    /// Makes the call.
    fn call(&self) -> io::Result<()>;
    /// Lets one call complete, by system calls that do not wait.
    fn complete(&self);
    /// Returns whether all that `complete` gave was taken by calls.
    fn is_drained(&self) -> bool;
    /// Sets the timeout of the call.
    fn set_timeout(&self, timeout: Option<Duration>);
}

type SetTimeout = Box<dyn Fn(Option<Duration>) -> io::Result<()>>;

/// A call that reads what a peer sends.
struct Reading {
    name: &'static str,
    read: Box<dyn Fn(&mut [u8]) -> io::Result<usize>>,
    send: Box<dyn Fn(&[u8]) -> io::Result<usize>>,
    set_timeout: SetTimeout,
    sent: Cell<usize>,
    got: Cell<usize>,
}

impl Reading {
    fn new(
        name: &'static str,
        read: impl Fn(&mut [u8]) -> io::Result<usize> + 'static,
        send: impl Fn(&[u8]) -> io::Result<usize> + 'static,
        set_timeout: impl Fn(Option<Duration>) -> io::Result<()> + 'static,
    ) -> Rc<dyn Pending> {
        let (read, send, set_timeout) = (Box::new(read), Box::new(send), Box::new(set_timeout));
        Rc::new(Reading { name, read, send, set_timeout, sent: Cell::new(0), got: Cell::new(0) })
    }
}

impl Pending for Reading {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_operation(&self) -> bool {
        self.name != "recv_from of a Unix socket"
    }

    fn call(&self) -> io::Result<()> {
        let data = read_between_marks(&*self.read)?;
        let at = self.got.get();
        assert!(!data.is_empty(), "{}: the stream has ended", self.name);
        assert_eq!(data, bytes(at..at + data.len()), "{}: wrong data at {at}", self.name);
        self.got.set(at + data.len());
        Ok(())
    }

    fn complete(&self) {
        let at = self.sent.get();
        assert_eq!((self.send)(&bytes(at..at + SIZE)).unwrap(), SIZE);
        self.sent.set(at + SIZE);
    }

    fn is_drained(&self) -> bool {
        self.got.get() == self.sent.get()
    }

    fn set_timeout(&self, timeout: Option<Duration>) {
        (self.set_timeout)(timeout).unwrap();
    }
}

/// A write to a stream whose buffer is full.
struct Writing {
    name: &'static str,
    stream: UnixStream,
    peer: UnixStream,
    /// Another task is ready when the call begins.
    in_company: bool,
    sent: Cell<usize>,
    got: Cell<usize>,
}

impl Writing {
    fn new(name: &'static str, in_company: bool) -> Rc<dyn Pending> {
        let (stream, peer) = UnixStream::pair().unwrap();
        for end in [&stream, &peer] {
            SockRef::from(end).set_send_buffer_size(4608).unwrap();
        }
        let this = Writing { name, stream, peer, in_company, sent: Cell::new(0), got: Cell::new(0) };
        this.fill();
        Rc::new(this)
    }

    fn fill(&self) {
        loop {
            let at = self.sent.get();
            match SockRef::from(&self.stream).send_with_flags(&bytes(at..at + SIZE), libc::MSG_DONTWAIT) {
                Ok(count) => self.sent.set(at + count),
                Err(error) => return assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }
}

impl Pending for Writing {
    fn name(&self) -> &'static str {
        self.name
    }

    fn call(&self) -> io::Result<()> {
        let at = self.sent.get();
        let data = bytes(at..at + SIZE);
        let _company = self.in_company.then(|| spawn(|| ()));
        let count = (&self.stream).write(&data)?;
        assert!(count > 0);
        self.sent.set(at + count);
        Ok(())
    }

    fn complete(&self) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 1024];
        loop {
            match SockRef::from(&self.peer).recv_with_flags(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(count) => {
                    let at = self.got.get();
                    // SAFETY: the call has written `count` bytes.
                    let data: Vec<u8> = buffer[..count].iter().map(|byte| unsafe { byte.assume_init() }).collect();
                    assert_eq!(data, bytes(at..at + count), "{}: wrong data at {at}", self.name);
                    self.got.set(at + count);
                }
                Err(error) => return assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    /// Panics if a byte of an interrupted write arrived, or if one is missing.
    fn is_drained(&self) -> bool {
        self.complete();
        assert_eq!(self.got.get(), self.sent.get(), "{}: sent and received", self.name);
        true
    }

    fn set_timeout(&self, timeout: Option<Duration>) {
        self.stream.set_write_timeout(timeout).unwrap();
    }
}

/// An accept of a connection that `complete` begins.
struct Accepting {
    name: &'static str,
    accept: Box<dyn Fn() -> io::Result<()>>,
    connect: Box<dyn Fn()>,
    set_timeout: SetTimeout,
    begun: Cell<usize>,
    accepted: Cell<usize>,
}

impl Pending for Accepting {
    fn name(&self) -> &'static str {
        self.name
    }

    fn call(&self) -> io::Result<()> {
        (self.accept)()?;
        self.accepted.set(self.accepted.get() + 1);
        Ok(())
    }

    fn complete(&self) {
        (self.connect)();
        self.begun.set(self.begun.get() + 1);
    }

    fn is_drained(&self) -> bool {
        self.begun.get() == self.accepted.get()
    }

    fn set_timeout(&self, timeout: Option<Duration>) {
        (self.set_timeout)(timeout).unwrap();
    }
}

/// A connect to a listener whose backlog is full until `complete`.
struct Connecting {
    listener: Socket,
    address: SocketAddr,
    clients: Vec<Socket>,
    timeout: Cell<Option<Duration>>,
}

impl Connecting {
    fn new() -> Connecting {
        let new = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = new();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut clients = Vec::new();
        loop {
            let client = new();
            let is_full = client.connect_timeout(&address.into(), Duration::from_millis(200)).is_err();
            clients.push(client);
            if is_full {
                return Connecting { listener, address, clients, timeout: Cell::new(None) };
            }
            assert!(clients.len() < 20, "a backlog of 0 has a limit");
        }
    }
}

impl Pending for Connecting {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn is_operation(&self) -> bool {
        false
    }

    fn call(&self) -> io::Result<()> {
        assert!(!self.clients.is_empty());
        let stream = match self.timeout.get() {
            None => TcpStream::connect(self.address)?,
            Some(timeout) => TcpStream::connect_timeout(&self.address, timeout)?,
        };
        assert_eq!(stream.peer_addr()?, self.address);
        Ok(())
    }

    fn complete(&self) {
        // Sockets of abandoned tasks connect, too, so the backlog needs more room than for one.
        self.listener.listen(128).unwrap();
        while self.listener.accept().is_ok() {}
    }

    fn is_drained(&self) -> bool {
        true
    }

    fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeout.set(timeout);
    }
}

/// Reads of streams and datagrams, by each operation that the library has for them.
pub(crate) fn reads() -> Vec<Rc<dyn Pending>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let tcp = Rc::new(listener.accept().unwrap().0);
    let (unix, unix_peer) = UnixStream::pair().unwrap();
    let (lent, lent_peer) = UnixStream::pair().unwrap();
    let [udp, from] = [(); 2].map(|()| Rc::new(UdpSocket::bind("127.0.0.1:0").unwrap()));
    let [udp_peer, from_peer] = [&udp, &from].map(|socket| {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.connect(socket.local_addr().unwrap()).unwrap();
        peer
    });
    let sender = from_peer.local_addr().unwrap();
    let (packets, packets_peer) = UnixDatagram::pair().unwrap();
    let [unix, lent] = [unix, lent].map(Rc::new);
    let packets = Rc::new(packets);
    let [t, u, l, d, f, p] = [
        Box::new({
            let s = Rc::clone(&tcp);
            move |timeout| s.set_read_timeout(timeout)
        }) as SetTimeout,
        Box::new({
            let s = Rc::clone(&unix);
            move |timeout| s.set_read_timeout(timeout)
        }),
        Box::new({
            let s = Rc::clone(&lent);
            move |timeout| s.set_read_timeout(timeout)
        }),
        Box::new({
            let s = Rc::clone(&udp);
            move |timeout| s.set_read_timeout(timeout)
        }),
        Box::new({
            let s = Rc::clone(&from);
            move |timeout| s.set_read_timeout(timeout)
        }),
        Box::new({
            let s = Rc::clone(&packets);
            move |timeout| s.set_read_timeout(timeout)
        }),
    ];
    vec![
        Reading::new("read of TCP", move |buffer| (&*tcp).read(buffer), move |data| (&tcp_peer).write(data), t),
        Reading::new(
            "read of a Unix stream",
            move |buffer| (&*unix).read(buffer),
            move |data| SockRef::from(&unix_peer).send(data),
            u,
        ),
        Reading::new(
            "lend",
            move |buffer| {
                lent.lend(|data| {
                    buffer[..data.len()].copy_from_slice(data);
                    data.len()
                })
            },
            move |data| SockRef::from(&lent_peer).send(data),
            l,
        ),
        Reading::new("recv of UDP", move |buffer| udp.recv(buffer), move |data| udp_peer.send(data), d),
        Reading::new(
            "recv_from",
            move |buffer| {
                let (count, address) = from.recv_from(buffer)?;
                assert_eq!(address, sender);
                Ok(count)
            },
            move |data| from_peer.send(data),
            f,
        ),
        Reading::new(
            "recv_from of a Unix socket",
            move |buffer| packets.recv_from(buffer).map(|(count, _)| count),
            move |data| SockRef::from(&packets_peer).send(data),
            p,
        ),
    ]
}

/// Accepts, each of its listener.
pub(crate) fn accepts() -> Vec<Rc<dyn Pending>> {
    let tcp = Rc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = tcp.local_addr().unwrap();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("cede-accepts-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let name = UnixAddr::from_abstract_name(name).unwrap();
    let unix = Rc::new(UnixListener::bind_addr(&name).unwrap());
    let accepting = |name, accept, connect, set_timeout| {
        let this = Accepting { name, accept, connect, set_timeout, begun: Cell::new(0), accepted: Cell::new(0) };
        Rc::new(this) as Rc<dyn Pending>
    };
    let timeouts: [SetTimeout; 2] = [
        Box::new({
            let s = Rc::clone(&tcp);
            move |timeout| s.set_read_timeout(timeout)
        }),
        Box::new({
            let s = Rc::clone(&unix);
            move |timeout| s.set_read_timeout(timeout)
        }),
    ];
    let [tcp_timeout, unix_timeout] = timeouts;
    vec![
        accepting(
            "accept of TCP",
            Box::new(move || tcp.accept().map(|(stream, peer)| assert_eq!(stream.peer_addr().unwrap(), peer))),
            Box::new(move || drop(std::net::TcpStream::connect(address).unwrap())),
            tcp_timeout,
        ),
        accepting(
            "accept of a Unix socket",
            Box::new(move || unix.accept().map(|_| ())),
            Box::new(move || drop(std::os::unix::net::UnixStream::connect_addr(&name).unwrap())),
            unix_timeout,
        ),
    ]
}

/// Writes to a full stream, by a task that is alone, and by one that is not.
pub(crate) fn writes() -> Vec<Rc<dyn Pending>> {
    vec![Writing::new("write", false), Writing::new("write in company", true)]
}

/// All calls.
pub(crate) fn all() -> Vec<Rc<dyn Pending>> {
    [reads(), accepts(), writes(), vec![Rc::new(Connecting::new()) as Rc<dyn Pending>]].concat()
}
