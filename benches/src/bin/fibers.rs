//! Benchmarks of a socket in a fiber:
//!
//! cargo run --release -p cede-benches --bin fibers -- [--quick]
//!
//! An iteration is one round trip of 64 bytes over loopback, with a thread that answers by blocking calls. The client is a thread with the
//! same calls, the main of a run, the main of a run as a future, or a fiber outside of a run. The executor of the futures is
//! `block_on` in a plain thread. Figures are nanoseconds.

use cede::io::Driver;
use cede::net::TcpStream;
use cede::{Config, block_on, fiber};
use cede_benches::{Timed, take_turns, timed};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

const TRIPS: u32 = 2_000;

/// Returns the address of a server that answers each message of 64 bytes, one connection after the other.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            stream.set_nodelay(true).expect("a connected socket");
            let mut message = [0; 64];
            while stream.read_exact(&mut message).is_ok() {
                stream.write_all(&message).expect("a client that reads");
            }
        }
    });
    address
}

/// Returns nanoseconds per round trip.
fn trips(mut stream: impl Read + Write) -> f64 {
    let mut message = [7; 64];
    let start = Instant::now();
    for _ in 0..TRIPS {
        stream.write_all(&message).expect("a server");
        stream.read_exact(&mut message).expect("an answer");
    }
    start.elapsed().as_nanos() as f64 / f64::from(TRIPS)
}

/// Connects, and measures.
fn client(address: SocketAddr) -> f64 {
    let stream = TcpStream::connect(address).expect("a server");
    stream.set_nodelay(true).expect("a connected socket");
    trips(stream)
}

fn run(driver: Driver) -> Config {
    Config::new().driver(driver)
}

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--quick") { 3 } else { 15 };
    let address = echo();
    let mut cases: Vec<Timed> = vec![timed("a thread, sockets of std", move || {
        let stream = std::net::TcpStream::connect(address).expect("a server");
        stream.set_nodelay(true).expect("a connected socket");
        trips(stream)
    })];
    for (name, driver) in [("epoll", Driver::Epoll), ("io_uring", Driver::Uring)] {
        let is_there = run(driver).run(|| TcpStream::connect(address).is_ok()).expect("no deadlock");
        if !is_there {
            println!("this system has no {name}");
            continue;
        }
        let main = move || client(address);
        cases.push(timed(&format!("a run, {name}"), move || run(driver).run(main).expect("no deadlock")));
        let awaited = move || block_on(run(driver).run_async(main)).expect("not cancelled").expect("no deadlock");
        cases.push(timed(&format!("a run as a future, {name}"), awaited));
    }
    cases.push(timed("a fiber outside of a run", move || {
        block_on(fiber(move || client(address))).expect("not cancelled")
    }));
    cede_benches::print("64 bytes over loopback and back", &take_turns(rounds, cases));
}
