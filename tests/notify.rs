//! Notifications: the stored permit, the order of waiters, broadcasts, cancels, and threads beside tasks. Most behaviours are those
//! of tokio's own tests of its `Notify`.

mod common;

use cede::sync::{Notify, WaitTimeoutError, channel};
use cede::task::{Cancelled, TaskState};
use cede::time::now;
use cede::{Config, JoinHandle, select, shield, spawn, yield_now};
use common::witness::{AtEnd, Log};
use common::worlds::in_all_worlds;
use common::{paused, rounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

/// Whether a permit is stored. Takes it.
fn has_permit(notify: &Notify) -> bool {
    match notify.notified_deadline(now()) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error, WaitTimeoutError::Timeout);
            false
        }
    }
}

/// Tasks that wait once each, and log their numbers.
fn waiters(notify: &Arc<Notify>, log: &Log, count: usize) -> Vec<JoinHandle<Result<(), Cancelled>>> {
    let one = |number: usize| {
        let (notify, log) = (Arc::clone(notify), log.clone());
        spawn(move || {
            notify.notified()?;
            log.add(number.to_string());
            Ok(())
        })
    };
    let tasks = (0..count).map(one).collect();
    yield_now();
    tasks
}

#[test]
fn notification_before_the_wait_is_stored_once() {
    in_all_worlds(|_| {
        let notify = Notify::new();
        assert!(!has_permit(&notify));
        notify.notify_one();
        notify.notify_one();
        assert_eq!(format!("{notify:?}"), "Notify { permit: true, .. }");
        assert_eq!(notify.notified(), Ok(()));
        assert!(!has_permit(&notify), "two notifications store one permit");
    });
}

#[test]
fn notify_one_wakes_the_waiters_in_arrival_order() {
    cede::run(|| {
        let (notify, log) = (Arc::new(Notify::new()), Log::default());
        let mut tasks = waiters(&notify, &log, 3);
        assert_eq!(tasks[0].state(), TaskState::Waiting("a notification".into()));
        notify.notify_one();
        rounds(3);
        assert_eq!(log.take(), ["0"]);
        notify.notify_one();
        notify.notify_one();
        rounds(3);
        assert_eq!(log.take(), ["1", "2"]);
        assert!(tasks.iter_mut().all(|task| task.join().unwrap().is_ok()));
        assert!(!has_permit(&notify));
    });
}

#[test]
fn notify_waiters_wakes_all_and_stores_nothing() {
    cede::run(|| {
        let (notify, log) = (Arc::new(Notify::new()), Log::default());
        let mut tasks = waiters(&notify, &log, 3);
        notify.notify_waiters();
        assert!(!has_permit(&notify));
        rounds(3);
        assert_eq!(log.take(), ["0", "1", "2"]);
        assert!(tasks.iter_mut().all(|task| task.join().unwrap().is_ok()));
    });
}

#[test]
fn notify_waiters_keeps_the_stored_permit() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_waiters();
    assert!(has_permit(&notify));
    assert!(!has_permit(&notify));
}

#[test]
fn cancelled_waiter_leaves_the_notification_to_the_next() {
    cede::run(|| {
        let (notify, log) = (Arc::new(Notify::new()), Log::default());
        let mut tasks = waiters(&notify, &log, 2);
        tasks[0].cancel();
        notify.notify_one();
        assert_eq!((tasks[0].join().unwrap(), tasks[1].join().unwrap()), (Err(Cancelled), Ok(())));
        // Notified first: the cancel is reported by the next wait.
        let mut tasks = waiters(&notify, &log, 1);
        notify.notify_one();
        tasks[0].cancel();
        assert_eq!(tasks[0].join().unwrap(), Ok(()));
        // The only waiter was cancelled: the notification is stored.
        let mut tasks = waiters(&notify, &log, 1);
        tasks[0].cancel();
        notify.notify_one();
        assert_eq!(tasks[0].join().unwrap(), Err(Cancelled));
        assert!(has_permit(&notify));
    });
}

/// Two tasks are unwound at the end of the run. The first one notifies the second one from another thread, which cannot see that it
/// will be unwound, too.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn unwound_waiter_gives_its_notification_back() {
    let notify = Arc::new(Notify::new());
    let outcome = Config::new().shutdown_grace(Duration::from_millis(5)).run(|| {
        let inner = Arc::clone(&notify);
        let _detached = spawn(move || {
            let notify = || inner.notify_one();
            let _end = AtEnd(|| std::thread::scope(|scope| scope.spawn(notify).join().unwrap()));
            cede::task::park_shielded("nothing");
        });
        let inner = Arc::clone(&notify);
        let _detached = spawn(move || shield(|| inner.notified()));
        yield_now();
    });
    outcome.unwrap();
    assert!(has_permit(&notify), "the notification was stored again");
}

#[test]
fn deadline_ends_a_wait_and_consumes_nothing() {
    paused(|| {
        let notify = Arc::new(Notify::new());
        assert_eq!(notify.notified_timeout(Duration::from_secs(1)), Err(WaitTimeoutError::Timeout));
        let waiting = Arc::clone(&notify);
        let mut task = spawn(move || cede::timeout(Duration::from_secs(1), || waiting.notified()).is_err());
        assert!(task.join().unwrap());
        notify.notify_one();
        assert_eq!(notify.notified_timeout(Duration::MAX), Ok(()));
    });
}

#[test]
fn notified_while_checks_first_and_after_each_wake() {
    cede::run(|| {
        let (notify, value) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
        let checks = Arc::new(AtomicU32::new(0));
        let mut task = {
            let (notify, value, checks) = (Arc::clone(&notify), Arc::clone(&value), Arc::clone(&checks));
            spawn(move || {
                notify.notified_while(|| {
                    checks.fetch_add(1, SeqCst);
                    value.load(SeqCst) < 2
                })
            })
        };
        for n in 1..3 {
            yield_now();
            assert_eq!(checks.load(SeqCst), n);
            value.store(n, SeqCst);
            notify.notify_waiters();
        }
        assert_eq!((task.join().unwrap(), checks.load(SeqCst)), (Ok(()), 3));
        notify.notify_one();
        assert_eq!(notify.notified_while(|| false), Ok(()));
        assert!(has_permit(&notify), "a condition that holds consumes nothing");
    });
}

#[test]
fn notified_while_sees_a_broadcast_during_its_check() {
    let notify = Notify::new();
    let mut checks = 0;
    let outcome = notify.notified_timeout_while(Duration::MAX, || {
        checks += 1;
        notify.notify_waiters();
        checks < 3
    });
    assert_eq!((outcome, checks), (Ok(()), 3));
}

#[test]
fn notified_while_checks_once_more_after_its_deadline() {
    let notify = Notify::new();
    let mut checks = 0;
    let late = notify.notified_deadline_while(now(), || {
        checks += 1;
        true
    });
    assert_eq!((late, checks), (Err(WaitTimeoutError::Timeout), 2));
    let mut checks = 0;
    let just = notify.notified_deadline_while(now(), || {
        checks += 1;
        checks < 2
    });
    assert_eq!(just, Ok(()));
}

#[test]
fn notifications_cross_threads_and_runs() {
    in_all_worlds(|world| {
        let (there, back) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (heard, reply) = (Arc::clone(&there), Arc::clone(&back));
        let other = world.spawn(move || {
            for _ in 0..100 {
                heard.notified().unwrap();
                reply.notify_one();
            }
        });
        for _ in 0..100 {
            there.notify_one();
            back.notified().unwrap();
        }
        other.join();
    });
}

#[test]
fn notified_while_misses_no_broadcast_of_a_thread() {
    const STEPS: u32 = 2_000;
    let (notify, value) = (Notify::new(), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..STEPS {
                value.fetch_add(1, SeqCst);
                notify.notify_waiters();
            }
        });
        let wait = || {
            for step in (0..STEPS).step_by(7) {
                notify.notified_while(|| value.load(SeqCst) < step).unwrap();
            }
        };
        scope.spawn(wait);
        cede::run(|| cede::scope(|tasks| (0..3).for_each(|_| drop(tasks.spawn(wait)))).unwrap());
    });
}

/// Both kinds of notification end a select, also if it waits for the same one twice.
#[test]
fn notifications_end_selects() {
    cede::run(|| {
        let notify = Arc::new(Notify::new());
        for all in [false, true] {
            let inner = Arc::clone(&notify);
            let mut task = spawn(move || {
                let (_sender, receiver) = channel::bounded::<u32>(1);
                select! { notified(inner) => 1, recv(receiver) -> _ => 2, notified(inner) => 1 }
            });
            rounds(2);
            if all {
                notify.notify_waiters()
            } else {
                notify.notify_one()
            }
            assert_eq!(task.join().unwrap(), Ok(1));
            assert!(!has_permit(&notify));
        }
    });
}

#[test]
fn select_that_chose_another_case_consumes_nothing() {
    cede::run(|| {
        let (notify, (sender, receiver)) = (Arc::new(Notify::new()), channel::bounded(1));
        let inner = Arc::clone(&notify);
        let mut task = spawn(move || select! { notified(inner) => 0, recv(receiver) -> number => number.unwrap() });
        let mut waiting = waiters(&notify, &Log::default(), 1);
        sender.send(5).unwrap();
        // The first waiter is the select, which was given a message: the next one is notified.
        notify.notify_one();
        assert_eq!((task.join().unwrap(), waiting[0].join().unwrap()), (Ok(5), Ok(())));
    });
}

/// Like `unwound_waiter_gives_its_notification_back`, for a select.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn unwound_select_gives_its_notification_back() {
    for all in [false, true] {
        let notify = Arc::new(Notify::new());
        let outcome = Config::new().shutdown_grace(Duration::from_millis(5)).run(|| {
            let inner = Arc::clone(&notify);
            let _detached = spawn(move || {
                let notify = || if all { inner.notify_waiters() } else { inner.notify_one() };
                let _end = AtEnd(|| std::thread::scope(|scope| scope.spawn(notify).join().unwrap()));
                cede::task::park_shielded("nothing");
            });
            let inner = Arc::clone(&notify);
            let _detached = spawn(move || shield(|| select! { notified(inner) => () }));
            yield_now();
        });
        outcome.unwrap();
        assert_eq!(has_permit(&notify), !all, "a broadcast is not stored");
    }
}
