//! Streams whose items come from synchronous code that waits.
#![cfg(feature = "stream")]

mod common;

use cede::bridge::{BlockingIter, EmitError, FiberStream, stream};
use cede::{Builder, Config, block_on, fiber, run, spawn, yield_now};
use common::futures::Flag;
use common::witness::Log;
use common::{caught, panic_text};
use futures_core::{FusedStream, Stream};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;

fn poll<T: 'static>(stream: &mut FiberStream<T>) -> Poll<Option<T>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn items_and_waits_alternate() {
    let flags = [Flag::default(), Flag::default()];
    let waits = flags.clone();
    let mut numbers = stream(move |emitter| {
        for (n, flag) in waits.into_iter().enumerate() {
            emitter.emit(2 * n).unwrap();
            block_on(flag.wait()).unwrap();
            emitter.emit(2 * n + 1).unwrap();
        }
    });
    assert_eq!(numbers.size_hint(), (0, None));
    for (n, flag) in flags.iter().enumerate() {
        assert_eq!(poll(&mut numbers), Poll::Ready(Some(2 * n)));
        assert_eq!(poll(&mut numbers), Poll::Pending);
        assert_eq!(poll(&mut numbers), Poll::Pending);
        flag.set();
        assert_eq!(poll(&mut numbers), Poll::Ready(Some(2 * n + 1)));
    }
    assert!(!numbers.is_terminated());
    for _ in 0..2 {
        assert_eq!(poll(&mut numbers), Poll::Ready(None));
        assert!(numbers.is_terminated());
        assert_eq!(numbers.size_hint(), (0, Some(0)));
    }
}

#[test]
fn consumers_of_every_kind() {
    fn case() -> u64 {
        let flag = Flag::default();
        let waits = flag.clone();
        let setter = thread::spawn(move || flag.set());
        let items = stream(move |emitter| {
            emitter.emit(1).unwrap();
            block_on(waits.wait()).unwrap();
            (2..=100).for_each(|n| emitter.emit(n).unwrap());
        });
        let sum = BlockingIter::new(items).map(|item: Result<u64, _>| item.unwrap()).sum();
        setter.join().unwrap();
        sum
    }
    assert_eq!(case(), 5050);
    assert_eq!(run(|| spawn(case).join().unwrap()), 5050);
    assert_eq!(block_on(fiber(case)), Ok(5050));
    assert_eq!(block_on(Config::new().run_async(|| spawn(case).join().unwrap())).unwrap().unwrap(), 5050);
}

#[test]
fn dropped_stream_hands_the_item_back() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let mut words = stream(move |emitter| {
        for word in ["a", "b", "c"] {
            log.borrow_mut().push(emitter.emit(word));
        }
    });
    assert_eq!(poll(&mut words), Poll::Ready(Some("a")));
    drop(words);
    assert_eq!(*seen.borrow(), [Ok(()), Err(EmitError("b")), Err(EmitError("c"))]);
    // One that has not started never runs.
    drop(stream(|emitter| emitter.emit(()).unwrap()));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn code_that_only_emits_is_unwound() {
    let log = Log::default();
    let ended = log.at_end("unwound");
    let mut ones = stream(move |emitter| {
        let _ended = ended;
        loop {
            let _ = emitter.emit(1);
        }
    });
    assert_eq!(poll(&mut ones), Poll::Ready(Some(1)));
    drop(ones);
    assert_eq!(log.take(), ["unwound"]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn other_code_cannot_emit() {
    let outer = stream(|emitter| {
        // SAFETY: `block_on` owns the future, and drops it before it returns.
        let other = unsafe { Builder::new().fiber_borrowing(|| panic_text(caught(|| emitter.emit(1)))) };
        let refused = block_on(other.unwrap()).unwrap();
        assert!(refused.starts_with("cannot emit here"), "{refused}");
        let refused = run(|| panic_text(caught(|| emitter.emit(2))));
        assert!(refused.starts_with("cannot emit here"), "{refused}");
        emitter.emit(3).unwrap();
    });
    let items: Result<Vec<i32>, _> = BlockingIter::new(outer).collect();
    assert_eq!(items, Ok(vec![3]));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_ends_the_stream() {
    let mut broken = Builder::new().name("broken").stack_size(1 << 20).stream(|emitter| {
        emitter.emit(1).unwrap();
        panic!("no more");
    });
    let broken = broken.as_mut().unwrap();
    assert_eq!(broken.name(), Some("broken"));
    assert_eq!(poll(broken), Poll::Ready(Some(1)));
    assert_eq!(panic_text(caught(|| poll(broken))), "no more");
    assert_eq!(poll(broken), Poll::Ready(None));
}

#[test]
fn stream_of_a_stream() {
    let squares = stream(|emitter| {
        let numbers = stream(|inner| {
            for n in 1..=3 {
                yield_now();
                inner.emit(n).unwrap();
            }
        });
        BlockingIter::new(numbers).for_each(|n| {
            let n: i32 = n.unwrap();
            emitter.emit(n * n).unwrap();
        });
    });
    let items: Result<Vec<i32>, _> = BlockingIter::new(squares).collect();
    assert_eq!(items, Ok(vec![1, 4, 9]));
}
