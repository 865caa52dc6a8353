//! Wait groups: members, rounds, cancels, and threads beside tasks. Most behaviours are those of crossbeam's own tests.

mod common;

use cede::sync::{WaitGroup, WaitTimeoutError};
use cede::task::{Cancelled, TaskState};
use cede::time::now;
use cede::{JoinHandle, spawn, yield_now};
use common::worlds::in_all_worlds;
use common::{paused, rounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

fn waiter(group: &WaitGroup) -> JoinHandle<Result<(), Cancelled>> {
    let group = group.clone();
    let task = spawn(move || group.wait());
    yield_now();
    task
}

#[test]
fn wait_alone_returns_at_once() {
    in_all_worlds(|_| {
        let group = WaitGroup::default();
        assert_eq!(group.wait(), Ok(()));
        drop(group.clone());
        assert_eq!(group.wait_deadline(now()), Ok(()), "a member that is done does not count");
        assert_eq!(format!("{group:?}"), "WaitGroup { members: 1, waiting: 0 }");
    });
}

#[test]
fn wait_ends_when_the_last_member_is_done() {
    cede::run(|| {
        let group = WaitGroup::new();
        let members = [group.clone(), group.clone()];
        let mut task = spawn(move || group.wait());
        rounds(2);
        assert_eq!(task.state(), TaskState::Waiting("the members of a wait group".into()));
        for member in members {
            rounds(2);
            assert!(!task.is_finished());
            drop(member);
        }
        assert_eq!(task.join().unwrap(), Ok(()));
    });
}

#[test]
fn all_waiting_handles_end_together() {
    cede::run(|| {
        let group = WaitGroup::new();
        let mut tasks = [waiter(&group), waiter(&group)];
        assert_eq!(format!("{group:?}"), "WaitGroup { members: 1, waiting: 2 }");
        assert!(tasks.iter().all(|task| !task.is_finished()));
        // This handle is the last member: it begins to wait, and need not.
        assert_eq!(group.wait_deadline(now()), Ok(()));
        assert!(tasks.iter_mut().all(|task| task.join().unwrap() == Ok(())));
    });
}

#[test]
fn handles_are_members_again_in_the_next_round() {
    paused(|| {
        let group = WaitGroup::new();
        for _ in 0..3 {
            let member = group.clone();
            assert_eq!(group.wait_timeout(Duration::from_secs(1)), Err(WaitTimeoutError::Timeout));
            drop(member);
            assert_eq!(group.wait(), Ok(()));
        }
        // A waiter that has not run since its round ended is a member already.
        let mut task = waiter(&group);
        assert_eq!(group.wait(), Ok(()));
        assert_eq!(group.wait_deadline(now()), Err(WaitTimeoutError::Timeout));
        assert_eq!(task.join().unwrap(), Ok(()));
        assert_eq!(group.wait(), Ok(()));
    });
}

#[test]
fn cancelled_waiter_is_a_member_again() {
    cede::run(|| {
        let group = WaitGroup::new();
        let inner = group.clone();
        let mut task = spawn(move || {
            assert_eq!(inner.wait(), Err(Cancelled));
            inner
        });
        yield_now();
        task.cancel();
        let handle = task.join().unwrap();
        assert_eq!(format!("{group:?}"), "WaitGroup { members: 2, waiting: 0 }");
        assert_eq!(group.wait_deadline(now()), Err(WaitTimeoutError::Timeout));
        drop(handle);
        assert_eq!(group.wait(), Ok(()));
    });
}

#[test]
fn timeout_around_a_wait_ends_it() {
    paused(|| {
        let group = WaitGroup::new();
        let _member = group.clone();
        let outcome = cede::timeout(Duration::from_secs(1), || group.wait());
        assert_eq!(outcome.unwrap_err().into_value(), Err(Cancelled));
        assert_eq!(format!("{group:?}"), "WaitGroup { members: 2, waiting: 0 }");
    });
}

/// Two tasks wait through one handle. It counts as one handle, in each round.
#[test]
fn handle_with_two_waits_counts_once() {
    cede::run(|| {
        let (group, shared) = (WaitGroup::new(), Arc::new(WaitGroup::new()));
        drop(group);
        let member = (*shared).clone();
        let wait = || {
            let shared = Arc::clone(&shared);
            let task = spawn(move || shared.wait());
            yield_now();
            task
        };
        let (mut first, mut second) = (wait(), wait());
        assert_eq!(format!("{member:?}"), "WaitGroup { members: 1, waiting: 1 }");
        first.cancel();
        assert_eq!(first.join().unwrap(), Err(Cancelled));
        assert_eq!(format!("{member:?}"), "WaitGroup { members: 1, waiting: 1 }");
        // The round ends. A wait of the next round begins before the waiter of this one has run.
        assert_eq!(member.wait(), Ok(()));
        assert_eq!(shared.wait_deadline(now()), Err(WaitTimeoutError::Timeout));
        assert_eq!(second.join().unwrap(), Ok(()));
        assert_eq!(format!("{member:?}"), "WaitGroup { members: 2, waiting: 0 }");
    });
}

#[test]
fn groups_cross_threads_and_runs() {
    in_all_worlds(|world| {
        let (group, done) = (WaitGroup::new(), Arc::new(AtomicU32::new(0)));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (member, done) = (group.clone(), Arc::clone(&done));
                world.spawn(move || {
                    done.fetch_add(1, SeqCst);
                    drop(member);
                })
            })
            .collect();
        group.wait().unwrap();
        assert_eq!(done.load(SeqCst), 4);
        callers.into_iter().for_each(|caller| caller.join());
    });
}
