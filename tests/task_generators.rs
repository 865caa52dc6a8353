//! Generators and tasks: a generator as a task, and tasks that yield their turn inside of generators. The ids are those of the
//! table in ARCHITECTURE.md.

mod common;

use cede::task::{self, Reason, park};
use cede::{Builder, Generator, Yielder, run, spawn, spawn_each, yield_now};
use common::witness::Log;
use common::{caught, rounds};

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

// ---- in tasks

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

/// One task makes a generator, another one resumes it, and a third one drops it.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_moves_from_task_to_task() {
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

/// A reason of a wait whose conversion suspends a generator, so that the wait begins in one run and goes on in another.
struct Leaves<'a>(&'a Yielder<u32>);

impl From<Leaves<'_>> for Reason {
    fn from(leaves: Leaves<'_>) -> Reason {
        leaves.0.yield_(1);
        Reason::new("the other run")
    }
}

/// A generator that is moved out of its run in the middle of a wait waits in the run that resumes it.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_moved_out_during_a_wait_waits_in_its_new_run() {
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
