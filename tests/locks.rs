//! Mutexes. The ids are those of the table in ARCHITECTURE.md.

mod common;

use cede::sync::{Mutex, WaitTimeoutError, channel};
use cede::task::{Cancelled, TaskState};
use cede::{Config, JoinError, JoinHandle, spawn, yield_now};
use common::witness::{AtEnd, Log};
use common::worlds::in_all_worlds;
use common::{caught, deadlock, emulated, named, rounds};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A task that locks, logs, gives up a turn and logs again.
fn locker(mutex: &Arc<Mutex<()>>, log: &Log, name: &'static str) -> JoinHandle<Result<(), Cancelled>> {
    let (mutex, log) = (Arc::clone(mutex), log.clone());
    spawn(move || {
        let _guard = mutex.lock()?;
        log.add(name);
        yield_now();
        log.add("done");
        Ok(())
    })
}

// ---- A61, A61x: Lock

/// The mutex is handed off in FIFO order, and a cancelled waiter is skipped.
#[test]
fn a61_mutex_is_fifo_and_skips_a_cancelled_waiter() {
    let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
    cede::run(|| {
        let held = mutex.lock().unwrap();
        let mut tasks: Vec<_> = ["0", "1", "2", "3"].map(|name| locker(&mutex, &log, name)).into();
        rounds(3);
        assert!(tasks.iter().all(|task| matches!(task.state(), TaskState::Waiting(_))) && log.take().is_empty());
        tasks[1].cancel();
        yield_now();
        drop(held);
        let results: Vec<_> = tasks.iter_mut().map(|task| task.join().unwrap()).collect();
        assert_eq!(results, [Ok(()), Err(Cancelled), Ok(()), Ok(())]);
    });
    assert_eq!(log.take(), ["0", "done", "2", "done", "3", "done"]);
    assert!(!mutex.is_locked());
}

/// Releasing the mutex hands it off to the first waiter at once: no later caller takes it before the waiter has run.
#[test]
fn a61x_woken_waiter_holds_the_lock_before_later_callers() {
    let (mutex, log) = (Arc::new(Mutex::new(())), Log::default());
    cede::run(|| {
        let held = mutex.lock().unwrap();
        let mut waiter = locker(&mutex, &log, "waiter");
        yield_now();
        drop(held);
        let mut late = locker(&mutex, &log, "late");
        assert!(mutex.is_locked() && mutex.try_lock().is_none(), "the waiter holds it, though it has not run yet");
        let me = mutex.lock().unwrap();
        log.add("me");
        drop(me);
        waiter.join().unwrap().and(late.join().unwrap()).unwrap();
    });
    assert_eq!(log.take(), ["waiter", "done", "me", "late", "done"]);
}

#[test]
fn a61_locking_twice_is_a_reported_deadlock() {
    let report = deadlock(|| {
        let mut task = named("twice", || {
            let mutex = Mutex::new(1);
            let first = mutex.lock().unwrap();
            let second = mutex.lock().map(|second| *second + *first);
            assert_eq!(second, Err(Cancelled));
        });
        task.join().is_ok()
    });
    let text = report.to_string();
    assert!(text.contains("\n  task 'twice' waits for a mutex, held by 'twice'\n"), "{text}");
    assert!(text.ends_with("\n  in a cycle: 'twice' -> 'twice'"), "{text}");
}

/// Two tasks that lock two mutexes in opposite order are reported with the holder of each mutex and with the cycle.
#[test]
fn two_mutexes_in_a_cycle_report_holders_and_the_cycle() {
    let report = deadlock(|| {
        let (left, right) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let diner = |name, first: &Arc<Mutex<()>>, second: &Arc<Mutex<()>>| {
            let (first, second) = (Arc::clone(first), Arc::clone(second));
            named(name, move || {
                let _first = first.lock()?;
                yield_now();
                second.lock().map(drop)
            })
        };
        let mut tasks = [diner("plato", &left, &right), diner("kant", &right, &left)];
        tasks.iter_mut().map(|task| task.join().is_ok()).count()
    });
    assert_eq!(
        report.to_string(),
        "3 tasks wait, and no other task can wake them:\
         \n  task 'main' waits for a task to end: 'plato'\
         \n  task 'plato' waits for a mutex, held by 'kant'\
         \n  task 'kant' waits for a mutex, held by 'plato'\
         \n  in a cycle: 'plato' -> 'kant' -> 'plato'"
    );
    assert_eq!(report.tasks[1].held_by.as_ref(), Some(&report.tasks[2].task));
}

/// A forgotten guard keeps its mutex locked. A holder that has ended is not named in the report.
#[test]
fn forgotten_guard_keeps_the_mutex_locked() {
    let mutex = Mutex::new(());
    let report = deadlock(|| {
        std::mem::forget(mutex.lock());
        mutex.lock().map(drop)
    });
    assert!(report.to_string().contains("'main' waits for a mutex, held by 'main'"), "{report}");
    let report = deadlock(|| mutex.lock().map(drop));
    assert!(report.to_string().ends_with("'main' waits for a mutex"), "{report}");
    assert_eq!(mutex.lock_deadline(cede::time::now()).map(drop), Err(WaitTimeoutError::Timeout), "also for a thread");
}

#[test]
fn holder_is_reported_after_a_hand_off_too() {
    let report = deadlock(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock().unwrap();
        let second = Arc::clone(&mutex);
        let mut second = named("second", move || {
            let _held = second.lock()?;
            cede::task::park("nothing")
        });
        yield_now();
        drop(held);
        yield_now();
        assert_eq!(mutex.lock().map(drop), Err(Cancelled));
        second.join().is_ok()
    });
    assert!(report.to_string().contains("'main' waits for a mutex, held by 'second'"), "{report}");
}

#[test]
fn cancel_at_the_moment_of_the_hand_off_loses_no_lock() {
    let mutex = Arc::new(Mutex::new(0));
    cede::run(|| {
        for cancel_first in [false, true] {
            let held = mutex.lock().unwrap();
            let inner = Arc::clone(&mutex);
            let mut task = spawn(move || inner.lock().map(|mut number| *number += 1));
            let inner = Arc::clone(&mutex);
            let mut next = spawn(move || inner.lock().map(|mut number| *number += 10));
            yield_now();
            if cancel_first {
                task.cancel();
                drop(held);
            } else {
                drop(held);
                task.cancel();
            }
            assert_eq!(task.join().unwrap().is_err(), cancel_first, "the first of cancel and hand-off counts");
            assert_eq!(next.join().unwrap(), Ok(()));
        }
        assert_eq!(*mutex.lock().unwrap(), 21);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_waiter_that_is_unwound_passes_the_lock_on() {
    let (mutex, ended) = (Arc::new(Mutex::new(())), Rc::new(Cell::new(0)));
    // All ignore their cancel, so all are unwound after the grace period: the first hands the lock off to the second,
    // which is unwound before it can take it.
    let config = Config::new().shutdown_grace(Duration::from_millis(5));
    let outcome = config.run(|| {
        for _ in 0..3 {
            let (mutex, ended) = (Arc::clone(&mutex), Rc::clone(&ended));
            let _detached = spawn(move || {
                let _end = AtEnd(move || ended.set(ended.get() + 1));
                let _guard = cede::shield(|| mutex.lock().unwrap());
                cede::task::park_shielded("nothing");
            });
        }
        yield_now();
    });
    outcome.unwrap();
    assert_eq!((ended.get(), mutex.is_locked()), (3, false));
}

/// A cancelled task locks a free mutex. The error of a wait tells a passed deadline from a cancel.
#[test]
fn cancelled_task_takes_a_free_lock_and_timeout_differs() {
    Config::new()
        .paused_clock(true)
        .run(|| {
            let mutex = Arc::new(Mutex::new(()));
            let inner = Arc::clone(&mutex);
            let mut task = spawn(move || {
                let told = cede::task::park("the cancel");
                (told, inner.lock().map(drop), inner.lock_timeout(Duration::MAX).map(drop))
            });
            yield_now();
            task.cancel();
            assert_eq!(task.join().unwrap(), (Err(Cancelled), Ok(()), Ok(())));
            let held = mutex.lock().unwrap();
            let inner = Arc::clone(&mutex);
            let mut task = spawn(move || inner.lock_timeout(Duration::from_secs(3600)).map(drop));
            yield_now();
            let before = cede::time::now();
            assert_eq!(task.join().unwrap(), Err(WaitTimeoutError::Timeout));
            assert_eq!(cede::time::now() - before, Duration::from_secs(3600), "neither early nor late");
            let inner = Arc::clone(&mutex);
            let mut task = spawn(move || inner.lock_timeout(Duration::MAX).map(drop));
            yield_now();
            task.cancel();
            assert_eq!(task.join().unwrap(), Err(Cancelled.into()));
            drop(held);
            assert!(mutex.try_lock().is_some(), "no waiter is left in the queue");
        })
        .unwrap();
}

/// A destructor that locks while the thread panics gets a free mutex, and `Cancelled` for a held one.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructor_locking_in_a_panic_never_waits() {
    cede::run(|| {
        let (mutex, log) = (Arc::new(Mutex::new(0)), Log::default());
        let body = |mutex: &Arc<Mutex<i32>>, log: &Log| {
            let (mutex, log) = (Arc::clone(mutex), log.clone());
            move || {
                let _end = AtEnd(|| log.add(format!("{:?}", mutex.lock().map(|mut number| *number += 1))));
                panic!("on purpose");
            }
        };
        let mut free: JoinHandle<()> = spawn(body(&mutex, &log));
        assert!(matches!(free.join(), Err(JoinError::Panicked(_))));
        let held = mutex.lock().unwrap();
        let mut contended: JoinHandle<()> = spawn(body(&mutex, &log));
        assert!(matches!(contended.join(), Err(JoinError::Panicked(_))));
        assert_eq!(log.take(), ["Ok(())", "Err(Cancelled)"]);
        assert_eq!(*held, 1);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_panic_gives_the_mutex_up_and_poisons_nothing() {
    let mutex = Mutex::new(vec![1]);
    cede::run(|| {
        let panic = caught(|| {
            let mut list = mutex.lock().unwrap();
            list.push(2);
            panic!("on purpose");
        });
        assert!(panic.is_err());
        assert_eq!(*mutex.lock().unwrap(), [1, 2]);
    });
    // A wait that panics has left the wait queue.
    cede::run(|| {
        let held = mutex.lock().unwrap();
        let text = common::panic_text(caught(|| cede::no_suspend(|| mutex.lock().map(drop))));
        assert!(text.contains("cannot wait or yield inside a no_suspend section"), "{text}");
        drop(held);
        assert!(cede::no_suspend(|| mutex.lock().is_ok()), "a free mutex may be locked there");
    });
}

#[test]
fn a_guard_may_be_given_to_another_task_of_the_run() {
    static MUTEX: Mutex<u32> = Mutex::new(0);
    cede::run(|| {
        let mut guard = MUTEX.lock().unwrap();
        *guard = 1;
        let mut task = spawn(move || {
            yield_now();
            *guard += 1;
        });
        assert_eq!(*MUTEX.lock().unwrap(), 2);
        task.join().unwrap();
    });
}

#[test]
fn a_thread_that_is_about_to_end_may_wait() {
    type Last = AtEnd<Box<dyn FnMut()>>;
    thread_local! {
        static FIRST: Cell<Option<Last>> = const { Cell::new(None) };
    }
    let (mutex, (say, heard)) = (Arc::new(Mutex::new(0)), channel::unbounded());
    let held = mutex.lock().unwrap();
    let inner = Arc::clone(&mutex);
    let ending = thread::spawn(move || {
        // Made before the thread's first wait, and so dropped after the thread-local that the thread waits with.
        FIRST.set(Some(AtEnd(Box::new(move || {
            say.send(()).unwrap();
            *inner.lock().unwrap() += 1;
        }))));
        assert!(Mutex::new(0).lock_timeout(Duration::ZERO).is_ok());
        let own = Mutex::new(());
        let _held = own.lock().unwrap();
        assert!(own.lock_timeout(Duration::ZERO).is_err());
    });
    heard.recv().unwrap();
    thread::sleep(Duration::from_millis(2));
    drop(held);
    ending.join().unwrap();
    assert_eq!(*mutex.lock().unwrap(), 1);
}

#[test]
fn mutex_excludes_tasks_and_threads() {
    let each = if emulated() { 50 } else { 2_000 };
    in_all_worlds(|world| {
        let mutex = Arc::new(Mutex::new((0u64, 0u64)));
        let spawned: Vec<_> = (0..4)
            .map(|number| {
                let mutex = Arc::clone(&mutex);
                world.spawn(move || {
                    for _ in 0..each {
                        let mut both = mutex.lock().unwrap();
                        both.0 += number;
                        let first = both.0;
                        pause();
                        assert_eq!(both.0, first, "another holder was inside");
                        both.1 += number;
                    }
                })
            })
            .collect();
        spawned.into_iter().for_each(|one| one.join());
        assert_eq!(*mutex.lock().unwrap(), (6 * each, 6 * each), "{world:?}");
    });
}

/// Lets other tasks or threads run.
fn pause() {
    if cede::task::current().is_some() { yield_now() } else { thread::yield_now() }
}
