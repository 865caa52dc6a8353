//! Cases that could free a frame while a scope's children borrow from it: a child that never ends, and a forgotten handle. For
//! generators see `section_generators.rs`.

mod common;

use cede::task::{AsCompleted, ScopeError, park};
use cede::{Builder, Config, JoinError, as_completed, run, scope, spawn, yield_now};
use common::child::in_child;
use common::witness::{Drops, Log};
use common::{caught, rounds};
use std::cell::Cell;
use std::mem::forget;
use std::time::Duration;

// ---- children that never end

#[test]
fn a_child_that_will_not_end_stops_the_process_and_is_named() {
    let text = in_child("a_child_that_will_not_end_stops_the_process_and_is_named", || {
        let config = Config::new().shutdown_grace(Duration::from_millis(20));
        let outcome = config.run(|| {
            let parent = || {
                let local = Cell::new(0u64);
                let _ = scope(|scope| {
                    let endless = || loop {
                        let _ = caught(yield_now);
                        local.set(local.get() + 1);
                    };
                    drop(Builder::new().name("endless").spawn_scoped(scope, endless).unwrap());
                });
                unreachable!("the scope returned before its child ended");
            };
            drop(Builder::new().name("parent").spawn(parent).unwrap());
            rounds(3);
        });
        unreachable!("run returned: {}", outcome.is_ok());
    });
    let expected = "cede: task 'endless' did not end when it was cancelled and unwound; it borrows from its scope, so it \
                    cannot be abandoned";
    assert!(text.contains(expected) && !text.contains("unreachable"), "{text}");
    assert!(text.ends_with("exit code None"), "the child process ended without a signal: {text}");
}

/// Tasks that wait for a child which will not end are not named: only the child is.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn only_the_child_that_will_not_end_is_named() {
    let text = in_child("only_the_child_that_will_not_end_is_named", || {
        let config = Config::new().shutdown_grace(Duration::from_millis(20));
        let outcome = config.run(|| {
            fn nest(depth: u32) {
                let _ = scope(|scope| {
                    let name = if depth == 0 { "deaf".to_string() } else { format!("depth {depth}") };
                    let body = move || match depth {
                        0 => loop {
                            let _ = caught(yield_now);
                        },
                        _ => nest(depth - 1),
                    };
                    drop(Builder::new().name(name).spawn_scoped(scope, body).unwrap());
                });
            }
            drop(spawn(|| nest(3)));
            rounds(8);
        });
        unreachable!("run returned: {}", outcome.is_ok());
    });
    assert!(text.contains("cede: task 'deaf' did not end when it was cancelled and unwound"), "{text}");
    assert!(!text.contains("depth"), "{text}");
}

/// A child that will not end stops the process also when main waits for it in a deadlock.
#[test]
fn endless_child_stops_the_process_after_a_deadlock() {
    let name = "endless_child_stops_the_process_after_a_deadlock";
    let text = in_child(name, || {
        let config = Config::new().shutdown_grace(Duration::from_millis(20));
        let outcome = config.run(|| {
            let local = Cell::new(0u64);
            scope(|scope| {
                let deaf = || {
                    // All tasks wait: a deadlock. After it, this child loops without end.
                    let _ = park("nothing");
                    loop {
                        let _ = caught(yield_now);
                        local.set(local.get() + 1);
                    }
                };
                drop(Builder::new().name("deaf").spawn_scoped(scope, deaf).unwrap());
            })
            .is_ok()
        });
        unreachable!("run returned: {}", outcome.is_ok());
    });
    assert!(
        text.contains("cede: main was cancelled, because the run is deadlocked, and has not returned yet"),
        "{text}"
    );
    assert!(text.contains("cede: task 'deaf' did not end when it was cancelled and unwound; it borrows"), "{text}");
    assert!(text.ends_with("exit code None"), "the child process ended without a signal: {text}");
}

/// A child that ignores its cancel is unwound after the grace period, and then its parent.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn child_ignoring_its_cancel_is_unwound_before_its_parent() {
    let log = Log::default();
    let config = Config::new().shutdown_grace(Duration::from_millis(30));
    config
        .run(|| {
            let inner = log.clone();
            spawn(move || {
                let _end = inner.at_end("parent");
                let local = Cell::new(0);
                let outcome = scope(|scope| {
                    scope.spawn(|| {
                        let _end = inner.at_end("child");
                        loop {
                            local.set(local.get() + 1);
                            yield_now();
                        }
                    });
                });
                inner.add(format!("{:?} {}", outcome.is_ok(), local.get() > 5));
            });
            rounds(3);
        })
        .unwrap();
    assert_eq!(log.take(), ["child", "true true", "parent"]);
}

// ---- forgotten handles

#[test]
fn forgetting_whatever_can_be_forgotten_leaks_and_frees_nothing() {
    let drops = Drops::default();
    run(|| {
        let mut local = vec![1u64; 100];
        let total = Cell::new(0);
        let outcome = scope(|scope| {
            let sum = || {
                let text = vec![7u64; 50];
                (0..5).for_each(|_| yield_now());
                total.set(total.get() + text.iter().sum::<u64>() + local.iter().sum::<u64>());
                &local[..]
            };
            forget(scope.spawn(sum));
            let mut joined = scope.spawn(sum);
            assert_eq!(joined.join().unwrap().len(), 100);
            forget(joined);
            let mut several = as_completed((0..4).map(|_| scope.spawn(sum)));
            assert!(several.next().is_some());
            forget::<AsCompleted<_>>(several);
            let cancelled = scope.spawn(sum);
            cancelled.cancel();
            forget(cancelled);
        });
        outcome.unwrap();
        assert_eq!(total.get(), 6 * 450);
        local.fill(0);
        drop(local);
        let value = drops.value();
        let mut plain = spawn(move || {
            yield_now();
            value
        });
        forget(plain.join().unwrap());
        forget(plain);
        forget(spawn(|| park("the end").is_err()).cancel_on_drop());
        forget(as_completed([spawn(yield_now), spawn(yield_now)]));
        yield_now();
    });
    assert_eq!(drops.count(), 0);
    // Other tasks reuse the memory.
    run(|| (0..200).for_each(|n| assert_eq!(spawn(move || vec![n; 100]).join().unwrap()[99], n)));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_panic_whose_handle_was_forgotten_still_cancels_the_scope() {
    run(|| {
        let outcome = scope(|scope| {
            forget(scope.spawn(|| panic!("unseen")));
            let told = park("the failure");
            (told.is_err(), scope.is_cancelled())
        });
        match outcome {
            Ok(told) | Err(ScopeError::Failed { value: told, .. }) => assert_eq!(told, (true, true)),
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn a_joined_child_gives_what_it_borrowed() {
    let words = [String::from("a"), String::from("b")];
    let joined = run(|| {
        scope(|scope| {
            let mut first = scope.spawn(|| &words[0]);
            let mut second = scope.spawn(|| Err::<&String, _>(&words[1]));
            let outcome: Result<_, JoinError> = first.join();
            (outcome.unwrap().len(), second.join().unwrap().is_err())
        })
    });
    assert_eq!(joined.unwrap(), (1, true));
}
