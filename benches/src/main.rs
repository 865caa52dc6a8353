//! The benchmarks behind the ratios that the project promises, interleaved in one process:
//!
//! cargo run --release -p cede-benches
//!
//! The name of a case says what is measured; setup is not measured.

use cede::{Builder, Coroutine, CoroutineState, Generator, Suspender, Yielder};
use cede_benches::{Case, interleave, print};
use corosensei::CoroutineResult;
use std::cell::Cell;
use std::hint::black_box;

const ROUNDS: usize = 101;

fn main() {
    resume();
    depth("recursion: one item by next(), from this deep in ordinary calls", recursive);
    depth("yield_from: one item by next(), through this many generators", delegating);
    create();
}

type Raw = corosensei::Coroutine<u64, u64, ()>;
type RawOut = corosensei::Coroutine<(), u64, ()>;

/// Measures one resume and one suspension, with a u64 out, and a u64 in where the name says so. Bodies end at u64::MAX, so that
/// the compiler cannot treat them as endless.
fn resume() {
    let mut raw = RawOut::new(|y, ()| (0..u64::MAX).for_each(|i| y.suspend(i)));
    let mut raw_in = Raw::new(|y, mut i| {
        while i < u64::MAX {
            i = y.suspend(i + 1);
        }
    });
    let mut coroutine = Coroutine::new(|s: &Suspender<(), u64>, ()| (0..u64::MAX).for_each(|i| s.suspend(i)));
    let mut coroutine_in = Coroutine::new(|s: &Suspender<u64, u64>, mut i| {
        while i < u64::MAX {
            i = s.suspend(i + 1);
        }
    });
    let mut generator = Generator::new(|y: &Yielder<u64>| (0..u64::MAX).for_each(|i| y.yield_(i)));
    let mut sending = Generator::new(|y: &Yielder<u64, u64>| {
        let mut i = 0;
        while i < u64::MAX {
            i = y.yield_(i + 1);
        }
    });
    sending.start();
    let mut wide_raw =
        corosensei::Coroutine::<(), [u64; 4], ()>::new(|y, ()| (0..u64::MAX).for_each(|i| y.suspend([i; 4])));
    let mut wide = Generator::new(|y: &Yielder<[u64; 4]>| (0..u64::MAX).for_each(|i| y.yield_([i; 4])));
    let [mut ahead_8, mut ahead_32] = [8, 32].map(|n| delegating(1).read_ahead(n));
    let counter = Cell::new(0u64);
    let call: Box<dyn Fn() -> u64> = Box::new(|| {
        counter.set(counter.get() + 1);
        counter.get()
    });
    let call = black_box(call);
    let mut iterator = black_box(Box::new(0..u64::MAX) as Box<dyn Iterator<Item = u64>>);
    let figures = interleave(
        vec![
            Case::new("corosensei resume", |n| {
                for _ in 0..n {
                    if let CoroutineResult::Yield(v) = raw.resume(()) {
                        black_box(v);
                    }
                }
            }),
            Case::new("Coroutine::resume", |n| {
                for _ in 0..n {
                    if let CoroutineState::Yielded(v) = coroutine.resume(()) {
                        black_box(v);
                    }
                }
            }),
            Case::new("Generator::next", |n| {
                for _ in 0..n {
                    black_box(generator.next());
                }
            }),
            Case::new("corosensei resume, a u64 in", |n| {
                for i in 0..n {
                    if let CoroutineResult::Yield(v) = raw_in.resume(i) {
                        black_box(v);
                    }
                }
            }),
            Case::new("Coroutine::resume, a u64 in", |n| {
                for i in 0..n {
                    if let CoroutineState::Yielded(v) = coroutine_in.resume(i) {
                        black_box(v);
                    }
                }
            }),
            Case::new("Generator::send, a u64 in", |n| {
                for i in 0..n {
                    if let Ok(CoroutineState::Yielded(v)) = sending.send(i) {
                        black_box(v);
                    }
                }
            }),
            Case::new("corosensei resume, 32 bytes out", |n| {
                for _ in 0..n {
                    if let CoroutineResult::Yield(v) = wide_raw.resume(()) {
                        black_box(v);
                    }
                }
            }),
            Case::new("Generator::next, 32 bytes out", |n| {
                for _ in 0..n {
                    black_box(wide.next());
                }
            }),
            Case::new("Generator::read_ahead(8), an item", |n| {
                for _ in 0..n {
                    black_box(ahead_8.next());
                }
            }),
            Case::new("Generator::read_ahead(32), an item", |n| {
                for _ in 0..n {
                    black_box(ahead_32.next());
                }
            }),
            Case::new("an indirect call", |n| {
                for _ in 0..n {
                    black_box(call());
                }
            }),
            Case::new("an iterator written by hand, behind dyn", |n| {
                for _ in 0..n {
                    black_box(iterator.next());
                }
            }),
        ],
        ROUNDS,
    );
    print("resume + suspend: one round trip", &figures);
    // Leaked, since dropping would unwind the bodies.
    std::mem::forget((raw, raw_in, wide_raw));
}

fn recursive(depth: u32) -> Generator<u64> {
    #[inline(never)]
    fn walk(y: &Yielder<u64>, depth: u32) -> u64 {
        if depth > 1 {
            return walk(y, depth - 1) + 1;
        }
        (0..u64::MAX).for_each(|i| y.yield_(i));
        0
    }
    let builder = Builder::new().stack_size(1 << 20);
    builder
        .generator(move |y| {
            black_box(walk(y, depth));
        })
        .expect("a stack of 1 MiB")
}

fn delegating(depth: u32) -> Generator<u64> {
    Generator::new(move |y: &Yielder<u64>| match depth {
        1 => (0..u64::MAX).for_each(|i| y.yield_(i)),
        _ => y.yield_from(delegating(depth - 1)),
    })
}

fn depth(title: &str, make: fn(u32) -> Generator<u64>) {
    let mut generators: Vec<_> = [1, 10, 100, 1000].map(|depth| (depth.to_string(), make(depth))).into();
    for (_, generator) in &mut generators {
        generator.next();
    }
    let cases = generators.iter_mut().map(|(name, generator)| {
        Case::new(name, |n| {
            for _ in 0..n {
                black_box(generator.next());
            }
        })
    });
    let cases = cases.collect();
    print(title, &interleave(cases, ROUNDS));
}

/// Measures creating a coroutine, running it to its end by one resume, and dropping it.
fn create() {
    let mut stack = Some(corosensei::stack::DefaultStack::default());
    let figures = interleave(
        vec![
            Case::new("corosensei, one stack used again", |n| {
                for i in 0..n {
                    let own = stack.take().expect("put back below");
                    let mut c = Raw::with_stack(own, move |_, n| {
                        black_box(n + i);
                    });
                    black_box(c.resume(1).as_return());
                    stack = Some(c.into_stack());
                }
            }),
            Case::new("Coroutine, from the pool", |n| {
                for i in 0..n {
                    let mut c = Coroutine::new(move |_: &Suspender<u64, ()>, n| {
                        black_box(n + i);
                    });
                    black_box(c.resume(1).complete());
                }
            }),
            Case::new("Generator, from the pool", |n| {
                for i in 0..n {
                    let mut g = Generator::new(move |_: &Yielder<u64>| {
                        black_box(i);
                    });
                    black_box(g.next());
                }
            }),
            Case::new("Coroutine, memory given back each time", |n| {
                for i in 0..n {
                    let builder = Builder::new().clear_stack(true);
                    let c = builder.coroutine(move |_: &Suspender<u64, ()>, n| {
                        black_box(n + i);
                    });
                    black_box(c.expect("a stack").resume(1).complete());
                }
            }),
        ],
        ROUNDS,
    );
    print("create + run to the end + drop", &figures);
}
