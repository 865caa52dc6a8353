//! Cancels and deadlines that race with data: a call takes data and returns it, or it leaves all of it in the socket. The kernel writes
//! to no buffer of a call that has returned.
//!
//! `CEDE_CANCEL_RACES` sets the number of calls of a test.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;
mod kernel;

use cede::net::{TcpListener, UdpSocket, UnixListener, UnixStream};
use cede::{JoinHandle, metrics, scope, spawn, timeout, yield_now};
use common::random::Random;
use common::rounds;
use kernel::SLOW;
use kernel::drivers::{LONG, run_on_each_driver};
use kernel::pending::{byte, bytes, read_between_marks, with_marked_stack};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The number of calls of a test.
fn races() -> usize {
    let count = std::env::var("CEDE_CANCEL_RACES").ok().map(|text| text.parse().expect("a number"));
    count.unwrap_or(if SLOW { 4_000 } else { 20_000 })
}

/// The bytes or connections that may be under way: less than any buffer has room for.
const WINDOW: usize = 2000;
/// The largest number of bytes of one send.
const MOST: usize = 96;

type Call<T> = Box<dyn Fn() -> io::Result<T>>;

/// What the two ends of a connection have counted.
#[derive(Default)]
struct Counts {
    sent: AtomicUsize,
    got: AtomicUsize,
}

/// The receiving end of a connection, and the socket from which a thread sends.
struct Receiver {
    name: &'static str,
    read: Call<Vec<u8>>,
    peer: Option<OwnedFd>,
    counts: Arc<Counts>,
}

fn marked(read: impl Fn(&mut [u8]) -> io::Result<usize> + 'static) -> Call<Vec<u8>> {
    Box::new(move || read_between_marks(&read))
}

fn receivers() -> Vec<Receiver> {
    let mut receivers = Vec::new();
    let mut add = |name, peer: OwnedFd, read: Call<Vec<u8>>| {
        receivers.push(Receiver { name, read, peer: Some(peer), counts: Arc::default() });
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..2 {
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        let tcp = listener.accept().unwrap().0;
        add("TCP", peer.into(), marked(move |buffer| (&tcp).read(buffer)));
        let (peer, unix) = std::os::unix::net::UnixStream::pair().unwrap();
        let unix = UnixStream::from(unix);
        add("Unix", peer.into(), marked(move |buffer| (&unix).read(buffer)));
        let (peer, lent) = std::os::unix::net::UnixStream::pair().unwrap();
        let lent = UnixStream::from(lent);
        add("lend", peer.into(), Box::new(move || lent.lend(<[u8]>::to_vec)));
        for connected in [false, true] {
            let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.connect(socket.local_addr().unwrap()).unwrap();
            let sender = peer.local_addr().unwrap();
            let receive = move |buffer: &mut [u8]| {
                if connected {
                    return socket.recv(buffer);
                }
                let (count, address) = socket.recv_from(buffer)?;
                assert_eq!(address, sender);
                Ok(count)
            };
            add(if connected { "recv" } else { "recv_from" }, peer.into(), marked(receive));
        }
    }
    receivers
}

/// Makes a call that something may end at any moment. Returns `None` if it never began.
fn interrupted<T>(random: &mut Random, call: &dyn Fn() -> io::Result<T>) -> Option<io::Result<T>> {
    let short = Duration::from_micros(random.below(60) as u64);
    if random.below(3) > 0 {
        return Some(timeout(short, call).unwrap_or_else(|elapsed| elapsed.value));
    }
    let outcome = Cell::new(None);
    let ended = scope(|scope| {
        let task = scope.spawn(|| outcome.set(Some(call())));
        rounds(random.below(3) as u32);
        if random.below(2) == 0 {
            task.cancel();
        } else {
            scope.cancel();
        }
    });
    ended.unwrap();
    outcome.take()
}

/// Returns the value of a call, and `None` if something ended it early.
fn value_if_any<T>(outcome: Option<io::Result<T>>) -> Option<T> {
    match outcome? {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(cede::io::is_cancelled(&error) || error.kind() == ErrorKind::TimedOut, "{error}");
            None
        }
    }
}

/// Waits without giving the CPU away, for up to 30 us.
fn spin(random: &mut Random) {
    let end = Instant::now() + Duration::from_micros(random.below(30) as u64);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// A thread that sends through all sockets, in pieces, and never more than `WINDOW` bytes ahead of the reader.
fn sender(ends: Vec<(OwnedFd, Arc<Counts>)>, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut random = Random::new(1);
        while !stop.load(Relaxed) {
            let (socket, counts) = &ends[random.below(ends.len())];
            let at = counts.sent.load(Relaxed);
            if at - counts.got.load(Relaxed) <= WINDOW - MOST {
                let data = bytes(at..at + 1 + random.below(MOST));
                // Counted first: the reader may be faster than the end of the call.
                counts.sent.store(at + data.len(), Relaxed);
                assert_eq!(SockRef::from(socket).send(&data).unwrap(), data.len());
            }
            spin(&mut random);
        }
    })
}

#[test]
fn interrupted_reads_lose_no_byte() {
    run_on_each_driver(|driver| {
        let mut receivers = receivers();
        let ends =
            receivers.iter_mut().map(|receiver| (receiver.peer.take().unwrap(), receiver.counts.clone())).collect();
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Cell::new(0));
        let (taken, ended) = (Cell::new(0), Cell::new(0));
        let thread = sender(ends, stop.clone());
        let total = races();
        let outcome = scope(|scope| {
            for (number, receiver) in receivers.iter().enumerate() {
                let (calls, taken, ended) = (&calls, &taken, &ended);
                scope.spawn(move || {
                    let mut random = Random::new(number as u64);
                    let take = |data: Vec<u8>| {
                        let at = receiver.counts.got.load(Relaxed);
                        assert_eq!(data, bytes(at..at + data.len()), "{}: wrong data at {at}", receiver.name);
                        receiver.counts.got.store(at + data.len(), Relaxed);
                    };
                    while calls.get() < total {
                        calls.set(calls.get() + 1);
                        let data = value_if_any(interrupted(&mut random, &receiver.read));
                        let counter = if data.is_some() { taken } else { ended };
                        counter.set(counter.get() + 1);
                        with_marked_stack(|| rounds(random.below(2) as u32));
                        data.map(take);
                    }
                });
            }
        });
        outcome.unwrap();
        stop.store(true, Relaxed);
        thread.join().unwrap();
        for receiver in &receivers {
            let Counts { sent, got } = &*receiver.counts;
            while got.load(Relaxed) < sent.load(Relaxed) {
                let at = got.load(Relaxed);
                let data = timeout(LONG, || (receiver.read)()).expect(receiver.name).unwrap();
                assert_eq!(data, bytes(at..at + data.len()), "{}: wrong data at {at}", receiver.name);
                got.store(at + data.len(), Relaxed);
            }
        }
        let (taken, ended) = (taken.get(), ended.get());
        eprintln!("{driver}: {taken} reads took data, {ended} were ended");
        assert!(taken > total / 50 && ended > total / 50, "{taken} took data, {ended} were ended: no race");
        assert_eq!(metrics().io_waiting, 0);
    });
}

/// Writes to a stream that is full most of the time. The count of a write is the number of its bytes that arrive.
#[test]
fn interrupted_writes_count_their_bytes() {
    run_on_each_driver(|driver| {
        let total = races() / 2;
        let (taken, ended) = (Cell::new(0), Cell::new(0));
        let calls = Cell::new(0);
        let outcome = scope(|scope| {
            for number in 0..4 {
                let (calls, taken, ended) = (&calls, &taken, &ended);
                scope.spawn(move || {
                    let (stream, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
                    SockRef::from(&stream).set_send_buffer_size(4608).unwrap();
                    let stream = UnixStream::from(stream);
                    let reader = thread::spawn(move || {
                        let (mut random, mut at, mut buffer) = (Random::new(number), 0, [0; 400]);
                        loop {
                            let len = 1 + random.below(buffer.len());
                            let count = peer.read(&mut buffer[..len]).unwrap();
                            if count == 0 {
                                return at;
                            }
                            let wrong = buffer[..count].iter().enumerate().find(|(i, got)| **got != byte(at + i));
                            assert_eq!(wrong, None, "wrong data behind {at}");
                            at += count;
                            spin(&mut random);
                        }
                    });
                    let (mut random, mut at) = (Random::new(number + 10), 0);
                    while calls.get() < total {
                        calls.set(calls.get() + 1);
                        let data = RefCell::new(bytes(at..at + 1 + random.below(900)));
                        let count = value_if_any(interrupted(&mut random, &|| (&stream).write(&data.borrow())));
                        let counter = if count.is_some() { taken } else { ended };
                        counter.set(counter.get() + 1);
                        // A late read of the kernel would send this.
                        data.borrow_mut().fill(0xEE);
                        at += count.unwrap_or(0);
                    }
                    drop(stream);
                    assert_eq!(reader.join().unwrap(), at);
                });
            }
        });
        outcome.unwrap();
        let (taken, ended) = (taken.get(), ended.get());
        eprintln!("{driver}: {taken} writes sent data, {ended} were ended");
        assert!(taken > total / 50 && ended > total / 50, "{taken} sent data, {ended} were ended: no race");
        assert_eq!(metrics().io_waiting, 0);
    });
}

/// Each connection that a thread makes is accepted once, and no descriptor is lost.
#[test]
fn interrupted_accepts_lose_no_connection() {
    run_on_each_driver(|driver| {
        let total = races() / 4;
        let name = SocketAddr::from_abstract_name(format!("cede-races-{}-{driver}", std::process::id())).unwrap();
        let listener = UnixListener::bind_addr(&name).unwrap();
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let thread = thread::spawn({
            let (stop, counts) = (stop.clone(), counts.clone());
            move || {
                let mut random = Random::new(3);
                while !stop.load(Relaxed) {
                    let number = counts.sent.load(Relaxed);
                    if number - counts.got.load(Relaxed) < 16 {
                        // Counted first: it may be accepted before the end of the call.
                        counts.sent.store(number + 1, Relaxed);
                        let mut client = std::os::unix::net::UnixStream::connect_addr(&name).unwrap();
                        client.write_all(&number.to_ne_bytes()).unwrap();
                    }
                    spin(&mut random);
                }
            }
        });
        let accept = |number: usize, stream: UnixStream| {
            let mut bytes = [0; size_of::<usize>()];
            (&stream).read_exact(&mut bytes).unwrap();
            assert_eq!(usize::from_ne_bytes(bytes), number);
            counts.got.store(number + 1, Relaxed);
        };
        let (mut random, mut accepted, mut ended) = (Random::new(4), 0, 0);
        for _ in 0..total {
            match value_if_any(interrupted(&mut random, &|| listener.accept())) {
                Some((stream, _)) => {
                    accept(accepted, stream);
                    accepted += 1;
                }
                None => ended += 1,
            }
        }
        stop.store(true, Relaxed);
        thread.join().unwrap();
        while accepted < counts.sent.load(Relaxed) {
            accept(accepted, timeout(LONG, || listener.accept()).unwrap().unwrap().0);
            accepted += 1;
        }
        eprintln!("{driver}: {accepted} connections, {ended} accepts were ended");
        assert!(accepted > total / 50 && ended > total / 50, "{accepted} accepted, {ended} were ended: no race");
        assert_eq!(metrics().io_waiting, 0);
    });
}

/// Tasks of one run send, read and cancel: the poll that sees the data is the one that ends the wait.
#[test]
fn cancel_and_data_in_one_poll() {
    run_on_each_driver(|_| {
        let (stream, peer) = UnixStream::pair().unwrap();
        let stream = Rc::new(stream);
        let (mut sent, mut got) = (0, 0);
        let mut random = Random::new(5);
        for _ in 0..races() / 2 {
            let readers: Vec<JoinHandle<_>> = (0..1 + random.below(3))
                .map(|_| {
                    let stream = Rc::clone(&stream);
                    spawn(move || {
                        let outcome = read_between_marks(|buffer| (&*stream).read(&mut buffer[..48]));
                        with_marked_stack(yield_now);
                        outcome
                    })
                })
                .collect();
            rounds(random.below(3) as u32);
            for reader in &readers {
                if random.below(2) == 0 {
                    let data = bytes(sent..sent + 1 + random.below(MOST));
                    sent += SockRef::from(&peer).send(&data).unwrap();
                }
                rounds(random.below(2) as u32);
                reader.cancel();
            }
            // `Err`: the task was cancelled before its first turn.
            let pieces = readers.into_iter().filter_map(|mut reader| value_if_any(reader.join().ok()));
            let mut pieces: Vec<Vec<u8>> = pieces.collect();
            // The readers may get the data in any order. Three pieces have less than 151 bytes, so the first byte tells the place.
            while !pieces.is_empty() {
                let next = pieces.iter().position(|data| data[0] == byte(got));
                let data = pieces.swap_remove(next.unwrap_or_else(|| panic!("data at {got} is lost")));
                assert_eq!(data, bytes(got..got + data.len()), "wrong data at {got}");
                got += data.len();
            }
            while sent - got > WINDOW {
                let data = read_between_marks(|buffer| (&*stream).read(buffer)).unwrap();
                assert_eq!(data, bytes(got..got + data.len()), "wrong data at {got}");
                got += data.len();
            }
            assert_eq!(metrics().io_waiting, 0);
        }
        while got < sent {
            got += timeout(LONG, || (&*stream).read(&mut [0; MOST])).unwrap().unwrap();
        }
        assert_eq!(got, sent);
    });
}

/// Reads of a file from its disk, which a cancel cannot end when the disk has begun them. Until then the buffer is in use.
#[test]
fn interrupted_file_reads_are_whole() {
    const LEN: usize = 4 << 20;
    let path = std::env::temp_dir().join(format!("cede-races-{}", std::process::id()));
    std::fs::write(&path, bytes(0..LEN)).unwrap();
    run_on_each_driver(|driver| {
        let file = cede::fs::File::open(&path).unwrap();
        file.sync_all().unwrap();
        let (calls, taken, ended) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let total = races() / 4;
        let outcome = scope(|scope| {
            for number in 0..8 {
                let (file, calls, taken, ended) = (&file, &calls, &taken, &ended);
                scope.spawn(move || {
                    let mut random = Random::new(number);
                    while calls.get() < total {
                        calls.set(calls.get() + 1);
                        let at = random.below(LEN - MOST);
                        // SAFETY: the call takes numbers. The page cache forgets the file, so the read needs the disk.
                        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
                        let read = || read_between_marks(|buffer| file.read_at(buffer, at as u64));
                        let data = value_if_any(interrupted(&mut random, &read));
                        with_marked_stack(yield_now);
                        match data {
                            Some(data) => {
                                assert_eq!(data, bytes(at..at + data.len()), "wrong data at {at}");
                                taken.set(taken.get() + 1);
                            }
                            None => ended.set(ended.get() + 1),
                        }
                    }
                });
            }
        });
        outcome.unwrap();
        eprintln!("{driver}: {} reads of the file took data, {} were ended", taken.get(), ended.get());
        assert!(taken.get() > 0 && metrics().io_waiting == 0);
    });
    std::fs::remove_file(&path).unwrap();
}
