//! A waker of an executor that panics: the waiters behind it in a list of waiters are woken nevertheless, and the panic goes on.

mod common;

use cede::bridge::Fiber;
use cede::fiber;
use cede::sync::RwLock;
use common::executor::{Wakes, poll, poll_with};
use common::{caught, panic_text};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Wake, Waker};

/// Counts its wakes, and panics in each.
#[derive(Default)]
struct Panics(AtomicU32);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        panic!("wake {}", self.0.fetch_add(1, Ordering::Relaxed));
    }
}

/// Lets fibers wait, the first two with wakers that panic. Returns the text of the panic of `ends`, which ends all waits.
fn panic_of_wakes(waits: impl Fn() -> Fiber<()>, ends: impl FnOnce()) -> String {
    let (panics, (wakes, waker)) = (Arc::new(Panics::default()), Wakes::new());
    let mut fibers: Vec<_> = (0..5).map(|_| waits()).collect();
    for (nth, fiber) in fibers.iter_mut().enumerate() {
        let waker = if nth < 2 { Waker::from(Arc::clone(&panics)) } else { waker.clone() };
        assert!(poll_with(fiber, &waker).is_pending());
    }
    let text = panic_text(caught(ends));
    assert_eq!((panics.0.load(Ordering::Relaxed), wakes.count()), (2, 3));
    for mut fiber in fibers {
        assert_eq!(poll(&mut fiber), Poll::Ready(()));
    }
    text
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn lock_wakes_behind_a_panic() {
    let lock = Arc::new(RwLock::new(()));
    let waits = || {
        let lock = Arc::clone(&lock);
        fiber(move || drop(lock.read().unwrap()))
    };
    let writer = lock.write().unwrap();
    assert_eq!(panic_of_wakes(waits, || drop(writer)), "wake 0");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn second_panic_ends_in_the_list() {
    // The lock is released by an unwinding, which a second panic would turn into an abort.
    let lock = Arc::new(RwLock::new(()));
    let waits = || {
        let lock = Arc::clone(&lock);
        fiber(move || drop(lock.read()))
    };
    let writer = lock.write().unwrap();
    let ends = move || {
        let _writer = writer;
        panic!("before the wakes");
    };
    assert_eq!(panic_of_wakes(waits, ends), "before the wakes");
}
