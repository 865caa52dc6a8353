//! Promises: a value that is set once, and that any number of waiters may wait for.

mod common;

use cede::sync::promise::{AlreadySet, PromiseError};
use cede::sync::{Completion, Promise};
use cede::task::Cancelled;
use cede::{Config, spawn, yield_now};
use common::witness::{AtEnd, Log as WitnessLog};
use common::worlds::{World, in_all_worlds};
use common::{emulated, rounds};
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Log = Rc<RefCell<Vec<String>>>;

#[test]
fn a23_setting_it_twice_is_an_error_that_gives_the_value_back() {
    let promise = Promise::new();
    assert!(!promise.is_set());
    assert_eq!(promise.set("one"), Ok(()));
    assert_eq!(promise.set("two"), Err(AlreadySet("two")));
    let AlreadySet(error) = promise.fail("three").unwrap_err();
    assert_eq!(error.to_string(), "three");
    assert!(promise.is_set());
    assert_eq!(promise.completion().wait().unwrap(), &"one");
    let promise = Promise::new();
    promise.fail("no").unwrap();
    assert_eq!(promise.set(1), Err(AlreadySet(1)));
}

/// Setting a promise wakes all waiters. Later waits return at once.
#[test]
fn a24_set_wakes_all_waiters_and_later_waits_return_at_once() {
    in_all_worlds(|world| {
        let promise = Promise::new();
        let completion = promise.completion();
        let waiting: Vec<_> = (0..4)
            .map(|_| completion.clone())
            .map(|completion: Completion<String>| world.spawn(move || completion.wait().unwrap().clone()))
            .collect();
        yield_now();
        promise.set("value".to_string()).unwrap();
        waiting.into_iter().for_each(|one| assert_eq!(one.join(), "value"));
        assert_eq!(completion.wait().unwrap(), "value");
    });
}

#[test]
fn a24_waiters_are_woken_in_fifo_order() {
    let log: Log = Rc::default();
    cede::run(|| {
        let promise = Promise::new();
        for n in 0..3 {
            let (completion, log) = (promise.completion(), Rc::clone(&log));
            spawn(move || {
                let value = completion.wait().unwrap();
                log.borrow_mut().push(format!("{n}: {value}"));
            });
        }
        yield_now();
        promise.set("set").unwrap();
        assert!(log.borrow().is_empty(), "no waiter runs before the setting task gives up its turn");
        yield_now();
    });
    assert_eq!(*log.borrow(), ["0: set", "1: set", "2: set"]);
}

#[test]
fn promise_is_set_from_another_thread() {
    in_all_worlds(|world| {
        let promise = Promise::new();
        let completion = promise.completion();
        let other = world.spawn(move || promise.set(42).is_ok());
        assert_eq!(completion.wait().unwrap(), &42);
        assert!(other.join());
    });
}

#[test]
fn failure_reaches_every_waiter_with_its_source() {
    let promise = Promise::<i32>::new();
    promise.fail(std::io::Error::other("disk")).unwrap();
    for _ in 0..2 {
        let error = promise.completion().wait().unwrap_err();
        assert_eq!(error.to_string(), "the promise failed: disk");
        let PromiseError::Failed(source) = error else { panic!("{error}") };
        assert!(source.downcast_ref::<std::io::Error>().is_some());
    }
}

#[test]
fn promise_dropped_unset_ends_the_waits() {
    in_all_worlds(|world| {
        let promise = Promise::<i32>::new();
        let completion = promise.completion();
        let other = world.spawn(move || matches!(completion.wait(), Err(PromiseError::Dropped)));
        yield_now();
        drop(promise);
        assert!(other.join());
    });
}

#[test]
fn a_wait_may_be_limited() {
    let promise = Promise::<i32>::new();
    let completion = promise.completion();
    assert!(matches!(completion.wait_timeout(Duration::from_millis(1)), Err(PromiseError::Timeout)));
    let config = Config::new().paused_clock(true);
    config
        .run(|| {
            let start = cede::time::now();
            assert!(matches!(completion.wait_timeout(SECOND), Err(PromiseError::Timeout)));
            assert_eq!(cede::time::now() - start, SECOND);
            assert!(matches!(completion.wait_deadline(start), Err(PromiseError::Timeout)));
            promise.set(1).unwrap();
            assert_eq!(completion.wait_deadline(start).unwrap(), &1, "a value that is there needs no time");
        })
        .unwrap();
}

#[test]
fn cancelled_wait_does_not_affect_another_waiter() {
    cede::run(|| {
        let promise = Promise::new();
        let (one, other) = (promise.completion(), promise.completion());
        let mut cancelled = spawn(move || matches!(one.wait(), Err(PromiseError::Cancelled)));
        let mut waiting = spawn(move || *other.wait().unwrap());
        yield_now();
        cancelled.cancel();
        yield_now();
        promise.set(1).unwrap();
        assert!(cancelled.join().unwrap());
        assert_eq!(waiting.join().unwrap(), 1);
    });
}

/// Callbacks run from the scheduler in the order in which they were added, never inside of `set` or `on_done`.
#[test]
fn a20_callbacks_run_from_the_scheduler_in_order() {
    let log: Log = Rc::default();
    let push = |text: String| log.borrow_mut().push(text);
    cede::run(|| {
        let promise = Promise::new();
        let completion = promise.completion();
        for n in 0..2 {
            let log = Rc::clone(&log);
            completion.on_done(move |value| log.borrow_mut().push(format!("{n}: {:?}", value.unwrap())));
        }
        promise.set("set").unwrap();
        push("set returned".into());
        let inner = Rc::clone(&log);
        completion.on_done(move |value| inner.borrow_mut().push(format!("late: {:?}", value.unwrap())));
        push("added late".into());
        yield_now();
    });
    assert_eq!(*log.borrow(), ["set returned", "added late", "0: \"set\"", "1: \"set\"", "late: \"set\""]);
}

#[test]
fn callback_runs_on_the_thread_that_added_it() {
    for world in [World::TaskAndThreads, World::Workers] {
        world.main(|| {
            let promise = Promise::new();
            let completion = promise.completion();
            let (done, here) = (Rc::new(RefCell::new(None)), thread::current().id());
            let inner = Rc::clone(&done);
            completion.on_done(move |value| {
                *inner.borrow_mut() = Some((*value.unwrap(), thread::current().id()));
            });
            let other = world.spawn(move || promise.set(1).is_ok());
            assert!(other.join());
            while done.borrow().is_none() {
                yield_now();
            }
            assert_eq!(*done.borrow(), Some((1, here)));
        });
    }
}

#[test]
fn a_callback_from_another_thread_wakes_a_worker_that_sleeps() {
    let promise = Promise::new();
    let completion = promise.completion();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        promise.set(1).unwrap();
    });
    // Only the remote wake ends its sleep.
    let config = Config::new().report_stall(Duration::MAX);
    let value = config.run(|| {
        let (sender, receiver) = cede::sync::channel::bounded(1);
        completion.on_done(move |value| sender.send(*value.unwrap()).unwrap());
        receiver.recv()
    });
    assert_eq!(value.unwrap(), Ok(1));
    thread.join().unwrap();
}

#[test]
fn a_callback_may_be_removed_until_it_is_on_its_way() {
    cede::run(|| {
        let promise = Promise::<i32>::new();
        let completion = promise.completion();
        let called = Rc::new(RefCell::new(0));
        let (kept, removed) = (Rc::clone(&called), Rc::clone(&called));
        completion.on_done(move |_| *kept.borrow_mut() += 1);
        let callback = completion.on_done(move |_| *removed.borrow_mut() += 10);
        assert!(completion.remove_done(callback));
        assert!(!completion.remove_done(callback));
        assert_eq!(Rc::strong_count(&called), 2, "the captures of the callback are dropped");
        drop(promise);
        yield_now();
        assert_eq!(*called.borrow(), 1);
    });
}

#[test]
fn callback_removed_from_another_thread_is_never_called() {
    let dropped_on = Rc::new(Cell::new(None));
    cede::run(|| {
        let promise = Promise::<i32>::new();
        let (completion, called) = (promise.completion(), Rc::new(Cell::new(0)));
        let (owned, other) = (Rc::clone(&dropped_on), Rc::clone(&called));
        let at_end = AtEnd(move || owned.set(Some(thread::current().id())));
        let callback = completion.on_done(move |_| drop(at_end));
        completion.on_done(move |_| other.set(1));
        let inner = completion.clone();
        let remove = move || (inner.remove_done(callback), inner.remove_done(callback));
        assert_eq!(thread::spawn(remove).join().unwrap(), (true, false));
        assert_eq!(dropped_on.get(), None, "the captures stay on the thread of the callback");
        promise.set(1).unwrap();
        rounds(3);
        assert_eq!(called.get(), 1, "the other callbacks are called");
    });
    assert_eq!(dropped_on.get(), Some(thread::current().id()));
}

#[test]
fn callback_removed_too_late_from_a_thread_is_called() {
    cede::run(|| {
        let promise = Promise::<i32>::new();
        let (completion, called) = (promise.completion(), Rc::new(Cell::new(false)));
        let inner = Rc::clone(&called);
        let callback = completion.on_done(move |_| inner.set(true));
        let set_and_remove = move || {
            promise.set(1).unwrap();
            completion.remove_done(callback)
        };
        assert!(!thread::spawn(set_and_remove).join().unwrap());
        rounds(3);
        assert!(called.get());
    });
}

#[test]
fn callback_removed_while_it_is_set_is_called_or_removed() {
    let count = if emulated() { 100 } else { 2000 };
    cede::run(|| {
        let (mut removed, mut called) = (0, 0);
        for n in 0..count {
            let promise = Promise::<i32>::new();
            let (completion, ran) = (promise.completion(), Rc::new(Cell::new(false)));
            let inner = Rc::clone(&ran);
            let callback = completion.on_done(move |_| inner.set(true));
            let begin = Arc::new(AtomicBool::new(false));
            let (other, told) = (completion, Arc::clone(&begin));
            let thread = thread::spawn(move || {
                while !told.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                other.remove_done(callback)
            });
            begin.store(true, Ordering::Release);
            (0..n % 5).for_each(|_| thread::yield_now());
            promise.set(1).unwrap();
            let was_removed = thread.join().unwrap();
            rounds(3);
            assert_ne!(was_removed, ran.get());
            // The worker takes the remote wake at its next poll.
            let dropped = (0..5000).any(|_| {
                yield_now();
                Rc::strong_count(&ran) == 1
            });
            assert!(dropped);
            removed += u32::from(was_removed);
            called += u32::from(ran.get());
        }
        assert_eq!(removed + called, count);
    });
}

#[test]
fn callback_removed_after_its_run_was_not_there() {
    let promise = Promise::<i32>::new();
    let completion = promise.completion();
    let callback = cede::run(|| completion.on_done(|_| ()));
    assert!(!completion.remove_done(callback));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn callbacks_dropped_with_their_run_may_panic() {
    let (log, promise) = (WitnessLog::default(), Promise::<i32>::new());
    cede::run(|| {
        let completion = promise.completion();
        for _ in 0..3 {
            let bad = AtEnd(|| resume_unwind(Box::new("in a destructor")));
            let good = log.at_end("dropped");
            completion.on_done(move |_| drop((bad, good)));
        }
    });
    assert_eq!(log.take(), ["dropped"; 3]);
}

#[test]
fn a_callback_of_a_promise_that_is_never_set_goes_with_its_run() {
    let owned = Rc::new(());
    let promise = Promise::<i32>::new();
    let completion = promise.completion();
    cede::run(|| {
        let inner = Rc::clone(&owned);
        completion.on_done(move |_| drop(inner));
    });
    assert_eq!(Rc::strong_count(&owned), 1);
    promise.set(1).unwrap();
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_callback_that_panics_keeps_no_other_from_running() {
    let log: Log = Rc::default();
    cede::run(|| {
        let promise = Promise::new();
        let completion = promise.completion();
        completion.on_done(|_| panic!("on purpose"));
        let inner = Rc::clone(&log);
        completion.on_done(move |value| inner.borrow_mut().push(format!("{:?}", value.unwrap())));
        promise.set(1).unwrap();
        yield_now();
    });
    assert_eq!(*log.borrow(), ["1"]);
}

#[test]
#[should_panic(expected = "cannot add a callback outside of a run")]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_callback_needs_a_scheduler() {
    Promise::<i32>::new().completion().on_done(|_| ());
}

#[test]
fn forgotten_promise_leaves_its_waiters_cancellable() {
    cede::run(|| {
        let promise = Promise::<i32>::new();
        let completion = promise.completion();
        std::mem::forget(completion.clone());
        std::mem::forget(promise);
        let mut waiting = spawn(move || matches!(completion.wait(), Err(PromiseError::Cancelled)));
        yield_now();
        waiting.cancel();
        assert!(waiting.join().unwrap());
        assert_eq!(cede::task::check(), Ok::<(), Cancelled>(()));
    });
}

#[test]
fn a_value_that_is_not_send_may_be_promised_on_one_thread() {
    cede::run(|| {
        let promise = Promise::new();
        let completion = promise.completion();
        let mut waiting = spawn(move || Rc::clone(completion.wait().unwrap()));
        yield_now();
        promise.set(Rc::new(RefCell::new(1))).unwrap();
        *waiting.join().unwrap().borrow_mut() += 1;
        assert_eq!(*promise.completion().wait().unwrap().borrow(), 2);
    });
}
