//! Tests of the biased lock: between its owner and other threads, before, during and after the revocation of the bias.
#![forbid(unsafe_code)]

// Runs are a higher layer than `wait`; tests may use them nevertheless.
extern crate self as cede;

use super::{BiasedLock, SHARED, UNOWNED};
use crate::sys::membarrier;
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

/// Returns whether the tests run under an emulator.
fn emulated() -> bool {
    std::env::var_os("CEDE_TEST_RUNNER").is_some() || cfg!(target_arch = "aarch64")
}

/// Two numbers that are equal whenever the lock is free.
type Pair = BiasedLock<(u64, u64)>;

fn step(lock: &Pair) {
    let mut pair = lock.lock();
    assert_eq!(pair.0, pair.1, "two threads hold the lock");
    pair.0 += 1;
    black_box(&mut pair);
    pair.1 += 1;
}

#[test]
fn revocation_with_membarrier_excludes_the_owner() {
    revoke_many(Membarrier::Granted);
}

/// A sandbox forbids membarrier when locks have owners already: the fence is requested from the owner's thread.
#[test]
fn revocation_without_membarrier_excludes_the_owner() {
    revoke_many(Membarrier::Refused);
}

/// Whether membarrier(2) works in the revoking thread.
#[derive(Clone, Copy, PartialEq)]
enum Membarrier {
    Granted,
    Refused,
}

fn revoke_many(membarrier: Membarrier) {
    let rounds = match membarrier {
        _ if emulated() => 200,
        // The owner does not switch tasks, so each request for a fence takes a millisecond and a signal.
        Membarrier::Refused => 1_000,
        Membarrier::Granted => 5_000,
    };
    let locks: Arc<Vec<Pair>> = Arc::new((0..rounds).map(|_| BiasedLock::default()).collect());
    let (at, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let taker = {
        let (locks, at, taken) = (Arc::clone(&locks), Arc::clone(&at), Arc::clone(&taken));
        thread::spawn(move || {
            membarrier::REFUSED.set(membarrier == Membarrier::Refused);
            for (round, lock) in locks.iter().enumerate() {
                while at.load(Acquire) <= round {
                    thread::yield_now();
                }
                // Vary the moment of the revocation relative to the owner's steps.
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
                !membarrier::is_available() || !matches!(lock.bias.load(Relaxed), UNOWNED | SHARED),
                "this run owns the lock"
            );
            at.store(round + 1, Release);
            let mut steps = 1;
            while taken.load(Acquire) <= round {
                (0..50).for_each(|_| step(lock));
                steps += 50;
                thread::yield_now(); // the lock is not fair, and the revoking thread may sleep in `wait_for_owner`
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
fn revocation_by_many_threads_waits_for_a_slow_owner() {
    let (lock, inside) = (Arc::new(Pair::default()), Arc::new(AtomicBool::new(false)));
    cede::run(|| {
        let mut pair = lock.lock();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
                thread::spawn(move || {
                    let pair = lock.lock();
                    assert!(!inside.load(Acquire) && *pair == (1, 1));
                })
            })
            .collect();
        inside.store(true, Release);
        // Long enough for the revoking thread to sleep between its checks.
        thread::sleep(std::time::Duration::from_millis(5));
        *pair = (1, 1);
        inside.store(false, Release);
        drop(pair);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        step(&lock);
    });
    assert_eq!(*lock.lock(), (2, 2));
}

#[test]
fn revocation_after_the_run_ended_succeeds() {
    let lock = Pair::default();
    cede::run(|| step(&lock));
    step(&lock);
    assert_eq!(lock.bias.load(Relaxed), SHARED, "a plain thread revoked the bias");
    let lock = Pair::default();
    thread::scope(|scope| drop(scope.spawn(|| cede::run(|| step(&lock)))));
    cede::run(|| step(&lock));
    assert_eq!(*lock.lock(), (2, 2));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn owner_that_locks_twice_panics_and_can_lock_again() {
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
