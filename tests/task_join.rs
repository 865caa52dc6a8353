//! `join`: the result of a task, its panic, its cancel, or a deadlock of joins. Moves and drops of closures and results. The ids
//! are those of the table in ARCHITECTURE.md.

mod common;

use cede::task::{Elapsed, TaskState, Unparker, park};
use cede::{Builder, Config, JoinError, JoinHandle, run, spawn, timeout, yield_now};
#[cfg(not(feature = "asan"))]
use common::child::in_child;
use common::witness::{AtEnd, Drops, Log};
use common::{caught, panic_text, rounds};
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

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
        let Err(error) = handle.join() else { panic!("the task returned") };
        assert_eq!(error.to_string(), "the task panicked");
        assert_eq!(error.into_panic().unwrap().downcast_ref(), Some(&vec![1u8, 2]));
        assert_eq!(handle.state(), TaskState::Done);

        let mut handle = Builder::new().name("loud").spawn(|| panic!("for {}", "a reason")).unwrap();
        let error = handle.join().unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: for a reason");
        assert_eq!(format!("{error:?}"), "Panicked(\"for a reason\")");
        let text = panic_text(caught(|| handle.join().is_ok()));
        assert_eq!(text, "the result of task 'loud' was already taken: join and try_join return it once");
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

/// A closure of size 0 and an alignment of 128 KiB fits its stack, or its overflow is reported. No other stack is
/// written to.
// Ordinary code probes every page on the way down to an over-aligned frame; the sanitizer's frames step over the guard.
#[cfg(not(feature = "asan"))]
#[test]
fn zero_sized_closure_with_huge_alignment_stays_on_its_stack() {
    let text = in_child("zero_sized_closure_with_huge_alignment_stays_on_its_stack", || {
        #[repr(align(131072))]
        struct Huge;
        run(|| {
            // Suspended neighbours on the stacks around it.
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
            // Several, so that they use slots of every kind.
            let mut all: Vec<_> = (0..8).map(|_| own()).collect();
            all.iter_mut().for_each(|task| task.join().unwrap());
            (0..8).for_each(|_| own().join().unwrap());
            drop(around);
        });
    });
    // It fits, or its own overflow is reported. No other task is damaged.
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
        // Left to the end of the run: one task ended, one never ran, one has to be cancelled.
        let ended = spawn(give());
        yield_now();
        let never = spawn(give());
        let value = drops.value();
        let waits = spawn(move || {
            let _ = park("the end");
            value
        });
        (ended, never, waits)
    });
    assert_eq!(drops.count(), 5, "tasks that never ran dropped their captures, `waits` too");
    drop(kept);
    assert_eq!(drops.count(), 6);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn result_whose_destructor_waits_or_panics_does_no_harm() {
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

#[test]
fn tcbs_and_stacks_are_reused() {
    run(|| {
        let mut ids = Vec::new();
        for i in 0..20_000u64 {
            let mut handle = spawn(move || i);
            ids.push(handle.task().id());
            assert_eq!(handle.join().unwrap(), i);
        }
        assert!(ids.is_sorted() && ids.windows(2).all(|two| two[0] < two[1]), "task numbers are never reused");
    });
}

// ---- interrupted joins and cycles of joins

#[test]
fn an_interrupted_join_can_be_taken_up_again() {
    run(|| {
        let slow = Rc::new(RefCell::new(spawn(|| {
            rounds(10);
            "slow"
        })));
        let inner = Rc::clone(&slow);
        let mut waiter = spawn(move || {
            let Err(JoinError::Interrupted) = inner.borrow_mut().join() else { panic!("not interrupted") };
        });
        rounds(2);
        assert_eq!(waiter.state(), TaskState::Waiting("a task to end".into()));
        waiter.cancel();
        waiter.join().unwrap();
        assert_eq!(slow.borrow().state(), TaskState::Pending, "a cancel is not passed on");
        assert_eq!(slow.borrow_mut().join().unwrap(), "slow");
    });
}

/// A task that has given up its join is not woken by the end of the task that it joined. [`park`] may return without a reason,
/// but this one is known and costs turns.
#[test]
fn interrupted_join_does_not_wake_a_later_park() {
    run(|| {
        let slow = Rc::new(RefCell::new(spawn(|| rounds(5))));
        let (inner, woken) = (Rc::clone(&slow), Rc::new(Cell::new(false)));
        let seen = Rc::clone(&woken);
        let mut waiter = spawn(move || {
            let outcome = timeout(Duration::ZERO, || inner.borrow_mut().join());
            assert!(outcome.unwrap_err().value.is_err(), "the deadline came first");
            let unparker = Unparker::current();
            let is_cancelled = park("its own wake").is_err();
            seen.set(true);
            drop(unparker);
            is_cancelled
        });
        rounds(10);
        assert_eq!((slow.borrow().state(), woken.get()), (TaskState::Done, false));
        waiter.cancel();
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn a25_self_join_returns_deadlock_and_the_task_goes_on() {
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

/// Tasks each of which joins the next one, and the last one the first. Returns the outcome of the first task.
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
    // No handle is joined twice: each goes to the task before it.
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
fn a25_join_that_closes_a_cycle_returns_deadlock() {
    run(|| {
        assert_eq!(ring_of_joins(1), ["Some(Ok(\"0:Deadlock\"))"]);
        // The last of three tasks closes the cycle, and its end ends the other two.
        assert_eq!(ring_of_joins(3), ["Some(Ok(\"0<1<2:Deadlock\"))"]);
    });
}

/// Two tasks that join each other, each with a deadline or without. Returns the outcomes of the joins, in the order of their ends.
fn circle(first: Option<Duration>, second: Option<Duration>) -> Vec<String> {
    fn join(who: &str, log: &Log, other: &mut JoinHandle<()>, within: Option<Duration>) {
        let within = within.unwrap_or(Duration::MAX);
        let outcome = cede::timeout(within, || other.join()).unwrap_or_else(Elapsed::into_value);
        log.add(format!("{who}: {outcome:?}"));
    }
    let log = Log::default();
    let (a_log, b_log) = (log.clone(), log.clone());
    let main = move || {
        let slot: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let theirs = slot.clone();
        let mut b = spawn(move || {
            yield_now();
            join("b", &b_log, &mut theirs.take().unwrap(), second);
        });
        *slot.borrow_mut() = Some(spawn(move || join("a", &a_log, &mut b, first)));
        cede::time::sleep(Duration::from_secs(9)).unwrap();
    };
    Config::new().paused_clock(true).run(main).unwrap();
    log.take()
}

#[test]
fn a25_join_cycle_with_a_deadline_is_no_deadlock() {
    let soon = Some(Duration::from_secs(1));
    assert_eq!(circle(None, None), ["b: Err(Deadlock)", "a: Ok(())"]);
    assert_eq!(circle(soon, None), ["a: Err(Interrupted)", "b: Ok(())"]);
    assert_eq!(circle(None, soon), ["b: Err(Interrupted)", "a: Ok(())"]);
}
