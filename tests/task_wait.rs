//! Waits of tasks, which end by a wake, a deadline or a cancel. The ids are those of the table in ARCHITECTURE.md.

mod common;

use cede::task::{self, Cancelled, TaskState, Unparker, park, park_shielded, park_until};
use cede::{JoinError, metrics, run, spawn, yield_now};
use common::child::in_child;
use common::witness::{AtEnd, Drops, Log};
use common::{emulated, rounds};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// Parks until `ready`, in a loop, since `park` may wake spuriously.
fn park_while(reason: &'static str, mut waits: impl FnMut() -> bool) -> Result<(), Cancelled> {
    while waits() {
        park(reason)?;
    }
    Ok(())
}

// ---- parking

#[test]
fn a_wake_that_comes_before_the_park_is_kept_but_only_one() {
    run(|| {
        let me = Unparker::current();
        me.unpark();
        me.unpark();
        yield_now();
        park("the kept wake").unwrap();
        let began = Instant::now();
        park_until("a second one", began + Duration::from_millis(20)).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(20), "two wakes were kept");
    });
}

/// A task that was woken before its first turn and never waits leaves that wake unused. The next task reuses its control block,
/// and is not woken by it.
#[test]
fn unused_wake_of_an_ended_task_is_not_the_next_tasks() {
    run(|| {
        let unparker = Rc::new(RefCell::new(None));
        let inner = Rc::clone(&unparker);
        let mut first = spawn(move || {
            *inner.borrow_mut() = Some(Unparker::current());
            yield_now();
        });
        yield_now();
        unparker.borrow().as_ref().unwrap().unpark();
        first.join().unwrap();
        drop((first, unparker));
        let mut next = spawn(|| park("a wake of its own").is_err());
        rounds(3);
        assert_eq!(next.state(), TaskState::Waiting("a wake of its own".into()));
        next.cancel();
        assert!(next.join().unwrap());
    });
}

#[test]
fn a_plain_thread_wakes_a_task() {
    let count = if emulated() { 200 } else { 2000 };
    run(|| {
        let turns = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (me, seen) = (Unparker::current(), turns.clone());
        let waker = thread::spawn(move || {
            for turn in 0..count {
                while seen.load(std::sync::atomic::Ordering::Acquire) != turn {
                    thread::yield_now();
                }
                seen.store(turn + 1 + (1 << 30), std::sync::atomic::Ordering::Release);
                me.unpark();
            }
            me
        });
        for turn in 0..count {
            let done = turn + 1 + (1 << 30);
            park_while("the thread", || turns.load(std::sync::atomic::Ordering::Acquire) != done).unwrap();
            turns.store(turn + 1, std::sync::atomic::Ordering::Release);
        }
        waker.join().unwrap();
    });
}

#[test]
fn remote_wake_arrives_while_other_tasks_are_busy() {
    run(|| {
        let stop = Rc::new(Cell::new(false));
        let inner = Rc::clone(&stop);
        let mut busy = spawn(move || {
            while !inner.get() {
                yield_now();
            }
        });
        let me = Unparker::current();
        let waker = thread::spawn(move || me.unpark());
        park("the thread").unwrap();
        let deadline = Instant::now() + Duration::from_millis(5);
        while Instant::now() < deadline {
            park_until("a timer", deadline).unwrap();
        }
        stop.set(true);
        busy.join().unwrap();
        waker.join().unwrap();
    });
}

/// A wake is for one run. A remote wake for a task of a run that has ended does not arrive in the next run, which has the same
/// remote queue.
#[test]
fn wake_for_a_run_that_has_ended_does_not_reach_the_next() {
    let text = in_child("wake_for_a_run_that_has_ended_does_not_reach_the_next", || {
        let old = run(Unparker::current);
        run(|| {
            thread::spawn(move || old.unpark()).join().unwrap();
            park_until("whatever comes", Instant::now() + Duration::from_millis(5)).unwrap();
            assert_eq!(metrics().wakes_from_threads, 0);
            let own = Unparker::current();
            thread::spawn(move || own.unpark()).join().unwrap();
            park("its own wake").unwrap();
            assert_eq!(metrics().wakes_from_threads, 1);
        });
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn unparker_of_an_ended_task_wakes_no_task() {
    run(|| {
        let mut old = spawn(Unparker::current);
        let unparker = old.join().unwrap();
        let name = unparker.task().clone();
        drop(old);
        // Reuses the control block.
        let mut new =
            spawn(|| park_until("no wake", Instant::now() + Duration::from_millis(20)).map(|()| Instant::now()));
        let began = Instant::now();
        yield_now();
        assert_ne!(new.task(), name);
        unparker.unpark();
        let other = unparker.clone();
        thread::spawn(move || other.unpark()).join().unwrap();
        assert!(new.join().unwrap().unwrap() - began >= Duration::from_millis(19));
    });
    // An unparker of a run that is over wakes no task either.
    let old = run(Unparker::current);
    old.unpark();
    run(|| {
        old.unpark();
        let began = Instant::now();
        park_until("no wake", began + Duration::from_millis(5)).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(5));
    });
}

#[test]
fn park_until_is_never_early_and_ties_are_in_order() {
    run(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let began = Instant::now();
        let mut tasks: Vec<_> = (0..40u64)
            .map(|i| {
                let order = Rc::clone(&order);
                let deadline = began + Duration::from_millis(2 + (i * 7 % 5) * 3);
                spawn(move || {
                    park_until("a time", deadline).unwrap();
                    assert!(Instant::now() >= deadline, "early");
                    order.borrow_mut().push((deadline, i));
                })
            })
            .collect();
        // A task is ready all the time, so that the timers are checked long before they are due.
        let mut busy = spawn(|| {
            while !task::is_cancelled() {
                yield_now();
            }
        });
        tasks.iter_mut().for_each(|task| task.join().unwrap());
        busy.cancel();
        busy.join().unwrap();
        assert!(order.borrow().is_sorted());
        // A deadline in the past: returns at once, after a turn.
        let turn = Rc::new(Cell::new(false));
        let inner = Rc::clone(&turn);
        spawn(move || inner.set(true));
        park_until("yesterday", began).unwrap();
        assert!(turn.get());
    });
}

#[test]
fn park_until_far_in_the_future_ends_by_a_wake() {
    run(|| {
        let me = Unparker::current();
        let mut waker = spawn(move || {
            (0..100).for_each(|_| {
                me.unpark();
                yield_now();
            })
        });
        for _ in 0..100 {
            park_until("an hour", Instant::now() + Duration::from_secs(3600)).unwrap();
        }
        waker.join().unwrap();
    });
}

// ---- cancelling

/// A cancel ends the wait of a task in its next turn, and every later wait.
#[test]
fn a11_cancel_ends_the_wait_and_every_later_wait() {
    run(|| {
        let log = Log::default();
        let inner = log.clone();
        let mut handle = spawn(move || {
            for _ in 0..3 {
                assert!(park("a wake").is_err());
                inner.add("cancelled");
            }
            assert!(park_until("a time", Instant::now() + Duration::from_secs(60)).is_err());
            assert!(task::check().is_err());
            assert!(task::is_cancelled());
            let mut other = spawn(|| rounds(3));
            assert!(matches!(other.join(), Err(JoinError::Interrupted)));
        });
        yield_now();
        assert!(handle.cancel());
        assert_eq!(log.take(), [""; 0], "the cancel has no effect before the task's turn");
        assert_eq!(handle.state(), TaskState::Pending);
        handle.join().unwrap();
        assert_eq!(log.take().len(), 3);
        assert!(!task::is_cancelled() && task::check().is_ok(), "main was not cancelled");
    });
}

#[test]
fn a11_a_cancelled_wait_still_gives_up_its_turn() {
    run(|| {
        let turns = Rc::new(Cell::new(0));
        let inner = Rc::clone(&turns);
        let mut deaf = spawn(move || {
            for _ in 0..10 {
                let _ = park("anything");
                inner.set(inner.get() + 1);
            }
        });
        yield_now();
        deaf.cancel();
        for seen in 0..10 {
            assert_eq!(turns.get(), seen);
            yield_now();
        }
        deaf.join().unwrap();
    });
}

#[test]
fn a12_cancelling_a_task_that_has_ended_changes_nothing() {
    run(|| {
        let mut handle = spawn(|| 2);
        yield_now();
        assert!(!handle.cancel());
        assert_eq!(handle.state(), TaskState::Done);
        assert_eq!(handle.join().unwrap(), 2);
        assert!(!handle.cancel());
    });
}

/// A task that is cancelled before its first turn never runs, and its captures are dropped.
#[test]
fn a13_task_cancelled_before_its_first_turn_never_runs() {
    run(|| {
        let (log, drops) = (Log::default(), Drops::default());
        let (inner, captured) = (log.clone(), drops.value());
        let mut handle = spawn(move || inner.add(format!("ran {}", captured.0.count())));
        assert!(handle.cancel());
        assert!(handle.cancel(), "the task is still pending");
        assert_eq!((handle.state(), drops.count()), (TaskState::Pending, 0));
        assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
        assert_eq!((handle.state(), drops.count()), (TaskState::Cancelled, 1));
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a13_a_panic_of_a_capture_that_is_dropped_unrun_is_the_tasks() {
    run(|| {
        let bomb = AtEnd(|| panic!("dropped unrun"));
        let mut handle = spawn(move || drop(bomb));
        handle.cancel();
        assert_eq!(handle.join().unwrap_err().to_string(), "the task panicked: dropped unrun");
    });
}

#[test]
fn a14_a_cancelled_task_that_returns_a_value_gives_it() {
    run(|| {
        let mut handle = spawn(|| if park("a wake").is_err() { "kept" } else { "woken" });
        yield_now();
        handle.cancel();
        assert_eq!(handle.join().unwrap(), "kept");
        assert_eq!(handle.state(), TaskState::Done);
    });
}

#[test]
fn a_cancel_does_not_cut_a_shielded_park_short() {
    run(|| {
        let unparker = Rc::new(RefCell::new(None));
        let inner = Rc::clone(&unparker);
        let released = Rc::new(Cell::new(false));
        let seen = Rc::clone(&released);
        let mut handle = spawn(move || {
            *inner.borrow_mut() = Some(Unparker::current());
            park_shielded("the last write");
            assert!(seen.get(), "the park ended before its wake");
            assert!(park("anything").is_err(), "the cancel ends the next park");
        });
        yield_now();
        handle.cancel();
        rounds(5);
        assert_eq!(handle.state(), TaskState::Waiting("the last write".into()));
        released.set(true);
        unparker.borrow().as_ref().unwrap().unpark();
        handle.join().unwrap();
    });
}
