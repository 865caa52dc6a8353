//! Open sections (runs, scopes, timeouts, deadlines, shields, no_suspend) in a body, and yielders that are lent out of it: only
//! code that runs in the body suspends it, and only with all of its sections closed. In debug and in release builds.

mod common;

use cede::task::{deadline, join_anywhere, park, scope_anywhere};
use cede::{
    Builder, Config, CoroutineState, Generator, Inbox, Scoped, Sink, Suspender, Yielder, no_suspend, run, scope,
    scoped, shield, spawn, timeout, yield_now,
};
use common::child::in_child;
use common::witness::{AtEnd, Drops};
use common::{caught, panic_text};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Calls a function inside of a section.
type Inside = fn(&dyn Fn());

/// Each kind of section that can be opened in a run, and how its message names it.
const SECTIONS: [(&str, Inside); 7] = [
    ("scope", |f| drop(scope(|_| f()))),
    ("scope", |f| drop(scope_anywhere(|_| f()))),
    ("join_anywhere", |f| assert_eq!(join_anywhere(f, || 1), ((), 1))),
    ("shield", |f| shield(f)),
    ("timeout", |f| drop(timeout(Duration::MAX, f))),
    ("deadline", |f| drop(deadline(Instant::now() + Duration::from_secs(99), |_| f()))),
    ("no_suspend", |f| no_suspend(f)),
];

fn is_refused_inside(text: &str, body: &str, section: &str) {
    let start = format!("cannot suspend {body} inside a {section} section (opened at ");
    assert!(text.starts_with(&start) && text.ends_with("): close it first"), "{section}: {text}");
}

fn refused_elsewhere(body: &str) -> String {
    format!("cannot suspend {body} from another task: only its own body can, and a scope is open in it")
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_suspended_in_a_section_panics_naming_both() {
    run(|| {
        for (name, section) in SECTIONS {
            let body = move |y: &Yielder<u32>| {
                section(&|| is_refused_inside(&panic_text(caught(|| y.yield_(1))), "an unnamed generator", name));
                section(&|| is_refused_inside(&panic_text(caught(|| y.try_yield(1))), "an unnamed generator", name));
                y.yield_(2);
                assert!(caught(|| section(&|| panic!("closes it"))).is_err());
                y.yield_(3);
                section(&|| y.yield_(4));
            };
            let mut generator = Generator::new(body);
            assert_eq!((generator.next(), generator.next()), (Some(2), Some(3)), "{name}: closed, it suspends");
            is_refused_inside(&panic_text(caught(|| generator.next())), "an unnamed generator", name);
            assert!(cede::task::check().is_ok(), "no cancel is left");
            yield_now();
        }
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn section_is_named_where_it_was_opened() {
    let line = line!() + 2;
    let mut rude = Builder::new().name("rude").generator(|y: &Yielder<u32>| {
        no_suspend(|| y.yield_(1));
    });
    let text = panic_text(caught(|| rude.as_mut().unwrap().next()));
    let place = format!("{}:{line}:9", file!());
    assert_eq!(
        text,
        format!("cannot suspend generator 'rude' inside a no_suspend section (opened at {place}): close it first")
    );
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn section_around_a_closed_one_is_named() {
    let mut generator = Generator::new(|y: &Yielder<u32>| {
        run(|| {
            let names = |section| {
                is_refused_inside(&panic_text(caught(|| y.yield_(1))), "an unnamed generator", section);
            };
            no_suspend(|| shield(|| ()));
            names("run");
            shield(|| {
                no_suspend(|| ());
                names("shield");
            });
            names("run");
        });
        y.yield_(2);
    });
    assert_eq!(generator.next(), Some(2));
}

/// A refused suspension drops its value, and has no effect on the next suspension.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn refused_suspension_drops_its_value_and_leaves_nothing() {
    let drops = Drops::default();
    let (plain, tried, inner) = (drops.value(), drops.value(), drops.value());
    let mut generator = Generator::new(|y: &Yielder<common::witness::Counted>| {
        no_suspend(|| {
            assert!(caught(|| y.yield_(plain)).is_err());
            assert!(caught(|| y.try_yield(tried).is_err()).is_err());
            let delegate = Generator::new(|y: &Yielder<_>| y.yield_(inner));
            assert!(caught(|| y.yield_from(delegate)).is_err());
        });
        y.yield_(Drops::default().value());
    });
    assert!(generator.next().is_some());
    assert_eq!(drops.count(), 3);
    assert!(generator.next().is_none());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn coroutine_and_sink_suspended_in_a_section_panic() {
    run(|| {
        for (name, section) in SECTIONS {
            let mut coroutine = Builder::new()
                .name("plain")
                .coroutine(move |s: &Suspender<(), u32>, ()| section(&|| s.suspend(1)))
                .unwrap();
            is_refused_inside(&panic_text(caught(|| coroutine.resume(()))), "coroutine 'plain'", name);
            let outcome = caught(|| {
                scoped(
                    |s: &Suspender<(), u32>, ()| section(&|| s.suspend(1)),
                    |mut c: Scoped<'_, _, _, _>| c.resume(()),
                )
            });
            is_refused_inside(&panic_text(outcome), "an unnamed coroutine", name);
            let mut sink = Sink::new(move |inbox: &Inbox<u32>| {
                assert_eq!(inbox.recv(), Some(1));
                section(&|| assert!(inbox.recv().is_none()));
            });
            is_refused_inside(&panic_text(caught(|| sink.send(1))), "an unnamed sink", name);
        }
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn run_in_a_body_that_suspends_panics_and_ends_in_order() {
    let dropped = Drops::default();
    let value = dropped.value();
    let mut generator = Generator::new(move |y: &Yielder<u32>| {
        run(|| {
            let _value = value;
            let mut task = spawn(|| park("the end of its run"));
            yield_now();
            let text = panic_text(caught(|| y.yield_(1)));
            is_refused_inside(&text, "an unnamed generator", "run");
            assert!(!task.is_finished() && task.try_join().is_none());
            y.yield_(2);
        });
    });
    is_refused_inside(&panic_text(caught(|| generator.next())), "an unnamed generator", "run");
    assert_eq!(dropped.count(), 1, "main unwound");
    drop(generator);
    assert!(run(|| true), "the thread has no run");
    // With a watchdog, which would signal the thread for as long as the run is open.
    let mut watched = Generator::new(|y: &Yielder<u32>| {
        Config::new().report_slow_turns(Duration::from_millis(200)).run(|| y.yield_(1)).unwrap();
    });
    let text = panic_text(caught(|| watched.next()));
    is_refused_inside(&text, "an unnamed generator", "run");
    assert!(text.contains(file!()), "{text}");
}

/// The outer body suspends from the stack of a coroutine that it resumed.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn section_blocks_only_the_bodies_around_it() {
    run(|| {
        for (name, section) in SECTIONS {
            let mut outer = Generator::new(move |y: &Yielder<u32>| {
                let inner = |s: &Suspender<(), u32>, ()| {
                    y.yield_(1);
                    s.suspend(10);
                    section(&|| {
                        // Neither body may suspend: the inner one holds the section, and suspending the outer one would leave it open.
                        is_refused_inside(&panic_text(caught(|| y.yield_(0))), "an unnamed generator", name);
                        is_refused_inside(&panic_text(caught(|| s.suspend(0))), "an unnamed coroutine", name);
                    });
                    y.yield_(2);
                    s.suspend(20);
                    // A section that was opened around this body: it may suspend to the section.
                    s.suspend(30);
                    is_refused_inside(&panic_text(caught(|| y.yield_(0))), "an unnamed generator", name);
                };
                scoped(inner, |mut c| {
                    assert_eq!(c.resume(()), CoroutineState::Yielded(10));
                    assert_eq!(c.resume(()), CoroutineState::Yielded(20));
                    let c = RefCell::new(c);
                    section(&|| {
                        assert_eq!(c.borrow_mut().resume(()), CoroutineState::Yielded(30));
                        assert_eq!(c.borrow_mut().resume(()), CoroutineState::Complete(()));
                    });
                });
                y.yield_(3);
            });
            assert_eq!(outer.by_ref().collect::<Vec<_>>(), [1, 2, 3], "{name}");
        }
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn yielder_lent_to_a_task_of_a_scope_is_refused_there() {
    run(|| {
        let seen = Rc::new(Cell::new(0));
        let count = Rc::clone(&seen);
        let mut generator = Builder::new()
            .name("lent")
            .generator(move |y: &Yielder<u32>| {
                let outcome = scope(|s| {
                    for _ in 0..2 {
                        s.spawn(|| {
                            let text = panic_text(caught(|| y.yield_(1)));
                            assert_eq!(text, refused_elsewhere("generator 'lent'"));
                            count.set(count.get() + 1);
                        });
                    }
                });
                assert!(outcome.is_ok());
                y.yield_(7);
                // A panic that the task does not catch is a failure of the scope.
                let failed = scope(|s| drop(s.spawn(|| y.yield_(1)))).unwrap_err().to_string();
                assert!(failed.contains(&refused_elsewhere("generator 'lent'")), "{failed}");
            })
            .unwrap();
        let before = cede::task::current();
        assert_eq!((generator.next(), seen.get()), (Some(7), 2));
        assert_eq!(cede::task::current(), before, "main is still main");
        assert_eq!(generator.next(), None);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn inbox_and_suspender_lent_to_a_task_are_refused_there() {
    run(|| {
        let mut sink = Sink::new(|inbox: &Inbox<u32>| {
            inbox.recv();
            let child = || assert_eq!(panic_text(caught(|| inbox.recv())), refused_elsewhere("an unnamed sink"));
            scope(|s| [s.spawn(child), s.spawn(child)].map(drop)).unwrap();
            inbox.recv()
        });
        sink.send(1).unwrap();
        sink.send(2).unwrap();
        assert_eq!(sink.finish(), Some(2));
        let body = |s: &Suspender<(), u32>, ()| {
            let child = || assert_eq!(panic_text(caught(|| s.suspend(1))), refused_elsewhere("an unnamed coroutine"));
            scope(|scope| [scope.spawn(child), scope.spawn(child)].map(drop)).unwrap();
            s.suspend(2);
        };
        scoped(body, |mut c| {
            assert_eq!(c.resume(()), CoroutineState::Yielded(2));
            assert_eq!(c.resume(()), CoroutineState::Complete(()));
        });
    });
}

/// A lent yielder is refused also on the stack of a coroutine that the task runs, in a scope in the scope, and with `yield_from`.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn yielder_lent_further_is_refused_everywhere() {
    run(|| {
        let mut generator = Generator::new(|y: &Yielder<u32>| {
            let refused = || assert_eq!(panic_text(caught(|| y.yield_(1))), refused_elsewhere("an unnamed generator"));
            scope(|s| {
                s.spawn(|| {
                    scoped(|_: &Suspender<(), ()>, ()| refused(), |mut c| assert!(c.resume(()).complete().is_some()));
                    scope(|s| drop(s.spawn(refused))).unwrap();
                    let inner = Generator::new(|y: &Yielder<u32>| y.yield_(5));
                    let text = panic_text(caught(|| y.yield_from(inner)));
                    assert_eq!(text, refused_elsewhere("an unnamed generator"));
                    let text = panic_text(caught(|| y.rethrow(cede::Interrupt::Closed)));
                    assert_eq!(text, refused_elsewhere("an unnamed generator"));
                });
                Builder::new().eager(true).spawn_scoped(s, refused).map(drop).unwrap();
            })
            .unwrap();
            // A coroutine that borrows the yielder, resumed by the task: it may suspend itself, but not through the lent yielder.
            scoped(
                |s: &Suspender<(), u32>, ()| {
                    s.suspend(1);
                    refused();
                    s.suspend(2);
                },
                |mut c| {
                    scope(|s| {
                        s.spawn(|| {
                            assert_eq!(c.resume(()), CoroutineState::Yielded(1));
                            assert_eq!(c.resume(()), CoroutineState::Yielded(2));
                            assert_eq!(c.resume(()), CoroutineState::Complete(()));
                        });
                    })
                    .unwrap();
                },
            );
            y.yield_(9);
        });
        assert_eq!(generator.by_ref().collect::<Vec<_>>(), [9]);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_resumed_by_a_task_while_its_child_waits_goes_on() {
    run(|| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let inner = Rc::clone(&log);
        let mut generator = Generator::new(move |y: &Yielder<u32>| {
            let local = String::from("borrowed");
            let outcome = scope(|s| {
                s.spawn(|| {
                    yield_now();
                    inner.borrow_mut().push(local.clone());
                    y.yield_(1)
                });
            });
            inner.borrow_mut().push(outcome.unwrap_err().to_string());
            y.yield_(2);
        });
        let mut task = spawn(move || generator.next());
        assert_eq!(task.join().unwrap(), Some(2));
        let log = log.take();
        assert_eq!(log[0], "borrowed");
        assert!(log[1].contains(&refused_elsewhere("an unnamed generator")), "{log:?}");
    });
}

/// A generator whose body opened a scope on an inner stack is refused to suspend. A panic that then drops the generator finds no
/// scope open that would have to wait.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_with_a_scope_on_an_inner_stack_is_refused() {
    run(|| {
        let mut generator = Generator::new(|y: &Yielder<u32>| {
            let body = |_: &Suspender<(), ()>, ()| {
                let local = Cell::new(0);
                let _ = scope(|s| {
                    s.spawn(|| {
                        local.set(1);
                        let _ = park("the scope's cancel");
                    });
                    y.yield_(1);
                });
            };
            scoped(body, |mut c| assert!(c.resume(()).complete().is_some()));
        });
        is_refused_inside(&panic_text(caught(|| generator.next())), "an unnamed generator", "scope");
        let outcome = caught(move || {
            let _generator = generator;
            panic!("a panic drops it")
        });
        assert_eq!(panic_text(outcome), "a panic drops it");
    });
}

/// A destructor that runs in a panic resumes a body that had suspended from the stack of a coroutine inside of it. Then the inner
/// body suspends, and then the outer one again.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_suspended_on_an_inner_stack_resumes_in_a_panic() {
    let text = in_child("generator_suspended_on_an_inner_stack_resumes_in_a_panic", || {
        let mut generator = Generator::new(|y: &Yielder<u32>| {
            let body = |s: &Suspender<(), ()>, ()| {
                y.yield_(1);
                s.suspend(());
                assert!(y.try_yield(3).is_ok());
                s.suspend(());
            };
            scoped(body, |mut c| {
                c.resume(());
                y.yield_(2);
                c.resume(());
                y.yield_(4);
            });
        });
        assert_eq!(generator.next(), Some(1));
        let outcome = caught(|| {
            let _end = AtEnd(|| {
                assert_eq!([generator.next(), generator.next(), generator.next()], [Some(2), Some(3), Some(4)]);
            });
            panic!("a panic")
        });
        assert_eq!(panic_text(outcome), "a panic");
        assert_eq!(generator.next(), None);
        eprintln!("went on");
    });
    assert!(text.ends_with("went on\nexit code Some(0)"), "{text}");
}

/// The same, except that the panic is one of the inner body.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_suspended_while_an_inner_body_unwinds_aborts() {
    let text = in_child("generator_suspended_while_an_inner_body_unwinds_aborts", || {
        let mut generator = Generator::new(|y: &Yielder<u32>| {
            let body = |_: &Suspender<(), ()>, ()| {
                let _end = AtEnd(|| y.yield_(1));
                panic!("the inner body's own");
            };
            scoped(body, |mut c| assert!(c.resume(()).complete().is_some()));
        });
        generator.next();
        eprintln!("went on");
    });
    assert!(
        text.contains("cede: an unnamed generator suspends while it unwinds") && !text.contains("went on"),
        "{text}"
    );
}
