//! The end of a run: tasks that have not ended are cancelled, unwound after the grace period, and then abandoned and named on
//! stderr. The ids are those of the table in ARCHITECTURE.md.

mod common;

use cede::task::{self, TaskState, Unparker, park, park_shielded, park_until};
use cede::{
    Builder, Config, Generator, JoinError, JoinHandle, RunError, Yielder, join_all, race, run, spawn, yield_now,
};
use common::child::in_child;
use common::witness::{AtEnd, Counted, Drops, Log};
use common::{caught, paused, rounds};
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[test]
fn a04_end_of_main_cancels_and_awaits_all_tasks() {
    let log = Log::default();
    let inner = log.clone();
    run(move || {
        let log = inner.clone();
        spawn(move || {
            let _end = log.at_end("first: end");
            assert!(park("the end").is_err());
            // The clean-up may yield.
            rounds(3);
            log.add("first: cleaned");
        });
        let log = inner.clone();
        spawn(move || {
            while !task::is_cancelled() {
                yield_now();
            }
            log.add("second");
        });
        yield_now();
        inner.add("main");
    });
    assert_eq!(log.take(), ["main", "second", "first: cleaned", "first: end"]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a05_run_raises_mains_panic_after_the_shutdown() {
    let log = Log::default();
    let outcome = caught(|| {
        run(|| -> u32 {
            let log = log.clone();
            spawn(move || {
                let _ = park("the end");
                log.add("swept");
            });
            yield_now();
            resume_unwind(Box::new(77u32))
        })
    });
    assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&77u32));
    assert_eq!(log.take(), ["swept"]);
    assert_eq!(run(|| 1), 1, "the thread is free for another run");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_task_that_ignores_its_cancel_is_unwound_after_the_grace() {
    let log = Log::default();
    let began = Instant::now();
    let (mut yields, mut shielded, mut in_a_generator) = Config::new()
        .shutdown_grace(Duration::from_millis(60))
        .run(|| {
            let inner = log.clone();
            let yields = spawn(move || -> u32 {
                let _end = inner.at_end("yields endlessly");
                loop {
                    yield_now();
                }
            });
            let inner = log.clone();
            let shielded = spawn(move || {
                let _end = inner.at_end("parks shielded endlessly");
                loop {
                    park_shielded("nothing");
                }
            });
            let inner = log.clone();
            let in_a_generator = spawn(move || {
                let _end = inner.at_end("the task around a generator");
                let inner = inner.clone();
                let endless = Generator::new(move |y: &Yielder<u32>| {
                    let _end = inner.at_end("a generator's body");
                    y.yield_(1);
                    loop {
                        yield_now();
                    }
                });
                endless.count()
            });
            let _unparker_elsewhere = Unparker::current();
            rounds(3);
            (yields, shielded, in_a_generator)
        })
        .unwrap();
    assert!(began.elapsed() >= Duration::from_millis(60), "unwound before the grace was over");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    let mut ends = log.take();
    ends.sort();
    let expected =
        ["a generator's body", "parks shielded endlessly", "the task around a generator", "yields endlessly"];
    assert_eq!(ends, expected);
    assert_eq!(yields.state(), TaskState::Cancelled);
    assert!(matches!(yields.join(), Err(JoinError::Cancelled)));
    assert!(matches!(shielded.join(), Err(JoinError::Cancelled)));
    assert!(matches!(in_a_generator.join(), Err(JoinError::Cancelled)));
}

/// A task that catches even its unwinding is abandoned and named on stderr 500 ms after the grace period. What it owns
/// is leaked.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn task_swallowing_its_unwinding_is_abandoned_and_named() {
    let text = in_child("task_swallowing_its_unwinding_is_abandoned_and_named", || {
        let began = Instant::now();
        let drops = Drops::default();
        let (mut left, parked) = Config::new()
            .shutdown_grace(Duration::from_millis(100))
            .run(|| {
                let captured = drops.value();
                let left = Builder::new()
                    .name("stubborn")
                    .spawn(move || {
                        let _captured = captured;
                        loop {
                            let _ = caught(yield_now);
                        }
                    })
                    .unwrap();
                let parked = Builder::new()
                    .name("deaf")
                    .spawn(|| {
                        loop {
                            let _ = caught(|| park_shielded("nothing"));
                        }
                    })
                    .unwrap();
                yield_now();
                (left, parked)
            })
            .unwrap();
        let took = began.elapsed();
        assert!(took > Duration::from_millis(100) && took < Duration::from_millis(1100), "took {took:?}");
        assert_eq!(drops.count(), 0, "an abandoned task drops nothing");
        assert!(matches!(left.join(), Err(JoinError::Cancelled)));
        drop((left, parked));
        assert_eq!(run(|| spawn(|| 3).join().unwrap()), 3);
    });
    let told = |name: &str| {
        text.contains(&format!(
            "cede: task '{name}' did not end: it was cancelled and unwound, and is still alive; it is abandoned, and its stack is leaked\n"
        ))
    };
    assert!(told("stubborn") && told("deaf") && text.ends_with("exit code Some(0)"), "{text}");
}

/// The stack of an abandoned task may be borrowed from permanently: no other task gets that stack.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn stack_of_an_abandoned_task_stays_in_use() {
    let text = in_child("stack_of_an_abandoned_task_stays_in_use", || {
        let before = cede::stack::stats().live;
        let outcome = Config::new().shutdown_grace(Duration::ZERO).run(|| {
            let _detached = spawn(|| {
                loop {
                    let _ = caught(|| park_shielded("nothing"));
                }
            });
            yield_now();
        });
        outcome.unwrap();
        assert_eq!(cede::stack::stats().live, before + 1);
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

/// All tasks are unwound when main does not return from a deadlock, and again at the end of the run. A task that caught the first
/// unwinding is not unwound a second time.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn task_that_survives_its_unwinding_is_not_unwound_again() {
    let text = in_child("task_that_survives_its_unwinding_is_not_unwound_again", || {
        let unwound = Rc::new(Cell::new(0));
        let count = Rc::clone(&unwound);
        let outcome = Config::new().shutdown_grace(Duration::from_millis(20)).closed_world(true).run(|| {
            let _detached = spawn(move || {
                loop {
                    if caught(|| park_shielded("nothing")).is_err() {
                        count.set(count.get() + 1);
                    }
                }
            });
            while unwound.get() == 0 {
                let _ = park("nothing");
            }
        });
        assert!(matches!(outcome, Err(RunError::Deadlock { .. })));
        eprintln!("unwound {} times", unwound.get());
    });
    assert!(text.contains("unwound 1 times\n") && text.ends_with("exit code Some(0)"), "{text}");
}

/// A later run neither wakes nor cancels a task that an earlier run on the thread abandoned.
#[test]
fn later_run_does_not_wake_an_abandoned_task() {
    let text = in_child("later_run_does_not_wake_an_abandoned_task", || {
        let left = Config::new()
            .shutdown_grace(Duration::ZERO)
            .run(|| {
                let left = Builder::new()
                    .name("deaf")
                    .spawn(|| {
                        let _ = caught(|| park_shielded("nothing"));
                        eprintln!("unwound");
                        let _ = park_until("a deadline in the past", Instant::now());
                        park_shielded("nothing, again");
                        eprintln!("woken by a later run");
                        let _ = park("and wait");
                    })
                    .unwrap();
                yield_now();
                left
            })
            .unwrap();
        // A shielded wait is not ended by a cancel, a plain one would be.
        let plain = Config::new()
            .shutdown_grace(Duration::ZERO)
            .run(|| {
                let plain = spawn(|| {
                    let _ = caught(|| park_shielded("nothing"));
                    park_shielded("nothing, again");
                });
                yield_now();
                plain
            })
            .unwrap();
        run(|| {
            left.cancel();
            plain.cancel();
            rounds(5);
        });
        drop((left, plain));
        run(|| rounds(5));
        eprintln!("sound");
    });
    assert!(text.contains("sound\nexit code Some(0)") && !text.contains("woken by a later run"), "{text}");
}

#[test]
fn tasks_spawned_during_the_shutdown_never_run() {
    let (log, drops) = (Log::default(), Drops::default());
    run(|| {
        let (log, drops) = (log.clone(), drops.clone());
        spawn(move || {
            let _ = park("the end");
            let captured = drops.value();
            let inner = log.clone();
            let mut child = spawn(move || {
                inner.add("ran");
                drop(captured);
            });
            log.add(format!("{:?}", child.join()));
            // A cancelled wait gives up its turn, and the child ended in that turn.
            log.add(child.state().to_string());
            log.add(drops.count().to_string());
            // A task that no task joins, and a task from a destructor.
            let (captured, inner) = (drops.value(), log.clone());
            spawn(move || inner.add(format!("ran {}", captured.0.count())));
            let (captured, inner) = (drops.value(), log.clone());
            let _end = AtEnd(move || {
                let inner = inner.clone();
                let captured = Counted(captured.0.clone());
                spawn(move || inner.add(format!("ran {}", captured.0.count())));
            });
        });
        yield_now();
    });
    let told = log.take();
    assert_eq!(told[1..], ["cancelled", "1"], "{told:?}");
    assert!(told[0].starts_with("Err("), "{told:?}");
    assert_eq!(drops.count(), 4);
}

#[test]
fn tasks_that_own_handles_in_a_cycle_end_with_the_run() {
    let drops = Drops::default();
    let weak = run(|| {
        type Handles = Rc<RefCell<Vec<JoinHandle<()>>>>;
        let shared: Handles = Rc::default();
        for _ in 0..20 {
            let (captured, handles) = (drops.value(), Rc::clone(&shared));
            let handle = spawn(move || {
                let _captured = captured;
                let _ = park("the end");
                handles.borrow_mut().pop();
                let spawns = AtEnd(move || {
                    handles.borrow_mut().push(spawn(|| unreachable!("the run is over")));
                    handles.borrow_mut().pop();
                });
                drop(spawns);
            });
            shared.borrow_mut().push(handle);
        }
        yield_now();
        Rc::downgrade(&shared)
    });
    assert_eq!((drops.count(), weak.strong_count()), (20, 0));
}

/// A task that the last callback spawns is dropped, like every task that is spawned at the end of the run.
#[test]
fn tasks_spawned_by_the_last_callbacks_are_dropped() {
    let drops = Drops::default();
    let value = drops.value();
    Config::new()
        .shutdown_grace(Duration::ZERO)
        .run(move || {
            let mut handle = spawn(|| ());
            handle.join().unwrap();
            handle.on_done(move |_| drop(spawn(move || drop(value))));
        })
        .unwrap();
    assert_eq!(drops.count(), 1);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn abandoned_task_counts_as_cancelled() {
    let config = Config::new().shutdown_grace(std::time::Duration::from_millis(1));
    let left = config.run(|| {
        let left = [(); 3].map(|()| {
            spawn(|| {
                loop {
                    let _ = common::caught(yield_now);
                }
            })
        });
        yield_now();
        left
    });
    let [mut a, b, c] = left.unwrap();
    assert_eq!(a.state(), TaskState::Pending);
    paused(|| {
        assert!(matches!(a.join(), Err(JoinError::Cancelled)));
        assert!(matches!(join_all([b])[..], [Err(JoinError::Cancelled)]));
        drop(a);
        assert!(matches!(race([c]).result, Err(JoinError::Cancelled)));
    });
}
