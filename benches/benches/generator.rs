//! Criterion benchmarks of coroutines and generators, each measured alone. For ratios use
//! `cargo run --release -p cede-benches`, which interleaves its cases.
//!
//! Setup is not measured: one iteration is what the doc of each function names. Values go in and out through `black_box`. Names
//! are `area/case/parameter`.

use cede::{Builder, Coroutine, Generator, Suspender, Yielder};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// Measures one round trip, resume and suspend, with a u64 out, or a u64 each way.
fn switch(c: &mut Criterion) {
    let mut group = c.benchmark_group("switch");
    let mut raw = corosensei::Coroutine::<(), u64, ()>::new(|y, ()| (0..u64::MAX).for_each(|i| y.suspend(i)));
    group.bench_function("corosensei/out", |b| b.iter(|| black_box(raw.resume(()))));
    std::mem::forget(raw);
    let mut coroutine = Coroutine::new(|s: &Suspender<(), u64>, ()| (0..u64::MAX).for_each(|i| s.suspend(i)));
    group.bench_function("coroutine/out", |b| b.iter(|| black_box(coroutine.resume(()))));
    let mut generator = Generator::new(|y: &Yielder<u64>| (0..u64::MAX).for_each(|i| y.yield_(i)));
    group.bench_function("generator/out", |b| b.iter(|| black_box(generator.next())));
    let mut generator = Generator::new(|y: &Yielder<u64, u64>| {
        let mut i = 0;
        while i < u64::MAX {
            i = y.yield_(i);
        }
    });
    generator.start();
    group.bench_function("generator/in-and-out", |b| b.iter(|| black_box(generator.send(black_box(1))).is_ok()));
    let mut iterator = black_box(Box::new(0..u64::MAX) as Box<dyn Iterator<Item = u64>>);
    group.bench_function("dyn-iterator/out", |b| b.iter(|| black_box(iterator.next())));
    group.finish();
}

/// Measures one item by `next`, from a recursion of this depth, or through this many nested generators.
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
        group.bench_function(BenchmarkId::new("recursion", depth), |b| b.iter(|| black_box(generator.next())));
        let mut generator = nest(depth);
        generator.next();
        group.bench_function(BenchmarkId::new("yield_from", depth), |b| b.iter(|| black_box(generator.next())));
    }
    group.finish();
}

/// Measures creating a coroutine, running it to its end and dropping it, with a stack from the stack pool, or with a stack whose
/// memory is fresh.
fn create(c: &mut Criterion) {
    let mut group = c.benchmark_group("create");
    group.bench_function("coroutine/pooled", |b| {
        b.iter(|| Coroutine::new(|_: &Suspender<u64, ()>, n| n + 1).resume(black_box(1)));
    });
    group.bench_function("coroutine/fresh", |b| {
        b.iter(|| {
            let c = Builder::new().clear_stack(true).coroutine(|_: &Suspender<u64, ()>, n| n + 1);
            c.expect("a stack").resume(black_box(1))
        });
    });
    group.finish();
}

criterion_group!(benches, switch, depth, create);
criterion_main!(benches);
