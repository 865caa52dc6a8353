//! Tests of the fence handshake, with owners that compute, block, sleep, or block signals.

// Runs are a higher layer than the scheduler; tests may use them nevertheless.
extern crate self as cede;

use super::super::{Worker, worker};
use super::ask;
use crate::sys::membarrier;
use crate::wait::lock::BiasedLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// Makes this thread's run the owner of a lock, so that it can be asked. Returns the number of the run.
fn owning() -> u64 {
    let worker = worker().unwrap();
    drop(BiasedLock::new(()).lock());
    super::register(worker);
    worker.run()
}

/// Asks the thread of a run 20 times while the run calls `what` repeatedly. Returns the number of calls of `what`.
fn ask_while(what: impl Fn(&AtomicBool) + Send + 'static) -> usize {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (sender, receiver) = mpsc::channel();
    let (inner, counted) = (Arc::clone(&stop), Arc::clone(&count));
    let owner = thread::spawn(move || {
        cede::run(|| {
            sender.send(owning()).unwrap();
            while !inner.load(Ordering::Acquire) {
                what(&inner);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    let run = receiver.recv().unwrap();
    for _ in 0..20 {
        assert!(ask(run), "a live run answers");
    }
    stop.store(true, Ordering::Release);
    ask(run); // the run may have ended
    owner.join().unwrap();
    assert!(!ask(run), "the run has ended");
    count.load(Ordering::Relaxed)
}

#[test]
fn owner_that_computes_answers_in_its_signal_handler() {
    let count = ask_while(|stop| while !stop.load(Ordering::Acquire) {});
    assert_eq!(count, 1, "the task never switched");
}

#[test]
fn owner_that_blocks_its_thread_answers_in_its_signal_handler() {
    let count = ask_while(|stop| {
        while !stop.load(Ordering::Acquire) {
            thread::park_timeout(Duration::from_millis(100));
        }
    });
    assert_eq!(count, 1, "the task never switched");
}

#[test]
fn owner_that_takes_turns_or_sleeps_answers_between_them() {
    assert!(ask_while(|_| cede::yield_now()) > 0);
    assert!(ask_while(|_| cede::time::sleep(Duration::from_millis(5)).unwrap()) > 0);
}

/// Programs often block all signals in all threads but one.
#[test]
fn owner_that_blocks_signals_answers_between_turns() {
    let block_signals = || {
        // SAFETY: `sigset_t` is plain data, filled by `sigfillset`. `pthread_sigmask` changes only the mask of this thread.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            assert_eq!(libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut()), 0);
        }
    };
    let count = ask_while(move |_| {
        block_signals();
        cede::yield_now();
    });
    assert!(count > 0);
}

/// Two owners revoke each other's locks at the same time.
#[test]
fn owners_that_ask_each_other_both_get_answers() {
    let rounds = if std::env::var_os("CEDE_TEST_RUNNER").is_some() { 20 } else { 200 };
    let meeting = std::sync::Barrier::new(2);
    let locks: [Vec<BiasedLock<u32>>; 2] = std::array::from_fn(|_| (0..rounds).map(|_| BiasedLock::new(0)).collect());
    thread::scope(|scope| {
        for own in 0..2 {
            let (meeting, locks) = (&meeting, &locks);
            scope.spawn(move || {
                cede::run(|| {
                    let is_owner = |worker: &Worker| worker.registered.get();
                    locks[own].iter().for_each(|lock| *lock.lock() += 1);
                    assert!(!membarrier::is_available() || is_owner(worker().unwrap()));
                    membarrier::REFUSED.set(true);
                    meeting.wait();
                    locks[1 - own].iter().for_each(|lock| *lock.lock() += 1);
                    meeting.wait();
                });
            });
        }
    });
    assert!(locks.iter().flatten().all(|lock| *lock.lock() == 2));
}
