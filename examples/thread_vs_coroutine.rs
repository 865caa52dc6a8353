//! The cost of a switch: two threads that wake each other, compared with two tasks that yield to each other.
//!
//! cargo run --release --example thread_vs_coroutine

use cede::{spawn, yield_now};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{current, park, scope};
use std::time::Instant;

/// Returns the nanoseconds of a switch between two threads. Each sets the turn to the other, wakes it, and sleeps.
fn threads(round_trips: u32) -> f64 {
    let turn = &AtomicU32::new(0);
    let wait = |mine| {
        while turn.load(Ordering::Acquire) != mine {
            park()
        }
    };
    scope(|scope| {
        let main = current();
        let other = scope.spawn(move || {
            for _ in 0..round_trips {
                wait(1);
                turn.store(0, Ordering::Release);
                main.unpark();
            }
        });
        let start = Instant::now();
        for _ in 0..round_trips {
            turn.store(1, Ordering::Release);
            other.thread().unpark();
            wait(0);
        }
        start.elapsed().as_nanos() as f64 / f64::from(2 * round_trips)
    })
}

/// Returns the nanoseconds of a switch between two tasks. Each yields to the other.
fn tasks(round_trips: u32) -> f64 {
    cede::run(|| {
        let _other = spawn(move || (0..round_trips).for_each(|_| yield_now()));
        let start = Instant::now();
        (0..round_trips).for_each(|_| yield_now());
        start.elapsed().as_nanos() as f64 / f64::from(2 * round_trips)
    })
}

fn main() {
    let round_trips = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let (threads, tasks) = (threads(round_trips), tasks(round_trips));
    println!("from one thread to another: {threads:.0} ns");
    println!("from one coroutine to another: {tasks:.1} ns");
    println!("In the time of one switch of threads, coroutines switch {:.0} times.", threads / tasks);
}
