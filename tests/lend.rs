//! Reads into buffers that the thread lends, and buffered streams.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::{Buffered, Driver, is_cancelled};
use cede::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use cede::{join_all, run, scope, spawn, timeout, yield_now};
use common::caught;
use common::random::Random;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// The size of a lent buffer, and the largest number of idle ones.
const LEN: usize = 16 * 1024;
const KEPT: isize = 64;

thread_local! {
    /// The number of buffers that this thread has allocated and not freed. Nothing else in this file allocates this size.
    static BUFFERS: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: each call is passed on to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout, 1);
        // SAFETY: as the caller guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout, 1);
        // SAFETY: as the caller guarantees.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(layout, -1);
        // SAFETY: as the caller guarantees.
        unsafe { System.dealloc(place, layout) }
    }
}

fn count(layout: Layout, change: isize) {
    if layout.size() == LEN && layout.align() == 1 {
        BUFFERS.set(BUFFERS.get() + change);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Bytes that differ from each other at any distance that a mix-up of buffers could have.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn lend_waits_for_bytes_and_the_end() {
    run(|| {
        let (tcp, unix) = (tcp_pair(), UnixStream::pair().unwrap());
        let mut readers =
            [spawn(move || lend_to_end(|f| tcp.1.lend(f))), spawn(move || lend_to_end(|f| unix.1.lend(f)))];
        yield_now();
        let bytes = pattern(300_000);
        (&tcp.0).write_all(&bytes).unwrap();
        (&unix.0).write_all(&bytes).unwrap();
        drop((tcp.0, unix.0));
        for reader in &mut readers {
            assert!(reader.join().unwrap() == bytes);
        }
    });
}

/// A call of `lend`.
type Sink<'a> = &'a mut dyn FnMut(&[u8]);

fn lend_to_end(lend: impl Fn(Sink<'_>) -> std::io::Result<()>) -> Vec<u8> {
    let (mut all, mut ended) = (Vec::new(), false);
    while !ended {
        lend(&mut |bytes| {
            assert!(bytes.len() <= LEN);
            all.extend_from_slice(bytes);
            ended = bytes.is_empty();
        })
        .unwrap();
    }
    all
}

#[test]
fn lend_blocks_a_plain_thread() {
    let (here, there) = UnixStream::pair().unwrap();
    let reader = thread::spawn(move || {
        let bytes = there.lend(<[u8]>::to_vec).unwrap();
        (bytes, BUFFERS.get())
    });
    thread::sleep(20 * MS);
    (&here).write_all(b"hello").unwrap();
    assert_eq!(reader.join().unwrap(), (b"hello".to_vec(), 1));
    here.set_read_timeout(Some(MS)).unwrap();
    assert_eq!(here.lend(|bytes| bytes.len()).map_err(|error| error.kind()), Ok(0), "the peer has closed");
    let (here, _there) = UnixStream::pair().unwrap();
    here.set_read_timeout(Some(MS)).unwrap();
    assert_eq!(here.lend(|_| ()).unwrap_err().kind(), ErrorKind::TimedOut);
}

/// The largest number of buffers in a run whose connections wait.
fn most() -> isize {
    match cede::metrics().io_driver {
        // The ring has 64, the tasks of one round keep theirs until their data is sent, and the thread keeps 64.
        Some(Driver::Uring) => 200,
        // A task may yield, for fairness, while it has one.
        _ => 8,
    }
}

#[test]
fn waiting_connections_hold_no_buffer() {
    run(|| {
        let pairs: Vec<_> = (0..300).map(|_| tcp_pair()).collect();
        scope(|s| {
            for (_, there) in &pairs {
                s.spawn(move || {
                    while there.lend(|bytes| (&*there).write_all(bytes).map(|()| !bytes.is_empty())).unwrap().unwrap() {
                    }
                });
            }
            for _ in 0..3 {
                for (here, _) in &pairs {
                    (&mut { here }).write_all(&pattern(5_000)).unwrap();
                }
                for (here, _) in &pairs {
                    let mut echo = vec![0; 5_000];
                    (&mut { here }).read_exact(&mut echo).unwrap();
                    assert!(echo == pattern(5_000));
                }
                assert!(BUFFERS.get() <= most(), "{} buffers for 300 connections", BUFFERS.get());
            }
            pairs.iter().for_each(|(here, _)| here.shutdown(std::net::Shutdown::Write).unwrap());
        })
        .unwrap();
    });
}

#[test]
fn suspended_closures_have_buffers_of_their_own() {
    run(|| {
        let tasks = (0..100_u8).map(|number| {
            let (here, there) = UnixStream::pair().unwrap();
            (&here).write_all(&[number; 100]).unwrap();
            spawn(move || {
                there
                    .lend(|bytes| {
                        for _ in 0..10 {
                            yield_now();
                            assert_eq!(bytes, [number; 100]);
                        }
                        BUFFERS.get()
                    })
                    .unwrap()
            })
        });
        let counts = join_all(tasks.collect::<Vec<_>>()).into_iter().map(Result::unwrap);
        assert_eq!(counts.max(), Some(100));
        assert_eq!(BUFFERS.get(), KEPT, "the thread keeps a bounded number");
    });
}

#[test]
fn nested_lends_have_two_buffers() {
    let (a, b) = UnixStream::pair().unwrap();
    (&a).write_all(b"outer").unwrap();
    (&b).write_all(b"inner").unwrap();
    let both = b.lend(|outer| a.lend(|inner| [outer, inner].concat())).unwrap().unwrap();
    assert_eq!(both, b"outerinner");
    assert_eq!(BUFFERS.get(), 2);
}

#[test]
fn cancelled_lend_takes_nothing() {
    run(|| {
        let (here, there) = tcp_pair();
        let mut reader = spawn(move || {
            let error = there.lend(|_| panic!("there is no data")).unwrap_err();
            (there, error)
        });
        yield_now();
        reader.cancel();
        let (there, error) = reader.join().unwrap();
        assert!(is_cancelled(&error));
        (&here).write_all(b"still there").unwrap();
        let error = timeout(20 * MS, || there.lend(|bytes| assert_eq!(bytes, b"still there"))).unwrap();
        assert!(error.is_ok());
        let late = timeout(20 * MS, || there.lend(|_| ())).unwrap_err().value.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panicking_closure_gives_the_buffer_back() {
    run(|| {
        let (here, there) = UnixStream::pair().unwrap();
        for round in 0..50 {
            (&here).write_all(b"x").unwrap();
            let result = caught(|| there.lend(|_| panic!("in the closure")));
            assert!(result.is_err());
            assert_eq!(BUFFERS.get(), 1, "round {round}");
        }
    });
}

#[test]
fn answers_to_requests_are_sent_together() {
    run(|| {
        let (client, server) = UnixStream::pair().unwrap();
        let mut server = spawn(move || {
            let mut server = Buffered::new(server);
            let mut line = String::new();
            while server.read_line(&mut line).unwrap() > 0 {
                write!(server, "<{}>", line.trim_end()).unwrap();
                line.clear();
            }
            BUFFERS.get()
        });
        (&client).write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(client.lend(<[u8]>::to_vec).unwrap(), b"<one><two><three>");
        // Half a request: the answer to the first one does not wait for the rest.
        (&client).write_all(b"four\nfi").unwrap();
        assert_eq!(client.lend(<[u8]>::to_vec).unwrap(), b"<four>");
        (&client).write_all(b"ve\n").unwrap();
        assert_eq!(client.lend(<[u8]>::to_vec).unwrap(), b"<five>");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.lend(<[u8]>::to_vec).unwrap(), b"");
        let of_ring = if cede::metrics().io_driver == Some(Driver::Uring) { 64 } else { 0 };
        assert_eq!(server.join().unwrap() - of_ring, 2, "one for input and one for output");
    });
}

#[test]
fn waiting_buffered_streams_hold_no_buffer() {
    run(|| {
        let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
        scope(|s| {
            for (_, there) in &pairs {
                s.spawn(move || {
                    let mut stream = there.buffered();
                    let mut line = Vec::new();
                    while stream.read_until(b'\n', &mut line).unwrap() > 0 {
                        stream.write_all(&line).unwrap();
                        line.clear();
                    }
                });
            }
            for (here, _) in &pairs {
                (&mut { here }).write_all(b"a line\n").unwrap();
            }
            for (here, _) in &pairs {
                assert_eq!(here.lend(<[u8]>::to_vec).unwrap(), b"a line\n");
            }
            assert!(BUFFERS.get() <= most(), "{} buffers for 300 streams", BUFFERS.get());
            pairs.iter().for_each(|(here, _)| here.shutdown(std::net::Shutdown::Write).unwrap());
        })
        .unwrap();
    });
}

#[test]
fn cancelled_flush_is_continued() {
    run(|| {
        let (here, there) = UnixStream::pair().unwrap();
        // Fill the socket.
        there.set_write_timeout(Some(MS)).unwrap();
        let mut before = 0;
        while let Ok(count) = (&there).write(&pattern(4096)) {
            before += count;
        }
        there.set_write_timeout(None).unwrap();
        let mut stream = there.buffered();
        let bytes = pattern(10_000);
        stream.write_all(&bytes).unwrap();
        assert_eq!(stream.pending(), 10_000);
        let late = timeout(20 * MS, || stream.flush()).unwrap_err().value.unwrap_err();
        assert_eq!((late.kind(), stream.pending()), (ErrorKind::TimedOut, 10_000));
        let mut reader = spawn(move || {
            let mut all = Vec::new();
            (&here).read_to_end(&mut all).unwrap();
            all.split_off(before)
        });
        stream.flush().unwrap();
        assert_eq!(stream.pending(), 0);
        drop(stream);
        drop(there);
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn drop_flushes_except_in_a_panic() {
    run(|| {
        let (here, there) = UnixStream::pair().unwrap();
        there.buffered().write_all(b"sent").unwrap();
        assert_eq!(here.lend(<[u8]>::to_vec).unwrap(), b"sent");
        let result = caught(|| {
            let mut stream = there.buffered();
            stream.write_all(b"not sent").unwrap();
            panic!("half of an answer");
        });
        assert!(result.is_err());
        drop(there);
        assert_eq!(here.lend(<[u8]>::to_vec).unwrap(), b"");
    });
}

/// Random reads and writes of all sizes, in both directions: the bytes and their order stay.
#[test]
fn buffered_streams_keep_bytes_and_order() {
    for seed in 1..=20 {
        run(|| {
            let mut random = Random::new(seed);
            let (here, there) = tcp_pair();
            let bytes = pattern(200_000 + random.below(100_000));
            let mut echo = spawn(move || {
                let mut random = Random::new(!seed);
                let mut stream = there.buffered();
                let mut buffer = vec![0; 2 * LEN];
                loop {
                    let max = if random.below(4) == 0 { 2 * LEN } else { 100 };
                    let len = 1 + random.below(max);
                    let count = stream.read(&mut buffer[..len]).unwrap();
                    if count == 0 {
                        break;
                    }
                    stream.write_all(&buffer[..count]).unwrap();
                }
            });
            scope(|s| {
                s.spawn(|| {
                    let mut stream = here.buffered();
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let max = if random.below(4) == 0 { 2 * LEN } else { 200 };
                        let (now, later) = rest.split_at(rest.len().min(1 + random.below(max)));
                        stream.write_all(now).unwrap();
                        rest = later;
                        if random.below(10) == 0 {
                            stream.flush().unwrap();
                        }
                    }
                    stream.flush().unwrap();
                    here.shutdown(std::net::Shutdown::Write).unwrap();
                });
                let mut all = Vec::new();
                here.buffered().read_to_end(&mut all).unwrap();
                assert!(all == bytes, "seed {seed}");
            })
            .unwrap();
            echo.join().unwrap();
        });
    }
}

#[test]
fn accepted_unix_peers_have_their_addresses() {
    use socket2::{Domain, SockAddr, Socket, Type};
    use std::os::linux::net::SocketAddrExt;
    run(|| {
        let name = format!("cede-peers-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let listener = UnixListener::bind(&path).unwrap();
        let client = |own: Option<SockAddr>| {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            if let Some(own) = own {
                client.bind(&own).unwrap();
            }
            client.connect(&SockAddr::unix(&path).unwrap()).unwrap();
            client
        };
        let _unnamed = client(None);
        assert!(listener.accept().unwrap().1.is_unnamed());
        let _abstract = client(Some(SockAddr::unix(format!("\0{name}")).unwrap()));
        assert_eq!(listener.accept().unwrap().1.as_abstract_name(), Some(name.as_bytes()));
        let own = path.with_extension("peer");
        let _path = client(Some(SockAddr::unix(&own).unwrap()));
        assert_eq!(listener.accept().unwrap().1.as_pathname(), Some(&*own));
        for path in [&path, &own] {
            std::fs::remove_file(path).unwrap();
        }
    });
}
