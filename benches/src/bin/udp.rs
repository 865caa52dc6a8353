//! Benchmarks of datagrams over the loopback device:
//!
//! cargo run --release -p cede-benches --bin udp -- [--quick]
//!
//! A task sends 64 datagrams and then receives them, from one socket to another one: with one system call for each (`send_to`,
//! `recv_from`), with one for all (`send_batch`, `recv_batch`), and with messages that the kernel divides (GSO) and joins (GRO). The
//! same calls of std are the reference. Figures are nanoseconds for a datagram that is sent and received.

use cede::net::{Batch, UdpSocket};
use cede_benches::{Timed, take_turns, timed};
use std::net::SocketAddr;
use std::time::Instant;

/// The number of datagrams of a batch.
const BATCH: usize = 64;

/// Returns nanoseconds per datagram of a function that sends and receives a batch.
fn time(len: usize, mut batch: impl FnMut()) -> f64 {
    let rounds = if len > 1000 { 300 } else { 600 };
    (0..20).for_each(|_| batch());
    let start = Instant::now();
    (0..rounds).for_each(|_| batch());
    start.elapsed().as_nanos() as f64 / (rounds * BATCH) as f64
}

fn of_std(len: usize) -> f64 {
    let socket = || std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (here, there) = (socket(), socket());
    let to = there.local_addr().expect("an address");
    let (bytes, mut buffer) = (vec![7; len], vec![0; len]);
    time(len, || {
        (0..BATCH).for_each(|_| assert!(here.send_to(&bytes, to).is_ok()));
        (0..BATCH).for_each(|_| assert!(there.recv_from(&mut buffer).is_ok()));
    })
}

fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
    let socket = || UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (here, there) = (socket(), socket());
    let to = there.local_addr().expect("an address");
    (here, there, to)
}

fn one_by_one(len: usize) -> f64 {
    cede::run(|| {
        let (here, there, to) = pair();
        let (bytes, mut buffer) = (vec![7; len], vec![0; len]);
        time(len, || {
            (0..BATCH).for_each(|_| assert!(here.send_to(&bytes, to).is_ok()));
            (0..BATCH).for_each(|_| assert!(there.recv_from(&mut buffer).is_ok()));
        })
    })
}

fn batches(len: usize, gso: bool, gro: bool) -> f64 {
    cede::run(|| {
        let (here, there, to) = pair();
        here.restrict_batches(false, !gso);
        if gro {
            there.set_gro(true).expect("the option can be set or is unknown");
        }
        let bytes = vec![7; len];
        let (mut sent, mut received) = (Batch::new(BATCH, len), Batch::new(BATCH, len));
        time(len, || {
            (0..BATCH).for_each(|_| sent.push(&bytes, to).expect("there is room"));
            here.send_batch(&mut sent).expect("there is room");
            let mut count = 0;
            while count < BATCH {
                there.recv_batch(&mut received).expect("datagrams have been sent");
                count += received.iter().filter(|datagram| datagram.bytes.len() == len).count();
            }
        })
    })
}

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--quick") { 3 } else { 15 };
    for len in [64, 1200] {
        let cases: Vec<Timed> = vec![
            timed("one by one", move || one_by_one(len)),
            timed("one by one, std", move || of_std(len)),
            timed("batch", move || batches(len, false, false)),
            timed("batch, GSO", move || batches(len, true, false)),
            timed("batch, GRO", move || batches(len, false, true)),
            timed("batch, GSO and GRO", move || batches(len, true, true)),
        ];
        let figures = take_turns(rounds, cases);
        cede_benches::print(&format!("a datagram of {len} bytes, sent and received"), &figures);
    }
}
