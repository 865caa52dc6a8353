//! Reports of deadlocks and stalls: their text, their time, and the errors that waits return. `deadlock.rs` checks that every
//! deadlock is found.

mod common;

use cede::task::{Unparker, park, park_shielded, park_until};
use cede::{Builder, Config, RunError, run, spawn, yield_now};
use common::child::in_child;
use common::witness::Log;
use common::{caught, emulated, panic_text};
use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

fn deadlock<T>(result: Result<T, RunError<T>>) -> (cede::observe::DeadlockReport, thread::Result<T>) {
    match result {
        Err(RunError::Deadlock { report, outcome }) => (report, outcome),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no deadlock was reported"),
    }
}

/// A deadlock report names each waiting task, its reason, and the task that it waits for.
#[test]
fn deadlock_report_names_tasks_reasons_and_awaited_tasks() {
    let (report, outcome) = deadlock(Config::new().closed_world(true).run(|| {
        let mut a = Builder::new().name("a").spawn(|| park("the key")).unwrap();
        let mut b = Builder::new().name("b").spawn(move || a.join().unwrap().is_err()).unwrap();
        let told = b.join();
        format!("{told:?} {:?}", b.join())
    }));
    assert_eq!(
        report.to_string(),
        "3 tasks wait, and no other task can wake them:\
         \n  task 'main' waits for a task to end: 'b'\
         \n  task 'a' waits for the key\
         \n  task 'b' waits for a task to end: 'a'"
    );
    assert_eq!(report.tasks[2].on, Some(report.tasks[1].task.clone()));
    assert_eq!((report.tasks[1].reason, report.tasks[1].on.is_none()), ("the key".into(), true));
    assert!(report.cycle.is_empty());
    let error: RunError<()> = RunError::Deadlock { report, outcome: Ok(()) };
    assert!(error.to_string().starts_with("deadlock: 3 tasks wait, and no other task can wake them:\n"));
    // Main was interrupted too, and its value is kept.
    assert!(outcome.unwrap().starts_with("Err(Interrupted) "));
}

/// `RunError::Deadlock` holds a panic of main. `cede::run` panics with the report.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn deadlock_keeps_mains_panic_and_run_panics_with_the_report() {
    let (report, outcome) = deadlock(Config::new().closed_world(true).run(|| park("nothing").expect("a wake")));
    assert_eq!(report.to_string(), "1 task waits, and no other task can wake it:\n  task 'main' waits for nothing");
    assert!(panic_text(outcome).starts_with("a wake"));
    let text = panic_text(caught(|| run(|| park("nothing"))));
    assert_eq!(text, format!("deadlock: {report}"));
}

#[test]
fn two_tasks_that_wait_for_mutual_wakes_are_both_named() {
    let log = Log::default();
    let (report, _) = deadlock(Config::new().closed_world(true).run(|| {
        let unparkers: Rc<RefCell<Vec<Unparker>>> = Rc::default();
        let mut tasks: Vec<_> = (0..2)
            .map(|i| {
                let (unparkers, log) = (Rc::clone(&unparkers), log.clone());
                let body = move || {
                    unparkers.borrow_mut().push(Unparker::current());
                    let waited = park("the other");
                    log.add(format!("{waited:?}"));
                    // Would wake the other task, but only after it has been woken itself.
                    unparkers.borrow()[1 - i].unpark();
                };
                Builder::new().name(["left", "right"][i]).spawn(body).unwrap()
            })
            .collect();
        tasks.iter_mut().for_each(|task| drop(task.join()));
    }));
    let names: Vec<_> = report.tasks.iter().map(|stuck| stuck.task.name().unwrap()).collect();
    assert_eq!(names, ["main", "left", "right"]);
    assert_eq!(log.take(), ["Err(Cancelled)", "Err(Cancelled)"]);
}

/// Without an `Unparker` outside of the run, a stall is a deadlock at once, and it ends shielded waits too.
#[test]
fn deadlock_without_unparkers_is_certain_and_breaks_shields() {
    let began = Instant::now();
    let (report, outcome) = deadlock(Config::new().run(|| {
        let mut shielded = spawn(|| park_shielded("nothing"));
        let mut plain = spawn(|| park("nothing either"));
        let told = shielded.join().is_err();
        // After the deadlock the waits of main return at once.
        let _ = plain.join();
        park_shielded("more");
        (told, plain.is_finished(), park("more").is_err())
    }));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(report.tasks.len(), 3);
    assert_eq!(outcome.unwrap(), (true, true, true));
}

/// A timer whose wait has ended early does not keep a deadlock from being reported at once.
#[test]
fn stale_timer_does_not_hide_a_deadlock() {
    let text = in_child("stale_timer_does_not_hide_a_deadlock", || {
        let began = Instant::now();
        let (report, _) = deadlock(Config::new().run(|| {
            Unparker::current().unpark();
            let me = Unparker::current();
            drop(spawn(move || me.unpark()));
            park("the kept wake").unwrap();
            // The task ends this wait, long before its deadline.
            park_until("the task, or a while", Instant::now() + Duration::from_secs(20)).unwrap();
            assert!(began.elapsed() < Duration::from_secs(1));
            park("nothing")
        }));
        assert_eq!(report.tasks.len(), 1);
        assert!(began.elapsed() < Duration::from_secs(2), "reported after {:?}", began.elapsed());
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

/// When a thread drops the last `Unparker`, the deadlock is reported at once, before `report_stall` has passed.
#[test]
fn last_unparker_dropped_by_a_thread_makes_a_deadlock_certain() {
    let began = Instant::now();
    let me_and_back = || {
        let me = Unparker::current();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(me);
        });
        let waited = park("a thread that gives up");
        thread.join().unwrap();
        waited
    };
    let (report, outcome) = deadlock(Config::new().report_stall(Duration::from_secs(3)).run(me_and_back));
    assert_eq!((report.tasks.len(), outcome.unwrap().is_err()), (1, true));
    assert!(began.elapsed() < Duration::from_secs(2), "reported only after {:?}", began.elapsed());
}

#[test]
fn a_thread_that_wakes_and_lets_go_at_once_is_no_deadlock() {
    let count = if emulated() { 200 } else { 20_000 };
    let (sender, receiver) = std::sync::mpsc::channel::<(Unparker, u32)>();
    let thread = thread::spawn(move || {
        for (unparker, spins) in receiver {
            (0..spins).for_each(|_| std::hint::spin_loop());
            unparker.unpark();
        }
    });
    let result = Config::new().run(|| {
        // Many waiting tasks, so that checking all of them takes a while.
        let others: Vec<_> = (0..900).map(|_| spawn(|| park("the end"))).collect();
        yield_now();
        let last = move || {
            for i in 0..count {
                sender.send((Unparker::current(), i * 7 % 4001)).unwrap();
                park("the thread").map_err(|_| i)?;
            }
            Ok::<(), u32>(())
        };
        let result = spawn(last).join().unwrap();
        drop(others);
        result
    });
    assert!(matches!(result, Ok(Ok(()))), "a false alarm: {:?}", result.map_err(|error| error.to_string().len()));
    thread.join().unwrap();
}

/// A stall that another thread may end is reported once on stderr, and the run goes on.
#[test]
fn stall_that_a_thread_may_end_is_reported_once() {
    let text = in_child("stall_that_a_thread_may_end_is_reported_once", || {
        let config = Config::new().report_stall(Duration::from_millis(40));
        let value = config.run(|| {
            let mut slow = Builder::new()
                .name("slow")
                .spawn(|| {
                    let me = Unparker::current();
                    let thread = thread::spawn(move || {
                        for pause in [200, 200] {
                            thread::sleep(Duration::from_millis(pause));
                            me.unpark();
                        }
                    });
                    park("a thread").unwrap();
                    park("a thread, again").unwrap();
                    thread.join().unwrap();
                    5
                })
                .unwrap();
            slow.join().unwrap()
        });
        assert_eq!(value.unwrap(), 5);
    });
    let report = "cede: no task has run for 40 ms, and only another thread can wake one: 2 tasks wait, and no other task \
                  can wake them:\n  task 'main' waits for a task to end: 'slow'\n  task 'slow' waits for a thread\n";
    assert_eq!(text.matches("cede: ").count(), 1, "{text}");
    assert!(text.contains(report) && text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn a_run_that_was_deadlocked_leaves_the_thread_free() {
    for _ in 0..3 {
        drop(deadlock(Config::new().closed_world(true).run(|| park("nothing").is_err())));
        assert_eq!(run(|| spawn(|| 1).join().unwrap()), 1);
    }
}
