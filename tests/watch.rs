//! Watch channels: the latest value, what a receiver has seen, both ends dropped, snapshots, and threads beside tasks. Most
//! behaviours are those of tokio's own tests.

mod common;

use cede::sync::watch::{self, RecvError, RecvTimeoutError, SendError, channel};
use cede::task::TaskState;
use cede::time::now;
use cede::{spawn, yield_now};
use common::witness::Drops;
use common::worlds::in_all_worlds;
use common::{caught, panic_text, paused, rounds};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn receiver_sees_the_latest_value_only() {
    in_all_worlds(|_| {
        let (sender, mut receiver) = channel(1);
        assert!(!receiver.has_changed(), "the first value is seen");
        sender.send(2).unwrap();
        sender.send(3).unwrap();
        assert_eq!((receiver.has_changed(), *receiver.borrow()), (true, 3));
        assert_eq!(receiver.changed(), Ok(()));
        assert_eq!(receiver.changed_deadline(now()), Err(RecvTimeoutError::Timeout));
        assert_eq!((*receiver.borrow_and_update(), *sender.borrow()), (3, 3));
        assert_eq!(format!("{sender:?} {receiver:?}"), "Sender { value: 3, .. } Receiver { value: 3, .. }");
    });
}

#[test]
fn send_wakes_all_waiting_receivers() {
    cede::run(|| {
        let (sender, receiver) = channel("one");
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let mut receiver = receiver.clone();
                spawn(move || receiver.changed().map(|()| *receiver.borrow()))
            })
            .collect();
        rounds(2);
        assert_eq!(tasks[0].state(), TaskState::Waiting("a new value".into()));
        sender.send("two").unwrap();
        tasks.into_iter().for_each(|mut task| assert_eq!(task.join().unwrap(), Ok("two")));
    });
}

#[test]
fn new_receivers_have_seen_the_present_value() {
    let (sender, first) = channel(0);
    sender.send(1).unwrap();
    let (subscribed, copied) = (sender.subscribe(), first.clone());
    assert_eq!((subscribed.has_changed(), copied.has_changed()), (false, true));
    assert!(first.same_channel(&subscribed) && sender.same_channel(&sender.clone()));
    assert!(!sender.same_channel(&watch::Sender::new(0)));
}

#[test]
fn marks_change_what_a_receiver_has_seen() {
    let (sender, mut receiver) = channel(0);
    receiver.mark_changed();
    assert!(receiver.has_changed());
    assert_eq!(receiver.changed(), Ok(()));
    sender.send(1).unwrap();
    receiver.mark_unchanged();
    assert_eq!(receiver.changed_deadline(now()), Err(RecvTimeoutError::Timeout));
}

#[test]
fn last_value_is_seen_before_the_disconnection() {
    cede::run(|| {
        let (sender, mut receiver) = channel(1);
        let mut other = receiver.clone();
        let mut task = spawn(move || (other.changed(), other.changed()));
        yield_now();
        let second = sender.clone();
        drop(sender);
        assert!(!receiver.is_closed());
        second.send(2).unwrap();
        drop(second);
        assert_eq!(task.join().unwrap(), (Ok(()), Err(RecvError::Disconnected)));
        assert!(receiver.is_closed() && receiver.has_changed());
        assert_eq!((receiver.changed(), receiver.changed()), (Ok(()), Err(RecvError::Disconnected)));
        assert_eq!(*receiver.borrow(), 2, "the value stays");
    });
}

#[test]
fn send_without_receivers_returns_the_value() {
    let (sender, receiver) = channel("a".to_string());
    assert_eq!((sender.receiver_count(), sender.is_closed()), (1, false));
    drop(receiver);
    assert!(sender.is_closed());
    let error = sender.send("b".into()).unwrap_err();
    assert_eq!((format!("{error:?}"), &error), ("SendError(..)".into(), &SendError("b".into())));
    assert_eq!(*sender.send_replace("c".into()), "a");
    let mut receiver = sender.subscribe();
    assert_eq!((receiver.has_changed(), &**receiver.borrow()), (false, "c"));
    sender.send_modify(|text| text.push('d'));
    assert_eq!(*receiver.borrow_and_update(), "cd");
}

#[test]
fn sender_waits_for_the_end_of_all_receivers() {
    cede::run(|| {
        let (sender, receiver) = channel(1);
        let second = receiver.clone();
        let mut task = spawn(move || sender.closed());
        rounds(2);
        drop(receiver);
        rounds(2);
        assert_eq!(task.state(), TaskState::Waiting("the end of all receivers".into()));
        drop(second);
        assert_eq!(task.join().unwrap(), Ok(()));
    });
}

#[test]
fn wait_for_checks_the_present_value_and_each_new_one() {
    cede::run(|| {
        let (sender, mut receiver) = channel(0);
        assert_eq!(receiver.wait_for(|n| *n == 0).map(|n| *n), Ok(0));
        let mut task = spawn(move || {
            let first = receiver.wait_for(|n| *n > 2).map(|n| *n);
            (first, receiver.has_changed(), receiver.wait_for(|n| *n > 100).map(|n| *n))
        });
        for n in 1..4 {
            yield_now();
            sender.send(n).unwrap();
        }
        yield_now();
        drop(sender);
        assert_eq!(task.join().unwrap(), (Ok(3), false, Err(RecvError::Disconnected)));
    });
}

#[test]
fn cancel_and_deadline_end_a_wait_and_mark_nothing() {
    paused(|| {
        let (sender, receiver) = channel(0);
        let mut inner = receiver.clone();
        let mut task = spawn(move || (inner.changed(), inner.has_changed()));
        yield_now();
        task.cancel();
        sender.send(1).unwrap();
        assert_eq!(task.join().unwrap(), (Err(RecvError::Cancelled), true));
        let mut receiver = sender.subscribe();
        assert_eq!(receiver.changed_timeout(Duration::from_secs(1)), Err(RecvTimeoutError::Timeout));
        let late = receiver.wait_for_timeout(Duration::from_secs(1), |n| *n > 1);
        assert_eq!(late.unwrap_err(), RecvTimeoutError::Timeout);
        assert!(cede::timeout(Duration::from_secs(1), || sender.closed()).is_err());
    });
}

/// A snapshot is kept over a wait, and does not keep the sender from sending.
#[test]
fn snapshot_outlives_sends_and_waits() {
    cede::run(|| {
        let (sender, receiver) = channel(vec![1]);
        let mut task = spawn(move || {
            let snapshot = receiver.borrow();
            rounds(3);
            (snapshot.clone(), receiver.borrow().into_arc())
        });
        yield_now();
        sender.send_modify(|list| list.push(2));
        assert_eq!(task.join().unwrap(), (vec![1], Arc::new(vec![1, 2])));
    });
}

#[test]
fn former_values_are_dropped_once() {
    let drops = Drops::default();
    let (sender, receiver) = channel(drops.value());
    let kept = receiver.borrow();
    sender.send(drops.value()).unwrap();
    assert_eq!(drops.count(), 0, "the snapshot keeps its value");
    drop(kept);
    assert_eq!(drops.count(), 1);
    drop((sender, receiver));
    assert_eq!(drops.count(), 2);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_in_send_modify_changes_nothing() {
    let (sender, receiver) = channel(1);
    let outcome = caught(|| {
        sender.send_modify(|n| {
            *n = 2;
            panic!("on purpose")
        })
    });
    assert_eq!(panic_text(outcome), "on purpose");
    assert_eq!((receiver.has_changed(), *receiver.borrow()), (false, 1));
    sender.send(3).unwrap();
    assert!(!sender.send_if_modified(|n| std::mem::replace(n, 4) == 0));
    assert_eq!(*receiver.borrow(), 3);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn send_inside_of_send_modify_panics() {
    let (sender, other) = (watch::Sender::new(1), watch::Sender::new(1));
    sender.send_modify(|n| *n = *other.send_replace(2));
    let text = panic_text(caught(|| sender.send_modify(|_| drop(sender.send_replace(3)))));
    assert_eq!(text, "cannot send to a watch channel inside of its own send_modify or send_if_modified");
    assert_eq!((*sender.borrow(), *sender.send_replace(4)), (1, 1));
    let text = panic_text(caught(|| cede::run(|| sender.send_modify(|_| yield_now()))));
    assert!(text.contains("no_suspend"), "{text}");
}

#[test]
fn value_need_not_be_send_within_one_run() {
    cede::run(|| {
        let (sender, mut receiver) = channel(Rc::new(Cell::new(1)));
        let mut task = spawn(move || receiver.changed().map(|()| receiver.borrow().get()));
        yield_now();
        sender.send(Rc::new(Cell::new(2))).unwrap();
        assert_eq!(task.join().unwrap(), Ok(2));
    });
}

#[test]
fn values_cross_threads_and_runs_in_order() {
    in_all_worlds(|world| {
        let (sender, receiver) = channel(0);
        let watchers: Vec<_> = (0..3)
            .map(|_| {
                let mut receiver = receiver.clone();
                world.spawn(move || {
                    let mut last = 0;
                    while receiver.changed().is_ok() {
                        let next = *receiver.borrow_and_update();
                        assert!(next > last, "a value twice, or in another order");
                        last = next;
                    }
                    last
                })
            })
            .collect();
        for n in 1..=200 {
            sender.send(n).unwrap();
            if n % 20 == 0 {
                std::thread::yield_now();
            }
        }
        drop(sender);
        assert!(watchers.into_iter().all(|watcher| watcher.join() == 200));
    });
}
