//! Tasks: what they promise, row by row. The ids are those of the table in ARCHITECTURE.md, whose left column is asyncio's
//! behaviour. What can hang or die when it goes wrong runs in a process of its own.

mod common;

use cede::task::{self, Cancelled, SpawnError, TaskState, Unparker, park, park_shielded, park_until};
use cede::{Builder, Config, Generator, JoinError, JoinHandle, RunError, Yielder, run, spawn, spawn_each, yield_now};
use common::{command, emulated};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Stdio;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// A log that tasks and tests share.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn add(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    /// Logs `text` when it is dropped: a `finally`.
    fn at_end(&self, text: &'static str) -> AtEnd<impl FnMut() + use<>> {
        let log = self.clone();
        AtEnd(move || log.add(text))
    }
}

/// Calls a function when it is dropped.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// How often values were dropped.
#[derive(Clone, Default)]
struct Drops(Rc<Cell<u32>>);

impl Drops {
    fn count(&self) -> u32 {
        self.0.get()
    }

    fn value(&self) -> Counted {
        Counted(self.clone())
    }
}

struct Counted(Drops);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("?").to_string()
}

fn panic_text(result: thread::Result<impl Sized>) -> String {
    match result {
        Ok(_) => panic!("it should have panicked"),
        Err(payload) => text_of(&*payload),
    }
}

fn caught<R>(f: impl FnOnce() -> R) -> thread::Result<R> {
    catch_unwind(AssertUnwindSafe(f))
}

fn rounds(count: u32) {
    (0..count).for_each(|_| yield_now());
}

/// Waits until `ready`, as everybody who parks does.
fn park_while(reason: &'static str, mut waits: impl FnMut() -> bool) -> Result<(), Cancelled> {
    while waits() {
        park(reason)?;
    }
    Ok(())
}

/// Runs the test `name`, which calls this, once more in a process of its own, where `body` is all that runs. Returns what
/// went to stderr, "exit code" and the code. A child that hangs is killed after 30 seconds.
fn in_child(name: &str, body: impl FnOnce()) -> String {
    if std::env::var("CEDE_TASKS_CHILD").as_deref() == Ok(name) {
        body();
        std::process::exit(0);
    }
    let mut child = command(std::env::current_exe().unwrap());
    if cfg!(panic = "abort") {
        // The harness would start yet another process.
        child.env("__RUST_TEST_INVOKE", name);
    }
    let mut child = child
        .args(["--exact", name, "--nocapture"])
        .env("CEDE_TASKS_CHILD", name)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    format!("{}exit code {:?}", String::from_utf8_lossy(&output.stderr), output.status.code())
}

// ---- run, and how tasks begin

#[test]
fn a01_a_task_that_is_never_given_a_turn_never_runs() {
    let (log, drops) = (Log::default(), Drops::default());
    run(|| {
        let (log, captured) = (log.clone(), drops.value());
        let _detached = spawn(move || log.add(format!("ran {}", captured.0.count())));
    });
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(drops.count(), 1);
}

#[test]
fn a02_run_returns_what_main_returns_and_main_may_borrow() {
    let mut text = String::from("borrowed");
    let length = run(|| {
        text.push('!');
        text.len()
    });
    assert_eq!((length, text.as_str()), (9, "borrowed!"));
    assert_eq!(Config::new().stack_size(128 * 1024).run(|| [7u64; 100]).unwrap(), [7; 100]);
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
        // Another thread is free to.
        assert_eq!(thread::spawn(|| run(|| 5)).join().unwrap(), 5);
        rounds(2);
    });
    assert_eq!(run(|| 6), 6);
}

#[test]
fn a04_the_end_of_main_cancels_who_is_left_and_waits_for_them() {
    let log = Log::default();
    let inner = log.clone();
    run(move || {
        let log = inner.clone();
        spawn(move || {
            let _end = log.at_end("first: end");
            assert!(park("for ever").is_err());
            // Cleaning up may take turns.
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
fn a05_run_raises_the_panic_of_main_after_the_sweep() {
    let log = Log::default();
    let outcome = caught(|| {
        run(|| -> u32 {
            let log = log.clone();
            spawn(move || {
                let _ = park("for ever");
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
fn a06_a_body_does_not_run_before_its_spawner_suspends() {
    run(|| {
        let log = Log::default();
        let inner = log.clone();
        let handle = spawn(move || inner.add("ran"));
        assert_eq!((log.take(), handle.state()), (vec![], TaskState::Pending));
        yield_now();
        assert_eq!((log.take(), handle.state()), (vec!["ran".to_string()], TaskState::Done));
    });
}

#[test]
fn a07_tasks_start_in_the_order_of_their_creation() {
    run(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut tasks: Vec<_> = (0..5)
            .map(|i| {
                let order = Rc::clone(&order);
                // Named and unnamed ones share one order.
                match i % 2 {
                    0 => spawn(move || order.borrow_mut().push(i)),
                    _ => Builder::new().name(format!("t{i}")).spawn(move || order.borrow_mut().push(i)).unwrap(),
                }
            })
            .collect();
        tasks.iter_mut().rev().for_each(|task| task.join().unwrap());
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a08_turns_are_strictly_round_robin() {
    let log = Log::default();
    let inner = log.clone();
    run(move || {
        for name in ["a", "b", "c"] {
            let log = inner.clone();
            spawn(move || {
                for i in 0..3 {
                    log.add(format!("{name}{i}"));
                    yield_now();
                }
            });
        }
        rounds(4);
    });
    assert_eq!(log.take(), ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]);
}

#[test]
fn a08_a_thousand_tasks_keep_their_order_for_a_thousand_rounds() {
    let (count, turns) = if emulated() { (100, 100) } else { (1000, 1000) };
    let expected = Rc::new(Cell::new(0));
    run(|| {
        for i in 0..count {
            let expected = Rc::clone(&expected);
            spawn(move || {
                for turn in 0..turns {
                    assert_eq!(expected.replace(expected.get() + 1), turn * count + i);
                    yield_now();
                }
            });
        }
        rounds(turns as u32 + 1);
    });
    assert_eq!(expected.get(), count * turns);
}

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

// ---- results

#[test]
fn a09_a_task_that_has_not_ended_gives_nothing_and_says_so() {
    run(|| {
        let mut handle = spawn(|| 1);
        assert!(handle.try_join().is_none());
        assert!(!handle.is_finished());
        yield_now();
        assert!(handle.is_finished());
        assert_eq!(handle.try_join().unwrap().unwrap(), 1);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a10_a_panic_comes_out_of_join_with_its_payload_once() {
    run(|| {
        let mut handle = spawn(|| -> u32 { resume_unwind(Box::new(vec![1u8, 2])) });
        let Err(error) = handle.join() else { panic!("it returned") };
        assert_eq!(error.to_string(), "the task panicked");
        assert_eq!(error.into_panic().unwrap().downcast_ref(), Some(&vec![1u8, 2]));
        assert_eq!(handle.state(), TaskState::Done);

        let mut handle = Builder::new().name("loud").spawn(|| panic!("for {}", "a reason")).unwrap();
        let error = handle.join().unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: for a reason");
        assert_eq!(format!("{error:?}"), "Panicked(\"for a reason\")");
        let text = panic_text(caught(|| handle.join().is_ok()));
        assert_eq!(text, "the result of task 'loud' was taken before");
    });
}

#[test]
fn results_of_every_shape_come_out_of_join() {
    #[repr(align(256))]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Aligned([u8; 300]);
    #[repr(align(16))]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Sixteen(u64);

    fn twice<T: Clone + PartialEq + std::fmt::Debug + 'static>(value: T) {
        let copy = value.clone();
        let mut joined = spawn(move || copy);
        // Once while waiting, once after the end, and once never.
        assert_eq!(joined.join().unwrap(), value);
        let copy = value.clone();
        let mut late = spawn(move || copy);
        let copy = value.clone();
        drop(spawn(move || copy));
        rounds(2);
        assert_eq!(late.try_join().unwrap().unwrap(), value);
    }
    run(|| {
        twice(());
        twice(1u8);
        twice(Some(Box::new(5)));
        twice([3usize; 3]);
        twice([3usize; 4]);
        twice([7u64; 500]);
        twice(Aligned([9; 300]));
        twice(Sixteen(4));
        twice(String::from("text"));
        twice(u128::MAX);
        let mut over_aligned = spawn(|| Aligned([1; 300]));
        let value = over_aligned.join().unwrap();
        assert_eq!(std::ptr::from_ref(&value) as usize % 256, 0);
    });
}

#[test]
fn closures_of_every_size_and_alignment_arrive_whole() {
    #[repr(align(256))]
    struct Aligned(u64);
    #[repr(align(4096))]
    struct Page;

    fn check<const N: usize>(drops: &Drops) {
        let (bytes, counted, aligned) = ([N as u8; N], drops.value(), Aligned(N as u64));
        let sum = spawn(move || {
            let _counted = &counted;
            yield_now();
            assert_eq!(std::ptr::from_ref(&aligned) as usize % 256, 0);
            bytes.iter().map(|&byte| byte as usize).sum::<usize>() + aligned.0 as usize
        })
        .join()
        .unwrap();
        assert_eq!(sum, N * (N as u8 as usize) + N);
    }
    let drops = Drops::default();
    run(|| {
        check::<0>(&drops);
        check::<1>(&drops);
        check::<500>(&drops);
        check::<1023>(&drops);
        check::<1024>(&drops);
        check::<1025>(&drops);
        check::<30_000>(&drops);
        let page = Page;
        spawn(move || assert_eq!(std::ptr::from_ref(black_box(&page)) as usize % 4096, 0)).join().unwrap();
    });
    assert_eq!(drops.count(), 7);
}

// Ordinary code probes every page on the way down to an over-aligned frame; the sanitizer's frames step over the guard.
#[cfg(not(feature = "asan"))]
#[test]
fn a_closure_of_no_size_but_a_huge_alignment_does_not_leave_its_stack() {
    let text = in_child("a_closure_of_no_size_but_a_huge_alignment_does_not_leave_its_stack", || {
        #[repr(align(131072))]
        struct Huge;
        run(|| {
            // Who lives around it, suspended.
            let named = |i: u32| Builder::new().name(format!("neighbour {i}"));
            let around: Vec<_> = (0..64).map(|i| named(i).spawn(|| park("the end").is_err()).unwrap()).collect();
            yield_now();
            let own = || {
                let huge = Huge;
                let body = move || {
                    let _huge = huge;
                    black_box([0u8; 30 * 1024]);
                };
                Builder::new().name("huge").spawn(body).unwrap()
            };
            // Several, so that they come to lie on slots of every kind.
            let mut all: Vec<_> = (0..8).map(|_| own()).collect();
            all.iter_mut().for_each(|task| task.join().unwrap());
            (0..8).for_each(|_| own().join().unwrap());
            drop(around);
        });
    });
    // It fits, or its own overflow is named; nobody else is hit.
    let named = text.contains("cede: task 'huge' overflowed its 64 KiB stack");
    assert!(text.ends_with("exit code Some(0)") || named, "{text}");
}

#[test]
fn every_result_is_dropped_exactly_once() {
    let drops = Drops::default();
    let give = || {
        let value = drops.value();
        move || value
    };
    let kept = run(|| {
        drop(spawn(give()).join().unwrap());
        assert_eq!(drops.count(), 1, "joined");
        drop(spawn(give()));
        yield_now();
        assert_eq!(drops.count(), 2, "detached before the end");
        let ended = spawn(give());
        yield_now();
        assert_eq!(drops.count(), 2, "the handle keeps the result");
        drop(ended);
        assert_eq!(drops.count(), 3, "detached after the end");
        // Left to the end of the run: one ended, one never ran, one had to be cancelled.
        let ended = spawn(give());
        yield_now();
        let never = spawn(give());
        let value = drops.value();
        let waits = spawn(move || {
            let _ = park("for ever");
            value
        });
        (ended, never, waits)
    });
    assert_eq!(drops.count(), 5, "the one that never ran dropped its captures, also `waits`, which never ran either");
    drop(kept);
    assert_eq!(drops.count(), 6);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_result_whose_destructor_uses_tasks_or_panics_harms_nobody() {
    let log = Log::default();
    run(|| {
        let inner = log.clone();
        drop(spawn(move || {
            AtEnd(move || {
                inner.add("before");
                yield_now();
                let log = inner.clone();
                spawn(move || log.add("spawned")).join().unwrap();
                inner.add("after");
            })
        }));
        let inner = log.clone();
        drop(spawn(move || AtEnd(move || panic!("in the destructor of {}", inner.take().len()))));
        rounds(6);
    });
    assert_eq!(log.take(), ["spawned", "after"]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn join_works_after_the_run() {
    let (mut done, mut failed, mut never) = run(|| {
        let done = spawn(|| vec![1, 2, 3]);
        let failed = spawn(|| -> u32 { panic!("late") });
        yield_now();
        (done, failed, spawn(|| ()))
    });
    assert_eq!(done.join().unwrap(), [1, 2, 3]);
    assert_eq!(failed.join().unwrap_err().to_string(), "the task panicked: late");
    assert!(matches!(never.join(), Err(JoinError::Cancelled)));
    assert_eq!((done.state(), never.state()), (TaskState::Done, TaskState::Cancelled));
    assert!(!never.cancel());
    // Also inside of another run.
    let mut other = run(|| {
        let handle = spawn(|| 4);
        yield_now();
        handle
    });
    assert_eq!(run(|| other.join().unwrap()), 4);
}

#[test]
fn a_dropped_handle_detaches() {
    let log = Log::default();
    run(|| {
        let inner = log.clone();
        drop(spawn(move || {
            yield_now();
            inner.add("went on");
        }));
        rounds(3);
    });
    assert_eq!(log.take(), ["went on"]);
}

// ---- cancelling

#[test]
fn a11_cancelling_ends_the_wait_in_the_tasks_next_turn_and_every_later_wait() {
    run(|| {
        let log = Log::default();
        let inner = log.clone();
        let mut handle = spawn(move || {
            for _ in 0..3 {
                assert!(park("a wake").is_err());
                inner.add("cancelled");
            }
            assert!(park_until("a time", Instant::now() + Duration::from_secs(60)).is_err());
            assert!(task::check().is_err());
            assert!(task::is_cancelled());
            let mut other = spawn(|| rounds(3));
            assert!(matches!(other.join(), Err(JoinError::Interrupted(_))));
        });
        yield_now();
        assert!(handle.cancel());
        assert_eq!(log.take(), [""; 0], "nothing happens before its turn");
        assert_eq!(handle.state(), TaskState::Pending);
        handle.join().unwrap();
        assert_eq!(log.take().len(), 3);
        assert!(!task::is_cancelled() && task::check().is_ok(), "main was not");
    });
}

#[test]
fn a11_a_cancelled_wait_still_gives_up_its_turn() {
    run(|| {
        let turns = Rc::new(Cell::new(0));
        let inner = Rc::clone(&turns);
        let mut deaf = spawn(move || {
            for _ in 0..10 {
                let _ = park("anything");
                inner.set(inner.get() + 1);
            }
        });
        yield_now();
        deaf.cancel();
        for seen in 0..10 {
            assert_eq!(turns.get(), seen);
            yield_now();
        }
        deaf.join().unwrap();
    });
}

#[test]
fn a12_cancelling_a_task_that_has_ended_changes_nothing() {
    run(|| {
        let mut handle = spawn(|| 2);
        yield_now();
        assert!(!handle.cancel());
        assert_eq!(handle.state(), TaskState::Done);
        assert_eq!(handle.join().unwrap(), 2);
        assert!(!handle.cancel());
    });
}

#[test]
fn a13_a_task_cancelled_before_its_first_turn_never_runs_and_drops_its_captures() {
    run(|| {
        let (log, drops) = (Log::default(), Drops::default());
        let (inner, captured) = (log.clone(), drops.value());
        let mut handle = spawn(move || inner.add(format!("ran {}", captured.0.count())));
        assert!(handle.cancel());
        assert!(handle.cancel(), "it is still pending");
        assert_eq!((handle.state(), drops.count()), (TaskState::Pending, 0));
        assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
        assert_eq!((handle.state(), drops.count()), (TaskState::Cancelled, 1));
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a13_a_panic_of_a_capture_that_is_dropped_unrun_is_the_tasks() {
    run(|| {
        let bomb = AtEnd(|| panic!("dropped unrun"));
        let mut handle = spawn(move || drop(bomb));
        handle.cancel();
        assert_eq!(handle.join().unwrap_err().to_string(), "the task panicked: dropped unrun");
    });
}

#[test]
fn a14_a_cancelled_task_that_returns_a_value_gives_it() {
    run(|| {
        let mut handle = spawn(|| if park("a wake").is_err() { "kept" } else { "woken" });
        yield_now();
        handle.cancel();
        assert_eq!(handle.join().unwrap(), "kept");
        assert_eq!(handle.state(), TaskState::Done);
    });
}

#[test]
fn an_interrupted_join_can_be_taken_up_again() {
    run(|| {
        let slow = Rc::new(RefCell::new(spawn(|| {
            rounds(10);
            "slow"
        })));
        let inner = Rc::clone(&slow);
        let mut waiter = spawn(move || {
            let Err(JoinError::Interrupted(Cancelled)) = inner.borrow_mut().join() else { panic!("not told") };
        });
        rounds(2);
        assert_eq!(waiter.state(), TaskState::Waiting("a task to end".into()));
        waiter.cancel();
        waiter.join().unwrap();
        assert_eq!(slow.borrow().state(), TaskState::Pending, "a cancel is not passed on");
        assert_eq!(slow.borrow_mut().join().unwrap(), "slow");
    });
}

#[test]
fn a25_a_task_that_joins_itself_is_told_and_may_go_on() {
    run(|| {
        let slot: Rc<RefCell<Option<JoinHandle<bool>>>> = Rc::default();
        let inner = Rc::clone(&slot);
        let handle = spawn(move || {
            let mut me = inner.borrow_mut().take().unwrap();
            let deadlock = matches!(me.join(), Err(JoinError::Deadlock));
            *inner.borrow_mut() = Some(me);
            deadlock
        });
        *slot.borrow_mut() = Some(handle);
        yield_now();
        let mut handle = slot.borrow_mut().take().unwrap();
        assert!(handle.join().unwrap());
    });
}

/// Tasks that join each the next one, and the last the first. Returns what each was told.
fn ring_of_joins(count: usize) -> Vec<String> {
    type Slots = Rc<RefCell<Vec<Option<JoinHandle<String>>>>>;
    let slots: Slots = Rc::default();
    let handles: Vec<_> = (0..count)
        .map(|i| {
            let slots = Rc::clone(&slots);
            spawn(move || {
                let mut next = slots.borrow_mut()[(i + 1) % count].take().unwrap();
                match next.join() {
                    Ok(told) => format!("{i}<{told}"),
                    Err(error) => format!("{i}:{error:?}"),
                }
            })
        })
        .collect();
    // Who joins nobody's handle twice: each handle goes to the one before it.
    slots.borrow_mut().extend(handles.into_iter().map(Some));
    let told = Rc::new(RefCell::new(Vec::new()));
    let inner = Rc::clone(&told);
    slots.borrow()[0].as_ref().unwrap().on_done(move |done| {
        inner.borrow_mut().push(format!("{:?}", done.result()));
    });
    rounds(2 * count as u32 + 4);
    told.take()
}

#[test]
fn a25_whoever_would_close_a_circle_of_joins_is_told() {
    run(|| {
        assert_eq!(ring_of_joins(1), ["Some(Ok(\"0:Deadlock\"))"]);
        // The last of three closes the circle, and its end ends the others.
        assert_eq!(ring_of_joins(3), ["Some(Ok(\"0<1<2:Deadlock\"))"]);
    });
}

// ---- callbacks

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
        assert_eq!(log.take(), ["None"], "join has taken it");
    });
}

#[test]
fn a20_callbacks_added_by_a_callback_and_around_the_end_run_once_each() {
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

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a20_callbacks_of_a_task_that_failed_or_was_cancelled_are_called() {
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

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a20_a_result_that_a_callback_looks_at_cannot_be_taken_from_under_it() {
    let text = in_child("a20_a_result_that_a_callback_looks_at_cannot_be_taken_from_under_it", || {
        let seen = run(|| {
            let handle = Rc::new(RefCell::new(spawn(|| String::from("a result of some length"))));
            let (inner, seen) = (Rc::clone(&handle), Rc::new(RefCell::new(String::new())));
            let out = Rc::clone(&seen);
            handle.borrow().on_done(move |done| {
                let looked_at = done.result();
                // The result may come out, or this may panic; what `looked_at` points to must stay.
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
fn a21_remove_done_tells_whether_it_was_there() {
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
        // It has ended; what has not been called can still be removed.
        assert!(handle.remove_done(ids[0]));
        yield_now();
        assert_eq!(log.take(), ["2 2"]);
        assert!(!handle.remove_done(ids[2]), "it was called");
        handle.join().unwrap();
        assert_eq!(drops.count(), 3);
    });
}

#[test]
fn a21_what_a_removed_callback_owned_may_use_the_handle_while_it_is_dropped() {
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

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a22_waiting_in_a_callback_panics_in_words_and_nothing_else_happens() {
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
        let handle = Rc::new(spawn(|| park("for ever").is_err()));
        yield_now();
        let again = Rc::clone(&handle);
        handle.on_done(move |done| {
            log.add(format!("{:?}", done.result()));
            let last = Rc::clone(&again);
            again.on_done(move |_| {
                log.add("added by it");
                last.on_done(move |_| {
                    log.add("added by that");
                    // The run is over: this will not run, but neither is what it owns forgotten.
                    spawn(move || drop(captured));
                });
            });
        });
    });
    assert_eq!(log.take(), ["Some(Ok(true))", "added by it", "added by that"]);
    assert_eq!(drops.count(), 1, "the captures of a task that was spawned last of all");
}

#[test]
fn a_callback_that_adds_itself_for_ever_does_not_keep_the_run_from_ending() {
    let text = in_child("a_callback_that_adds_itself_for_ever_does_not_keep_the_run_from_ending", || {
        fn again(handle: &Rc<JoinHandle<()>>, count: &Rc<Cell<u32>>) {
            let (next, count) = (Rc::clone(handle), Rc::clone(count));
            handle.on_done(move |_| {
                count.set(count.get() + 1);
                again(&next, &count);
            });
        }
        let count = Rc::new(Cell::new(0));
        Config::new()
            .grace(Duration::from_millis(50))
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

// ---- panics that nobody sees

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a74_a_panic_that_nobody_joins_is_told_to_the_hook_with_the_tasks_label() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let hook = Rc::clone(&told);
    let on = move |label: &str, payload: &(dyn Any + Send)| {
        hook.borrow_mut().push(format!("{label}: {}", text_of(payload)));
        // It has the room of the scheduler's own stack.
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
            // In the sweep.
            drop(Builder::new().name("left").spawn(|| park("for ever").unwrap()).unwrap());
            let kept = Builder::new().name("kept").spawn(|| panic!("five")).unwrap();
            yield_now();
            kept
        })
        .unwrap();
    assert_eq!(told.take().len(), 1, "the task that was left");
    drop(kept);
    assert_eq!(told.take(), [""; 0], "the hook is gone with its run");
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
            "task 'lost' panicked, and nobody is left to join it: three words here\n\
             cede: task 'odd' panicked, and nobody is left to join it: (not a text)\nexit code Some(0)"
        ),
        "{text}"
    );
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a74_a_payload_whose_destructor_panics_and_a_hook_that_panics_end_nothing() {
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

type Arced = std::sync::Arc<()>;

#[test]
fn a_task_whose_stack_is_refused_is_an_error_and_its_closure_is_dropped() {
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

// ---- seeing

#[test]
fn a76_tasks_are_named_listed_and_shown() {
    run(|| {
        assert_eq!(task::current().unwrap().name(), Some("main"));
        let mut nap = Builder::new().name("nap").spawn(|| park("a bell").is_err()).unwrap();
        let plain = spawn(|| task::current().unwrap());
        let id = nap.task().id();
        assert_eq!(format!("{nap:?}"), format!("JoinHandle {{ id: {id}, name: Some(\"nap\"), state: Pending }}"));
        let mut all: Vec<_> = task::all().into_iter().map(|(task, state)| format!("{task} {state}")).collect();
        all.sort();
        assert_eq!(all, [format!("#{} pending", plain.task().id()), "'main' running".into(), "'nap' pending".into()]);
        yield_now();
        let shown = format!("{nap:?}");
        assert!(shown.contains("\"nap\"") && shown.contains("Waiting(Reason(\"a bell\"))"), "{shown}");
        let mut all: Vec<_> = task::all().into_iter().map(|(task, state)| format!("{task} {state}")).collect();
        all.sort();
        assert_eq!(all, ["'main' running", "'nap' waiting: a bell"], "who has ended is not listed");
        nap.cancel();
        nap.join().unwrap();
        assert!(format!("{nap:?}").contains("state: Done"));
        let mut plain = plain;
        assert_eq!(plain.join().unwrap(), plain.task());
        assert_eq!(plain.task().name(), None);
        assert!(format!("{:?}", Unparker::current()).contains("main"));
    });
}

#[test]
fn a76_a_tasks_state_over_its_life() {
    run(|| {
        let slot: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let states = Rc::new(RefCell::new(Vec::new()));
        let (inner, seen) = (Rc::clone(&slot), Rc::clone(&states));
        *slot.borrow_mut() = Some(spawn(move || {
            seen.borrow_mut().push(inner.borrow().as_ref().unwrap().state());
            yield_now();
            let _ = park("a wake");
        }));
        let state = || slot.borrow().as_ref().unwrap().state();
        let mut after = vec![state()];
        yield_now();
        after.push(state());
        yield_now();
        after.push(state());
        slot.borrow().as_ref().unwrap().cancel();
        after.push(state());
        let _ = slot.borrow_mut().as_mut().unwrap().join();
        after.push(state());
        assert_eq!(*states.borrow(), [TaskState::Running]);
        use TaskState::*;
        assert_eq!(after, [Pending, Pending, Waiting("a wake".into()), Pending, Done]);
        let texts = [Pending, Running, Waiting("x".into()), Done, Cancelled].map(|state| state.to_string());
        assert_eq!(texts, ["pending", "running", "waiting: x", "done", "cancelled"]);
    });
}

#[test]
fn a77_a_backtrace_inside_a_task_shows_its_whole_stack_and_ends_there() {
    #[inline(never)]
    fn deepest() -> String {
        yield_now();
        black_box(std::backtrace::Backtrace::force_capture().to_string())
    }
    #[inline(never)]
    fn between() -> String {
        black_box(deepest() + "")
    }
    run(|| {
        let mut plain = spawn(|| black_box(between() + ""));
        let mut nested = spawn(|| Generator::new(|y| y.yield_(between())).next().unwrap());
        for text in [plain.join().unwrap(), nested.join().unwrap()] {
            let (inner, outer) = (text.find("deepest").unwrap(), text.find("between").unwrap());
            assert!(inner < outer, "{text}");
            assert!(text.lines().count() < 500, "it did not end");
        }
    });
}

#[test]
#[cfg(not(cede_portable_switch))]
fn a77_a_handle_shows_the_whole_stack_of_a_suspended_task() {
    #[inline(never)]
    fn deepest() -> bool {
        black_box(park("a look").is_err())
    }
    #[inline(never)]
    fn between() -> bool {
        black_box(!deepest())
    }
    run(|| {
        let plain = spawn(between);
        let nested = spawn(|| Generator::new(|y| y.yield_(between())).next());
        assert!(plain.backtrace().is_some(), "before its first turn");
        yield_now();
        for text in [plain.backtrace().unwrap().to_string(), nested.backtrace().unwrap().to_string()] {
            let (inner, outer) = (text.find("deepest").unwrap(), text.find("between").unwrap());
            assert!(inner < outer && text.lines().count() < 500, "{text}");
        }
        plain.cancel();
        yield_now();
        assert!(plain.is_finished() && plain.backtrace().is_none());
    });
}

#[test]
fn a78_a_task_that_does_not_yield_keeps_everybody_waiting() {
    run(|| {
        let ticked = Rc::new(Cell::new(None));
        let inner = Rc::clone(&ticked);
        let mut tick = spawn(move || inner.set(Some(Instant::now())));
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(30) {}
        assert_eq!(ticked.get(), None);
        tick.join().unwrap();
        assert!(ticked.get().unwrap() - began >= Duration::from_millis(30));
    });
}

// ---- parking

#[test]
fn a_wake_that_comes_before_the_park_is_kept_but_only_one() {
    run(|| {
        let me = Unparker::current();
        me.unpark();
        me.unpark();
        yield_now();
        park("the kept wake").unwrap();
        let began = Instant::now();
        park_until("a second one", began + Duration::from_millis(20)).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(20), "two wakes were kept");
    });
}

#[test]
fn a_plain_thread_wakes_a_task() {
    let count = if emulated() { 200 } else { 2000 };
    run(|| {
        let turns = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (me, seen) = (Unparker::current(), turns.clone());
        let waker = thread::spawn(move || {
            for turn in 0..count {
                while seen.load(std::sync::atomic::Ordering::Acquire) != turn {
                    thread::yield_now();
                }
                seen.store(turn + 1 + (1 << 30), std::sync::atomic::Ordering::Release);
                me.unpark();
            }
            me
        });
        for turn in 0..count {
            let done = turn + 1 + (1 << 30);
            park_while("the thread", || turns.load(std::sync::atomic::Ordering::Acquire) != done).unwrap();
            turns.store(turn + 1, std::sync::atomic::Ordering::Release);
        }
        waker.join().unwrap();
    });
}

#[test]
fn a_thread_is_heard_also_while_other_tasks_are_busy() {
    run(|| {
        let stop = Rc::new(Cell::new(false));
        let inner = Rc::clone(&stop);
        let mut busy = spawn(move || {
            while !inner.get() {
                yield_now();
            }
        });
        let me = Unparker::current();
        let waker = thread::spawn(move || me.unpark());
        park("the thread").unwrap();
        let deadline = Instant::now() + Duration::from_millis(5);
        while Instant::now() < deadline {
            park_until("a timer", deadline).unwrap();
        }
        stop.set(true);
        busy.join().unwrap();
        waker.join().unwrap();
    });
}

#[test]
fn the_unparker_of_a_task_that_has_ended_wakes_nobody() {
    run(|| {
        let mut old = spawn(Unparker::current);
        let unparker = old.join().unwrap();
        let name = unparker.task().clone();
        drop(old);
        // Takes over the control block.
        let mut new =
            spawn(|| park_until("no wake", Instant::now() + Duration::from_millis(20)).map(|()| Instant::now()));
        let began = Instant::now();
        yield_now();
        assert_ne!(new.task(), name);
        unparker.unpark();
        let other = unparker.clone();
        thread::spawn(move || other.unpark()).join().unwrap();
        assert!(new.join().unwrap().unwrap() - began >= Duration::from_millis(19));
    });
    // Neither does one of a run that is over.
    let old = run(Unparker::current);
    old.unpark();
    run(|| {
        old.unpark();
        let began = Instant::now();
        park_until("no wake", began + Duration::from_millis(5)).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(5));
    });
}

#[test]
fn park_until_is_never_early_and_ties_are_in_order() {
    run(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let began = Instant::now();
        let mut tasks: Vec<_> = (0..40u64)
            .map(|i| {
                let order = Rc::clone(&order);
                let deadline = began + Duration::from_millis(2 + (i * 7 % 5) * 3);
                spawn(move || {
                    park_until("a time", deadline).unwrap();
                    assert!(Instant::now() >= deadline, "early");
                    order.borrow_mut().push((deadline, i));
                })
            })
            .collect();
        // Somebody is ready all the time, so that the timers are looked at long before they are due.
        let mut busy = spawn(|| {
            while !task::is_cancelled() {
                yield_now();
            }
        });
        tasks.iter_mut().for_each(|task| task.join().unwrap());
        busy.cancel();
        busy.join().unwrap();
        assert!(order.borrow().is_sorted());
        // In the past: at once, after a turn.
        let turn = Rc::new(Cell::new(false));
        let inner = Rc::clone(&turn);
        spawn(move || inner.set(true));
        park_until("yesterday", began).unwrap();
        assert!(turn.get());
    });
}

#[test]
fn park_until_far_in_the_future_ends_by_a_wake() {
    run(|| {
        let me = Unparker::current();
        let mut waker = spawn(move || {
            (0..100).for_each(|_| {
                me.unpark();
                yield_now();
            })
        });
        for _ in 0..100 {
            park_until("an hour", Instant::now() + Duration::from_secs(3600)).unwrap();
        }
        waker.join().unwrap();
    });
}

#[test]
fn a_cancel_does_not_cut_a_shielded_park_short() {
    run(|| {
        let unparker = Rc::new(RefCell::new(None));
        let inner = Rc::clone(&unparker);
        let released = Rc::new(Cell::new(false));
        let seen = Rc::clone(&released);
        let mut handle = spawn(move || {
            *inner.borrow_mut() = Some(Unparker::current());
            park_shielded("the last write");
            assert!(seen.get(), "woken by something else");
            assert!(park("anything").is_err(), "the cancel was not forgotten");
        });
        yield_now();
        handle.cancel();
        rounds(5);
        assert_eq!(handle.state(), TaskState::Waiting("the last write".into()));
        released.set(true);
        unparker.borrow().as_ref().unwrap().unpark();
        handle.join().unwrap();
    });
}

// ---- the end of a run

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_task_that_ignores_its_cancel_is_unwound_after_the_grace() {
    let log = Log::default();
    let began = Instant::now();
    let (mut yields, mut shielded, mut in_a_generator) = Config::new()
        .grace(Duration::from_millis(60))
        .run(|| {
            let inner = log.clone();
            let yields = spawn(move || -> u32 {
                let _end = inner.at_end("yields for ever");
                loop {
                    yield_now();
                }
            });
            let inner = log.clone();
            let shielded = spawn(move || {
                let _end = inner.at_end("parks shielded for ever");
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
    let expected = ["a generator's body", "parks shielded for ever", "the task around a generator", "yields for ever"];
    assert_eq!(ends, expected);
    assert_eq!(yields.state(), TaskState::Cancelled);
    assert!(matches!(yields.join(), Err(JoinError::Cancelled)));
    assert!(matches!(shielded.join(), Err(JoinError::Cancelled)));
    assert!(matches!(in_a_generator.join(), Err(JoinError::Cancelled)));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_task_that_swallows_even_its_unwinding_is_left_behind_and_named() {
    let text = in_child("a_task_that_swallows_even_its_unwinding_is_left_behind_and_named", || {
        let began = Instant::now();
        let drops = Drops::default();
        let (mut left, parked) = Config::new()
            .grace(Duration::from_millis(100))
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
        assert_eq!(drops.count(), 0, "what a task that was left behind owns stays");
        assert!(matches!(left.join(), Err(JoinError::Cancelled)));
        drop((left, parked));
        assert_eq!(run(|| spawn(|| 3).join().unwrap()), 3);
    });
    let told = |name: &str| {
        text.contains(&format!(
            "cede: task '{name}' would not end: it was cancelled and unwound, and is still there; it is left behind\n"
        ))
    };
    assert!(told("stubborn") && told("deaf") && text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn a_later_run_does_not_wake_who_was_left_behind_by_an_earlier_one() {
    let text = in_child("a_later_run_does_not_wake_who_was_left_behind_by_an_earlier_one", || {
        let left = Config::new()
            .grace(Duration::ZERO)
            .run(|| {
                let left = Builder::new()
                    .name("deaf")
                    .spawn(|| {
                        let _ = caught(|| park_shielded("nothing"));
                        eprintln!("unwound");
                        let _ = park_until("its cancel is no news", Instant::now());
                        park_shielded("nothing, again");
                        eprintln!("the dead walk");
                        let _ = park("and wait");
                    })
                    .unwrap();
                yield_now();
                left
            })
            .unwrap();
        // A stubborn wait is not cut short by a cancel; a plain one would be.
        let plain = Config::new()
            .grace(Duration::ZERO)
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
    assert!(text.contains("sound\nexit code Some(0)") && !text.contains("the dead walk"), "{text}");
}

#[test]
fn tasks_spawned_during_the_sweep_never_run() {
    let (log, drops) = (Log::default(), Drops::default());
    run(|| {
        let (log, drops) = (log.clone(), drops.clone());
        spawn(move || {
            let _ = park("for ever");
            let captured = drops.value();
            let inner = log.clone();
            let mut child = spawn(move || {
                inner.add("ran");
                drop(captured);
            });
            log.add(format!("{:?}", child.join()));
            // A cancelled wait gives up its turn, in which the child came to its end.
            log.add(child.state().to_string());
            log.add(drops.count().to_string());
            // One that nobody waits for, and one from a destructor.
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
fn tasks_that_own_each_others_handles_end_with_the_run() {
    let drops = Drops::default();
    let weak = run(|| {
        type Handles = Rc<RefCell<Vec<JoinHandle<()>>>>;
        let shared: Handles = Rc::default();
        for _ in 0..20 {
            let (captured, handles) = (drops.value(), Rc::clone(&shared));
            let handle = spawn(move || {
                let _captured = captured;
                let _ = park("for ever");
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

// ---- task-locals

cede::task_local! {
    static NUMBER: u32 = 7;
    static NAME: RefCell<String> = RefCell::new("initial".into());
    static LATE: Option<Rc<dyn Any>> = None;
}

#[test]
fn task_locals_belong_to_each_task() {
    run(|| {
        assert_eq!(NUMBER.get(), 7);
        NUMBER.set(8);
        let mut fresh = spawn(|| {
            let before = NUMBER.get();
            NUMBER.set(100);
            yield_now();
            (before, NUMBER.get())
        });
        let mut inherits = Builder::new()
            .inherit_locals(true)
            .spawn(|| {
                let before = NUMBER.get();
                NUMBER.set(200);
                yield_now();
                (before, NUMBER.get())
            })
            .unwrap();
        // What the spawner sets after the spawn is no longer handed on.
        NUMBER.set(9);
        rounds(2);
        assert_eq!(NUMBER.get(), 9, "nothing leaks up");
        assert_eq!(fresh.join().unwrap(), (7, 100));
        assert_eq!(inherits.join().unwrap(), (8, 200));
        let mut plain = Builder::new().inherit_locals(false).spawn(|| NUMBER.get()).unwrap();
        assert_eq!(plain.join().unwrap(), 7);
    });
    run(|| assert_eq!(NUMBER.get(), 7, "a new run begins anew"));
}

#[test]
fn a_task_local_can_be_looked_at_across_a_wait() {
    run(|| {
        let mut other = spawn(|| NAME.with(|name| name.borrow_mut().push_str(" of the other")));
        NAME.with(|name| {
            name.borrow_mut().push_str(" of main");
            other.join().unwrap();
            NAME.set(RefCell::new("replaced".into()));
            assert_eq!(*name.borrow(), "initial of main", "whoever looks keeps what it has");
        });
        NAME.with(|name| assert_eq!(*name.borrow(), "replaced"));
        // In a generator they are those of the task that resumes it.
        let mut generator = Generator::new(|y| {
            loop {
                y.yield_(NUMBER.get());
            }
        });
        NUMBER.set(1);
        assert_eq!(generator.next(), Some(1));
        let mut other = spawn(move || {
            NUMBER.set(2);
            generator.next()
        });
        assert_eq!(other.join().unwrap(), Some(2));
    });
}

#[test]
fn what_a_destructor_sets_at_a_tasks_end_does_not_reach_the_next_task() {
    run(|| {
        for _ in 0..2 {
            drop(spawn(|| {
                assert_eq!(NUMBER.get(), 7, "what another task has set");
                LATE.set(Some(Rc::new(AtEnd(|| {
                    NUMBER.set(99);
                    drop(Unparker::current());
                }))));
            }));
            yield_now();
        }
        let mut next = spawn(|| NUMBER.get());
        assert_eq!(next.join().unwrap(), 7);
    });
}

#[test]
fn an_unparker_made_by_a_destructor_at_a_tasks_end_is_not_the_next_tasks() {
    let text = in_child("an_unparker_made_by_a_destructor_at_a_tasks_end_is_not_the_next_tasks", || {
        run(|| {
            drop(spawn(|| LATE.set(Some(Rc::new(AtEnd(|| drop(Unparker::current())))))));
            yield_now();
            let slot = Rc::new(RefCell::new(None));
            let inner = Rc::clone(&slot);
            let mut next = spawn(move || {
                *inner.borrow_mut() = Some(Unparker::current());
                park("a wake").unwrap();
            });
            yield_now();
            slot.borrow().as_ref().unwrap().unpark();
            rounds(2);
            assert!(next.is_finished(), "its own unparker does not wake it");
            next.join().unwrap();
        });
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn the_locals_of_main_are_dropped_when_the_run_ends() {
    let drops = Drops::default();
    run(|| LATE.set(Some(Rc::new(drops.value()))));
    assert_eq!(drops.count(), 1);
    run(|| {
        let value = drops.value();
        spawn(move || LATE.set(Some(Rc::new(value)))).join().unwrap();
    });
    assert_eq!(drops.count(), 2);
}

// ---- destructors while panicking

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructors_of_a_panicking_task_may_do_anything_with_tasks() {
    let text = in_child("destructors_of_a_panicking_task_may_do_anything_with_tasks", || {
        let log = Log::default();
        let inner = log.clone();
        run(move || {
            let unfinished = Rc::new(RefCell::new(spawn(|| park("for ever").is_err())));
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
    let interrupted = "Err(Interrupted(Cancelled))";
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
                    let handle = spawn(|| park("for ever").is_err());
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

// ---- generators and tasks

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
    assert!(!text.contains("this went on") && text.contains("cede: ") && !text.contains("Some(139)"), "{text}");
}

// ---- deadlocks

fn deadlock<T>(result: Result<T, RunError<T>>) -> (cede::task::DeadlockReport, thread::Result<T>) {
    match result {
        Err(RunError::Deadlock { report, outcome }) => (report, outcome),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no deadlock was reported"),
    }
}

#[test]
fn a_deadlock_is_reported_with_names_reasons_and_who_waits_for_whom() {
    let (report, outcome) = deadlock(Config::new().closed_world(true).run(|| {
        let mut a = Builder::new().name("a").spawn(|| park("the key")).unwrap();
        let mut b = Builder::new().name("b").spawn(move || a.join().unwrap().is_err()).unwrap();
        let told = b.join();
        format!("{told:?} {:?}", b.join())
    }));
    assert_eq!(
        report.to_string(),
        "3 tasks wait and nobody is left to wake them:\
         \n  task 'main' waits for a task to end: 'b'\
         \n  task 'a' waits for the key\
         \n  task 'b' waits for a task to end: 'a'"
    );
    assert_eq!(report.tasks[2].on, Some(report.tasks[1].task.clone()));
    assert_eq!((report.tasks[1].reason, report.tasks[1].on.is_none()), ("the key".into(), true));
    assert!(report.cycle.is_empty());
    let error: RunError<()> = RunError::Deadlock { report, outcome: Ok(()) };
    assert!(error.to_string().starts_with("deadlock: 3 tasks wait and nobody is left to wake them:\n"));
    // Main was interrupted too, and what it made of that is kept.
    assert!(outcome.unwrap().starts_with("Err(Interrupted(Cancelled)) "));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_deadlock_keeps_the_panic_of_main_and_run_panics_with_the_report() {
    let (report, outcome) = deadlock(Config::new().closed_world(true).run(|| park("nothing").expect("a wake")));
    assert_eq!(report.to_string(), "1 task waits and nobody is left to wake them:\n  task 'main' waits for nothing");
    assert!(panic_text(outcome).starts_with("a wake"));
    let text = panic_text(caught(|| run(|| park("nothing"))));
    assert_eq!(text, format!("deadlock: {report}"));
}

#[test]
fn two_tasks_that_wait_for_each_others_wakes_are_both_named() {
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
                    // Would wake the other, but only after it has been woken itself.
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

#[test]
fn without_an_unparker_a_deadlock_is_certain_at_once_and_breaks_shields() {
    let began = Instant::now();
    let (report, outcome) = deadlock(Config::new().run(|| {
        let mut shielded = spawn(|| park_shielded("nobody"));
        let mut plain = spawn(|| park("nobody either"));
        let told = shielded.join().is_err();
        // From now on its waits do not wait.
        let _ = plain.join();
        park_shielded("more");
        (told, plain.is_finished(), park("more").is_err())
    }));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(report.tasks.len(), 3);
    assert_eq!(outcome.unwrap(), (true, true, true));
}

#[test]
fn a_timer_that_nobody_waits_for_any_more_does_not_hide_a_deadlock() {
    let text = in_child("a_timer_that_nobody_waits_for_any_more_does_not_hide_a_deadlock", || {
        let began = Instant::now();
        let (report, _) = deadlock(Config::new().run(|| {
            Unparker::current().unpark();
            let me = Unparker::current();
            drop(spawn(move || me.unpark()));
            park("the kept wake").unwrap();
            // Ended by the task, long before its time.
            park_until("the task, or a while", Instant::now() + Duration::from_secs(20)).unwrap();
            assert!(began.elapsed() < Duration::from_secs(1));
            park("nobody")
        }));
        assert_eq!(report.tasks.len(), 1);
        assert!(began.elapsed() < Duration::from_secs(2), "reported after {:?}", began.elapsed());
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn the_last_unparker_that_a_thread_drops_makes_a_deadlock_certain() {
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
    let (report, outcome) = deadlock(Config::new().stall_report(Duration::from_secs(3)).run(me_and_back));
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
        // Many who wait, so that looking at them all takes a while.
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

#[test]
fn a_wait_that_another_thread_may_end_is_reported_once_and_does_not_fail() {
    let text = in_child("a_wait_that_another_thread_may_end_is_reported_once_and_does_not_fail", || {
        let config = Config::new().stall_report(Duration::from_millis(40));
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
    let report = "cede: nobody has run for 40 ms, and only another thread could change that: 2 tasks wait and nobody is \
                  left to wake them:\n  task 'main' waits for a task to end: 'slow'\n  task 'slow' waits for a thread\n";
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

// ---- many

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn of_100_000_tasks_one_in_a_hundred_panics_and_the_rest_are_unharmed() {
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
                // Every other one that panics has nobody to join it.
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

#[test]
fn twenty_thousand_suspended_tasks_take_turns() {
    let count: u64 = if emulated() { 1000 } else { 20_000 };
    let sum = run(|| {
        let mut tasks: Vec<_> = (0..count)
            .map(|i| {
                spawn(move || {
                    let mut own = i;
                    for round in 0..5 {
                        yield_now();
                        own = black_box(own + round);
                    }
                    own - 10 - i
                })
            })
            .collect();
        yield_now();
        assert_eq!(task::all().len() as u64, count + 1);
        tasks.iter_mut().map(|task| task.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum, 0);
}

#[test]
fn blocks_and_stacks_are_used_again() {
    run(|| {
        let mut ids = Vec::new();
        for i in 0..20_000u64 {
            let mut handle = spawn(move || i);
            ids.push(handle.task().id());
            assert_eq!(handle.join().unwrap(), i);
        }
        assert!(ids.is_sorted() && ids.windows(2).all(|two| two[0] < two[1]), "numbers are never used again");
    });
}

// ---- the thread's own

thread_local! {
    static OF_THE_THREAD: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn b1_thread_locals_stay_the_threads_across_turns() {
    #[inline(never)]
    fn bump() -> *const Cell<u32> {
        OF_THE_THREAD.with(|cell| {
            cell.set(cell.get() + 1);
            std::ptr::from_ref(cell)
        })
    }
    let on_this_thread = || {
        OF_THE_THREAD.set(0);
        let mine = bump() as usize;
        run(move || {
            let mut tasks: Vec<_> = (0..10)
                .map(|_| {
                    spawn(move || {
                        let id = thread::current().id();
                        for _ in 0..100 {
                            assert_eq!(bump() as usize, mine);
                            yield_now();
                            assert_eq!(bump() as usize, mine);
                            park_until("a moment", Instant::now()).unwrap();
                            assert_eq!(thread::current().id(), id);
                        }
                    })
                })
                .collect();
            tasks.iter_mut().for_each(|task| task.join().unwrap());
        });
        OF_THE_THREAD.get()
    };
    let threads: Vec<_> = (0..3).map(|_| thread::spawn(on_this_thread)).collect();
    assert_eq!(on_this_thread(), 2001);
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 2001));
}

#[test]
fn b9_errno_is_right_if_read_before_the_next_turn() {
    run(|| {
        let task = |path: &'static str, expected: i32| {
            spawn(move || {
                for _ in 0..100 {
                    let error = std::fs::File::open(path).unwrap_err();
                    yield_now();
                    assert_eq!(error.raw_os_error(), Some(expected));
                }
            })
        };
        let mut tasks = [task("/no/such/file", libc::ENOENT), task("/dev/null/x", libc::ENOTDIR)];
        tasks.iter_mut().for_each(|task| task.join().unwrap());
    });
}

#[test]
#[cfg(debug_assertions)]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn waiting_inside_no_suspend_is_refused() {
    run(|| {
        let text = panic_text(caught(|| cede::no_suspend(yield_now)));
        assert!(
            text.starts_with("cannot wait or yield inside a no_suspend section (opened at tests/tasks.rs:"),
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

/// Threads get the control blocks of ended ones, so what identifies a thread comes again.
#[test]
fn a_thread_does_not_find_the_run_of_an_ended_one() {
    std::thread::spawn(|| {
        let mut in_a_run = cede::Generator::new(|y: &cede::Yielder<u32>| {
            cede::run(|| {
                cede::spawn(|| {
                    loop {
                        cede::yield_now();
                    }
                });
                y.yield_(1);
            });
        });
        assert_eq!(in_a_run.next(), Some(1));
        assert!(cede::task::current().is_some());
        std::mem::forget(in_a_run);
    })
    .join()
    .unwrap();
    for _ in 0..10 {
        std::thread::spawn(|| assert!(cede::task::current().is_none())).join().unwrap();
    }
}
