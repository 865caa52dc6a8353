//! Cancellation tokens: the tree, its waiters, reasons, drop guards, and threads beside tasks. Most behaviours are those of
//! tokio-util's own tests.

mod common;

use cede::sync::{CancellationToken, Notify, WaitTimeoutError, channel};
use cede::task::{Cancellation, Cancelled, TaskState};
use cede::time::now;
use cede::{JoinHandle, select, spawn, yield_now};
use common::worlds::in_all_worlds;
use common::{paused, rounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

fn waiter(token: &CancellationToken) -> JoinHandle<Result<Cancellation, Cancelled>> {
    let token = token.clone();
    let task = spawn(move || token.cancelled());
    yield_now();
    task
}

#[test]
fn cancel_wakes_the_waiters_of_all_clones() {
    cede::run(|| {
        let token = CancellationToken::new();
        let tasks = [waiter(&token), waiter(&token.clone())];
        assert_eq!(tasks[0].state(), TaskState::Waiting("the cancel of a token".into()));
        assert_eq!((token.is_cancelled(), token.cancellation()), (false, None));
        token.cancel();
        assert!(token.clone().is_cancelled());
        for mut task in tasks {
            assert_eq!(task.join().unwrap().unwrap().reason(), None);
        }
        assert_eq!(token.cancelled().unwrap().to_string(), "cancelled");
        assert_eq!(format!("{token:?}"), "CancellationToken { is_cancelled: true, .. }");
    });
}

#[test]
fn cancel_of_a_parent_cancels_its_descendants() {
    cede::run(|| {
        let root = CancellationToken::new();
        let child = root.child_token();
        let grandchild = child.child_token();
        let (sibling, other) = (root.child_token(), CancellationToken::new());
        let mut task = waiter(&grandchild);
        child.cancel();
        let flags = [&root, &child, &grandchild, &sibling, &other].map(CancellationToken::is_cancelled);
        assert_eq!(flags, [false, true, true, false, false]);
        assert!(task.join().unwrap().is_ok());
        root.cancel();
        assert!(sibling.is_cancelled() && !other.is_cancelled());
    });
}

#[test]
fn first_reason_is_that_of_all_descendants() {
    let root = CancellationToken::new();
    let (first, second) = (root.child_token(), root.child_token());
    first.cancel_with("its own");
    root.cancel_with(format!("from {}", "above"));
    root.cancel_with("too late");
    second.cancel();
    let reasons = [&root, &first, &second, &root.child_token()].map(|token| token.cancellation().unwrap().to_string());
    assert_eq!(
        reasons,
        ["cancelled: from above", "cancelled: its own", "cancelled: from above", "cancelled: from above"]
    );
}

#[test]
fn child_of_a_cancelled_token_is_cancelled() {
    let parent = CancellationToken::new();
    parent.cancel();
    let grandchild = parent.child_token().child_token();
    assert!(grandchild.is_cancelled());
    assert!(grandchild.cancelled().is_ok(), "no wait");
}

#[test]
fn dropped_tokens_between_do_not_cut_the_tree() {
    let root = CancellationToken::new();
    let grandchild = root.child_token().child_token();
    let siblings: Vec<_> = (0..10).map(|_| root.child_token()).collect();
    drop(siblings);
    let later = root.child_token();
    assert!(!grandchild.is_cancelled() && !later.is_cancelled(), "a drop cancels nothing");
    root.cancel();
    assert!(grandchild.is_cancelled() && later.is_cancelled());
}

#[test]
fn child_outlives_its_parent() {
    let child = CancellationToken::new().child_token();
    assert!(!child.is_cancelled());
    child.cancel();
    assert!(child.is_cancelled());
}

#[test]
fn deep_tree_needs_no_deep_stack() {
    const DEPTH: usize = 100_000;
    cede::run(|| {
        let mut task = spawn(|| {
            let root = CancellationToken::new();
            let chain = |root: &CancellationToken| {
                let mut last = root.child_token();
                (0..DEPTH).for_each(|_| last = last.child_token());
                last
            };
            let (cancelled, dropped) = (chain(&root), chain(&CancellationToken::new()));
            drop(dropped);
            root.cancel();
            assert!(cancelled.is_cancelled());
        });
        task.join().unwrap();
    });
}

#[test]
fn cancelled_task_is_no_cancelled_token() {
    cede::run(|| {
        let token = CancellationToken::new();
        let mut task = waiter(&token);
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Cancelled));
        assert!(!token.is_cancelled());
        // The token first: the cancel of the task is reported by its next wait.
        let mut task = waiter(&token);
        token.cancel();
        task.cancel();
        assert!(task.join().unwrap().is_ok());
    });
}

#[test]
fn deadline_ends_the_wait_for_a_token() {
    paused(|| {
        let token = CancellationToken::new();
        assert_eq!(token.cancelled_deadline(now()), Err(WaitTimeoutError::Timeout));
        assert_eq!(token.cancelled_timeout(Duration::from_secs(1)), Err(WaitTimeoutError::Timeout));
        let mut task = waiter(&token);
        assert!(cede::timeout(Duration::from_secs(1), || token.cancelled()).is_err());
        token.cancel();
        assert!(token.cancelled_timeout(Duration::MAX).is_ok() && task.join().unwrap().is_ok());
    });
}

#[test]
fn drop_guard_cancels_unless_it_is_disarmed() {
    let token = CancellationToken::new();
    let child = token.child_token();
    let guard = child.clone().drop_guard();
    let guard = guard.disarm().drop_guard();
    assert!(!child.is_cancelled());
    drop(guard);
    assert!(child.is_cancelled() && !token.is_cancelled());
}

#[test]
fn tokens_cross_threads_and_runs() {
    in_all_worlds(|world| {
        let (root, woken) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let (started, all) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (token, woken) = (root.child_token(), Arc::clone(&woken));
                let (started, all) = (Arc::clone(&started), all.clone());
                world.spawn(move || {
                    if started.fetch_add(1, SeqCst) == 3 {
                        all.cancel_with("all have started");
                    }
                    token.cancelled().unwrap();
                    woken.fetch_add(1, SeqCst);
                })
            })
            .collect();
        assert_eq!(all.cancelled().unwrap().reason(), Some("all have started"));
        root.cancel();
        callers.into_iter().for_each(|caller| caller.join());
        assert_eq!(woken.load(SeqCst), 4);
    });
}

#[test]
fn waiters_of_one_token_wake_in_arrival_order() {
    cede::run(|| {
        let (token, order) = (CancellationToken::new(), common::witness::Log::default());
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let (token, order) = (token.clone(), order.clone());
                spawn(move || token.cancelled().map(|_| order.add(number.to_string())))
            })
            .collect();
        rounds(2);
        token.cancel();
        tasks.into_iter().for_each(|mut task| task.join().unwrap().unwrap());
        assert_eq!(order.take(), ["0", "1", "2"]);
    });
}

#[test]
fn cancel_of_a_parent_ends_a_select_for_its_child() {
    in_all_worlds(|world| {
        let (root, started) = (CancellationToken::new(), CancellationToken::new());
        let (child, starts) = (root.child_token(), started.clone());
        let caller = world.spawn(move || {
            let (_sender, receiver) = channel::bounded::<u32>(1);
            starts.cancel();
            select! {
                recv(receiver) -> number => format!("{number:?}"),
                cancelled(&child) -> why => why.to_string(),
                notified(Notify::new()) => "notified".to_string(),
            }
        });
        started.cancelled().unwrap();
        root.cancel_with("enough");
        assert_eq!(caller.join(), Ok("cancelled: enough".into()));
    });
}

#[test]
fn select_that_chose_another_case_leaves_the_token() {
    cede::run(|| {
        let (token, notify) = (CancellationToken::new(), Notify::new());
        notify.notify_one();
        let chosen = select! { cancelled(token) -> _why => "token", notified(notify) => "notify" };
        assert_eq!(chosen, Ok("notify"));
        let late = select! { cancelled(token) -> _why => "token", default(Duration::ZERO) => "late" };
        assert_eq!(late, Ok("late"));
        token.cancel();
        assert_eq!(select! { cancelled(token) -> _why => "token", notified(notify) => "notify" }, Ok("token"));
    });
}
