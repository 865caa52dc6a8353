//! Criterion benchmarks of two OS threads that hand off to each other: the baseline for a round trip of a coroutine.
//!
//! One iteration is a round trip, a u64 there and back, which takes two thread switches. Starting the second thread is not
//! measured. Names are `area/case/parameter`.

use cede_benches::{condvar_hand_over, futex_hand_over, pipe_hand_over};
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

type Way = fn(u32) -> f64;

fn hand_over(c: &mut Criterion) {
    let ways = [("futex", futex_hand_over as Way), ("condvar", condvar_hand_over), ("pipe", pipe_hand_over)];
    let mut group = c.benchmark_group("threads");
    for (way, hand_over) in ways {
        group.bench_function(format!("{way}/round-trip"), |b| {
            b.iter_custom(|round_trips| {
                let each =
                    hand_over(u32::try_from(round_trips).expect("criterion requests fewer than 2^32 round trips"));
                Duration::from_nanos((each * round_trips as f64) as u64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hand_over);
criterion_main!(benches);
