//! Generators and tasks: a generator as a task, and tasks that take turns from inside of generators. The ids are
//! those of the table in ARCHITECTURE.md.

mod common;

use cede::task::{self, Reason, deadline, park, park_shielded, park_until};
use cede::{Builder, Config, Generator, Yielder, run, spawn, spawn_each, yield_now};
use common::child::in_child;
use common::witness::Log;
use common::{caught, rounds};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

// ---- as tasks

#[test]
fn a08_generators_as_tasks_take_turns_item_by_item() {
    let log = Log::default();
    let inner = log.clone();
    let results = run(move || {
        let mut tasks: Vec<_> = [("a", 3), ("b", 1), ("c", 2)]
            .into_iter()
            .map(|(name, count)| {
                let log = inner.clone();
                let items = Generator::new(move |y: &Yielder<u32>| {
                    (0..count).for_each(|n| y.yield_(n));
                    name
                });
                spawn_each(items, move |n| log.add(format!("{name}{n}")))
            })
            .collect();
        tasks.iter_mut().map(|task| task.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(log.take(), ["a0", "b0", "c0", "a1", "c1", "a2"]);
    assert_eq!(results, ["a", "b", "c"]);
}

#[test]
fn a08_a_generator_that_had_finished_fails_as_a_task_by_name() {
    run(|| {
        let mut spent = Builder::new().name("spent").generator(|y: &Yielder<u32>| y.yield_(1)).unwrap();
        spent.by_ref().for_each(drop);
        spent.next();
        // What it returned is still there, so it is a task that does nothing.
        spawn_each(spent, |_| unreachable!()).join().unwrap();
    });
}

// ---- inside of tasks

#[test]
fn a_task_may_take_turns_from_inside_a_generators_body() {
    let log = Log::default();
    let inner = log.clone();
    run(move || {
        for name in ["a", "b"] {
            let log = inner.clone();
            spawn(move || {
                let body = log.clone();
                let deep = Generator::new(move |y: &Yielder<u32>| {
                    let numbers = Generator::new(|y| {
                        for n in 0..2 {
                            yield_now();
                            y.yield_(n);
                        }
                    });
                    for n in numbers {
                        body.add(format!("{name} inside {n}"));
                        yield_now();
                        y.yield_(n);
                    }
                });
                for n in deep {
                    log.add(format!("{name} outside {n}"));
                }
            });
        }
        rounds(10);
    });
    let told = log.take();
    let of = |n| ["a inside", "b inside", "a outside", "b outside"].map(|text| format!("{text} {n}"));
    // b's second item comes before a's first goes out only if their turns are mixed, so the order shows the turns.
    assert_eq!(told, [of(0), of(1)].concat(), "{told:#?}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_generator_made_by_one_task_is_resumed_by_another_and_dropped_by_a_third() {
    let log = Log::default();
    run(|| {
        let inner = log.clone();
        let mut maker = spawn(move || {
            let mut generator = Generator::new(move |y: &Yielder<String>| {
                let _end = inner.at_end("closed");
                loop {
                    let before = task::current().unwrap();
                    yield_now();
                    y.yield_(format!("{before} {}", task::current().unwrap() == before));
                }
            });
            let first = generator.next();
            (generator, first)
        });
        let (mut generator, first) = maker.join().unwrap();
        assert_eq!(first.unwrap(), format!("{} true", maker.task()));
        let mut user = Builder::new()
            .name("user")
            .spawn(move || {
                let second = generator.next();
                (generator, second)
            })
            .unwrap();
        let (generator, second) = user.join().unwrap();
        assert_eq!(second.unwrap(), "'user' true");
        spawn(move || drop(generator)).join().unwrap();
    });
    assert_eq!(log.take(), ["closed"]);
}

#[test]
fn a_generator_may_outlive_the_run_that_it_was_made_in() {
    let mut generator = run(|| {
        spawn(|| {
            let mut generator = Generator::new(|y| {
                for n in 0.. {
                    yield_now();
                    y.yield_((n, task::current().map(|task| task.to_string())));
                }
            });
            generator.next();
            generator
        })
        .join()
        .unwrap()
    });
    assert_eq!(generator.next(), Some((1, None)));
    assert_eq!(run(|| generator.next()), Some((2, Some("'main'".into()))));
}

#[test]
fn a_run_inside_a_generator_that_its_own_task_would_end_is_refused_in_words() {
    let text = in_child("a_run_inside_a_generator_that_its_own_task_would_end_is_refused_in_words", || {
        let mut generator = Generator::new(|y: &Yielder<u32>| {
            let _ = Config::new().grace(Duration::from_millis(20)).run(|| y.yield_(1));
        });
        generator.next();
        // It waits inside of its run, so this code is that run's main, and may spawn.
        let handle = spawn(move || generator.next());
        rounds(3);
        for _ in 0..5 {
            let _ = caught(|| park_until("the end of a grace", Instant::now() + Duration::from_millis(300)));
        }
        drop(handle);
        eprintln!("the run's frame was lost, and this went on");
    });
    let told = "resumed a generator in which the run goes on that the task is part of; main ended on its stack\n";
    assert!(text.starts_with("cede: an unnamed task resumed") && text.contains(told), "{text}");
    // Ended by a signal, and not by that of a wild access, which nothing would tell.
    assert!(text.ends_with("exit code None") && !text.contains("this went on"), "{text}");
}

/// A reason that suspends a generator before it tells itself.
struct Leaves<'a>(&'a Yielder<u32>);

impl From<Leaves<'_>> for Reason {
    fn from(leaves: Leaves<'_>) -> Reason {
        leaves.0.yield_(1);
        Reason::new("the other run")
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_generator_that_leaves_its_run_in_the_middle_of_a_wait_waits_in_the_run_that_it_goes_on_in() {
    let waiting = || {
        let mut generator = Generator::new(|y: &Yielder<u32>| {
            let outcome = park(Leaves(y));
            y.yield_(if outcome.is_ok() { 2 } else { 3 });
        });
        assert_eq!(generator.next(), Some(1));
        generator
    };
    let (mut here, mut nowhere) = run(|| (waiting(), waiting()));
    run(|| {
        let main = task::Unparker::current();
        spawn(move || main.unpark());
        assert_eq!(here.next(), Some(2));
    });
    let text = common::panic_text(caught(|| nowhere.next()));
    assert!(text.contains("cannot park outside of a run"), "{text}");
}

#[test]
#[cfg_attr(any(debug_assertions, panic = "abort"), ignore = "debug builds do not let it suspend there; and it unwinds")]
fn a_deadline_of_a_task_that_was_left_behind_does_not_bring_that_back_into_another_run() {
    let name = "a_deadline_of_a_task_that_was_left_behind_does_not_bring_that_back_into_another_run";
    let text = in_child(name, || {
        let kept: Rc<RefCell<Option<Generator<u32>>>> = Rc::default();
        let quick = || Config::new().grace(Duration::ZERO);
        let keep = kept.clone();
        quick()
            .run(move || {
                spawn(move || {
                    let mut generator = Generator::new(|y: &Yielder<u32>| {
                        let _ = deadline(Instant::now() + Duration::from_secs(1000), |deadline| {
                            y.yield_(1);
                            deadline.reschedule(None);
                            y.yield_(2);
                        });
                    });
                    generator.next();
                    *keep.borrow_mut() = Some(generator);
                    let _ = caught(|| park_shielded("the end of the grace"));
                    park_shielded("for ever");
                    eprintln!("and this went on");
                });
                yield_now();
            })
            .unwrap();
        let mut generator = kept.take().unwrap();
        quick()
            .run(|| {
                assert_eq!(generator.next(), Some(2));
                rounds(3);
            })
            .unwrap();
    });
    assert!(text.contains("it is left behind") && !text.contains("this went on"), "{text}");
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
#[cfg_attr(any(debug_assertions, panic = "abort"), ignore = "debug builds do not let it suspend there; and it unwinds")]
fn a_generator_that_is_left_in_no_suspend_keeps_its_own_task_from_waiting_and_nobody_else() {
    let quiet = || Generator::new(|y: &Yielder<u32>| cede::no_suspend(|| y.yield_(1)));
    let text =
        in_child("a_generator_that_is_left_in_no_suspend_keeps_its_own_task_from_waiting_and_nobody_else", || {
            run(move || {
                let mut first = spawn(move || {
                    let mut generator = quiet();
                    generator.next();
                    let _generator = std::mem::ManuallyDrop::new(generator);
                    common::panic_text(caught(yield_now))
                });
                assert!(first.join().unwrap().contains("no_suspend"));
                let mut handle = Builder::new().eager(true).spawn(|| 1).unwrap();
                assert_eq!(handle.try_join().unwrap().unwrap(), 1, "it ran at once");
                handle.on_done(move |_| {
                    let mut generator = quiet();
                    generator.next();
                    std::mem::forget(generator);
                });
                rounds(5);
                eprintln!("the run goes on");
            });
        });
    assert!(text.contains("the run goes on") && text.ends_with("exit code Some(0)"), "{text}");
}
