//! Coroutines and generators, one by one. For ratios use `cargo run --release -p cede-benches`, which interleaves.

use cede::{Builder, Coroutine, Generator, Suspender, Yielder};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// One round trip: resume, suspend, a u64 out.
fn resume(c: &mut Criterion) {
    let mut group = c.benchmark_group("resume");
    let mut raw = corosensei::Coroutine::<(), u64, ()>::new(|y, ()| (0..u64::MAX).for_each(|i| y.suspend(i)));
    group.bench_function("corosensei", |b| b.iter(|| raw.resume(())));
    std::mem::forget(raw);
    let mut coroutine = Coroutine::new(|s: &Suspender<(), u64>, ()| (0..u64::MAX).for_each(|i| s.suspend(i)));
    group.bench_function("coroutine", |b| b.iter(|| coroutine.resume(())));
    let mut generator = Generator::new(|y: &Yielder<u64>| (0..u64::MAX).for_each(|i| y.yield_(i)));
    group.bench_function("generator-next", |b| b.iter(|| generator.next()));
    let mut generator = Generator::new(|y: &Yielder<u64, u64>| {
        let mut i = 0;
        while i < u64::MAX {
            i = y.yield_(i);
        }
    });
    generator.start();
    group.bench_function("generator-send", |b| b.iter(|| generator.send(black_box(1)).is_ok()));
    let mut iterator = black_box(Box::new(0..u64::MAX) as Box<dyn Iterator<Item = u64>>);
    group.bench_function("dyn-iterator", |b| b.iter(|| iterator.next()));
    group.finish();
}

/// One item by `next`, from a recursion of this depth, or through this many generators.
fn depth(c: &mut Criterion) {
    fn walk(y: &Yielder<u64>, depth: u32) -> u64 {
        if depth > 1 {
            return black_box(walk(y, depth - 1)) + 1;
        }
        (0..u64::MAX).for_each(|i| y.yield_(i));
        0
    }
    fn nest(depth: u32) -> Generator<u64> {
        Generator::new(move |y: &Yielder<u64>| match depth {
            1 => (0..u64::MAX).for_each(|i| y.yield_(i)),
            _ => y.yield_from(nest(depth - 1)),
        })
    }
    let mut group = c.benchmark_group("depth");
    for depth in [1, 10, 100, 1000] {
        let body = move |y: &Yielder<u64>| {
            black_box(walk(y, depth));
        };
        let mut generator = Builder::new().stack_size(1 << 20).generator(body).expect("a stack of 1 MiB");
        group.bench_function(BenchmarkId::new("recursion", depth), |b| b.iter(|| generator.next()));
        let mut generator = nest(depth);
        generator.next();
        group.bench_function(BenchmarkId::new("yield_from", depth), |b| b.iter(|| generator.next()));
    }
    group.finish();
}

/// A coroutine made, run to its end and dropped: with a stack from the pool, and with one whose memory is fresh.
fn create(c: &mut Criterion) {
    let mut group = c.benchmark_group("create");
    group.bench_function("pooled", |b| {
        b.iter(|| Coroutine::new(|_: &Suspender<u64, ()>, n| n + 1).resume(black_box(1)));
    });
    group.bench_function("fresh", |b| {
        b.iter(|| {
            let c = Builder::new().clear_stack(true).coroutine(|_: &Suspender<u64, ()>, n| n + 1);
            c.expect("a stack").resume(black_box(1))
        });
    });
    group.finish();
}

criterion_group!(benches, resume, depth, create);
criterion_main!(benches);
