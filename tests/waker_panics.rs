//! A waker of an executor that panics: the waiters behind it in a list of waiters are woken nevertheless, and the panic goes on.

mod common;

use cede::bridge::Fiber;
use cede::fiber;
use cede::sync::{Event, Promise, RwLock, channel};
use common::executor::{Wakes, poll, poll_with};
use common::{caught, panic_text};
use std::cell::Cell;
use std::rc::Rc;
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

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn event_wakes_behind_a_panic() {
    let event = Arc::new(Event::new());
    let waits = || {
        let event = Arc::clone(&event);
        fiber(move || event.wait().unwrap())
    };
    assert_eq!(panic_of_wakes(waits, || event.set()), "wake 0");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn promise_wakes_behind_a_panic() {
    let promise = Promise::new();
    let completion = promise.completion();
    let waits = || {
        let completion = completion.clone();
        fiber(move || assert_eq!(completion.wait().unwrap(), &42))
    };
    assert_eq!(panic_of_wakes(waits, || promise.set(42).unwrap()), "wake 0");
}

/// The callbacks of a promise run even if the waker of a waiter panics.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn promise_callback_after_a_panic_runs() {
    let promise = Promise::new();
    let completion = promise.completion();
    let waits = || {
        let completion = completion.clone();
        fiber(move || assert_eq!(completion.wait().unwrap(), &42))
    };
    let called = Rc::new(Cell::new(false));
    cede::run(|| {
        let sees = Rc::clone(&called);
        let _callback = completion.on_done(move |_| sees.set(true));
        assert_eq!(panic_of_wakes(waits, || promise.set(42).unwrap()), "wake 0");
        cede::yield_now();
    });
    assert!(called.get());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn channel_close_wakes_behind_a_panic() {
    let (sender, receiver) = channel::bounded::<u32>(1);
    let waits = || {
        let receiver = receiver.clone();
        fiber(move || assert!(receiver.recv().is_err()))
    };
    assert_eq!(panic_of_wakes(waits, || drop(sender)), "wake 0");
}
