//! What could free a frame that a scope's children borrow from: a child that never ends, a handle that is forgotten, a generator
//! that is suspended inside of the scope and then dropped, forgotten, or dropped by a panic.

mod common;

use cede::task::{AsCompleted, ScopeError, park};
use cede::{Builder, Config, JoinError, as_completed, run, scope, shield, spawn, yield_now};
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
        let config = Config::new().grace(Duration::from_millis(20));
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
                unreachable!("the scope returned while its child is there");
            };
            drop(Builder::new().name("parent").spawn(parent).unwrap());
            rounds(3);
        });
        unreachable!("run returned: {}", outcome.is_ok());
    });
    let expected = "cede: task 'endless' would not end when it was cancelled and unwound; it borrows from its scope and cannot \
                    be left behind";
    assert!(text.contains(expected) && !text.contains("unreachable"), "{text}");
    assert!(text.ends_with("exit code None"), "it was stopped by a signal: {text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn the_one_that_will_not_end_is_named_and_not_those_who_wait_for_it() {
    let text = in_child("the_one_that_will_not_end_is_named_and_not_those_who_wait_for_it", || {
        let config = Config::new().grace(Duration::from_millis(20));
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
    assert!(text.contains("cede: task 'deaf' would not end when it was cancelled and unwound"), "{text}");
    assert!(!text.contains("depth"), "{text}");
}

#[test]
fn a_child_that_will_not_end_stops_the_process_also_when_main_waits_for_it_in_a_deadlock() {
    let name = "a_child_that_will_not_end_stops_the_process_also_when_main_waits_for_it_in_a_deadlock";
    let text = in_child(name, || {
        let config = Config::new().grace(Duration::from_millis(20));
        let outcome = config.run(|| {
            let local = Cell::new(0u64);
            scope(|scope| {
                let deaf = || {
                    // Everybody waits: a deadlock, after which it goes on for ever.
                    let _ = park("nobody");
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
    assert!(text.contains("cede: task 'deaf' would not end when it was cancelled and unwound; it borrows"), "{text}");
    assert!(text.ends_with("exit code None"), "it was stopped by a signal: {text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_child_that_ignores_its_cancel_is_unwound_after_the_grace_and_its_parent_after_it() {
    let log = Log::default();
    let config = Config::new().grace(Duration::from_millis(30));
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

// ---- what is forgotten

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
        forget(spawn(|| park("for ever").is_err()).cancel_on_drop());
        forget(as_completed([spawn(yield_now), spawn(yield_now)]));
        yield_now();
    });
    assert_eq!(drops.count(), 0);
    // The memory is used again by others.
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

// ---- generators

/// In debug builds a generator cannot be suspended inside of a scope at all.
#[test]
#[cfg(debug_assertions)]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn suspending_a_generator_inside_of_a_section_is_refused_in_debug_builds_and_names_both_places() {
    use cede::{Generator, Yielder, timeout};
    run(|| {
        type Body = fn(&Yielder<u32>);
        let sections: [(&str, Body); 3] = [
            ("scope", |y| drop(scope(|_| y.yield_(1)))),
            ("shield", |y| shield(|| y.yield_(1))),
            ("timeout", |y| drop(timeout(Duration::MAX, || y.yield_(1)))),
        ];
        for (name, body) in sections {
            let mut generator = Generator::new(move |y: &Yielder<u32>| body(y));
            let text = common::panic_text(caught(|| generator.next()));
            assert!(text.contains(&format!("a {name} section (opened at tests/scope_left.rs:")), "{text}");
            assert!(cede::task::check().is_ok() && park_now(), "nothing of it is left");
        }
    });
    fn park_now() -> bool {
        cede::task::park_until("nothing", std::time::Instant::now()).is_ok()
    }
}

#[cfg(not(debug_assertions))]
mod suspended_inside {
    use super::*;
    use cede::{Generator, Suspender, Yielder};
    use common::panic_text;
    use common::witness::AtEnd;
    use std::rc::Rc;

    /// A generator that yields inside of a scope, one of whose children goes on for `turns` turns, borrowing from the
    /// generator's stack. The count of its turns is seen from outside.
    fn open_scope(turns: u32) -> (Generator<u32>, Rc<Cell<u32>>) {
        let count = Rc::new(Cell::new(0));
        let inner = Rc::clone(&count);
        let generator = Generator::new(move |y: &Yielder<u32>| {
            let local = Cell::new(0);
            let outcome = scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..turns {
                        local.set(local.get() + 1);
                        inner.set(local.get());
                        yield_now();
                    }
                });
                y.yield_(1);
            });
            outcome.unwrap();
            assert_eq!(local.get(), turns);
        });
        (generator, count)
    }

    #[test]
    fn a_generator_that_is_resumed_waits_for_the_children_then() {
        run(|| {
            let (mut generator, count) = open_scope(5);
            assert_eq!(generator.next(), Some(1));
            yield_now();
            assert_eq!(count.get(), 1);
            assert_eq!(generator.next(), None);
            assert_eq!(count.get(), 5);
        });
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn a_generator_that_is_dropped_waits_for_the_children_first() {
        run(|| {
            let (mut generator, count) = open_scope(5);
            assert_eq!(generator.next(), Some(1));
            yield_now();
            drop(generator);
            assert_eq!(count.get(), 5);
            // From another task than the one that opened it, which is gone by then.
            let mut made = spawn(|| {
                let (mut generator, count) = open_scope(5);
                generator.next();
                (generator, count)
            });
            let (generator, count) = made.join().unwrap();
            drop(made);
            spawn(move || drop(generator)).join().unwrap();
            assert_eq!(count.get(), 5);
        });
    }

    #[test]
    fn a_generator_that_is_forgotten_keeps_its_frame_for_ever() {
        let count = run(|| {
            let (mut generator, count) = open_scope(1000);
            assert_eq!(generator.next(), Some(1));
            forget(generator);
            // Others want stacks meanwhile.
            for _ in 0..100 {
                spawn(|| yield_now()).join().unwrap();
            }
            count
        });
        assert_eq!(count.get(), 1000, "it has ended before its run");
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn a_generator_that_is_dropped_by_a_panic_is_left_behind() {
        let text = in_child("suspended_inside::a_generator_that_is_dropped_by_a_panic_is_left_behind", || {
            let count = run(|| {
                let mut task = spawn(|| {
                    let (mut generator, count) = open_scope(100);
                    let kept = Rc::clone(&count);
                    let outcome = caught(move || {
                        generator.next();
                        let _generator = generator;
                        panic!("on purpose");
                    });
                    assert_eq!(panic_text(outcome), "on purpose");
                    assert!(kept.get() < 5);
                    count
                });
                task.join().unwrap()
            });
            assert_eq!(count.get(), 100);
        });
        assert!(
            text.contains("was dropped by a panic, in a callback or in no_suspend while it has a scope open"),
            "{text}"
        );
        assert!(text.ends_with("exit code Some(0)"), "{text}");
    }

    #[test]
    fn a_generator_may_outlive_the_run_with_its_scope_open() {
        let (mut generator, count) = run(|| {
            let (mut generator, count) = open_scope(5);
            assert_eq!(generator.next(), Some(1));
            (generator, count)
        });
        assert_eq!(count.get(), 0, "it was cancelled before its first turn");
        // The children have ended with the run, so there is nothing to wait for; the assertion in there fails.
        if cfg!(panic = "unwind") {
            assert!(caught(|| generator.next()).is_err());
        }
        if cfg!(panic = "unwind") {
            let (mut other, count) = run(|| {
                let (mut generator, count) = open_scope(5);
                generator.next();
                yield_now();
                (generator, count)
            });
            run(|| {
                assert_eq!(count.get(), 5, "what only yields is not cut short");
                assert_eq!(other.next(), None);
            });
        }
    }

    /// Runs `drop_it` with such a generator in a child, and returns what it said.
    fn dropping(name: &str, drop_it: fn(Generator<u32>)) -> String {
        in_child(&format!("suspended_inside::{name}"), || {
            run(|| {
                let (mut generator, count) = open_scope(5);
                generator.next();
                yield_now();
                drop_it(generator);
                rounds(20);
                assert_eq!(count.get(), 5);
                eprintln!("went on");
            });
        })
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn a_generator_that_is_dropped_in_a_callback_is_left_behind() {
        let name = "a_generator_that_is_dropped_in_a_callback_is_left_behind";
        let text = dropping(name, |generator| {
            spawn(|| ()).on_done(move |_| drop(generator));
        });
        let left = "was dropped by a panic, in a callback or in no_suspend while it has a scope open";
        assert!(text.contains(left) && text.ends_with("went on\nexit code Some(0)"), "{text}");
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn a_generator_that_is_dropped_in_no_suspend_is_left_behind() {
        let name = "a_generator_that_is_dropped_in_no_suspend_is_left_behind";
        let text = dropping(name, |generator| cede::no_suspend(move || drop(generator)));
        let left = "was dropped by a panic, in a callback or in no_suspend while it has a scope open";
        assert!(text.contains(left) && text.ends_with("went on\nexit code Some(0)"), "{text}");
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn a_generator_that_is_a_result_nobody_wants_waits_for_the_children() {
        let name = "a_generator_that_is_a_result_nobody_wants_waits_for_the_children";
        let text = dropping(name, |generator| drop(spawn(move || generator)));
        assert!(text.ends_with("went on\nexit code Some(0)"), "{text}");
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn a_scoped_coroutine_with_a_scope_open_is_ended_or_stops_the_process() {
        run(|| {
            let local = Cell::new(0);
            let body = |s: &Suspender<(), u32>, ()| {
                let _ = scope(|scope| {
                    scope.spawn(|| {
                        for _ in 0..5 {
                            local.set(local.get() + 1);
                            yield_now();
                        }
                    });
                    s.suspend(1);
                });
            };
            cede::scoped(body, |mut coroutine| drop(coroutine.resume(())));
            assert_eq!(local.get(), 0, "it was cancelled before its first turn");
        });
        let name = "suspended_inside::a_scoped_coroutine_with_a_scope_open_is_ended_or_stops_the_process";
        let text = in_child(name, || {
            run(|| {
                let local = Cell::new(0);
                let body = |s: &Suspender<(), u32>, ()| {
                    let _ = scope(|scope| {
                        scope.spawn(|| while park("for ever").is_ok() {});
                        local.set(1);
                        s.suspend(1);
                    });
                };
                cede::scoped(body, |mut coroutine| {
                    coroutine.resume(());
                    yield_now();
                    panic!("on purpose");
                });
            });
        });
        assert!(text.contains("borrows from its caller and will not end; it cannot be left behind"), "{text}");
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn a_generator_inside_of_a_generator_is_left_behind_when_the_outer_one_is_unwound() {
        let name = "suspended_inside::a_generator_inside_of_a_generator_is_left_behind_when_the_outer_one_is_unwound";
        let text = in_child(name, || {
            let count = run(|| {
                let (mut inner, count) = open_scope(50);
                let mut outer = Generator::new(move |y: &Yielder<u32>| {
                    inner.next();
                    y.yield_(1);
                    drop(inner);
                });
                outer.next();
                yield_now();
                drop(outer);
                let _end = AtEnd(|| ());
                count
            });
            assert_eq!(count.get(), 50);
        });
        assert!(text.ends_with("exit code Some(0)"), "{text}");
    }
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
