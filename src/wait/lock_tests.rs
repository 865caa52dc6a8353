//! The lock between its owner and others: in the moment in which it is taken away, and before and after.
#![forbid(unsafe_code)]

// The run stands below this module; a test may use it all the same.
extern crate self as cede;

use super::{BiasedLock, NOBODY, SHARED};
use crate::sys::membarrier;
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

/// Whether the tests run under an emulator.
fn emulated() -> bool {
    std::env::var_os("CEDE_TEST_RUNNER").is_some() || cfg!(target_arch = "aarch64")
}

/// Two numbers that are equal whenever nobody is inside.
type Pair = BiasedLock<(u64, u64)>;

fn step(lock: &Pair) {
    let mut pair = lock.lock();
    assert_eq!(pair.0, pair.1, "two were inside");
    pair.0 += 1;
    black_box(&mut pair);
    pair.1 += 1;
}

#[test]
fn while_it_is_taken_away_only_one_is_inside() {
    take_away_many(false);
}

/// A sandbox forbids membarrier after locks have owners: the owner's thread is asked for the fence.
#[test]
fn lock_taken_away_without_membarrier_has_one_inside() {
    take_away_many(true);
}

fn take_away_many(refused: bool) {
    // The owner takes no turns, so each time that it is asked takes a millisecond and a signal.
    let rounds = if emulated() {
        200
    } else if refused {
        1_000
    } else {
        5_000
    };
    let locks: Arc<Vec<Pair>> = Arc::new((0..rounds).map(|_| BiasedLock::default()).collect());
    let (at, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let taker = {
        let (locks, at, taken) = (Arc::clone(&locks), Arc::clone(&at), Arc::clone(&taken));
        thread::spawn(move || {
            membarrier::REFUSED.set(refused);
            for (round, lock) in locks.iter().enumerate() {
                while at.load(Acquire) <= round {
                    thread::yield_now();
                }
                // At another moment of what the owner does each time.
                (0..round % 97).for_each(|_| spin_loop());
                (0..10).for_each(|_| step(lock));
                taken.store(round + 1, Release);
            }
        })
    };
    let mut own = Vec::new();
    cede::run(|| {
        for (round, lock) in locks.iter().enumerate() {
            step(lock);
            assert!(
                !membarrier::is_available() || !matches!(lock.bias.load(Relaxed), NOBODY | SHARED),
                "it is this run's"
            );
            at.store(round + 1, Release);
            let mut steps = 1;
            while taken.load(Acquire) <= round {
                (0..50).for_each(|_| step(lock));
                steps += 50;
                thread::yield_now(); // the lock is not fair to threads, and whoever wants it may sleep
            }
            step(lock);
            own.push(steps + 1);
        }
    });
    taker.join().unwrap();
    for (lock, own) in locks.iter().zip(own) {
        assert_eq!(*lock.lock(), (own + 10, own + 10));
        assert_eq!(lock.bias.load(Relaxed), SHARED);
    }
}

#[test]
fn many_threads_take_it_away_at_once_from_an_owner_that_waits_inside() {
    let (lock, inside) = (Arc::new(Pair::default()), Arc::new(AtomicBool::new(false)));
    cede::run(|| {
        let mut pair = lock.lock();
        let others: Vec<_> = (0..4)
            .map(|_| {
                let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
                thread::spawn(move || {
                    let pair = lock.lock();
                    assert!(!inside.load(Acquire) && *pair == (1, 1));
                })
            })
            .collect();
        inside.store(true, Release);
        // So long that those who wait have stopped looking all the time.
        thread::sleep(std::time::Duration::from_millis(5));
        *pair = (1, 1);
        inside.store(false, Release);
        drop(pair);
        others.into_iter().for_each(|other| other.join().unwrap());
        step(&lock);
    });
    assert_eq!(*lock.lock(), (2, 2));
}

#[test]
fn the_lock_of_a_run_that_has_ended_is_anybodys() {
    let lock = Pair::default();
    cede::run(|| step(&lock));
    step(&lock);
    assert_eq!(lock.bias.load(Relaxed), SHARED, "a plain thread has taken it");
    let lock = Pair::default();
    thread::scope(|scope| drop(scope.spawn(|| cede::run(|| step(&lock)))));
    cede::run(|| step(&lock));
    assert_eq!(*lock.lock(), (2, 2));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn taking_it_twice_panics_and_leaves_it_usable() {
    cede::run(|| {
        let lock = Pair::default();
        let outer = lock.lock();
        if outer.shared.is_none() {
            let twice = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(lock.lock())));
            assert!(twice.is_err());
        }
        drop(outer);
        step(&lock);
    });
}
