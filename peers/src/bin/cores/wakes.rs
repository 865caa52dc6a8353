//! Wakes and messages from one thread to another, and calls that block.

use crate::{nanos, with};
use cede::blocking::unblock;
use cede::sync::channel::bounded;
use cede::task::{Unparker, park};
use cede::{Builder, yield_now};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

/// Two flags: one says whose turn it is, the other one brings the answer. A park may end by a spurious wakeup.
type Turns = Arc<[AtomicBool; 2]>;

/// Takes `n` turns on the side that answers.
fn answer(n: u64, turns: &Turns, park: impl Fn(), wake: impl Fn()) {
    for _ in 0..n {
        while !turns[0].swap(false, Ordering::AcqRel) {
            park();
        }
        turns[1].store(true, Ordering::Release);
        wake();
    }
}

/// Takes `n` turns on the side that asks. Returns the time of one wake.
fn ask(n: u64, turns: &Turns, park: impl Fn(), wake: impl Fn()) -> f64 {
    nanos(2 * n, || {
        for _ in 0..n {
            turns[0].store(true, Ordering::Release);
            wake();
            while !turns[1].swap(false, Ordering::AcqRel) {
                park();
            }
        }
    })
}

/// Two tasks of two workers wake each other.
pub(crate) fn workers(n: u64) -> f64 {
    with(2, || {
        let turns = Turns::default();
        let (main, there) = (Unparker::current(), Arc::clone(&turns));
        let (send, receive) = bounded(1);
        let body = move || {
            send.send(Unparker::current()).unwrap();
            answer(n, &there, || park("its turn").unwrap(), || main.unpark());
        };
        let mut other = Builder::new().on(1).spawn_anywhere(body).unwrap();
        let unparker = receive.recv().unwrap();
        let time = ask(n, &turns, || park("the answer").unwrap(), || unparker.unpark());
        other.join().unwrap();
        time
    })
}

/// The main tasks of two runs wake each other.
pub(crate) fn runs(n: u64) -> f64 {
    let turns = Turns::default();
    let there = Arc::clone(&turns);
    let ((send, receive), (back, other)) = (bounded(1), bounded::<Unparker>(1));
    let thread = thread::spawn(move || {
        with(1, || {
            send.send(Unparker::current()).unwrap();
            let main = other.recv().unwrap();
            answer(n, &there, || park("its turn").unwrap(), || main.unpark());
        });
    });
    let time = with(1, || {
        back.send(Unparker::current()).unwrap();
        let unparker: Unparker = receive.recv().unwrap();
        ask(n, &turns, || park("the answer").unwrap(), || unparker.unpark())
    });
    thread.join().unwrap();
    time
}

/// Two threads of std wake each other.
pub(crate) fn threads(n: u64) -> f64 {
    let turns = Turns::default();
    let (there, main) = (Arc::clone(&turns), thread::current());
    let other = thread::spawn(move || answer(n, &there, thread::park, || main.unpark()));
    let time = ask(n, &turns, thread::park, || other.thread().unpark());
    other.join().unwrap();
    time
}

/// What a wake takes the thread that wakes a parked task of a worker that is awake: another task there yields in a loop.
pub(crate) fn awake(n: u64) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (send, receive) = bounded(1);
    let other = thread::spawn(move || {
        with(1, || {
            let stop = Arc::clone(&stopped);
            let _busy = cede::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    yield_now();
                }
            });
            send.send(Unparker::current()).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                park("a wake").unwrap();
            }
        });
    });
    let unparker: Unparker = receive.recv().unwrap();
    let time = nanos(n, || (0..n).for_each(|_| unparker.unpark()));
    stop.store(true, Ordering::Relaxed);
    unparker.unpark();
    other.join().unwrap();
    time
}

/// Sends `n` messages and receives the answer to each. Returns the time of one message.
fn there_and_back(n: u64, send: impl Fn(u64), receive: impl Fn() -> u64) -> f64 {
    nanos(2 * n, || {
        for m in 0..n {
            send(m);
            black_box(receive());
        }
    })
}

pub(crate) fn thread_messages(n: u64) -> f64 {
    let ((to, there), (back, here)) = (bounded(1), bounded(1));
    let other = thread::spawn(move || there.iter().for_each(|m: u64| back.send(m).unwrap()));
    let time = there_and_back(n, |m| to.send(m).unwrap(), || here.recv().unwrap());
    drop(to);
    other.join().unwrap();
    time
}

pub(crate) fn worker_messages(n: u64) -> f64 {
    with(2, || {
        let ((to, there), (back, here)) = (bounded(1), bounded(1));
        let body = move || there.iter().for_each(|m: u64| back.send(m).unwrap());
        let mut other = Builder::new().on(1).spawn_anywhere(body).unwrap();
        let time = there_and_back(n, |m| to.send(m).unwrap(), || here.recv().unwrap());
        drop(to);
        other.join().unwrap();
        time
    })
}

pub(crate) fn crossbeam_messages(n: u64) -> f64 {
    let ((to, there), (back, here)) = (crossbeam_channel::bounded(1), crossbeam_channel::bounded(1));
    let other = thread::spawn(move || there.iter().for_each(|m: u64| back.send(m).unwrap()));
    let time = there_and_back(n, |m| to.send(m).unwrap(), || here.recv().unwrap());
    drop(to);
    other.join().unwrap();
    time
}

/// Messages through a channel of 1,024 places, from one worker to another.
pub(crate) fn worker_stream(n: u64) -> f64 {
    with(2, || {
        let (send, receive) = bounded(1024);
        let mut other = Builder::new().on(1).spawn_anywhere(move || receive.iter().sum::<u64>()).unwrap();
        nanos(n, || {
            (0..n).for_each(|m| send.send(m).unwrap());
            drop(send);
            black_box(other.join().unwrap());
        })
    })
}

pub(crate) fn crossbeam_stream(n: u64) -> f64 {
    let (send, receive) = crossbeam_channel::bounded(1024);
    let other = thread::spawn(move || receive.iter().sum::<u64>());
    nanos(n, || {
        (0..n).for_each(|m| send.send(m).unwrap());
        drop(send);
        black_box(other.join().unwrap());
    })
}

pub(crate) fn tokio_stream(runtime: &Runtime, n: u64) -> f64 {
    let (send, mut receive) = tokio::sync::mpsc::channel(1024);
    let other = runtime.spawn(async move {
        let mut sum = 0;
        while let Some(m) = receive.recv().await {
            sum += m;
        }
        sum
    });
    let sender = runtime.spawn(async move {
        for m in 0..n {
            send.send(m).await.unwrap();
        }
    });
    nanos(n, || {
        runtime.block_on(sender).unwrap();
        black_box(runtime.block_on(other).unwrap());
    })
}

/// A message of a thread and the answer of a task after 20 us of quiet, in a run with parked tasks.
pub(crate) fn round_trips(parked: usize) -> f64 {
    with(1, || {
        let tasks: Vec<_> = (0..parked).map(|_| cede::spawn(|| park("the end").is_err())).collect();
        yield_now();
        let ((to, there), (back, here)) = (bounded(1), bounded(1));
        let other = thread::spawn(move || {
            let mut sum = 0.0;
            for m in 0..500_u64 {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(20) {}
                sum += nanos(1, || {
                    to.send(m).unwrap();
                    here.recv().unwrap();
                });
            }
            sum / 500.0
        });
        there.iter().for_each(|m: u64| back.send(m).unwrap());
        tasks.iter().for_each(|task| assert!(task.cancel()));
        other.join().unwrap()
    })
}

/// Calls on a thread for blocking calls, one after another.
pub(crate) fn unblocks(n: u64) -> f64 {
    with(1, || {
        let mut sum = unblock(|| 0); // starts the thread
        let time = nanos(n, || (0..n).for_each(|m| unblock(|| sum += m)));
        black_box(sum);
        time
    })
}

pub(crate) fn tokio_unblocks(runtime: &Runtime, n: u64) -> f64 {
    runtime.block_on(async {
        spawn_blocking(|| ()).await.unwrap(); // starts the thread
        let start = Instant::now();
        for m in 0..n {
            spawn_blocking(move || black_box(m)).await.unwrap();
        }
        start.elapsed().as_nanos() as f64 / n as f64
    })
}
