//! `JoinSet` and `CancelHandle`.

use cede::task::{JoinError, JoinSet, park, timeout};
use cede::time::sleep;
use cede::{Config, run, spawn, yield_now};
use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[test]
fn results_come_in_the_order_of_ends() {
    let paused = Config::new().paused_clock(true);
    let order = paused.run(|| {
        let mut set = JoinSet::new();
        for n in [5_u32, 1, 4, 2, 3] {
            set.spawn(move || sleep(MS * n).map(|()| n));
        }
        assert_eq!(set.len(), 5);
        let order: Vec<u32> = std::iter::from_fn(|| set.join_next()).map(|result| result.unwrap().unwrap()).collect();
        assert!(set.is_empty() && set.join_next().is_none() && set.try_join_next().is_none());
        order
    });
    assert_eq!(order.unwrap(), [1, 2, 3, 4, 5]);
}

#[test]
fn places_are_used_again_while_tasks_are_added() {
    // A crawler: each result adds tasks, and no result gets lost or comes twice.
    let (sum, count) = run(|| {
        let mut set = JoinSet::new();
        set.spawn(|| 1_u32);
        let (mut sum, mut count) = (0, 0);
        while let Some(result) = set.join_next() {
            let n = result.unwrap();
            sum += n;
            count += 1;
            if n < 512 {
                set.spawn(move || 2 * n);
                set.spawn_anywhere(move || 2 * n + 1);
            }
        }
        (sum, count)
    });
    assert_eq!((sum, count), ((1..1024).sum(), 1023));
}

#[test]
fn tasks_that_have_ended_before_they_were_inserted_come_at_once() {
    run(|| {
        let tasks: Vec<_> = (0..3).map(|n| spawn(move || n)).collect();
        yield_now();
        assert!(tasks.iter().all(|task| task.is_finished()));
        let mut set: JoinSet<i32> = tasks.into_iter().collect();
        let ended: Vec<i32> = std::iter::from_fn(|| set.try_join_next()).map(Result::unwrap).collect();
        assert_eq!(ended, [0, 1, 2]);
    });
}

#[test]
fn an_interrupted_wait_leaves_the_tasks_in_the_set() {
    run(|| {
        let mut set = JoinSet::new();
        set.spawn(|| sleep(Duration::MAX).is_err());
        let result = timeout(MS, || set.join_next());
        assert!(matches!(result.unwrap_err().into_value(), Some(Err(JoinError::Interrupted))));
        assert!(set.join_next_until(cede::time::now() + MS).is_none());
        assert_eq!(set.len(), 1);
        set.cancel_all();
        assert!(set.join_next().unwrap().unwrap());
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_panic_is_the_result_of_its_task_only() {
    run(|| {
        let mut set = JoinSet::new();
        set.spawn(|| panic!("one of two"));
        set.spawn(|| yield_now());
        assert!(matches!(set.join_next(), Some(Err(JoinError::Panicked(_)))));
        set.join_next().unwrap().unwrap();
    });
}

#[test]
fn a_dropped_set_cancels_its_tasks_and_a_detached_one_does_not() {
    let paused = Config::new().paused_clock(true);
    let outcome = paused.run(|| {
        let cancelled = Rc::new(Cell::new(0));
        let spawn_two = |set: &mut JoinSet<()>| {
            for _ in 0..2 {
                let cancelled = Rc::clone(&cancelled);
                set.spawn(move || {
                    if sleep(MS).is_err() {
                        cancelled.set(cancelled.get() + 1);
                    }
                });
            }
            yield_now();
        };
        let mut set = JoinSet::new();
        spawn_two(&mut set);
        drop(set);
        yield_now();
        assert_eq!(cancelled.get(), 2);
        let mut set = JoinSet::new();
        spawn_two(&mut set);
        set.detach_all();
        assert!(set.is_empty());
        drop(set);
        sleep(MS * 3).unwrap();
        assert_eq!(cancelled.get(), 2);
    });
    outcome.unwrap();
}

#[test]
fn a_cancelled_caller_still_shuts_down() {
    run(|| {
        let ended = Rc::new(Cell::new(0));
        let there = Rc::clone(&ended);
        let mut caller = spawn(move || {
            let mut set = JoinSet::new();
            for _ in 0..3 {
                let ended = Rc::clone(&there);
                set.spawn(move || {
                    let _ = sleep(Duration::MAX);
                    (0..5).for_each(|_| yield_now()); // cleans up
                    ended.set(ended.get() + 1);
                });
            }
            let _ = park("a cancel");
            set.shutdown();
            (there.get(), set.len())
        });
        yield_now();
        yield_now();
        caller.cancel();
        assert_eq!(caller.join().unwrap(), (3, 0));
        assert_eq!(ended.get(), 3);
    });
}

#[test]
fn another_thread_cancels_a_task() {
    run(|| {
        let mut waiting = cede::Builder::new().name("reader").spawn(|| sleep(Duration::MAX).is_err()).unwrap();
        yield_now();
        let handle = waiting.cancel_handle();
        assert_eq!(handle.task().name(), Some("reader"));
        let thread = thread::spawn(move || {
            handle.cancel();
            handle
        });
        assert!(waiting.join().unwrap());
        let handle = thread.join().unwrap();
        handle.cancel(); // the task has ended, and its block may serve another one
        let mut other = spawn(|| sleep(MS).is_ok());
        handle.cancel();
        assert!(other.join().unwrap());
    });
}

#[test]
fn a_cancel_before_the_first_turn_and_after_the_run_are_no_harm() {
    let handle = run(|| {
        let mut task = spawn(|| ());
        let handle = task.cancel_handle();
        handle.clone().cancel();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        handle
    });
    handle.cancel();
    run(|| {
        handle.cancel();
        assert!(spawn(|| sleep(MS).is_ok()).join().unwrap());
    });
}

#[test]
fn a_run_that_only_a_cancel_handle_can_end_is_not_deadlocked() {
    run(|| {
        let mut waiting = spawn(|| {
            let (_sender, receiver) = cede::sync::channel::bounded::<()>(1);
            receiver.recv().is_err()
        });
        yield_now();
        let handle = waiting.cancel_handle();
        thread::spawn(move || {
            thread::sleep(MS * 30);
            handle.cancel();
        });
        assert!(waiting.join().unwrap());
    });
}
