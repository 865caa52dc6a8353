//! Tasks that other threads spawn, and handles that every thread uses.

mod common;

use cede::sync::channel::{bounded, unbounded};
use cede::task::{self, Handle, JoinError, RemoteHandle, RunEnded, spawn_anywhere};
use cede::{Builder, Config, block_on, run, spawn, yield_now};
use common::witness::Log;
use common::{caught, emulated, panic_text, text_of};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

fn assert_send_sync<T: Send + Sync>() {}

#[test]
fn handles_are_send_and_sync() {
    assert_send_sync::<Handle>();
    assert_send_sync::<RemoteHandle<std::cell::Cell<u32>>>();
}

#[test]
fn tasks_run_on_the_thread_of_their_run() {
    let here = thread::current().id();
    let seen: Vec<(ThreadId, u32)> = run(|| {
        let handle = Handle::current();
        let threads: Vec<_> = (0..4)
            .map(|n: u32| {
                let handle = handle.clone();
                thread::spawn(move || {
                    let spawn = |k| handle.spawn(move || (thread::current().id(), n * 100 + k)).unwrap();
                    let mut tasks: Vec<_> = (0..100).map(spawn).collect();
                    tasks.iter_mut().map(|task| task.join().unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = threads.into_iter().flat_map(|thread| cede::blocking::unblock(|| thread.join().unwrap()));
        joined.collect()
    });
    assert!(seen.iter().all(|(thread, _)| *thread == here));
    assert_eq!(
        seen.iter().map(|(_, n)| n).collect::<Vec<_>>(),
        (0..400).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
}

#[test]
fn joins_from_everywhere() {
    run(|| {
        let mut task = spawn_anywhere(|| {
            yield_now();
            1
        });
        assert!(task.try_join().is_none() && !task.is_finished());
        assert_eq!(task.join().unwrap(), 1);
        assert!(task.is_finished());
        assert_eq!(spawn(|| spawn_anywhere(|| 2).join()).join().unwrap().unwrap(), 2);
        assert_eq!(block_on(spawn_anywhere(|| 3)).unwrap().unwrap(), 3);
        let mut in_thread = spawn_anywhere(|| 4);
        let thread = thread::spawn(move || in_thread.join().unwrap());
        assert_eq!(cede::blocking::unblock(|| thread.join().unwrap()), 4);
        let in_thread = spawn_anywhere(|| 5);
        let thread = thread::spawn(move || block_on(in_thread).unwrap().unwrap());
        assert_eq!(cede::blocking::unblock(|| thread.join().unwrap()), 5);
        let mut in_fiber = spawn_anywhere(|| 6);
        assert_eq!(block_on(cede::fiber(move || in_fiber.join().unwrap())), Ok(6));
    });
}

#[test]
fn ended_run_hands_the_closure_back() {
    let (handle, mut late) = run(|| (Handle::current(), spawn_anywhere(|| 1)));
    assert!(handle.is_ended());
    let RunEnded(f) = handle.spawn(|| 7).unwrap_err();
    assert_eq!(f(), 7);
    // A task that main did not wait for never ran.
    assert!(matches!(late.join(), Err(JoinError::Cancelled)));
    let other = run(|| handle.spawn(|| 8).map_err(|RunEnded(f)| f()));
    assert_eq!(other.unwrap_err(), 8);
}

#[test]
fn every_closure_runs_or_comes_back_or_is_cancelled() {
    let rounds = if emulated() { 20 } else { 300 };
    let (ran, dropped) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    struct Count(Arc<AtomicU32>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut accepted = 0;
    let mut refused = 0;
    for _ in 0..rounds {
        let (sender, receiver) = unbounded();
        let (ran, dropped) = (Arc::clone(&ran), Arc::clone(&dropped));
        let thread = thread::spawn(move || {
            let handle: Handle = receiver.recv().unwrap();
            let mut tasks = Vec::new();
            for _ in 0..20 {
                let (count, ran) = (Count(Arc::clone(&dropped)), Arc::clone(&ran));
                let task = handle.spawn(move || {
                    let _count = count;
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                tasks.push(task.map_err(drop));
            }
            let mut counts = [0, 0];
            for task in tasks {
                match task {
                    Ok(mut task) => {
                        counts[0] += 1;
                        assert!(matches!(task.join(), Ok(()) | Err(JoinError::Cancelled)));
                    }
                    Err(()) => counts[1] += 1,
                }
            }
            counts
        });
        run(|| {
            sender.send(Handle::current()).unwrap();
            (0..50).for_each(|_| yield_now());
        });
        let counts = thread.join().unwrap();
        accepted += counts[0];
        refused += counts[1];
    }
    assert_eq!((accepted + refused, dropped.load(Ordering::Relaxed)), (20 * rounds, 20 * rounds));
    assert!(ran.load(Ordering::Relaxed) <= accepted);
}

#[test]
fn cancels_before_and_after_the_start() {
    run(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let waits = |name: &'static str| {
            let log = Arc::clone(&log);
            move || {
                let cancelled = task::park("a message").is_err();
                log.lock().unwrap().push((name, cancelled));
                name
            }
        };
        let handle = Handle::current();
        // By another thread, before its worker could learn of the task.
        let (never, again) = cede::blocking::unblock(|| {
            let task = handle.spawn(waits("never")).unwrap();
            let first = task.cancel();
            (task, first)
        });
        let mut never = never;
        assert!(again);
        assert!(matches!(never.join(), Err(JoinError::Cancelled)));
        assert!(!never.cancel());
        let mut started = spawn_anywhere(waits("started"));
        cede::time::sleep(Duration::from_millis(5)).unwrap();
        cede::blocking::unblock(|| assert!(started.cancel()));
        assert_eq!(started.join().unwrap(), "started");
        assert!(!started.cancel());
        assert_eq!(*log.lock().unwrap(), [("started", true)]);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panics_reach_the_handle_or_the_hook() {
    let log = Log::default();
    let hook = log.clone();
    let config =
        Config::new().on_unhandled_panic(move |task, payload| hook.add(format!("{task}: {}", text_of(payload))));
    config
        .run(|| {
            let error = spawn_anywhere(|| panic!("joined")).join().unwrap_err();
            assert_eq!(text_of(&*error.into_panic().unwrap()), "joined");
            let handle = Handle::current();
            let named = Builder::new().name("early");
            drop(handle.spawn_with(named, || panic!("dropped before")).unwrap());
            let late = handle.spawn_with(Builder::new().name("late"), || panic!("dropped after")).unwrap();
            cede::time::sleep(Duration::from_millis(10)).unwrap();
            drop(late);
            (0..3).for_each(|_| yield_now());
        })
        .unwrap();
    assert_eq!(log.take(), ["'early': dropped before", "'late': dropped after"]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn result_is_taken_once() {
    run(|| {
        let mut task = spawn_anywhere(|| 1);
        task.join().unwrap();
        assert!(panic_text(caught(|| task.join())).contains("already taken"));
        assert!(panic_text(caught(|| task.try_join())).contains("already taken"));
    });
    assert!(panic_text(caught(|| spawn_anywhere(|| 1))).contains("outside of a run"));
}

#[test]
fn missing_stack_is_an_error() {
    run(|| {
        let handle = Handle::current();
        let mut task = handle.spawn_with(Builder::new().stack_size(1), || 1).unwrap();
        assert!(matches!(task.join(), Err(JoinError::Stack(_))));
        let mut task = cede::blocking::unblock(|| handle.spawn_with(Builder::new().stack_size(1), || 1).unwrap());
        assert!(matches!(task.join(), Err(JoinError::Stack(_))));
    });
}

#[test]
fn interrupted_join_keeps_the_result() {
    run(|| {
        let (sender, receiver) = bounded::<u32>(1);
        let mut task = spawn_anywhere(move || receiver.recv().unwrap());
        let outcome = cede::timeout(Duration::from_millis(5), || task.join());
        assert!(outcome.is_err() || matches!(outcome, Ok(Err(JoinError::Interrupted))));
        sender.send(3).unwrap();
        assert_eq!(task.join().unwrap(), 3);
    });
}

#[test]
fn eager_task_may_end_at_once() {
    run(|| {
        let mut task = Handle::current().spawn_with(Builder::new().eager(true), || 5).unwrap();
        assert_eq!(task.try_join().unwrap().unwrap(), 5);
    });
}
