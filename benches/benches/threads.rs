//! Two operating-system threads handing over to each other: what a coroutine's round trip is to be compared with.
//!
//! One iteration is one round trip: there and back, two switches of threads.

use criterion::{Criterion, criterion_group, criterion_main};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A turn that two threads pass to and fro, by futex.
struct Turn(AtomicU32);

impl Turn {
    /// Waits until it is `mine`; false when it is over.
    fn wait(&self, mine: u32) -> bool {
        loop {
            match self.0.load(Ordering::Acquire) {
                now if now == mine => return true,
                2 => return false,
                // SAFETY: the word outlives the call; no timeout.
                now => unsafe {
                    let timeout = std::ptr::null::<libc::timespec>();
                    libc::syscall(
                        libc::SYS_futex,
                        self.0.as_ptr(),
                        libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                        now,
                        timeout,
                    );
                },
            }
        }
    }

    fn pass(&self, to: u32) {
        self.0.store(to, Ordering::Release);
        // SAFETY: the word outlives the call.
        unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }
}

fn futex(c: &mut Criterion) {
    let turn = Arc::new(Turn(AtomicU32::new(0)));
    let other = Arc::clone(&turn);
    let thread = std::thread::spawn(move || {
        while other.wait(1) {
            other.pass(0);
        }
    });
    c.bench_function("threads/futex", |b| {
        b.iter(|| {
            turn.pass(1);
            turn.wait(0)
        });
    });
    turn.pass(2);
    thread.join().expect("the other thread ended");
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
