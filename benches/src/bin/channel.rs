//! Benchmarks of a channel message: between tasks of one worker, between threads, and from a thread to a task.
//!
//! `cargo run --release -p cede-benches --bin channel [-- --quick]`. All cases of a table are interleaved. Figures are
//! nanoseconds per message; ratios are multiples of the first line of each table.
//!
//! In `ping-pong` a number goes back and forth, so each message is granted to a waiting receiver and costs one switch. In
//! `n to 1`, n producers send to one consumer as fast as they can. The time from the first message to the last is measured,
//! without the creation of tasks, threads and channels.

use cede::sync::channel::{self, Receiver, Sender};
use cede_benches::{futex_hand_over, round_trip, take_turns, timed};
use std::hint::black_box;
use std::time::Instant;

/// Sends a message and receives its answer, `n` times. Returns nanoseconds per message.
fn ping_pong(n: u32, make: fn() -> (Sender<u32>, Receiver<u32>)) -> f64 {
    let (there, arriving) = make();
    let (back, returning) = make();
    cede::run(|| {
        cede::spawn(move || {
            for number in arriving {
                if back.send(number + 1).is_err() {
                    break;
                }
            }
        });
        cede::yield_now();
        let start = Instant::now();
        let mut number = 0;
        for _ in 0..n {
            there.send(number).expect("the other task receives");
            number = returning.recv().expect("the other task sends");
        }
        assert_eq!(number, n);
        start.elapsed().as_nanos() as f64 / f64::from(2 * n)
    })
}

/// Sends messages from `producers` tasks to one task. Returns nanoseconds per message.
fn many_to_one(producers: u64, capacity: usize, messages: u64) -> f64 {
    let (sender, receiver) = channel::bounded(capacity);
    cede::run(|| {
        for _ in 0..producers {
            let sender = sender.clone();
            cede::spawn(move || (0..messages / producers).try_for_each(|n| sender.send(n)).expect("it is received"));
        }
        drop(sender);
        let start = Instant::now();
        let count = receiver.into_iter().map(black_box).count();
        start.elapsed().as_nanos() as f64 / count as f64
    })
}

/// The state of the channels when a select starts.
#[derive(Clone, Copy, PartialEq)]
enum Arrival {
    /// One channel holds a message.
    Before,
    /// All channels are empty: the select waits, and the message is granted to it.
    DuringTheWait,
}

/// Receives by a select over eight channels, each message through another one. Returns nanoseconds per message.
fn select_of_8(messages: u64, arrival: Arrival) -> f64 {
    let channels: Vec<_> = (0..8).map(|_| channel::bounded(1)).collect();
    let senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
    let r: Vec<_> = channels.into_iter().map(|(_, receiver)| receiver).collect();
    let receive = move || {
        cede::select! {
            recv(r[0]) -> n => n, recv(r[1]) -> n => n, recv(r[2]) -> n => n, recv(r[3]) -> n => n,
            recv(r[4]) -> n => n, recv(r[5]) -> n => n, recv(r[6]) -> n => n, recv(r[7]) -> n => n,
        }
    };
    cede::run(|| {
        if arrival == Arrival::DuringTheWait {
            cede::spawn(move || {
                while let Ok(Ok(n)) = receive() {
                    black_box(n);
                }
            });
            cede::yield_now();
            let start = Instant::now();
            for n in 0..messages {
                senders[n as usize % 8].send(n).expect("it is received");
                cede::yield_now();
            }
            return start.elapsed().as_nanos() as f64 / messages as f64;
        }
        let start = Instant::now();
        for n in 0..messages {
            senders[n as usize % 8].send(n).expect("it is received");
            black_box(receive().expect("the task is not cancelled").expect("it was sent"));
        }
        start.elapsed().as_nanos() as f64 / messages as f64
    })
}

/// Does the same as `select_of_8` without waiting, with crossbeam's channels, on one thread.
fn crossbeam_select_of_8(messages: u64) -> f64 {
    let channels: Vec<_> = (0..8).map(|_| crossbeam_channel::bounded(1)).collect();
    let senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
    let r: Vec<_> = channels.into_iter().map(|(_, receiver)| receiver).collect();
    let start = Instant::now();
    for n in 0..messages {
        senders[n as usize % 8].send(n).expect("it is received");
        let received = crossbeam_channel::select! {
            recv(r[0]) -> n => n, recv(r[1]) -> n => n, recv(r[2]) -> n => n, recv(r[3]) -> n => n,
            recv(r[4]) -> n => n, recv(r[5]) -> n => n, recv(r[6]) -> n => n, recv(r[7]) -> n => n,
        };
        black_box(received.expect("it was sent"));
    }
    start.elapsed().as_nanos() as f64 / messages as f64
}

/// Sends from a thread to a task. Returns nanoseconds per message.
fn thread_to_task(messages: u64) -> f64 {
    let (sender, receiver) = channel::bounded(1024);
    let thread = std::thread::spawn(move || (0..messages).try_for_each(|n| sender.send(n)).expect("it is received"));
    let each = cede::run(|| {
        receiver.recv().expect("a first message");
        let start = Instant::now();
        let count = receiver.into_iter().map(black_box).count();
        start.elapsed().as_nanos() as f64 / count as f64
    });
    thread.join().expect("it sent");
    each
}

/// The ends of two channels, one for each direction.
type Ends<S, R> = ((S, R), (S, R));

/// Sends messages back and forth between two plain threads. Returns nanoseconds per message.
fn between_threads<S: Send, R: Send>(
    n: u32,
    ends: Ends<S, R>,
    send: impl Fn(&S, u32) -> bool + Copy + Send,
    receive: impl Fn(&R) -> Option<u32> + Copy + Send,
) -> f64 {
    let ((there, arriving), (back, returning)) = ends;
    std::thread::scope(|scope| {
        scope.spawn(move || while receive(&arriving).is_some_and(|number| send(&back, number + 1)) {});
        let start = Instant::now();
        for i in 0..n {
            assert!(send(&there, i), "the other thread receives");
            black_box(receive(&returning).expect("the other thread sends"));
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(2 * n);
        drop(there);
        each
    })
}

fn crossbeam_ping_pong(n: u32) -> f64 {
    let ends = (crossbeam_channel::bounded(1), crossbeam_channel::bounded(1));
    between_threads(n, ends, |sender, number| sender.send(number).is_ok(), |receiver| receiver.recv().ok())
}

fn std_ping_pong(n: u32) -> f64 {
    let ends = (std::sync::mpsc::sync_channel(1), std::sync::mpsc::sync_channel(1));
    between_threads(n, ends, |sender, number| sender.send(number).is_ok(), |receiver| receiver.recv().ok())
}

/// Measures `between_threads` with the channel of this library.
fn own_between_threads(n: u32) -> f64 {
    let ends = (channel::bounded(1), channel::bounded(1));
    between_threads(n, ends, |sender, number| sender.send(number).is_ok(), |receiver| receiver.recv().ok())
}

/// Sends messages from two threads to this one. Returns nanoseconds per message.
fn threads_to_one<S: Clone + Send>(
    sender: S,
    messages: u64,
    send: impl Fn(&S, u64) + Copy + Send,
    receive: impl FnOnce() -> u64,
) -> f64 {
    std::thread::scope(|scope| {
        let start = Instant::now();
        for _ in 0..2 {
            let sender = sender.clone();
            scope.spawn(move || (0..messages / 2).for_each(|n| send(&sender, n)));
        }
        drop(sender);
        let count = receive();
        start.elapsed().as_nanos() as f64 / count as f64
    })
}

fn crossbeam_to_one(messages: u64) -> f64 {
    let (sender, receiver) = crossbeam_channel::bounded(1024);
    let send = |sender: &crossbeam_channel::Sender<u64>, n| sender.send(n).expect("it is received");
    threads_to_one(sender, messages, send, || receiver.into_iter().map(black_box).count() as u64)
}

fn std_to_one(messages: u64) -> f64 {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1024);
    let send = |sender: &std::sync::mpsc::SyncSender<u64>, n| sender.send(n).expect("it is received");
    threads_to_one(sender, messages, send, || receiver.into_iter().map(black_box).count() as u64)
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let rounds = if quick { 9 } else { 25 };
    let mut cases = vec![
        round_trip(),
        timed("tasks, capacity 1", || ping_pong(100_000, || channel::bounded(1))),
        timed("tasks, rendezvous", || ping_pong(100_000, channel::rendezvous)),
        timed("tasks, unbounded", || ping_pong(100_000, channel::unbounded)),
    ];
    if !quick {
        cases.push(timed("threads, this library", || own_between_threads(2_000)));
        cases.push(timed("threads, std sync_channel(1)", || std_ping_pong(2_000)));
        cases.push(timed("threads, crossbeam bounded(1)", || crossbeam_ping_pong(2_000)));
        cases.push(timed("threads, a futex by hand", || futex_hand_over(2_000) / 2.0));
    }
    cede_benches::print("ping-pong, one message", &take_turns(rounds, cases));

    let mut cases = vec![round_trip()];
    for capacity in [64, 1024] {
        for producers in [1, 4, 64] {
            let name = format!("{producers} to 1, capacity {capacity}, tasks");
            cases.push(timed(&name, move || many_to_one(producers, capacity, 256_000)));
        }
    }
    if !quick {
        cases.push(timed("thread to task, capacity 1024", || thread_to_task(50_000)));
        cases.push(timed("2 threads to 1, std, capacity 1024", || std_to_one(50_000)));
        cases.push(timed("2 threads to 1, crossbeam, capacity 1024", || crossbeam_to_one(50_000)));
    }
    cede_benches::print("many to one, one message", &take_turns(rounds, cases));

    let cases = vec![
        round_trip(),
        timed("send, then select that has to wait, tasks", || select_of_8(50_000, Arrival::DuringTheWait)),
        timed("send, then select, no wait", || select_of_8(50_000, Arrival::Before)),
        timed("the same, crossbeam", || crossbeam_select_of_8(50_000)),
    ];
    cede_benches::print("select over 8 channels, one message", &take_turns(rounds, cases));
}
