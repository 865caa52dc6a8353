//! Criterion benchmarks of tasks, each measured alone. For ratios use `cargo run --release -p cede-benches --bin tasks`, and to
//! compare with other libraries `-p peers`: both interleave their cases.
//!
//! Runs, and tasks that only yield, are created before the clock starts. Names are `area/case/parameter`.

use cede::{run, spawn, yield_now};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Measures one turn of one of n tasks. Main is one of them, and the time is divided by the turns of all tasks.
fn turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("yield");
    for n in [2u32, 100, 10_000] {
        group.bench_function(BenchmarkId::new("tasks", n), |b| {
            b.iter_custom(|turns| {
                run(|| {
                    let go = Rc::new(Cell::new(true));
                    for _ in 1..n {
                        let go = Rc::clone(&go);
                        spawn(move || {
                            while go.get() {
                                yield_now();
                            }
                        });
                    }
                    yield_now();
                    let rounds = turns.div_ceil(u64::from(n));
                    let start = Instant::now();
                    (0..rounds).for_each(|_| yield_now());
                    let each = start.elapsed().as_nanos() as f64 / (rounds * u64::from(n)) as f64;
                    go.set(false);
                    Duration::from_nanos((each * turns as f64) as u64)
                })
            });
        });
    }
    group.finish();
}

/// Measures spawning and joining a task: one after another, or n tasks that are all spawned before the first join.
fn spawning(c: &mut Criterion) {
    let mut group = c.benchmark_group("spawn");
    group.bench_function(BenchmarkId::new("one-by-one", 1), |b| {
        run(|| b.iter(|| black_box(spawn(|| black_box(1)).join()).is_ok()));
    });
    group.bench_function(BenchmarkId::new("outstanding", 1000), |b| {
        run(|| {
            b.iter(|| {
                let mut all: Vec<_> = (0..1000).map(|k| spawn(move || black_box(k))).collect();
                all.iter_mut().for_each(|task| assert!(black_box(task.join()).is_ok()));
            });
        });
    });
    group.finish();
}

criterion_group!(benches, turn, spawning);
criterion_main!(benches);
