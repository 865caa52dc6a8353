//! Condition variables. The ids are those of the table in ARCHITECTURE.md.

mod common;

use cede::sync::{Condvar, Mutex};
use cede::task::{Cancelled, TaskState};
use cede::{Builder, Config, JoinHandle, RunError, spawn, yield_now};
use common::witness::{AtEnd, Log};
use common::worlds::in_all_worlds;
use common::{caught, emulated, panic_text, paused, rounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Tasks that wait for the condition and log their numbers with the mutex held.
fn sleepers(shared: &Arc<(Mutex<u32>, Condvar)>, log: &Log, count: usize) -> Vec<JoinHandle<Result<(), Cancelled>>> {
    let one = |number: usize| {
        let (shared, log) = (Arc::clone(shared), log.clone());
        spawn(move || {
            let _guard = shared.1.wait(shared.0.lock()?)?;
            assert!(shared.0.is_locked());
            log.add(number.to_string());
            yield_now();
            Ok(())
        })
    };
    let tasks = (0..count).map(one).collect();
    yield_now();
    tasks
}

#[test]
fn a64_waiting_gives_the_mutex_up_and_notify_wakes_in_order() {
    cede::run(|| {
        let (shared, log) = (Arc::new((Mutex::new(0), Condvar::new())), Log::default());
        let mut tasks = sleepers(&shared, &log, 4);
        let held = shared.0.try_lock().expect("waiters do not hold the mutex");
        assert_eq!(shared.1.notify(2), 2);
        rounds(5);
        assert!(log.take().is_empty(), "they wait for the mutex now");
        drop(held);
        rounds(5);
        assert_eq!(log.take(), ["0", "1"]);
        assert!(shared.1.notify_one());
        rounds(3);
        assert_eq!(log.take(), ["2"]);
        assert_eq!((shared.1.notify_all(), shared.1.notify_all()), (1, 0));
        assert!(tasks.iter_mut().all(|task| task.join().unwrap().is_ok()));
        assert_eq!(log.take(), ["3"]);
    });
}

#[test]
fn a64_cancelled_waiter_reacquires_the_mutex_before_it_returns() {
    cede::run(|| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let inner = Arc::clone(&shared);
        let mut task = spawn(move || {
            let cancelled = inner.1.wait(inner.0.lock().unwrap()).unwrap_err();
            let mut guard = cancelled.into_guard().expect("it has the mutex again");
            *guard += 1;
            *guard
        });
        yield_now();
        let mut held = shared.0.lock().unwrap();
        task.cancel();
        rounds(5);
        assert_eq!(task.state(), TaskState::Waiting("a mutex".into()), "no cancel cuts its wait for the mutex short");
        *held = 41;
        drop(held);
        assert_eq!(task.join().unwrap(), 42);
        assert!(!shared.0.is_locked());
    });
}

#[test]
fn a64_a_notification_in_the_moment_of_a_cancel_is_not_lost() {
    cede::run(|| {
        let (shared, log) = (Arc::new((Mutex::new(0), Condvar::new())), Log::default());
        // Cancelled first: the notification goes to the next waiter.
        let mut tasks = sleepers(&shared, &log, 2);
        tasks[0].cancel();
        yield_now();
        shared.1.notify_one();
        let results: Vec<_> = tasks.iter_mut().map(|task| task.join().unwrap()).collect();
        assert_eq!((results, log.take()), (vec![Err(Cancelled), Ok(())], vec!["1".to_string()]));
        // Notified first: it keeps the notification.
        let mut tasks = sleepers(&shared, &log, 2);
        shared.1.notify_one();
        tasks[0].cancel();
        assert_eq!(tasks[0].join().unwrap(), Ok(()));
        assert_eq!(tasks[1].state(), TaskState::Waiting("a condition".into()));
        shared.1.notify_one();
        assert_eq!(tasks[1].join().unwrap(), Ok(()));
    });
}

/// `wait_while` checks its condition with the mutex held. The forms with a deadline or timeout return at that time,
/// also with the mutex held.
#[test]
fn a64_condition_is_checked_under_the_mutex_until_a_deadline() {
    paused(|| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let inner = Arc::clone(&shared);
        let mut task = spawn(move || {
            let (lock, condvar) = &*inner;
            condvar.wait_while(lock.lock()?, |number| *number < 3).map(|number| *number).map_err(Cancelled::from)
        });
        for _ in 0..5 {
            yield_now();
            *shared.0.lock().unwrap() += 1;
            shared.1.notify_all();
        }
        assert!(task.join().unwrap().unwrap() >= 3);
        let before = cede::time::now();
        let guard = shared.0.lock().unwrap();
        let (guard, result) = shared.1.wait_timeout(guard, Duration::from_secs(60)).unwrap();
        assert!(result.timed_out() && shared.0.is_locked());
        assert_eq!(cede::time::now() - before, Duration::from_secs(60));
        let deadline = cede::time::now() + Duration::from_secs(1);
        let (guard, result) = shared.1.wait_deadline_while(guard, deadline, |number| *number < 100).unwrap();
        assert!(result.timed_out() && cede::time::now() == deadline);
        let (guard, result) = shared.1.wait_timeout_while(guard, Duration::MAX, |number| *number == 100).unwrap();
        assert!(!result.timed_out());
        drop(guard);
    });
}

/// A waiter is unwound after it was notified: the notification goes to the next waiter, a thread here.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a64_notification_of_an_unwound_waiter_is_passed_on() {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    let mut thread = None;
    let outcome = Config::new().shutdown_grace(Duration::from_millis(5)).run(|| {
        let inner = Arc::clone(&shared);
        // When it is unwound, it notifies the next task, which is unwound too.
        let _detached = spawn(move || {
            // Notifies from another thread, which cannot see that the waiter will be unwound.
            let notify = || inner.1.notify_one();
            let _end = AtEnd(|| assert!(std::thread::scope(|scope| scope.spawn(notify).join().unwrap())));
            cede::task::park_shielded("nothing");
        });
        let inner = Arc::clone(&shared);
        let _detached = spawn(move || cede::shield(|| drop(inner.1.wait(inner.0.lock().unwrap()))));
        yield_now();
        // A thread waits behind it in the queue.
        let (inner, waits) = (Arc::clone(&shared), Arc::new(AtomicUsize::new(0)));
        let says = Arc::clone(&waits);
        thread = Some(std::thread::spawn(move || {
            let guard = inner.0.lock().unwrap();
            says.store(1, Relaxed);
            let (_guard, result) = inner.1.wait_timeout(guard, Duration::from_secs(20)).unwrap();
            result.timed_out()
        }));
        while waits.load(Relaxed) == 0 || shared.0.try_lock().is_none() {
            yield_now();
        }
    });
    outcome.unwrap();
    assert!(!thread.unwrap().join().unwrap(), "it was notified in the end");
}

#[test]
fn a64_a_deadlock_breaks_also_the_wait_for_the_mutex() {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    let outcome = Config::new().closed_world(true).run(|| {
        let inner = Arc::clone(&shared);
        let body = move || inner.1.wait(inner.0.lock().unwrap()).map(drop).map_err(|lost| lost.into_guard().is_some());
        let mut task = Builder::new().name("sleeper").spawn(body).unwrap();
        yield_now();
        std::mem::forget(shared.0.lock());
        shared.1.notify_one();
        let interrupted = task.join().is_err();
        (interrupted, task.join().unwrap())
    });
    let Err(RunError::Deadlock { report, outcome }) = outcome else { panic!("no deadlock") };
    assert!(report.to_string().contains("'sleeper' waits for a mutex, held by 'main'"), "{report}");
    assert_eq!(outcome.unwrap(), (true, Err(false)), "the wait returned an error without a guard");
}

/// While the thread panics, `wait` returns at once and never releases the mutex.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a64_wait_while_panicking_keeps_the_mutex_and_returns() {
    cede::run(|| {
        let (shared, log) = (Arc::new((Mutex::new(0), Condvar::new())), Log::default());
        let (inner, outer) = (Arc::clone(&shared), log.clone());
        let mut held = Some(shared.0.lock().unwrap());
        // Would get the mutex if `wait` released it.
        let mut next = spawn(move || inner.0.lock().map(|number| *number));
        yield_now();
        let panic = caught(|| {
            let _end = AtEnd(|| {
                let guard = shared.1.wait(held.take().unwrap()).unwrap_err().into_guard();
                log.add(format!("{} {}", guard.is_some(), shared.0.is_locked()));
            });
            panic!("on purpose");
        });
        assert_eq!((panic_text(panic), outer.take()), ("on purpose".into(), vec!["true true".into()]));
        assert_eq!(next.join().unwrap(), Ok(0));
    });
}

#[test]
fn condvar_works_between_tasks_and_threads() {
    let count = if emulated() { 50 } else { 500 };
    in_all_worlds(|world| {
        // A number goes back and forth: each side waits until it is its turn.
        let shared = Arc::new((Mutex::new(0u32), Condvar::new()));
        let turn = move |shared: &(Mutex<u32>, Condvar), own: u32| {
            for _ in 0..count {
                let mut number = shared.1.wait_while(shared.0.lock().unwrap(), |number| *number % 2 != own).unwrap();
                *number += 1;
                shared.1.notify_one();
            }
        };
        let inner = Arc::clone(&shared);
        let other = world.spawn(move || turn(&inner, 1));
        turn(&shared, 0);
        other.join();
        assert_eq!(*shared.0.lock().unwrap(), 2 * count, "{world:?}");
    });
}
