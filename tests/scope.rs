//! Scopes: children that borrow, and the end of a scope. The ids are those of the table in ARCHITECTURE.md. Children that never
//! end and handles that are forgotten are in `scope_left.rs`.

mod common;

use cede::task::{self, Cancelled, Failure, Scope, ScopeError};
use cede::time::{now, sleep};
use cede::{Builder, Config, JoinError, as_completed, join_all, race, run, scope, shield, yield_now};
use common::witness::{Drops, Log};
use common::{caught, panic_text, paused, rounds, s, since};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The failures of a scope, as text.
fn failed<T>(outcome: Result<T, ScopeError<T>>) -> Vec<String> {
    match outcome {
        Ok(_) => panic!("the scope should have failed"),
        Err(ScopeError::Failed { failures, .. }) => {
            failures.iter().map(|Failure { error, .. }| error.to_string()).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

// ---- borrowing

/// Children of a scope borrow variables around it, shared and mutably, like scoped threads.
#[test]
fn children_borrow_from_around_the_scope_like_threads() {
    let (mut left, mut right, text) = (vec![1, 2], [10; 3], String::from("text"));
    let total = run(|| {
        scope(|scope| {
            scope.spawn(|| {
                left.push(3);
                yield_now();
                left.push(4);
            });
            scope.spawn(|| right.iter_mut().for_each(|n| *n += 1));
            let mut len = scope.spawn(|| &text[1..]);
            let mut both = [scope.spawn(|| text.len()), scope.spawn(|| text.len() * 2)];
            len.join().unwrap().len() + both.iter_mut().map(|one| one.join().unwrap()).sum::<usize>()
        })
    });
    assert_eq!((total.unwrap(), left, right), (15, vec![1, 2, 3, 4], [11; 3]));
}

#[test]
fn a46_a_scope_returns_when_all_its_children_have_ended() {
    paused(|| {
        let (start, done) = (now(), Cell::new(0));
        let value = scope(|scope| {
            for seconds in 1..=5 {
                let done = &done;
                scope.spawn(move || {
                    sleep(s(seconds)).unwrap();
                    done.set(done.get() + 1);
                });
            }
            "value"
        });
        assert_eq!((value.unwrap(), done.get(), since(start)), ("value", 5, 5));
        assert_eq!(scope(|_| 7).unwrap(), 7, "a scope without children returns at once");
    });
}

/// Children spawn further children through the scope, and open scopes of their own.
#[test]
fn children_spawn_through_the_scope_and_inner_scopes() {
    fn tree<'scope>(scope: &'scope Scope<'scope, '_>, depth: u32, count: &'scope Cell<u32>) {
        count.set(count.get() + 1);
        for _ in 0..if depth == 0 { 0 } else { 3 } {
            scope.spawn(move || {
                yield_now();
                tree(scope, depth - 1, count);
            });
        }
    }
    fn inner(depth: u32) -> u32 {
        let counts = [Cell::new(0), Cell::new(0)];
        scope(|scope| {
            for count in counts.iter().take(if depth == 0 { 0 } else { 2 }) {
                scope.spawn(move || count.set(inner(depth - 1)));
            }
        })
        .unwrap();
        1 + counts.iter().map(Cell::get).sum::<u32>()
    }
    run(|| {
        let count = Cell::new(0);
        scope(|scope| tree(scope, 4, &count)).unwrap();
        assert_eq!(count.get(), 1 + 3 + 9 + 27 + 81);
        assert_eq!(inner(5), 63);
    });
}

#[test]
fn the_combinators_take_scoped_handles_too() {
    paused(|| {
        let words = ["one", "two", "three"];
        let lengths = scope(|scope| {
            let spawn = |place: usize| {
                let word = words[place];
                scope.spawn(move || sleep(s(9 - word.len() as u64)).map(|()| word))
            };
            let all = || (0..3).map(spawn).collect::<Vec<_>>();
            let first = race(all()).winner;
            let order: Vec<_> = as_completed(all()).map(|task| task.result.unwrap().unwrap()).collect();
            assert_eq!(order, ["three", "one", "two"]);
            let joined = join_all(all()).into_iter().map(Result::unwrap);
            assert_eq!(joined.collect::<Vec<_>>(), [Ok("one"), Ok("two"), Ok("three")]);
            let waited = task::wait(&mut all(), task::When::First, None).unwrap();
            (first, waited.done, join_all(all()).len())
        });
        assert_eq!(lengths.unwrap(), (2, vec![2], 3));
    });
}

#[test]
fn a_scoped_task_has_what_its_builder_gave_it() {
    run(|| {
        let text = String::from("borrowed");
        scope(|scope| {
            let mut named =
                Builder::new().name("reader").stack_size(1 << 20).spawn_scoped(scope, || text.len()).unwrap();
            assert_eq!((named.task().name(), named.join().unwrap()), (Some("reader"), 8));
            assert!(Builder::new().stack_size(usize::MAX).spawn_scoped(scope, || ()).is_err());
            let seen = Cell::new(false);
            let seen = Rc::new(seen);
            let inner = Rc::clone(&seen);
            let mut eager = Builder::new().eager(true).spawn_scoped(scope, move || inner.set(true)).unwrap();
            assert!(seen.get());
            eager.join().unwrap();
            // The debug output of a scope.
            assert!(format!("{scope:?}").starts_with("Scope { tasks: 0, cancelled: false"));
        })
        .unwrap();
    });
}

// ---- failing

/// A panic of a child cancels its siblings and the body, awaits all children, and is returned with the value of the
/// body.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a46_failure_cancels_siblings_and_body_and_is_returned() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let outcome = scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    assert_eq!(sleep(s(9)), Err(Cancelled));
                    shield(|| sleep(s(1))).unwrap();
                    log.add("cleaned");
                });
            }
            scope.spawn(|| {
                sleep(s(2)).unwrap();
                panic!("one");
            });
            let told = sleep(s(9));
            assert!(scope.is_cancelled() && task::check().is_err() && !task::is_cancelled());
            scope.spawn(|| log.add("ran")); // never does
            told
        });
        assert_eq!((log.take(), since(start)), (vec!["cleaned".to_string(); 2], 3));
        let Err(ScopeError::Failed { value, failures }) = outcome else { panic!("the scope did not fail") };
        assert_eq!(
            (value, failures.len()),
            (Err(Cancelled), 1),
            "the wait of the body was cancelled, and its value is kept"
        );
        assert_eq!(sleep(s(1)), Ok(()), "outside of the scope no cancel is left");
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a47_a_child_that_is_cancelled_alone_is_no_failure() {
    paused(|| {
        let done = Cell::new(0);
        let outcome = scope(|scope| {
            let count = || {
                sleep(s(1))?;
                done.set(done.get() + 1);
                Ok::<(), Cancelled>(())
            };
            scope.spawn(count);
            let unrun = scope.spawn(count);
            unrun.cancel();
            let told = scope.spawn(count);
            yield_now();
            told.cancel_with("alone");
            scope.spawn(count);
            assert!(!scope.is_cancelled());
        });
        assert!(outcome.is_ok());
        assert_eq!(done.get(), 2);
    });
}

/// A panic of the body cancels the children, awaits them, and then continues.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a47_panic_of_the_body_cancels_and_awaits_the_children() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let text = panic_text(caught(|| {
            scope(|scope| {
                scope.spawn(|| {
                    assert!(sleep(s(9)).is_err());
                    shield(|| sleep(s(2))).unwrap();
                    log.add("cleaned");
                });
                sleep(s(1)).unwrap();
                panic!("the body");
            })
        }));
        assert_eq!((text.as_str(), log.take(), since(start)), ("the body", vec!["cleaned".to_string()], 3));
        assert!(task::check().is_ok());
    });
}

/// A child that is spawned in a cancelled scope never runs. Opening a scope outside of a run panics.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a48_cancelled_scope_runs_no_child_and_no_run_no_scope() {
    // The compiler refuses a scope that is over: tests/soundness.md. In a cancelled scope no new child runs.
    run(|| {
        let outcome = scope(|scope| {
            scope.cancel();
            scope.cancel();
            let mut late = scope.spawn(|| unreachable!("it never runs"));
            matches!(late.join(), Err(JoinError::Cancelled))
        });
        assert!(outcome.unwrap());
    });
    let text = panic_text(caught(|| scope(|_| ())));
    assert_eq!(text, "cannot open a scope outside of a run: call cede::run(|| ...) and do it in there");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a49_every_failure_is_in_the_error_in_the_order_of_their_ends() {
    paused(|| {
        let outcome = scope(|scope| {
            scope.spawn(|| {
                assert!(sleep(s(9)).is_err());
                shield(|| sleep(s(1))).unwrap();
                panic!("while cleaning up");
            });
            Builder::new()
                .name("first")
                .spawn_scoped(scope, || {
                    sleep(s(1)).unwrap();
                    panic!("first");
                })
                .unwrap();
        });
        let text = outcome.as_ref().unwrap_err().to_string();
        assert!(text.starts_with("2 of the scope's tasks failed: 'first': the task panicked: first; #"), "{text}");
        assert_eq!(failed(outcome), ["the task panicked: first", "the task panicked: while cleaning up"]);
    });
}

/// A panic whose handle is joined is no failure of the scope, but cancels the siblings like any other panic.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn joined_panic_is_no_failure_but_cancels_the_siblings() {
    paused(|| {
        let outcome = scope(|scope| {
            let mut other = scope.spawn(|| sleep(s(9)));
            let mut bad = scope.spawn(|| panic!("seen"));
            let seen = loop {
                // The first join is a wait of the body, which is cancelled.
                match bad.join() {
                    Err(JoinError::Interrupted) => {}
                    result => break result.unwrap_err().to_string(),
                }
            };
            let told = loop {
                match other.join() {
                    Err(JoinError::Interrupted) => {}
                    result => break result.unwrap(),
                }
            };
            (seen, told, scope.is_cancelled())
        });
        assert_eq!(outcome.unwrap(), ("the task panicked: seen".to_string(), Err(Cancelled), true));
        // Dropping the handle before or after the child's end makes no difference.
        for early in [true, false] {
            let outcome = scope(|scope| {
                let bad = scope.spawn(|| panic!("unseen"));
                if early {
                    drop(bad);
                    let _ = sleep(s(1));
                } else {
                    let _ = sleep(s(1));
                    drop(bad);
                }
            });
            assert_eq!(failed(outcome), ["the task panicked: unseen"], "early: {early}");
        }
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn failures_beside_a_panic_of_the_body_go_to_the_hook() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let hook = Rc::clone(&told);
    let config = Config::new().on_unhandled_panic(move |_, payload| hook.borrow_mut().push(common::text_of(payload)));
    config
        .run(|| {
            let outcome = caught(|| {
                scope(|scope| {
                    scope.spawn(|| panic!("the child"));
                    yield_now();
                    panic!("the body");
                })
            });
            assert_eq!(panic_text(outcome), "the body");
            rounds(3);
        })
        .unwrap();
    assert_eq!(*told.borrow(), ["the child"]);
}

// ---- dropping

/// The captures and results of all children are dropped once, before the scope returns.
#[test]
fn captures_and_results_are_dropped_before_the_scope_returns() {
    let drops = Drops::default();
    run(|| {
        let watched = &drops;
        scope(|scope| {
            for kind in 0..30 {
                let (captured, result) = (watched.value(), watched.value());
                let handle = scope.spawn(move || {
                    let _captured = captured;
                    yield_now();
                    result
                });
                match kind % 5 {
                    0 => drop(handle),
                    1 => drop(handle.cancel()),
                    2 => {
                        yield_now();
                        handle.cancel();
                    }
                    3 => {
                        let mut handle = handle;
                        drop(handle.join().unwrap());
                    }
                    _ => {
                        rounds(4);
                        drop(handle);
                    }
                }
            }
        })
        .unwrap();
        assert_eq!(drops.count(), 60);
    });
}
