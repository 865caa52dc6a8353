//! `no_suspend`, in debug and in release builds, and eager tasks, whose first turn is at once.

mod common;

use cede::task::{park, park_shielded};
use cede::time::sleep;
use cede::{Builder, Generator, gather, no_suspend, race, run, scope, spawn, timeout, yield_now};
use common::witness::{AtEnd, Log};
use common::{caught, panic_text, paused, rounds, s};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Every wait inside of `no_suspend` panics and names where the section was opened, in release builds too. No other
/// task runs inside.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn b4_every_wait_in_no_suspend_panics_naming_its_section() {
    paused(|| {
        let waits: [(&str, fn()); 12] = [
            ("yield_now", yield_now),
            ("park", || assert!(park("no").is_ok())),
            ("park_shielded", || park_shielded("no")),
            ("sleep", || assert!(sleep(s(1)).is_ok())),
            ("sleep of no time", || assert!(sleep(s(0)).is_ok())),
            ("join", || drop(spawn(|| ()).join())),
            ("gather", || drop(gather([spawn(|| ())]))),
            ("race", || drop(race([spawn(|| ())]))),
            ("scope", || drop(scope(|_| ()))),
            ("timeout", || drop(timeout(s(1), || park("no")))),
            ("eager", || drop(Builder::new().eager(true).spawn(|| ()))),
            ("wait", || drop(cede::task::wait(&mut [spawn(|| ())], cede::task::When::All, Some(s(0))))),
        ];
        let switched = Rc::new(Cell::new(0));
        let inner = Rc::clone(&switched);
        spawn(move || {
            loop {
                inner.set(inner.get() + 1);
                if park("the end").is_err() {
                    break;
                }
            }
        });
        for (name, wait) in waits {
            let text = panic_text(caught(|| no_suspend(wait)));
            let start = "cannot wait or yield inside a no_suspend section (opened at tests/no_suspend.rs:";
            assert!(text.starts_with(start), "{name}: {text}");
            assert_eq!(switched.get(), 0, "{name}: another task ran inside");
            // Caught inside of the section, and tried again.
            no_suspend(|| {
                assert!(caught(wait).is_err() && caught(wait).is_err(), "{name}");
            });
            assert_eq!(switched.get(), 0, "{name}: another task ran inside");
        }
        rounds(20);
        assert_eq!(switched.get(), 1, "outside of it other tasks run");
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn no_suspend_nests_and_closes_by_panic_and_belongs_to_its_task() {
    run(|| {
        assert_eq!(no_suspend(|| no_suspend(|| 1) + 1), 2);
        let inside = no_suspend(|| {
            no_suspend(|| ());
            caught(yield_now).is_err()
        });
        assert!(inside, "the outer one is still open");
        assert_eq!(panic_text(caught(|| no_suspend(|| panic!("out")))), "out");
        // A task that was spawned inside runs outside of it.
        let mut task = no_suspend(|| {
            spawn(|| {
                yield_now();
                7
            })
        });
        assert_eq!(task.join().unwrap(), 7);
        // Operations that need no wait are allowed.
        let mut ended = spawn(|| 7);
        yield_now();
        assert_eq!(no_suspend(|| ended.join().unwrap()), 7);
    });
    assert_eq!(no_suspend(|| 3), 3, "outside of a run");
}

/// A generator that is made and driven inside of `no_suspend` may yield there.
#[test]
fn generators_made_in_no_suspend_may_suspend_to_it() {
    let numbers = || Generator::new(|y: &cede::Yielder<u32>| (0..3).for_each(|n| y.yield_(n)));
    assert_eq!(no_suspend(|| numbers().sum::<u32>()), 3);
    run(|| {
        assert_eq!(no_suspend(|| numbers().sum::<u32>()), 3);
        rounds(2);
    });
}

#[test]
fn a_run_inside_of_no_suspend_is_a_call_like_any_other() {
    // Its tasks take turns with each other, but the task that opened the section does not suspend.
    let value = no_suspend(|| {
        run(|| {
            yield_now();
            spawn(|| sleep(std::time::Duration::ZERO).map(|()| 7)).join().unwrap()
        })
    });
    assert_eq!(value, Ok(7));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_destructor_may_open_no_suspend_while_its_task_panics() {
    run(|| {
        let mut task = spawn(|| {
            let _end = AtEnd(|| assert!(no_suspend(|| park("no")).is_err()));
            panic!("on purpose");
        });
        assert_eq!(task.join().unwrap_err().to_string(), "the task panicked: on purpose");
        rounds(3);
    });
}

// ---- eager tasks

/// An eager task has its first turn at once. Its spawner continues at the task's first wait or at its end.
#[test]
fn a79_eager_task_runs_at_once_until_its_first_wait() {
    run(|| {
        let log = Log::default();
        let (eager, plain) = (log.clone(), log.clone());
        spawn(move || plain.add("ready before"));
        let mut task = Builder::new()
            .eager(true)
            .spawn(move || {
                eager.add("first turn");
                yield_now();
                eager.add("second turn");
                7
            })
            .unwrap();
        log.add("spawner");
        assert!(!task.is_finished());
        assert_eq!(task.join().unwrap(), 7);
        assert_eq!(log.take(), ["first turn", "spawner", "ready before", "second turn"]);
        // An eager task that never waits has ended when `spawn` returns.
        let mut at_once = Builder::new().eager(true).spawn(|| 7).unwrap();
        assert!(at_once.is_finished());
        assert_eq!(at_once.join().unwrap(), 7);
        assert!(Builder::new().eager(false).spawn(|| 7).is_ok_and(|task| !task.is_finished()));
    });
}

/// Eager tasks nest, may panic in their first turn, and return the turn to their spawner.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a79_eager_tasks_nest_and_may_panic() {
    fn nest(depth: u32, log: &Log) {
        if depth > 0 {
            let inner = log.clone();
            let task = Builder::new().eager(true).spawn(move || {
                nest(depth - 1, &inner);
                yield_now();
            });
            assert!(task.is_ok());
            log.add(format!("back at {depth}"));
        }
    }
    run(|| {
        let log = Log::default();
        nest(3, &log);
        assert_eq!(log.take(), ["back at 1", "back at 2", "back at 3"]);
        let mut task = Builder::new().eager(true).spawn(|| panic!("at once")).unwrap();
        assert!(task.is_finished());
        assert_eq!(task.join().unwrap_err().to_string(), "the task panicked: at once");
        // Where no wait is possible, in a callback or while panicking, an eager task starts like any other task.
        let kept = Rc::new(RefCell::new(None));
        let (place, told) = (Rc::clone(&kept), log.clone());
        let task = spawn(|| ());
        task.on_done(move |_| {
            let inner = told.clone();
            *place.borrow_mut() = Some(Builder::new().eager(true).spawn(move || inner.add("ran")).unwrap());
            told.add("callback");
        });
        rounds(5);
        assert_eq!(log.take(), ["callback", "ran"]);
        let inner = log.clone();
        let mut task = spawn(move || {
            let _end = AtEnd(move || {
                let log = inner.clone();
                drop(Builder::new().eager(true).spawn(move || log.add("ran")));
                inner.add("destructor");
            });
            panic!("on purpose");
        });
        assert!(task.join().is_err());
        rounds(2);
        assert_eq!(log.take(), ["destructor", "ran"]);
    });
}
