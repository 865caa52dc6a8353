//! Sockets in fibers: as a part of a run whose future is polled, with each driver, and outside of a run.
#![cfg(all(feature = "io", target_os = "linux"))]

use cede::io::Driver;
use cede::net::TcpStream;
use cede::{Config, block_on, fiber};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The round trips of one connection: enough that the client sleeps at each stage of a wait.
const TRIPS: u32 = 5_000;

/// Calls `f` on a thread of its own. Panics if it takes too long: a lost event leaves it asleep.
fn in_time<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(f()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("it ends in time, without a panic")
}

/// A server on a thread of its own, which answers messages of 64 bytes. It does not sleep, and the delay of its answers varies, so that they
/// come at each stage of the client's wait.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut message = [0; 64];
        let mut answered = 0;
        loop {
            match stream.read(&mut message) {
                Ok(64) => {
                    let now = Instant::now();
                    while now.elapsed() < Duration::from_nanos(answered % 200 * 100) {}
                    stream.write_all(&message).unwrap();
                    answered += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                _ => break,
            }
        }
    });
    address
}

/// Returns the sum of the answers' first bytes.
fn trips(address: SocketAddr) -> u32 {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut message = [1; 64];
    (0..TRIPS)
        .map(|_| {
            stream.write_all(&message).unwrap();
            message.fill(0);
            stream.read_exact(&mut message).unwrap();
            u32::from(message[0])
        })
        .sum()
}

#[test]
fn run_in_a_fiber_misses_no_event() {
    for driver in [Driver::Epoll, Driver::Auto] {
        let address = echo();
        let sum = in_time(move || {
            let run = Config::new().driver(driver).run_async(move || trips(address));
            block_on(async { run.await.unwrap() }).unwrap()
        });
        assert_eq!(sum, TRIPS, "{driver:?}");
    }
}

#[test]
fn fiber_outside_of_a_run_misses_no_event() {
    let address = echo();
    assert_eq!(in_time(move || block_on(fiber(move || trips(address))).unwrap()), TRIPS);
}

/// The addresses overlap in time, so the fiber waits for several sockets at once.
#[test]
fn connect_to_a_list_suspends_the_fiber() {
    // A listener whose backlog is full answers no further SYN.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let silent = full.local_addr().unwrap().as_socket().unwrap();
    let _fill: Vec<_> = (0..8)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&silent.into());
            socket
        })
        .collect();
    let address = echo();
    in_time(move || {
        let mut fiber =
            fiber(move || TcpStream::connect(&[silent, address][..]).map(|stream| stream.peer_addr().unwrap()));
        let polls = Cell::new(0);
        let connected = block_on(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            Pin::new(&mut fiber).poll(cx)
        }));
        assert_eq!(connected.unwrap().unwrap(), address);
        // Without a suspension, the first poll is the last.
        assert!(polls.get() > 1, "{} polls", polls.get());
    });
}
