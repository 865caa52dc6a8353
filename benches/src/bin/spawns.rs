//! Benchmarks of spawning and joining empty tasks: one after another, in batches, and with many outstanding.
//!
//! cargo run --release -p cede-benches --bin spawns -- [--once]
//!
//! `--once` prints the best of a few samples of each case, so that a script can alternate two builds of this program.

use cede_benches::{Timed, take_turns, timed};
use std::hint::black_box;
use std::time::Instant;

/// Spawns `total` tasks in batches, each of which is joined before the next. Returns nanoseconds per task.
fn batches(batch: u32, total: u32) -> f64 {
    cede::run(|| {
        let mut tasks = Vec::with_capacity(batch as usize);
        let start = Instant::now();
        for _ in 0..total / batch {
            tasks.extend((0..batch).map(|i| cede::spawn(move || i + 1)));
            for mut task in tasks.drain(..) {
                black_box(task.join().expect("the task does not panic"));
            }
        }
        start.elapsed().as_nanos() as f64 / f64::from(total)
    })
}

/// Spawns tasks that yield once, in batches: each needs a stack of its own. Returns nanoseconds per task.
fn yielding(batch: u32, total: u32) -> f64 {
    cede::run(|| {
        let start = Instant::now();
        for _ in 0..total / batch {
            let tasks: Vec<_> = (0..batch).map(|_| cede::spawn(cede::yield_now)).collect();
            tasks.into_iter().for_each(|mut task| task.join().expect("the task does not panic"));
        }
        start.elapsed().as_nanos() as f64 / f64::from(total)
    })
}

/// Spawns and joins tasks one after another. Returns nanoseconds per task.
fn one_by_one(total: u32) -> f64 {
    cede::run(|| {
        let start = Instant::now();
        for i in 0..total {
            black_box(cede::spawn(move || i + 1).join().expect("the task does not panic"));
        }
        start.elapsed().as_nanos() as f64 / f64::from(total)
    })
}

fn main() {
    let cases: Vec<Timed> = vec![
        timed("one after another", || one_by_one(2_000)),
        timed("batches of 10", || batches(10, 2_000)),
        timed("batches of 100", || batches(100, 5_000)),
        timed("batches of 1,000", || batches(1_000, 10_000)),
        timed("10,000 outstanding", || batches(10_000, 10_000)),
        timed("100,000 outstanding", || batches(100_000, 100_000)),
        timed("batches of 100, each yields once", || yielding(100, 5_000)),
        timed("1,000 outstanding, each yields once", || yielding(1_000, 10_000)),
    ];
    if std::env::args().any(|argument| argument == "--once") {
        // The samples are short, so that the best of them is not interrupted on a loaded machine.
        for (name, mut case) in cases {
            let most = if name.contains("000 outstanding") { 5 } else { 100 };
            let best = (0..most).map(|_| case()).fold(f64::INFINITY, f64::min);
            println!("{best:.2}\t{name}");
        }
        return;
    }
    cede_benches::print("spawn + join of a task", &take_turns(99, cases));
}
