//! Cells that are initialized once: single flight, failing and cancelled initializers, and threads beside tasks.

mod common;

use cede::sync::once_cell::{InitError, OnceCell, SetError};
use cede::sync::{Event, WaitTimeoutError};
use cede::task::{Cancelled, TaskState, park, park_shielded};
use cede::time::{now, sleep};
use cede::{Builder, Config, JoinHandle, shield, spawn, yield_now};
use common::witness::{AtEnd, Drops};
use common::worlds::in_all_worlds;
use common::{caught, panic_text, paused, rounds};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

type Shared = Arc<OnceCell<u32>>;

/// A task that calls `get_or_init` with this number, after a wait in the initializer.
fn loader(cell: &Shared, number: u32) -> JoinHandle<Result<u32, Cancelled>> {
    let cell = Arc::clone(cell);
    spawn(move || {
        let value = cell.get_or_init(|| {
            sleep(Duration::from_secs(1)).unwrap();
            number
        });
        value.copied()
    })
}

/// A task whose initializer fails when it is cancelled.
fn failing(cell: &Shared) -> JoinHandle<Result<u32, InitError<&'static str>>> {
    let cell = Arc::clone(cell);
    spawn(move || cell.get_or_try_init(|| park("forever").map(|()| 0).map_err(|_| "cancelled")).copied())
}

#[test]
fn value_is_set_once_and_given_back_afterwards() {
    let cell = OnceCell::new();
    assert_eq!((cell.get(), cell.is_set(), format!("{cell:?}")), (None, false, "OnceCell(None)".into()));
    assert_eq!(cell.set("a".to_string()), Ok(()));
    let error = cell.set("b".to_string()).unwrap_err();
    assert_eq!((format!("{error:?}"), error.into_inner()), ("AlreadySet(..)".into(), "b".into()));
    assert_eq!(cell.get_or_init(|| unreachable!()).unwrap(), "a");
    assert_eq!(format!("{cell:?}"), "OnceCell(Some(\"a\"))");
    assert_eq!(cell.into_inner(), Some("a".into()));
}

#[test]
fn taken_cell_can_be_initialized_again() {
    let mut cell = OnceCell::from(1);
    *cell.get_mut().unwrap() += 1;
    assert_eq!((cell.take(), cell.take(), cell.get_mut()), (Some(2), None, None));
    assert_eq!(cell.get_or_init(|| 3), Ok(&3));
    assert_eq!(OnceCell::<u32>::default().into_inner(), None);
}

#[test]
fn value_is_dropped_with_its_cell_once() {
    let drops = Drops::default();
    drop(OnceCell::from(drops.value()));
    assert_eq!(drops.count(), 1);
    let cell = OnceCell::from(drops.value());
    let value = cell.into_inner();
    assert_eq!(drops.count(), 1);
    drop(value);
    assert_eq!(drops.count(), 2);
}

#[test]
fn one_initializer_runs_and_all_callers_get_its_value() {
    paused(|| {
        let cell = Shared::default();
        let mut tasks: Vec<_> = (0..4).map(|number| loader(&cell, number)).collect();
        yield_now();
        assert_eq!(tasks[1].state(), TaskState::Waiting("the initializer of a cell".into()));
        assert!(matches!(cell.set(9), Err(SetError::Loading(9))), "set does not wait");
        assert!(tasks.iter_mut().all(|task| task.join().unwrap() == Ok(0)));
        assert_eq!(cell.get(), Some(&0));
    });
}

#[test]
fn error_goes_to_its_own_caller_and_the_next_loads() {
    paused(|| {
        let cell = Shared::default();
        let mut tasks: Vec<_> = (0..3)
            .map(|number| {
                let cell = Arc::clone(&cell);
                spawn(move || {
                    let load = || {
                        sleep(Duration::from_secs(1)).unwrap();
                        if number < 2 { Err(number) } else { Ok(number) }
                    };
                    cell.get_or_try_init(load).copied()
                })
            })
            .collect();
        let results: Vec<_> = tasks.iter_mut().map(|task| task.join().unwrap()).collect();
        assert_eq!(results, [Err(InitError::Failed(0)), Err(InitError::Failed(1)), Ok(2)]);
    });
}

#[test]
fn cancel_of_the_loader_reaches_no_other_caller() {
    paused(|| {
        let cell = Shared::default();
        let (mut first, mut second) = (failing(&cell), loader(&cell, 2));
        yield_now();
        first.cancel();
        assert_eq!(first.join().unwrap(), Err(InitError::Failed("cancelled")));
        assert_eq!(second.join().unwrap(), Ok(2));
    });
}

#[test]
fn cancelled_waiter_runs_no_initializer() {
    paused(|| {
        let cell = Shared::default();
        let tasks = [failing(&cell), failing(&cell)];
        let mut last = loader(&cell, 3);
        yield_now();
        // The waiter first: the role of the loader skips it.
        tasks[1].cancel();
        tasks[0].cancel();
        let results = tasks.map(|mut task| task.join().unwrap());
        assert_eq!(results, [Err(InitError::Failed("cancelled")), Err(InitError::Cancelled)]);
        assert_eq!(last.join().unwrap(), Ok(3));
    });
}

#[test]
fn timeout_around_a_waiting_call_ends_it() {
    paused(|| {
        let cell = Shared::default();
        let mut slow = loader(&cell, 1);
        yield_now();
        let outcome = cede::timeout(Duration::from_millis(1), || cell.get_or_init(|| 2).copied());
        assert_eq!(outcome.unwrap_err().into_value(), Err(Cancelled));
        assert_eq!(cell.wait_timeout(Duration::from_millis(1)), Err(WaitTimeoutError::Timeout));
        assert_eq!(slow.join().unwrap(), Ok(1));
        assert_eq!(cell.wait_deadline(now()), Ok(&1));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_the_loader_reaches_no_other_caller() {
    paused(|| {
        let cell = Shared::default();
        let inner = Arc::clone(&cell);
        let mut first = spawn(move || {
            let load = || {
                yield_now();
                panic!("on purpose")
            };
            inner.get_or_init(load).copied()
        });
        let mut second = loader(&cell, 2);
        assert!(first.join().is_err());
        assert_eq!(second.join().unwrap(), Ok(2));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn initializer_that_needs_its_own_cell_panics() {
    let text = panic_text(caught(|| {
        cede::run(|| {
            let cell = OnceCell::new();
            let _ = cell.get_or_init(|| *cell.get_or_init(|| 1).unwrap());
        })
    }));
    assert_eq!(text, "cannot initialize a OnceCell inside of its own initializer");
}

#[test]
fn set_wakes_the_waiters_for_the_value() {
    cede::run(|| {
        let cell = Shared::default();
        let inner = Arc::clone(&cell);
        let mut task = spawn(move || inner.wait().copied());
        yield_now();
        assert_eq!(task.state(), TaskState::Waiting("the value of a cell".into()));
        cell.set(7).unwrap();
        assert_eq!(task.join().unwrap(), Ok(7));
    });
}

#[test]
fn waiter_for_the_value_never_loads() {
    paused(|| {
        let cell = Shared::default();
        let inner = Arc::clone(&cell);
        let mut waiting = spawn(move || inner.wait().copied());
        let first = failing(&cell);
        rounds(2);
        first.cancel();
        rounds(3);
        assert!(!waiting.is_finished() && !cell.is_set());
        assert_eq!(cell.get_or_init(|| 4), Ok(&4));
        assert_eq!(waiting.join().unwrap(), Ok(4));
    });
}

/// The role of the loader is granted to a task that is unwound before it takes the role: it goes back to the cell.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn role_of_an_unwound_waiter_is_passed_on() {
    let cell = Shared::default();
    let calls = Arc::new(AtomicU32::new(0));
    let outcome = Config::new().shutdown_grace(Duration::from_millis(5)).run(|| {
        // A thread is the loader. It fails while the tasks are unwound, and cannot see that the waiter will be unwound.
        let (loads, fails) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (inner, loads_now, fail) = (Arc::clone(&cell), Arc::clone(&loads), Arc::clone(&fails));
        let mut thread = Some(std::thread::spawn(move || {
            let load = || {
                loads_now.set();
                fail.wait().unwrap();
                Err(())
            };
            assert_eq!(inner.get_or_try_init(load), Err(InitError::Failed(())));
        }));
        let _detached = spawn(move || {
            let _end = AtEnd(|| {
                fails.set();
                thread.take().unwrap().join().unwrap();
            });
            park_shielded("nothing");
        });
        loads.wait().unwrap();
        let (inner, calls) = (Arc::clone(&cell), Arc::clone(&calls));
        let _detached = spawn(move || shield(|| inner.get_or_init(|| calls.fetch_add(1, SeqCst)).map(drop)));
        rounds(2);
    });
    outcome.unwrap();
    assert_eq!(calls.load(SeqCst), 0);
    assert_eq!(cell.get_or_init(|| 5), Ok(&5), "no loader is left behind");
}

#[test]
fn deadlock_report_names_the_loader() {
    let outcome = Config::new().closed_world(true).run(|| {
        let cell = Shared::default();
        let inner = Arc::clone(&cell);
        let body = move || inner.get_or_init(|| park("a reply").map_or(0, |()| 1)).is_ok();
        let _loader = Builder::new().name("loader").spawn(body).unwrap();
        yield_now();
        cell.get_or_init(|| 2).copied()
    });
    let report = outcome.unwrap_err().to_string();
    assert!(report.contains("the initializer of a cell") && report.contains("loader"), "{report}");
}

#[test]
fn cell_is_shared_by_threads_and_runs() {
    in_all_worlds(|world| {
        let (cell, calls) = (Shared::default(), Arc::new(AtomicU32::new(0)));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (cell, calls) = (Arc::clone(&cell), Arc::clone(&calls));
                world.spawn(move || {
                    let load = || {
                        calls.fetch_add(1, SeqCst);
                        assert!(Event::new().wait_timeout(Duration::from_millis(1)).is_err());
                        6
                    };
                    *cell.get_or_init(load).unwrap()
                })
            })
            .collect();
        assert_eq!(*cell.wait().unwrap(), 6);
        assert!(callers.into_iter().all(|caller| caller.join() == 6));
        assert_eq!(calls.load(SeqCst), 1);
    });
}

#[test]
fn value_need_not_be_send_within_one_run() {
    cede::run(|| {
        let cell = Rc::new(OnceCell::new());
        let inner = Rc::clone(&cell);
        let mut task = spawn(move || inner.get_or_init(|| Cell::new(1)).unwrap().get());
        assert_eq!(task.join().unwrap(), 1);
    });
}
