//! Deadlocks of runs with several workers: which are found, and what their reports say.

mod common;

use cede::observe::DeadlockReport;
use cede::sync::{Barrier, Event, Mutex};
use cede::task::{self, Handle, JoinError, RemoteHandle, park, spawn_anywhere};
use cede::time::sleep;
use cede::{Builder, Config, RunError, spawn};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

fn deadlock_of<T>(config: Config, main: impl FnOnce() -> T) -> (DeadlockReport, T) {
    match config.run(main) {
        Err(RunError::Deadlock { report, outcome }) => (report, outcome.unwrap()),
        Err(error) => panic!("no deadlock: {error}"),
        Ok(_) => panic!("the run has ended"),
    }
}

fn names(tasks: &[cede::task::Task]) -> Vec<&str> {
    tasks.iter().map(|task| task.name().unwrap()).collect()
}

/// Spawns a task on each of three workers that locks `locks[n]`, and then the next one.
fn circle_of_locks() -> Vec<RemoteHandle<bool>> {
    let locks = Arc::new([(); 3].map(Mutex::new));
    let all_locked = Arc::new(Barrier::new(3));
    let spawn = |n: usize| {
        let (locks, all_locked) = (Arc::clone(&locks), Arc::clone(&all_locked));
        let body = move || {
            let _first = locks[n].lock().unwrap();
            all_locked.wait().unwrap();
            locks[(n + 1) % 3].lock().is_err()
        };
        Builder::new().on(n).name(["red", "green", "blue"][n]).spawn_anywhere(body).unwrap()
    };
    (0..3).map(spawn).collect()
}

#[test]
fn circle_over_three_workers_is_named() {
    for _ in 0..10 {
        let (report, interrupted) = deadlock_of(Config::new().workers(3).closed_world(true), || {
            let mut tasks = circle_of_locks();
            tasks.iter_mut().map(|task| task.join()).collect::<Vec<_>>()
        });
        let mut cycle = names(&report.cycle);
        let first = cycle.iter().position(|name| *name == "red").unwrap();
        cycle.rotate_left(first);
        assert_eq!(cycle, ["red", "green", "blue"], "{report}");
        let text = report.to_string();
        for line in ["'red' waits for a mutex, held by 'green'", "'green' waits for a mutex, held by 'blue'"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("task 'main' waits for a task to end: 'red'"), "{text}");
        assert!(!text.contains("the end of the run"), "{text}");
        assert_eq!(report.tasks.len(), 4, "{text}");
        // The deadlock cancels main, too. Its first join fails; the tasks have all been interrupted.
        assert!(matches!(interrupted[0], Err(JoinError::Interrupted) | Ok(_)));
    }
}

#[test]
fn circle_of_joins_is_found() {
    let (report, _) = deadlock_of(Config::new().workers(2), || {
        let places = Arc::new([(); 2].map(|()| std::sync::Mutex::new(None::<RemoteHandle<()>>)));
        let filled = Arc::new(Event::new());
        let spawn = |n: usize| {
            let (places, filled) = (Arc::clone(&places), Arc::clone(&filled));
            let body = move || {
                filled.wait().unwrap();
                let mut other = places[1 - n].lock().unwrap().take().unwrap();
                drop(other.join());
            };
            Builder::new().on(n).name(["left", "right"][n]).spawn_anywhere(body).unwrap()
        };
        for (n, place) in places.iter().enumerate() {
            *place.lock().unwrap() = Some(spawn(n));
        }
        filled.set();
        park("nothing")
    });
    let mut cycle = names(&report.cycle);
    cycle.sort();
    assert_eq!(cycle, ["left", "right"], "{report}");
}

#[test]
fn waits_that_only_the_run_can_end_are_found() {
    let (report, outcome) = deadlock_of(Config::new().workers(3), || {
        let mut lonely = Builder::new().on(2).name("lonely").spawn_anywhere(|| park("a friend").is_err()).unwrap();
        lonely.join()
    });
    assert!(report.to_string().contains("task 'lonely' waits for a friend"), "{report}");
    // The deadlock cancels both; the task may be the first to end.
    assert!(matches!(outcome, Err(JoinError::Interrupted) | Ok(true)));
}

#[test]
fn handle_of_a_thread_keeps_a_run_alive() {
    let answer = Config::new()
        .workers(2)
        .run(|| {
            let mut waiting = Builder::new().on(1).name("waiting").spawn_anywhere(|| park("a word").is_ok()).unwrap();
            let handle = Handle::current();
            let thread = thread::spawn(move || {
                // All workers sleep meanwhile.
                thread::sleep(Duration::from_millis(100));
                handle.spawn_on(1, || task::all().iter().filter(|(task, _)| task.name() == Some("waiting")).count())
            });
            let seen = cede::blocking::unblock(|| thread.join().unwrap().unwrap().join().unwrap());
            waiting.cancel();
            (seen, waiting.join().unwrap())
        })
        .unwrap();
    assert_eq!(answer, (1, false));
}

#[test]
fn last_handle_leaves_a_deadlock() {
    let start = Instant::now();
    let (_, _) = deadlock_of(Config::new().workers(2), || {
        let mut lonely = Builder::new().on(1).spawn_anywhere(|| park("a friend").is_err()).unwrap();
        let handle = Handle::current();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(handle);
        });
        drop(lonely.join());
    });
    assert!(start.elapsed() >= Duration::from_millis(100), "found while a thread could spawn");
}

#[test]
fn timers_and_calls_are_no_deadlock() {
    let outcome = Config::new()
        .workers(4)
        .closed_world(true)
        .run(|| {
            let sleeper = || sleep(Duration::from_millis(30)).is_ok();
            let caller = || cede::blocking::unblock(|| thread::sleep(Duration::from_millis(30)));
            let mut slept = Builder::new().on(1).spawn_anywhere(sleeper).unwrap();
            let mut called = Builder::new().on(2).spawn_anywhere(caller).unwrap();
            let mut nested = Builder::new().on(3).spawn_anywhere(move || slept.join().unwrap()).unwrap();
            called.join().unwrap();
            nested.join().unwrap()
        })
        .unwrap();
    assert!(outcome);
}

#[test]
fn main_goes_on_after_a_deadlock() {
    let (report, rest) = deadlock_of(Config::new().workers(2).closed_world(true), || {
        let mut task = spawn_anywhere(|| park("nothing").is_err());
        let _ = task.join();
        let mut local = spawn(|| 5);
        local.join().ok();
        "cleaned up"
    });
    assert_eq!(rest, "cleaned up");
    assert_eq!(report.tasks.len(), 2, "{report}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn main_that_ignores_a_deadlock_is_freed() {
    // Main waits for a task of another worker that ignores its cancel: after the grace period, it is unwound.
    let config = Config::new().workers(2).closed_world(true).shutdown_grace(Duration::from_millis(30));
    let (_, freed) = deadlock_of(config, || {
        let body = || {
            loop {
                let _ = park("nothing");
            }
        };
        let mut stubborn: RemoteHandle<()> = Builder::new().on(1).spawn_anywhere(body).unwrap();
        loop {
            match stubborn.join() {
                Err(JoinError::Interrupted) => {}
                outcome => return matches!(outcome, Err(JoinError::Cancelled)),
            }
        }
    });
    assert!(freed);
}
