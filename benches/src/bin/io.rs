//! Benchmarks of waiting for I/O beside other work:
//!
//! cargo run --release -p cede-benches --bin io -- [--quick]
//!
//! *A turn beside an idle listener*: 2 or 100 tasks that yield, and in the second case of each pair one more task that waits in
//! `accept`. An iteration is one turn. *Wake of a sleeping run*: a thread and the main of a run wake each other in turn, and both
//! sleep between; with a waiting listener the run sleeps in its driver of I/O. Beside them two threads with a condition variable. *Ping of
//! a busy run*: a thread sends a byte over a socket to a task of a run that never sleeps, and waits for the answer. The task has to
//! wait for the next poll, and for the turns of the other tasks. Figures are nanoseconds.

use cede::net::{TcpListener, UnixStream};
use cede::task::{Unparker, park};
use cede::yield_now;
use cede_benches::{condvar_hand_over, take_turns, timed};
use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Returns nanoseconds per turn of one of `n` tasks that yield, with a task that waits in `accept` or without.
fn turn(n: u32, listens: bool) -> f64 {
    const TURNS: u32 = 2_000_000;
    let rounds = TURNS / n;
    cede::run(|| {
        let mut accepting = listens.then(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            cede::spawn(move || listener.accept().map(|_| ()))
        });
        let goes_on = Rc::new(Cell::new(true));
        for _ in 1..n {
            let goes_on = Rc::clone(&goes_on);
            cede::spawn(move || {
                while goes_on.get() {
                    yield_now()
                }
            });
        }
        (0..10).for_each(|_| yield_now());
        let start = Instant::now();
        (0..rounds).for_each(|_| yield_now());
        let each = start.elapsed().as_nanos() as f64 / f64::from(rounds * n);
        goes_on.set(false);
        accepting.iter_mut().for_each(|task| {
            task.cancel();
            assert!(task.join().is_ok_and(|accepted| accepted.is_err()), "the wait was cancelled");
        });
        each
    })
}

/// Returns nanoseconds per round trip between a thread and the main of a run.
fn wake(listens: bool) -> f64 {
    const TRIPS: u32 = 2_000;
    let (asked, answered) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    cede::run(|| {
        let mut accepting = listens.then(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            cede::spawn(move || listener.accept().map(|_| ()))
        });
        yield_now();
        let main = Unparker::current();
        let thread = std::thread::spawn({
            let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
            move || {
                for trip in 1..=TRIPS {
                    asked.store(trip, SeqCst);
                    main.unpark();
                    while answered.load(SeqCst) < trip {
                        std::thread::park();
                    }
                }
            }
        });
        let start = Instant::now();
        for trip in 1..=TRIPS {
            while asked.load(SeqCst) < trip {
                park("a wake by the thread").expect("not cancelled");
            }
            answered.store(trip, SeqCst);
            thread.thread().unpark();
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(TRIPS);
        thread.join().expect("the thread does not panic");
        accepting.iter_mut().for_each(|task| {
            task.cancel();
            assert!(task.join().is_ok());
        });
        each
    })
}

/// Returns the median of the times from a byte that a thread sends to the answer of a task, in a run with `n` tasks that yield.
fn ping(n: u32) -> f64 {
    const PINGS: usize = 200;
    let (mut here, there) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let thread = std::thread::spawn(move || {
        let mut times: Vec<_> = (0..PINGS)
            .map(|_| {
                // Without the pause the next byte is there before the task waits.
                std::thread::sleep(Duration::from_micros(200));
                let start = Instant::now();
                here.write_all(&[0]).expect("a peer");
                here.read_exact(&mut [0]).expect("an answer");
                start.elapsed().as_nanos() as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    cede::run(|| {
        let mut there = UnixStream::from(there);
        let goes_on = Rc::new(Cell::new(true));
        for _ in 0..n {
            let goes_on = Rc::clone(&goes_on);
            cede::spawn(move || {
                while goes_on.get() {
                    yield_now()
                }
            });
        }
        while there.read_exact(&mut [0]).is_ok() {
            there.write_all(&[0]).expect("a peer");
        }
        goes_on.set(false);
    });
    thread.join().expect("the thread does not panic")
}

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--quick") { 3 } else { 15 };
    for n in [2, 100] {
        let cases =
            vec![timed("without", move || turn(n, false)), timed("with a task in accept", move || turn(n, true))];
        cede_benches::print(&format!("one turn of {n} tasks, beside an idle listener"), &take_turns(rounds, cases));
    }
    let cases = vec![
        timed("two threads, condition variable", || condvar_hand_over(2_000)),
        timed("a thread and a run", || wake(false)),
        timed("a thread and a run that listens", || wake(true)),
    ];
    cede_benches::print("wake of a sleeping run, round trip", &take_turns(rounds, cases));
    let cases = [2, 100, 10_000].into_iter();
    let cases = cases.map(|n| timed(&format!("{n} tasks that yield"), move || ping(n))).collect();
    cede_benches::print("ping of a busy run, round trip", &take_turns(rounds.min(5), cases));
}
