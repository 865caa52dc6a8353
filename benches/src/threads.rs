//! Benchmarks of two OS threads that pass a u64 to each other and wait in between: two thread switches per round trip.
//!
//! Only the round trips are timed; the second thread is started before and joined after them.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

/// The value that ends the second thread.
const END: u64 = u64::MAX;

/// A baton that two threads pass to each other by futex, with a value.
struct Turn {
    whose: AtomicU32,
    value: AtomicU64,
}

impl Turn {
    fn wait(&self, mine: u32) -> u64 {
        loop {
            match self.whose.load(Ordering::Acquire) {
                now if now == mine => return self.value.load(Ordering::Relaxed),
                now => {
                    let (operation, timeout) = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, std::ptr::null::<u8>());
                    // SAFETY: the futex word is borrowed from `self`, so it outlives the call. The null timeout is allowed.
                    unsafe { libc::syscall(libc::SYS_futex, self.whose.as_ptr(), operation, now, timeout) };
                }
            }
        }
    }

    fn pass(&self, to: u32, value: u64) {
        self.value.store(value, Ordering::Relaxed);
        self.whose.store(to, Ordering::Release);
        // SAFETY: the futex word is borrowed from `self`, so it outlives the call.
        unsafe { libc::syscall(libc::SYS_futex, self.whose.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }
}

/// Returns the nanoseconds of a round trip by futex.
pub fn futex_hand_over(round_trips: u32) -> f64 {
    let turn = Turn { whose: AtomicU32::new(0), value: AtomicU64::new(0) };
    let there_and_back = |value| {
        turn.pass(1, value);
        if value == END { END } else { turn.wait(0) }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                match turn.wait(1) {
                    END => break,
                    value => turn.pass(0, value + 1),
                }
            }
        });
        timed(round_trips, there_and_back)
    })
}

/// Returns the nanoseconds of a round trip by mutex and condition variable.
pub fn condvar_hand_over(round_trips: u32) -> f64 {
    let (turn, changed) = (Mutex::new((0, 0)), Condvar::new());
    let pass = |to: u32, value: u64| {
        *turn.lock().expect("not poisoned") = (to, value);
        changed.notify_one();
    };
    let wait = |mine: u32| {
        let turn = turn.lock().expect("not poisoned");
        changed.wait_while(turn, |turn| turn.0 != mine).expect("not poisoned").1
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                match wait(1) {
                    END => break,
                    value => pass(0, value + 1),
                }
            }
        });
        timed(round_trips, |value| {
            pass(1, value);
            if value == END { END } else { wait(0) }
        })
    })
}

/// Returns the nanoseconds of a round trip by two pipes.
pub fn pipe_hand_over(round_trips: u32) -> f64 {
    fn read(from: &mut PipeReader) -> u64 {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes).expect("the other thread writes");
        u64::from_ne_bytes(bytes)
    }
    fn write(to: &mut PipeWriter, value: u64) {
        to.write_all(&value.to_ne_bytes()).expect("the other thread reads");
    }
    let (mut their_in, mut our_out) = pipe().expect("a pipe");
    let (mut our_in, mut their_out) = pipe().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                match read(&mut their_in) {
                    END => break,
                    value => write(&mut their_out, value + 1),
                }
            }
        });
        timed(round_trips, |value| {
            write(&mut our_out, value);
            if value == END { END } else { read(&mut our_in) }
        })
    })
}

/// Performs one round trip to wait for the second thread, then the timed ones, then ends the second thread.
fn timed(round_trips: u32, mut there_and_back: impl FnMut(u64) -> u64) -> f64 {
    there_and_back(0);
    let start = Instant::now();
    for i in 0..u64::from(round_trips) {
        assert_eq!(there_and_back(i), i + 1);
    }
    let each = start.elapsed().as_nanos() as f64 / f64::from(round_trips);
    there_and_back(END);
    each
}
