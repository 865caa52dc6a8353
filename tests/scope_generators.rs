//! Generators that are suspended inside of a scope, and then resumed, dropped, forgotten, or dropped where nothing can wait. Debug
//! builds refuse to suspend there; release builds do not look.

mod common;

/// In debug builds a generator cannot be suspended inside of a scope at all.
#[test]
#[cfg(debug_assertions)]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn suspending_a_generator_inside_of_a_section_is_refused_in_debug_builds_and_names_both_places() {
    use cede::{Generator, Yielder, run, scope, shield, timeout};
    use std::time::Duration;
    run(|| {
        type Body = fn(&Yielder<u32>);
        let sections: [(&str, Body); 3] = [
            ("scope", |y| drop(scope(|_| y.yield_(1)))),
            ("shield", |y| shield(|| y.yield_(1))),
            ("timeout", |y| drop(timeout(Duration::MAX, || y.yield_(1)))),
        ];
        for (name, body) in sections {
            let mut generator = Generator::new(move |y: &Yielder<u32>| body(y));
            let text = common::panic_text(common::caught(|| generator.next()));
            assert!(text.contains(&format!("a {name} section (opened at tests/scope_generators.rs:")), "{text}");
            assert!(cede::task::check().is_ok() && park_now(), "nothing of it is left");
        }
    });
    fn park_now() -> bool {
        cede::task::park_until("nothing", std::time::Instant::now()).is_ok()
    }
}

#[cfg(not(debug_assertions))]
mod suspended_inside {
    use crate::common::child::in_child;
    use crate::common::witness::AtEnd;
    use crate::common::{caught, panic_text, rounds};
    use cede::task::park;
    use cede::{Generator, Suspender, Yielder, run, scope, spawn, yield_now};
    use std::cell::Cell;
    use std::mem::forget;
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
