//! Two operating-system threads handing over to each other: what a coroutine's round trip is to be compared with.
//!
//! In the loop: one round trip, a u64 there and back, which is two switches of threads. Starting the second thread is outside.
//! Names are `area/case/parameter`.

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
                let each = hand_over(u32::try_from(round_trips).expect("criterion asks for fewer"));
                Duration::from_nanos((each * round_trips as f64) as u64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hand_over);
criterion_main!(benches);
