//! Two operating-system threads handing over to each other: what a coroutine's round trip is to be compared with.
//!
//! One iteration is one round trip: there and back, two switches of threads.

use criterion::{Criterion, criterion_group, criterion_main};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::{Arc, Condvar, Mutex};

fn futex(c: &mut Criterion) {
    c.bench_function("threads/futex", |b| {
        b.iter_custom(|round_trips| {
            let nanos = cede_benches::futex_hand_over(u32::try_from(round_trips).expect("criterion asks for fewer"));
            std::time::Duration::from_nanos((nanos * round_trips as f64) as u64)
        });
    });
}

fn condvar(c: &mut Criterion) {
    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let pass_and_wait = |turn: &(Mutex<u32>, Condvar), to: u32, mine: u32| {
        let mut now = turn.0.lock().expect("nobody panics");
        *now = to;
        turn.1.notify_one();
        while *now != mine && *now != 2 {
            now = turn.1.wait(now).expect("nobody panics");
        }
        *now == mine
    };
    let other = Arc::clone(&turn);
    let thread = std::thread::spawn(move || while pass_and_wait(&other, 0, 1) {});
    c.bench_function("threads/condvar", |b| b.iter(|| pass_and_wait(&turn, 1, 0)));
    *turn.0.lock().expect("nobody panics") = 2;
    turn.1.notify_one();
    thread.join().expect("the other thread ended");
}

fn pipes(c: &mut Criterion) {
    fn echo(mut from: PipeReader, mut to: PipeWriter) {
        let mut byte = [0];
        while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
    }
    let (their_in, mut our_out) = pipe().expect("a pipe");
    let (mut our_in, their_out) = pipe().expect("a pipe");
    let thread = std::thread::spawn(move || echo(their_in, their_out));
    c.bench_function("threads/pipe", |b| {
        b.iter(|| {
            our_out.write_all(&[1]).expect("the other thread reads");
            our_in.read_exact(&mut [0]).expect("the other thread writes");
        });
    });
    drop(our_out);
    thread.join().expect("the other thread ended");
}

criterion_group!(benches, futex, condvar, pipes);
criterion_main!(benches);
