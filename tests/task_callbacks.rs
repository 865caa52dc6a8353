//! Callbacks of tasks (`on_done`): called after the end of the task, from the scheduler, in order, once. The ids are those of the table in ARCHITECTURE.md.

mod common;

use cede::task::{Unparker, park, park_shielded};
use cede::{Builder, Config, JoinHandle, run, spawn, yield_now};
use common::child::in_child;
use common::witness::{AtEnd, Counted, Drops, Log};
use common::{caught, panic_text, rounds};
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn a20_callbacks_come_later_in_their_order_and_see_the_result() {
    run(|| {
        let log = Log::default();
        let mut handle = Builder::new().name("two").spawn(|| 2).unwrap();
        for name in ["a", "b", "c"] {
            let log = log.clone();
            handle.on_done(move |done| log.add(format!("{name}: {} {:?}", done.task(), done.result())));
        }
        yield_now();
        assert!(handle.is_finished());
        assert_eq!(log.take(), [""; 0], "never inline");
        yield_now();
        assert_eq!(log.take(), ["a: 'two' Some(Ok(2))", "b: 'two' Some(Ok(2))", "c: 'two' Some(Ok(2))"]);

        let inner = log.clone();
        handle.on_done(move |done| inner.add(format!("late {:?}", done.result())));
        assert_eq!(log.take(), [""; 0], "added after the end: still not inline");
        yield_now();
        assert_eq!(log.take(), ["late Some(Ok(2))"]);
        assert_eq!(handle.join().unwrap(), 2);
        let inner = log.clone();
        handle.on_done(move |done| inner.add(format!("{:?}", done.result())));
        yield_now();
        assert_eq!(log.take(), ["None"], "join has taken the result");
    });
}

/// A callback that a callback adds, or that is added around the end of the task, runs once.
#[test]
fn a20_callbacks_added_by_callbacks_or_late_run_once() {
    run(|| {
        let log = Log::default();
        let handle = Rc::new(spawn(|| ()));
        let (inner, again) = (log.clone(), Rc::clone(&handle));
        handle.on_done(move |_| {
            inner.add("first");
            let log = inner.clone();
            again.on_done(move |_| log.add("from within"));
        });
        yield_now();
        let inner = log.clone();
        handle.on_done(move |_| inner.add("second"));
        rounds(4);
        assert_eq!(log.take(), ["first", "second", "from within"]);
    });
}

/// Callbacks run for a task that panicked and for a task that was cancelled before its first turn.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a20_callbacks_run_for_failed_and_cancelled_tasks() {
    run(|| {
        let log = Log::default();
        let mut failed = spawn(|| -> u32 { panic!("no") });
        let never = spawn(|| 1);
        for handle in [&failed, &never] {
            let log = log.clone();
            handle.on_done(move |done| log.add(format!("{:?}", done.result())));
        }
        never.cancel();
        rounds(3);
        assert_eq!(log.take(), ["Some(Err(Panicked(\"no\")))", "Some(Err(Cancelled))"]);
        assert!(failed.join().is_err());
    });
}

#[test]
fn a20_callbacks_may_spawn_and_wake_and_outlive_the_handle() {
    run(|| {
        let log = Log::default();
        let main = Unparker::current();
        let handle = spawn(|| 5);
        let inner = log.clone();
        handle.on_done(move |done| {
            inner.add(format!("{:?}", done.result()));
            let log = inner.clone();
            spawn(move || {
                log.add("spawned");
                main.unpark();
            });
        });
        drop(handle);
        park("the callback's task").unwrap();
        assert_eq!(log.take(), ["Some(Ok(5))", "spawned"]);
    });
}

/// While a callback borrows the result of a task, no call to the handle can take the result away.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a20_result_borrowed_by_a_callback_stays_valid() {
    let text = in_child("a20_result_borrowed_by_a_callback_stays_valid", || {
        let seen = run(|| {
            let handle = Rc::new(RefCell::new(spawn(|| String::from("a result of some length"))));
            let (inner, seen) = (Rc::clone(&handle), Rc::new(RefCell::new(String::new())));
            let out = Rc::clone(&seen);
            handle.borrow().on_done(move |done| {
                let looked_at = done.result();
                // The result may come out, or this may panic. The value that `looked_at` points to must stay.
                let taken = caught(|| inner.borrow_mut().try_join().map(|result| drop(result.unwrap())));
                let others: Vec<String> = (0..64).map(|_| "-".repeat(23)).collect();
                *out.borrow_mut() = format!("{:?}", looked_at.unwrap().as_ref().unwrap());
                drop((others, taken));
            });
            rounds(3);
            seen.take()
        });
        eprintln!("seen {seen}");
    });
    assert!(text.contains("seen \"a result of some length\"\n"), "{text}");
}

#[test]
fn a21_remove_done_returns_whether_it_was_pending() {
    run(|| {
        let (log, drops) = (Log::default(), Drops::default());
        let mut handle = spawn(|| ());
        let ids: Vec<_> = (0..3)
            .map(|i| {
                let (log, captured) = (log.clone(), drops.value());
                handle.on_done(move |_| log.add(format!("{i} {}", captured.0.count())))
            })
            .collect();
        assert!(handle.remove_done(ids[1]));
        assert_eq!(drops.count(), 1);
        assert!(!handle.remove_done(ids[1]));
        yield_now();
        // The task has ended. A callback that has not been called can still be removed.
        assert!(handle.remove_done(ids[0]));
        yield_now();
        assert_eq!(log.take(), ["2 2"]);
        assert!(!handle.remove_done(ids[2]), "the callback was called");
        handle.join().unwrap();
        assert_eq!(drops.count(), 3);
    });
}

/// The captures of a removed callback may use the handle while they are dropped.
#[test]
fn a21_captures_of_a_removed_callback_may_use_the_handle() {
    run(|| {
        let handle = Rc::new(spawn(|| ()));
        let again = Rc::clone(&handle);
        let log = Log::default();
        let inner = log.clone();
        let owned = AtEnd(move || {
            let log = inner.clone();
            again.on_done(move |_| log.add("added while removing"));
        });
        let id = handle.on_done(move |_| drop(owned));
        assert!(handle.remove_done(id));
        rounds(3);
        assert_eq!(log.take(), ["added while removing"]);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a22_a_callback_that_panics_keeps_no_other_from_running() {
    run(|| {
        let log = Log::default();
        let mut handle = spawn(|| 1);
        let inner = log.clone();
        handle.on_done(move |_| inner.add("before"));
        handle.on_done(|_| panic!("a bad callback"));
        handle.on_done(|_| resume_unwind(Box::new(AtEnd(|| panic!("and a worse payload")))));
        let inner = log.clone();
        handle.on_done(move |_| inner.add("after"));
        rounds(3);
        assert_eq!(log.take(), ["before", "after"]);
        assert_eq!(handle.join().unwrap(), 1);
    });
}

/// A wait in a callback panics with a message that tells what to do, and has no other effect.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a22_wait_in_a_callback_panics_without_side_effects() {
    run(|| {
        let log = Log::default();
        let handle = spawn(|| ());
        let inner = log.clone();
        handle.on_done(move |_| {
            let mut other = spawn(|| ());
            inner.add(panic_text(caught(|| park("no"))));
            inner.add(panic_text(caught(|| park_shielded("no"))));
            inner.add(panic_text(caught(yield_now)));
            inner.add(panic_text(caught(yield_now)));
            inner.add(panic_text(caught(|| other.join())));
            inner.add(panic_text(caught(|| run(|| ()))));
        });
        rounds(4);
        let told = log.take();
        assert_eq!(told.len(), 6, "{told:?}");
        for text in &told[..2] {
            assert_eq!(text, "cannot wait in a callback: spawn a task from it instead");
        }
        for text in &told[2..4] {
            assert_eq!(text, "cannot wait or yield in a callback: spawn a task from it instead");
        }
        assert_eq!(told[4], told[0]);
        assert!(told[5].starts_with("cannot start a run inside of another"));
    });
}

#[test]
fn callbacks_of_the_last_tasks_run_before_run_returns() {
    let (log, drops) = (Log::default(), Drops::default());
    run(|| {
        let (log, captured) = (log.clone(), drops.value());
        let handle = Rc::new(spawn(|| park("the end").is_err()));
        yield_now();
        let again = Rc::clone(&handle);
        handle.on_done(move |done| {
            log.add(format!("{:?}", done.result()));
            let last = Rc::clone(&again);
            again.on_done(move |_| {
                log.add("added by it");
                last.on_done(move |_| {
                    log.add("added by that");
                    // The run is over: this task never runs, but its captures are dropped.
                    spawn(move || drop(captured));
                });
            });
        });
    });
    assert_eq!(log.take(), ["Some(Ok(true))", "added by it", "added by that"]);
    assert_eq!(drops.count(), 1, "the captures of a task that was spawned last of all");
}

/// A callback that adds itself again without end does not keep the run from ending.
#[test]
fn callback_that_readds_itself_does_not_keep_the_run_alive() {
    let text = in_child("callback_that_readds_itself_does_not_keep_the_run_alive", || {
        fn again(handle: &Rc<JoinHandle<()>>, count: &Rc<Cell<u32>>) {
            let (next, count) = (Rc::clone(handle), Rc::clone(count));
            handle.on_done(move |_| {
                count.set(count.get() + 1);
                again(&next, &count);
            });
        }
        let count = Rc::new(Cell::new(0));
        Config::new()
            .shutdown_grace(Duration::from_millis(50))
            .run(|| {
                again(&Rc::new(spawn(|| ())), &count);
                rounds(10);
            })
            .unwrap();
        assert!(count.get() > 5);
        eprintln!("ended");
    });
    assert!(text.ends_with("ended\nexit code Some(0)"), "{text}");
}

/// Adds a callback that adds a callback, and so on, `left` in all.
fn chain(handle: &Rc<JoinHandle<Counted>>, left: u32, ran: &Rc<Cell<u32>>) {
    if left > 0 {
        let (next, ran) = (Rc::clone(handle), Rc::clone(ran));
        handle.on_done(move |_| {
            ran.set(ran.get() + 1);
            chain(&next, left - 1, &ran);
        });
    }
}

/// Returns how many callbacks of a chain ran, and how often the task's result was dropped.
fn chain_at_the_end(left: u32, grace: Duration) -> (u32, u32) {
    let (ran, drops) = (Rc::new(Cell::new(0)), Drops::default());
    let value = drops.value();
    let outcome = Config::new().shutdown_grace(grace).run(|| {
        let handle = Rc::new(spawn(move || value));
        yield_now();
        chain(&handle, left, &ran);
    });
    outcome.unwrap();
    assert_eq!(Rc::strong_count(&ran), 1, "the captures of callbacks are dropped with them");
    (ran.get(), drops.count())
}

#[test]
fn callbacks_added_by_callbacks_at_the_end_all_run() {
    for left in [1, 2, 3, 50, 900] {
        assert_eq!(chain_at_the_end(left, Duration::ZERO), (left, 1));
        assert_eq!(chain_at_the_end(left, Duration::from_secs(5)), (left, 1));
    }
}

#[test]
fn endless_callbacks_at_the_end_are_cut_and_the_result_dropped() {
    let text = in_child("endless_callbacks_at_the_end_are_cut_and_the_result_dropped", || {
        for grace in [0, 20] {
            let (ran, dropped) = chain_at_the_end(u32::MAX, Duration::from_millis(grace));
            assert!(ran >= 1000 && dropped == 1, "{ran} {dropped}");
        }
        eprintln!("ended");
    });
    assert!(text.ends_with("ended\nexit code Some(0)"), "{text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_whose_callbacks_were_cut_is_reported() {
    let told = Log::default();
    let unhandled = told.clone();
    let config = Config::new().shutdown_grace(Duration::ZERO).on_unhandled_panic(move |label, _| unhandled.add(label));
    let outcome = config.run(|| {
        fn again(handle: &Rc<JoinHandle<()>>) {
            let next = Rc::clone(handle);
            handle.on_done(move |_| again(&next));
        }
        let failed = Builder::new().name("failed").spawn(|| resume_unwind(Box::new("no"))).unwrap();
        yield_now();
        again(&Rc::new(failed));
    });
    outcome.unwrap();
    assert_eq!(told.take(), ["'failed'"]);
}

#[test]
fn callback_added_after_the_run_is_dropped_at_once() {
    let drops = Drops::default();
    let value = drops.value();
    let handle = Rc::new(run(|| {
        let handle = spawn(move || value);
        yield_now();
        handle
    }));
    let inner = Rc::clone(&handle);
    let id = handle.on_done(move |_| drop(inner));
    assert_eq!(Rc::strong_count(&handle), 1);
    assert!(!handle.remove_done(id));
    drop(handle);
    assert_eq!(drops.count(), 1);
}

/// Each callback adds one job. 4,000 callbacks took 300 MiB when each added as many jobs as there were callbacks.
#[test]
#[cfg(target_os = "linux")]
fn callbacks_on_a_finished_task_take_linear_memory() {
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }
    let text = in_child("callbacks_on_a_finished_task_take_linear_memory", || {
        run(|| {
            let (handle, called) = (spawn(|| ()), Rc::new(Cell::new(0)));
            yield_now();
            let before = resident();
            for n in 0..4000 {
                let called = Rc::clone(&called);
                handle.on_done(move |_| {
                    assert_eq!(called.replace(n + 1), n);
                });
            }
            let more = resident().saturating_sub(before) >> 20;
            assert!(more < 64, "{more} MiB");
            rounds(2);
            assert_eq!(called.get(), 4000);
        });
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_callback_sees_the_panic_that_went_to_the_scope() {
    let (log, unhandled) = (Log::default(), Log::default());
    let (inner, told) = (log.clone(), unhandled.clone());
    let outcome = Config::new()
        .on_unhandled_panic(move |label, _| told.add(label))
        .run(move || {
            cede::scope(|s| {
                let child = s.spawn(|| -> () { resume_unwind(Box::new("no")) });
                child.on_done(move |done| inner.add(format!("{:?}", done.result())));
            })
        })
        .unwrap();
    let text = outcome.unwrap_err().to_string();
    assert_eq!(text, "1 of the scope's tasks failed: #3: the task panicked: no");
    assert_eq!(log.take(), [r#"Some(Err(Panicked("no")))"#]);
    assert_eq!(unhandled.take(), [""; 0], "the scope handled the panic");
}
