//! Panics of tasks: reports of panics that no task joins, destructors that run in a panic, and the messages of misuse. The ids
//! are those of the table in ARCHITECTURE.md.

mod common;

use cede::task::{self, SpawnError, Unparker, park, park_shielded, park_until};
use cede::{Builder, Config, Generator, RunError, run, spawn, yield_now};
use common::child::in_child;
use common::witness::{AtEnd, Drops, Log};
use common::{caught, emulated, panic_text, rounds, text_of};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

// ---- panics that no task joins

/// A panic that no task joins goes to `on_unhandled_panic` with the label of the task.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a74_unjoined_panic_goes_to_the_hook_with_the_task_label() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let hook = Rc::clone(&told);
    let on = move |label: &str, payload: &(dyn Any + Send)| {
        hook.borrow_mut().push(format!("{label}: {}", text_of(payload)));
        // The hook runs on the scheduler's stack, which has room for this.
        black_box([0u8; 96 * 1024]);
    };
    let kept = Config::new()
        .on_unhandled_panic(on)
        .run(|| {
            drop(Builder::new().name("detached before").spawn(|| panic!("one")).unwrap());
            let after = Builder::new().name("detached after").spawn(|| panic!("two")).unwrap();
            let mut joined = spawn(|| panic!("three"));
            let number = spawn(|| panic!("four")).task().id();
            yield_now();
            drop(after);
            assert!(joined.join().is_err());
            rounds(2);
            assert_eq!(
                told.take(),
                ["'detached before': one".to_string(), format!("#{number}: four"), "'detached after': two".into()]
            );
            // In the shutdown of the run.
            drop(Builder::new().name("left").spawn(|| park("the end").unwrap()).unwrap());
            let kept = Builder::new().name("kept").spawn(|| panic!("five")).unwrap();
            yield_now();
            kept
        })
        .unwrap();
    assert_eq!(told.take().len(), 1, "the panic of the task that main left running");
    drop(kept);
    assert_eq!(told.take(), [""; 0], "the hook is dropped with its run");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a74_without_a_hook_a_line_goes_to_stderr() {
    let text = in_child("a74_without_a_hook_a_line_goes_to_stderr", || {
        std::panic::set_hook(Box::new(|_| ()));
        run(|| {
            drop(Builder::new().name("lost").spawn(|| panic!("three words here")).unwrap());
            drop(Builder::new().name("odd").spawn(|| resume_unwind(Box::new(1))).unwrap());
            drop(spawn(|| drop(spawn(|| 1).join())));
        });
        run(|| {
            drop(Builder::new().name("lost").spawn(|| panic!("three words here")).unwrap());
            drop(Builder::new().name("odd").spawn(|| resume_unwind(Box::new(1))).unwrap());
            yield_now();
        });
    });
    assert_eq!(
        text.split_once("cede: ").map(|(_, told)| told),
        Some(
            "task 'lost' panicked and was not joined: three words here\n\
             cede: task 'odd' panicked and was not joined: (not a string)\nexit code Some(0)"
        ),
        "{text}"
    );
}

/// A payload whose destructor panics does not end the run. Neither does a hook that panics.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a74_panicking_payload_or_hook_does_not_end_the_run() {
    run(|| {
        drop(spawn(|| resume_unwind(Box::new(AtEnd(|| panic!("a payload's destructor"))))));
        rounds(3);
    });
    let value = Config::new()
        .on_unhandled_panic(|_, _| panic!("a hook"))
        .run(|| {
            drop(spawn(|| panic!("first")));
            drop(spawn(|| panic!("second")));
            rounds(3);
            5
        })
        .unwrap();
    assert_eq!(value, 5);
}

/// Of 100,000 tasks one in a hundred panics. Every other task returns its value, and every capture is dropped once.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn one_panic_in_a_hundred_tasks_leaves_the_rest_unharmed() {
    let (batches, size) = if emulated() { (2, 1000) } else { (100, 1000) };
    let (drops, told) = (Drops::default(), Rc::new(Cell::new(0)));
    let hook = Rc::clone(&told);
    let (good, bad) = Config::new()
        .on_unhandled_panic(move |_, payload| {
            assert!(payload.is::<u32>());
            hook.set(hook.get() + 1);
        })
        .run(|| {
            let (mut good, mut bad) = (0, 0);
            for _ in 0..batches {
                let handles: Vec<_> = (0..size)
                    .map(|i: u32| {
                        let captured = drops.value();
                        spawn(move || {
                            let _captured = captured;
                            yield_now();
                            if i % 100 == 99 {
                                resume_unwind(Box::new(i));
                            }
                            i
                        })
                    })
                    .collect();
                // Every other task that panics is not joined.
                for (i, mut handle) in (0..size).zip(handles) {
                    if i % 200 == 99 {
                        continue;
                    }
                    match handle.join() {
                        Ok(value) => good += u32::from(value == i),
                        Err(error) => bad += u32::from(error.into_panic().unwrap().downcast_ref() == Some(&i)),
                    }
                }
            }
            (good, bad)
        })
        .unwrap();
    let all = batches * size;
    assert_eq!((good, bad, told.get(), drops.count()), (all - all / 100, all / 200, all / 200, all));
}

// ---- destructors while panicking

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructors_of_a_panicking_task_may_do_anything_with_tasks() {
    let text = in_child("destructors_of_a_panicking_task_may_do_anything_with_tasks", || {
        let log = Log::default();
        let inner = log.clone();
        run(move || {
            let unfinished = Rc::new(RefCell::new(spawn(|| park("the end").is_err())));
            let log = inner.clone();
            let mut bystander = spawn(move || {
                while !task::is_cancelled() {
                    assert!(!thread::panicking(), "a bystander ran in the middle of a panic");
                    yield_now();
                }
            });
            let other = Rc::clone(&unfinished);
            let mut handle = spawn(move || {
                let _end = AtEnd(move || {
                    yield_now();
                    log.add(format!("{:?}", park("no")));
                    log.add(format!("{:?}", park_until("no", Instant::now() + Duration::from_secs(60))));
                    park_shielded("no");
                    log.add(format!("{:?}", other.borrow_mut().join()));
                    let mut spawned = spawn(|| 1);
                    log.add(format!("{:?}", spawned.join()));
                    drop(spawned);
                    let mut ended = spawn(|| 1);
                    ended.cancel();
                    let inner = log.clone();
                    ended.on_done(move |done| inner.add(format!("{:?}", done.result())));
                    log.add(format!("{:?}", ended.try_join().is_none()));
                });
                panic!("with destructors");
            });
            rounds(2);
            assert_eq!(handle.join().unwrap_err().to_string(), "the task panicked: with destructors");
            rounds(2);
            bystander.cancel();
            bystander.join().unwrap();
        });
        eprintln!("{}", log.take().join(" "));
    });
    let cancelled = "Err(Cancelled)";
    let interrupted = "Err(Interrupted)";
    let expected =
        format!("{cancelled} {cancelled} {interrupted} {interrupted} true Some(Err(Cancelled))\nexit code Some(0)");
    assert!(text.ends_with(&expected), "{text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_run_inside_a_destructor_of_a_panicking_thread_ends() {
    let text = in_child("a_run_inside_a_destructor_of_a_panicking_thread_ends", || {
        let outcome = caught(|| {
            let _end = AtEnd(|| {
                run(|| {
                    let handle = spawn(|| park("the end").is_err());
                    let _ = handle;
                    drop(spawn(|| drop(caught(|| panic!("inside")))));
                    yield_now();
                });
                eprintln!("ended");
            });
            panic!("outside");
        });
        assert_eq!(panic_text(outcome), "outside");
    });
    assert!(text.ends_with("ended\nexit code Some(0)"), "{text}");
}

// ---- refusals

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn around_worker_is_called_around_the_run() {
    thread_local! {
        static ENTERED: Cell<u32> = const { Cell::new(0) };
    }
    let around = |run: &mut dyn FnMut()| {
        ENTERED.set(ENTERED.get() + 1);
        run();
        run(); // of no effect
        ENTERED.set(ENTERED.get() - 1);
    };
    let seen = Config::new().around_worker(around).run(|| (ENTERED.get(), spawn(|| ENTERED.get()).join().unwrap()));
    assert_eq!((seen.unwrap(), ENTERED.get()), ((1, 1), 0));
    let watched = Config::new().report_slow_turns(Duration::from_secs(60)).around_worker(around);
    assert_eq!(watched.run(|| ENTERED.get()).unwrap(), 1);
    let error = Config::new().around_worker(|_| ()).run(|| panic!("main was called")).unwrap_err();
    assert!(matches!(error, RunError::<()>::NotStarted), "{error}");
    let after = Config::new().around_worker(|run| {
        run();
        panic!("after the run");
    });
    assert_eq!(panic_text(caught(|| after.run(|| 1))), "after the run");
    assert_eq!(panic_text(caught(|| Config::new().around_worker(|run| run()).run(|| panic!("main")))), "main");
    run(|| ()); // the thread can start another run
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a03_a_run_inside_of_a_run_is_refused_and_harms_nothing() {
    let nested = || -> String {
        let error = Config::new().run(|| panic!("main was called")).unwrap_err();
        assert!(matches!(error, RunError::<()>::AlreadyRunning));
        let text = panic_text(caught(|| run(|| ())));
        assert_eq!(text, error.to_string());
        text
    };
    run(|| {
        assert_eq!(nested(), "cannot start a run inside of another: spawn a task instead");
        assert!(spawn(nested).join().is_ok());
        let mut inside_a_generator = spawn(move || Generator::new(move |y| y.yield_(nested())).next());
        assert!(inside_a_generator.join().unwrap().is_some());
        // Another thread may start a run.
        assert_eq!(thread::spawn(|| run(|| 5)).join().unwrap(), 5);
        rounds(2);
    });
    assert_eq!(run(|| 6), 6);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a75_what_needs_a_run_says_so_outside_of_one() {
    let outside = || {
        let drops = Arced::default();
        let captured = drops.clone();
        let text = panic_text(caught(|| spawn(move || drop(captured))));
        assert_eq!(text, "cannot spawn a task outside of a run: call cede::run(|| ...) and do it in there");
        assert_eq!(std::sync::Arc::strong_count(&drops), 1, "the closure was dropped");
        let captured = drops.clone();
        let error = Builder::new().spawn(move || drop(captured)).unwrap_err();
        assert!(matches!(error, SpawnError::NotRunning));
        assert_eq!((error.to_string(), std::sync::Arc::strong_count(&drops)), (text, 1));
        let text = panic_text(caught(|| park("no")));
        assert_eq!(text, "cannot park outside of a run: call cede::run(|| ...) and do it in there");
        assert!(panic_text(caught(Unparker::current)).starts_with("cannot make an Unparker outside of a run: "));
        assert!(panic_text(caught(|| NUMBER.get())).starts_with("cannot use a task-local outside of a run: "));
        assert!(task::current().is_none() && task::all().is_empty() && !task::is_cancelled());
        yield_now();
    };
    outside();
    run(|| thread::spawn(outside).join().unwrap());
}

cede::task_local! {
    static NUMBER: u32 = 7;
}

type Arced = std::sync::Arc<()>;

/// A stack size that cannot be provided is an error of `spawn`, and the closure is dropped.
#[test]
fn refused_stack_is_an_error_and_drops_the_closure() {
    run(|| {
        for size in [0, 1, 1 << 47, usize::MAX] {
            let drops = Drops::default();
            let captured = drops.value();
            let error = Builder::new().stack_size(size).spawn(move || drop(captured)).unwrap_err();
            assert!(matches!(error, SpawnError::Stack(_)), "{error}");
            assert_eq!(drops.count(), 1);
        }
        assert_eq!(task::all().len(), 1);
    });
    let error = Config::new().stack_size(1).run(|| panic!("main was called")).unwrap_err();
    assert!(matches!(error, RunError::<()>::Stack(_)));
}

#[test]
#[cfg(debug_assertions)]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn waiting_inside_no_suspend_is_refused() {
    run(|| {
        let text = panic_text(caught(|| cede::no_suspend(yield_now)));
        assert!(
            text.starts_with("cannot wait or yield inside a no_suspend section (opened at tests/task_panics.rs:"),
            "{text}"
        );
        let text = panic_text(caught(|| cede::no_suspend(|| park("no"))));
        assert!(text.starts_with("cannot wait or yield inside a no_suspend section"), "{text}");
        let mut handle = spawn(|| 1);
        let text = panic_text(caught(|| cede::no_suspend(|| handle.join())));
        assert!(text.starts_with("cannot wait or yield inside a no_suspend section"), "{text}");
        assert_eq!(handle.join().unwrap(), 1);
    });
}
