//! Generators that are read ahead: the items, their order and the end are those of the generator, and what was produced and
//! not consumed is dropped once.

mod common;

use cede::sync::channel::unbounded;
use cede::task::park;
use cede::{CloseError, Config, Generator, Interrupt, Yielder, run, shield, spawn, yield_now};
use common::witness::{AtEnd, Log};
use common::{caught, panic_text};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The numbers from 1 on, and a counter of those that the body has produced.
fn counting(last: u32) -> (Generator<u32, (), &'static str>, Rc<Cell<u32>>) {
    let produced = Rc::new(Cell::new(0));
    let count = Rc::clone(&produced);
    let body = move |y: &Yielder<u32>| {
        for n in 1..=last {
            count.set(n);
            y.yield_(n);
        }
        "the end"
    };
    (Generator::new(body), produced)
}

#[test]
fn items_come_in_order_whatever_n() {
    for n in [0, 1, 2, 3, 7, 10, 11, 100] {
        let mut ahead = counting(10).0.read_ahead(n);
        assert_eq!(ahead.by_ref().collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>(), "{n}");
        assert_eq!((ahead.next(), ahead.size_hint()), (None, (0, Some(0))), "{n}: stays at its end");
        assert_eq!(ahead.into_return(), Some("the end"), "{n}");
    }
}

/// The body runs when the consumer asks for an item and there is none, and then as far as there is room.
#[test]
fn body_runs_n_items_ahead() {
    for (n, first, fifth) in [(0, 1, 5), (1, 1, 5), (2, 2, 6), (4, 4, 8)] {
        let (generator, produced) = counting(100);
        let mut ahead = generator.read_ahead(n);
        assert_eq!(produced.get(), 0, "{n}: not before the first item");
        assert_eq!((ahead.next(), produced.get()), (Some(1), first), "{n}");
        assert_eq!(ahead.size_hint(), (first as usize - 1, None), "{n}");
        assert_eq!((ahead.nth(3), produced.get()), (Some(5), fifth), "{n}");
    }
}

#[test]
fn generator_that_has_started_is_read_ahead() {
    let (mut generator, produced) = counting(9);
    assert_eq!((generator.next(), generator.next()), (Some(1), Some(2)));
    let mut ahead = generator.read_ahead(3);
    assert_eq!((ahead.next(), produced.get()), (Some(3), 5));
    let (mut spent, _) = counting(0);
    assert_eq!(spent.next(), None);
    let mut spent = spent.read_ahead(3);
    assert_eq!((spent.next(), spent.into_return()), (None, Some("the end")));
}

#[test]
fn body_without_items_returns_at_once() {
    let mut ahead = Generator::new(|_: &Yielder<u32>| "nothing").read_ahead(8);
    assert_eq!((ahead.next(), ahead.next()), (None, None));
    assert_eq!(ahead.into_return(), Some("nothing"));
}

/// A return value belongs to the end of the iteration, not to the moment when the body returned.
#[test]
fn return_value_comes_after_the_items() {
    let mut ahead = counting(3).0.read_ahead(8);
    assert_eq!((ahead.next(), ahead.size_hint()), (Some(1), (2, Some(2))), "the body has returned");
    assert_eq!(ahead.into_return(), None);
    let mut ahead = counting(3).0.read_ahead(8);
    assert_eq!(ahead.by_ref().count(), 3);
    assert_eq!(ahead.into_return(), Some("the end"));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_comes_after_the_items() {
    for (n, items) in [(1, 2), (2, 1), (2, 2), (8, 0), (8, 3)] {
        let body = move |y: &Yielder<u32>| {
            (0..items).for_each(|item| y.yield_(item));
            panic!("after {items}")
        };
        let mut ahead = Generator::<u32>::new(body).read_ahead(n);
        for item in 0..items {
            assert_eq!(ahead.next(), Some(item), "{n}");
        }
        assert_eq!(panic_text(caught(|| ahead.next())), format!("after {items}"), "{n}");
        assert_eq!((ahead.next(), ahead.into_return()), (None, None), "{n}: the panic comes once");
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn rethrown_error_comes_after_the_items() {
    let body = |y: &Yielder<u32>| {
        y.yield_(1);
        y.rethrow(Interrupt::Thrown("broken".into()))
    };
    let mut ahead = Generator::new(body).read_ahead(8);
    assert_eq!(ahead.next(), Some(1));
    assert_eq!(panic_text(caught(|| ahead.next())), "an unnamed generator raised: broken");
    let mut ahead = Generator::new(body).read_ahead(8);
    assert_eq!(ahead.next(), Some(1));
    assert!(matches!(ahead.close(), Err(CloseError::Raised(error)) if error.to_string() == "broken"));
    assert_eq!(ahead.next(), None);
}

// ---- what was produced and not consumed

/// Yields guards that log their number when they are dropped, and logs the end of the body.
fn guards(log: &Log, count: u32) -> Generator<AtEnd<impl FnMut() + use<>>> {
    let log = log.clone();
    Generator::new(move |y| {
        let _end = log.at_end("body");
        for n in 1..=count {
            let log = log.clone();
            y.yield_(AtEnd(move || log.add(n.to_string())));
        }
    })
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn drop_midway_drops_items_then_the_body() {
    let log = Log::default();
    let mut ahead = guards(&log, 9).read_ahead(4);
    drop(ahead.next());
    assert_eq!(log.take(), ["1"]);
    drop(ahead);
    assert_eq!(log.take(), ["2", "3", "4", "body"]);
    // Before the first item, and after the body has returned.
    drop(guards(&log, 9).read_ahead(4));
    assert!(log.take().is_empty());
    let mut ahead = guards(&log, 2).read_ahead(4);
    drop(ahead.next());
    assert_eq!(log.take(), ["body", "1"]);
    drop(ahead);
    assert_eq!(log.take(), ["2"]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn close_drops_items_then_the_body() {
    let log = Log::default();
    let mut ahead = guards(&log, 9).read_ahead(4);
    drop(ahead.next());
    assert!(matches!(ahead.close(), Ok(None)));
    assert_eq!(log.take(), ["1", "2", "3", "4", "body"]);
    assert!(ahead.next().is_none());
    drop(ahead);
    assert!(log.take().is_empty(), "each is dropped once");
}

/// A body that has returned ahead is closed by its return value; one that waits cleans up and returns.
#[test]
fn close_returns_what_the_body_returns() {
    let mut ahead = counting(2).0.read_ahead(8);
    assert_eq!(ahead.next(), Some(1));
    assert_eq!(ahead.close().unwrap(), Some("the end"));
    assert_eq!((ahead.next(), ahead.close().unwrap()), (None, None));
    let body = |y: &Yielder<u32>| {
        let mut n = 0;
        while y.try_yield(n).is_ok() {
            n += 1;
        }
        n
    };
    let mut ahead = Generator::new(body).read_ahead(4);
    assert_eq!(ahead.next(), Some(0));
    assert_eq!(ahead.close().unwrap(), Some(3), "the body waits with its fourth item");
    assert_eq!(Generator::new(body).read_ahead(4).close().unwrap(), None);
}

/// While it is closed, a body does not run ahead: what it yields then is returned by the close.
#[test]
fn body_that_ignores_its_close_goes_on() {
    let body = |y: &Yielder<u32>| {
        let _ = y.try_yield(1);
        (2..=5).for_each(|n| y.yield_(n));
    };
    let mut ahead = Generator::new(body).read_ahead(1);
    assert_eq!(ahead.next(), Some(1));
    assert!(matches!(ahead.close(), Err(CloseError::Ignored(2))));
    assert_eq!(ahead.collect::<Vec<_>>(), [3, 4, 5]);
    let body = |y: &Yielder<u32>| {
        y.yield_(0);
        let _ = y.try_yield(1);
        (2..=5).for_each(|n| y.yield_(n));
    };
    let mut ahead = Generator::new(body).read_ahead(2);
    assert_eq!(ahead.next(), Some(0));
    assert!(matches!(ahead.close(), Err(CloseError::Ignored(2))));
    assert_eq!(ahead.collect::<Vec<_>>(), [3, 4, 5]);
}

/// The same with room in the buffer: the last item came from another generator, before the buffer was full.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn closed_body_does_not_use_the_room() {
    let body = |y: &Yielder<u32>| {
        y.yield_(1);
        assert!(y.try_yield_from(Generator::new(|y: &Yielder<u32>| y.yield_(2))).is_err());
        (3..=5).for_each(|n| y.yield_(n));
    };
    let mut ahead = Generator::new(body).read_ahead(8);
    assert_eq!((ahead.next(), ahead.next()), (Some(1), Some(2)));
    assert!(matches!(ahead.close(), Err(CloseError::Ignored(3))));
    assert_eq!(ahead.collect::<Vec<_>>(), [4, 5]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_ahead_is_dropped_with_the_items_or_closes() {
    let value = Rc::new(());
    let held = value.clone();
    let body = move |y: &Yielder<Rc<()>>| {
        (0..3).for_each(|_| y.yield_(held.clone()));
        panic!("ahead")
    };
    let mut ahead = Generator::<Rc<()>>::new(body.clone()).read_ahead(8);
    assert!(ahead.next().is_some());
    drop(ahead);
    assert_eq!(Rc::strong_count(&value), 2);
    let mut ahead = Generator::<Rc<()>>::new(body).read_ahead(8);
    assert!(ahead.next().is_some());
    assert_eq!(panic_text(caught(|| ahead.close().is_ok())), "ahead");
    assert_eq!(Rc::strong_count(&value), 1);
}

/// One destructor that panics keeps neither the other items nor the body from being dropped.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_in_a_destructor_loses_nothing() {
    let log = Log::default();
    let inner = log.clone();
    let generator = Generator::new(move |y| {
        let _end = inner.at_end("body");
        for n in 1..=9 {
            let log = inner.clone();
            y.yield_(AtEnd(move || {
                log.add(n.to_string());
                assert_ne!(n, 2, "a destructor");
            }));
        }
    });
    let mut ahead = generator.read_ahead(4);
    drop(ahead.next());
    assert!(panic_text(caught(|| drop(ahead))).contains("a destructor"));
    assert_eq!(log.take(), ["1", "2", "3", "4", "body"]);
}

#[test]
fn forgotten_iterator_is_leaked() {
    let log = Log::default();
    let mut ahead = guards(&log, 9).read_ahead(4);
    drop(ahead.next());
    std::mem::forget(ahead);
    assert_eq!(log.take(), ["1"]);
}

// ---- inside of other things

#[test]
fn generators_inside_each_other_keep_the_order() {
    let outer = Generator::new(|y: &Yielder<u32>| {
        y.yield_(1);
        assert_eq!(
            y.yield_from(Generator::new(|y: &Yielder<u32>| {
                (2..=4).for_each(|n| y.yield_(n));
                "inner"
            })),
            "inner"
        );
        y.yield_all(counting(3).0.read_ahead(2).map(|n| n + 4));
        y.yield_(8);
    });
    for n in [1, 2, 3, 9] {
        let again = Generator::new(move |y: &Yielder<u32>| y.yield_(n as u32));
        assert_eq!(again.read_ahead(n).collect::<Vec<_>>(), [n as u32]);
    }
    assert_eq!(outer.read_ahead(3).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
}

/// The body of a task's generator waits as the task: for turns, and for messages of other tasks.
#[test]
fn body_waits_as_the_task_that_reads() {
    run(|| {
        let (sender, receiver) = unbounded();
        let producer = spawn(move || {
            for n in 0..20 {
                sender.send(n).unwrap();
                yield_now();
            }
        });
        let body = move |y: &Yielder<u32>| {
            while let Ok(n) = receiver.recv() {
                y.yield_(n);
                yield_now();
            }
        };
        assert_eq!(Generator::new(body).read_ahead(6).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        drop(producer);
    });
}

/// The items that were produced before a forced unwind do not hold it up: the consumer is unwound, too, and gets none.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn forced_unwind_does_not_wait_for_the_items() {
    let log = Log::default();
    let inner = log.clone();
    Config::new()
        .shutdown_grace(Duration::ZERO)
        .run(move || {
            spawn(move || {
                let _end = inner.at_end("consumer");
                let held = inner.clone();
                let body = move |y: &Yielder<AtEnd<Box<dyn FnMut()>>>| {
                    let _end = held.at_end("body");
                    let log = held.clone();
                    y.yield_(AtEnd(Box::new(move || log.add("item"))));
                    let _ = shield(|| park("the forced unwind"));
                };
                for _item in Generator::new(body).read_ahead(8) {
                    inner.add("consumed");
                }
            });
            yield_now();
        })
        .unwrap();
    assert_eq!(log.take(), ["body", "item", "consumer"]);
}

/// Room in the buffer does not permit a yield that is refused without it.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn yield_in_a_section_is_refused() {
    let value = Rc::new(());
    let held = value.clone();
    let body = move |y: &Yielder<Rc<()>>| {
        let refused = caught(|| cede::no_suspend(|| y.yield_(held.clone())));
        assert!(panic_text(refused).starts_with("cannot suspend an unnamed generator inside a no_suspend section"));
        y.yield_(held.clone());
    };
    assert_eq!(Generator::new(body).read_ahead(4).count(), 1);
    assert_eq!(Rc::strong_count(&value), 1);
}

/// A panicking consumer reads on in a destructor; the items come one by one then.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructor_reads_during_a_panic() {
    let (mut ahead, log) = (counting(6).0.read_ahead(3), Log::default());
    assert_eq!(ahead.next(), Some(1));
    let inner = log.clone();
    let reads = caught(|| {
        let _reads = AtEnd(|| inner.add(format!("{:?}", ahead.by_ref().collect::<Vec<_>>())));
        panic!("the consumer")
    });
    assert_eq!((panic_text(reads), log.take()), ("the consumer".to_owned(), vec!["[2, 3, 4, 5, 6]".to_owned()]));
}
