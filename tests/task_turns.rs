//! The run queue: tasks start in the order of their creation, and turns are round robin. The ids are those of the table in
//! ARCHITECTURE.md.

mod common;

use cede::task::{self, TaskState};
use cede::{Builder, Config, run, spawn, yield_now};
use common::witness::{Drops, Log};
use common::{emulated, rounds};
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[test]
fn a01_a_task_that_is_never_given_a_turn_never_runs() {
    let (log, drops) = (Log::default(), Drops::default());
    run(|| {
        let (log, captured) = (log.clone(), drops.value());
        let _detached = spawn(move || log.add(format!("ran {}", captured.0.count())));
    });
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(drops.count(), 1);
}

#[test]
fn a02_run_returns_what_main_returns_and_main_may_borrow() {
    let mut text = String::from("borrowed");
    let length = run(|| {
        text.push('!');
        text.len()
    });
    assert_eq!((length, text.as_str()), (9, "borrowed!"));
    assert_eq!(Config::new().stack_size(128 * 1024).run(|| [7u64; 100]).unwrap(), [7; 100]);
}

#[test]
fn a06_a_body_does_not_run_before_its_spawner_suspends() {
    run(|| {
        let log = Log::default();
        let inner = log.clone();
        let handle = spawn(move || inner.add("ran"));
        assert_eq!((log.take(), handle.state()), (vec![], TaskState::Pending));
        yield_now();
        assert_eq!((log.take(), handle.state()), (vec!["ran".to_string()], TaskState::Done));
    });
}

#[test]
fn a07_tasks_start_in_the_order_of_their_creation() {
    run(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut tasks: Vec<_> = (0..5)
            .map(|i| {
                let order = Rc::clone(&order);
                // Named and unnamed tasks share one order.
                match i % 2 {
                    0 => spawn(move || order.borrow_mut().push(i)),
                    _ => Builder::new().name(format!("t{i}")).spawn(move || order.borrow_mut().push(i)).unwrap(),
                }
            })
            .collect();
        tasks.iter_mut().rev().for_each(|task| task.join().unwrap());
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a08_turns_are_strictly_round_robin() {
    let log = Log::default();
    let inner = log.clone();
    run(move || {
        for name in ["a", "b", "c"] {
            let log = inner.clone();
            spawn(move || {
                for i in 0..3 {
                    log.add(format!("{name}{i}"));
                    yield_now();
                }
            });
        }
        rounds(4);
    });
    assert_eq!(log.take(), ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]);
}

#[test]
fn a08_a_thousand_tasks_keep_their_order_for_a_thousand_rounds() {
    let (count, turns) = if emulated() { (100, 100) } else { (1000, 1000) };
    let expected = Rc::new(Cell::new(0));
    run(|| {
        for i in 0..count {
            let expected = Rc::clone(&expected);
            spawn(move || {
                for turn in 0..turns {
                    assert_eq!(expected.replace(expected.get() + 1), turn * count + i);
                    yield_now();
                }
            });
        }
        rounds(turns as u32 + 1);
    });
    assert_eq!(expected.get(), count * turns);
}

#[test]
fn a78_task_that_never_yields_delays_every_other_task() {
    run(|| {
        let ticked = Rc::new(Cell::new(None));
        let inner = Rc::clone(&ticked);
        let mut tick = spawn(move || inner.set(Some(Instant::now())));
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(30) {}
        assert_eq!(ticked.get(), None);
        tick.join().unwrap();
        assert!(ticked.get().unwrap() - began >= Duration::from_millis(30));
    });
}

#[test]
fn twenty_thousand_suspended_tasks_take_turns() {
    let count: u64 = if emulated() { 1000 } else { 20_000 };
    let sum = run(|| {
        let mut tasks: Vec<_> = (0..count)
            .map(|i| {
                spawn(move || {
                    let mut own = i;
                    for round in 0..5 {
                        yield_now();
                        own = black_box(own + round);
                    }
                    own - 10 - i
                })
            })
            .collect();
        yield_now();
        assert_eq!(task::all().len() as u64, count + 1);
        tasks.iter_mut().map(|task| task.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum, 0);
}
