//! Runs as futures: `Config::run_async`, and runs in fibers.

mod common;

use cede::sync::Mutex;
use cede::sync::channel::{bounded, unbounded};
use cede::task::{JoinError, TaskState, join_all, park};
use cede::time::sleep;
use cede::{Config, JoinHandle, RunError, block_on, fiber, select, yield_now};
use common::executor::{Boxed, Wakes, all, block, poll, poll_with};
use common::futures::self_waking;
use common::{caught, panic_text, rounds};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn tasks_sleep_and_send() {
    let began = Instant::now();
    let run = Config::new().run_async(|| {
        let (sender, receiver) = bounded(2);
        let mut tasks: Vec<_> = (0..10)
            .map(|n| {
                let sender = sender.clone();
                cede::spawn(move || {
                    sleep(ms(10)).unwrap();
                    block_on(self_waking(1)).unwrap();
                    sender.send(n).unwrap();
                })
            })
            .collect();
        drop(sender);
        let sum: u64 = receiver.iter().sum();
        tasks.iter_mut().for_each(|task| task.join().unwrap());
        sum
    });
    assert_eq!(block(run).unwrap(), 45);
    assert!(began.elapsed() >= ms(10));
}

#[test]
fn two_runs_interleave() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let run = |name: char, log: &Rc<RefCell<Vec<_>>>| -> Boxed<'static, u64> {
        let log = Rc::clone(log);
        let main = move || {
            let mut task = cede::spawn(|| (0..5).map(|_| sleep(ms(1)).map_or(0, |()| 1)).sum());
            for n in 0..3 {
                log.borrow_mut().push((name, n));
                block_on(self_waking(1)).unwrap();
                // As long as a task is ready the run does not give way: so it waits for the other one.
                sleep(ms(5)).unwrap();
            }
            task.join().unwrap()
        };
        Box::pin(async { Config::new().run_async(main).await.unwrap() })
    };
    assert_eq!(all([run('a', &log), run('b', &log)]), [5, 5]);
    let mut log = log.take();
    assert_eq!((log[0], log[1]), (('a', 0), ('b', 0)));
    log.sort_unstable();
    assert_eq!(log, [('a', 0), ('a', 1), ('a', 2), ('b', 0), ('b', 1), ('b', 2)]);
}

#[test]
fn interleaved_runs_share_locks() {
    // The locks are reserved for the first run; the others are of the same thread.
    let (mutex, (sender, receiver)) = (Arc::new(Mutex::new(0)), bounded(1));
    let run = |n: u64| -> Boxed<'static, ()> {
        let (mutex, sender) = (Arc::clone(&mutex), sender.clone());
        let main = move || {
            let mut tasks = [0; 4].map(|_| {
                let (mutex, sender) = (Arc::clone(&mutex), sender.clone());
                cede::spawn(move || {
                    for _ in 0..10 {
                        let mut count = mutex.lock().unwrap();
                        let before = *count;
                        yield_now();
                        block_on(self_waking(1)).unwrap();
                        *count = before + 1;
                        drop(count);
                        sender.send(n).unwrap();
                    }
                })
            });
            tasks.iter_mut().for_each(|task| task.join().unwrap());
        };
        match n {
            0 => Box::pin(fiber(|| cede::run(main))),
            _ => Box::pin(async { Config::new().run_async(main).await.unwrap() }),
        }
    };
    let senders = [run(0), run(1), run(2)];
    let total = Rc::new(Cell::new(0));
    let place = Rc::clone(&total);
    drop(sender);
    // This run is not a fiber's: its main polls the fibers.
    cede::run(|| {
        let mut task = cede::spawn(move || place.set(receiver.iter().count()));
        let mut fibers: Vec<_> = senders.into_iter().map(|run| cede::spawn(|| block_on(run))).collect();
        fibers.iter_mut().for_each(|task| task.join().unwrap().unwrap());
        drop(mutex.lock().unwrap());
        task.join().unwrap();
    });
    assert_eq!((*mutex.lock().unwrap(), total.get()), (120, 120));
}

#[test]
fn short_run_needs_one_poll() {
    let mut run = Config::new().run_async(|| 5);
    assert!(matches!(poll(&mut run), Poll::Ready(Ok(5))));
    let mut run = Config::new().run_async(|| {
        let mut task = cede::spawn(|| (0..8).for_each(|_| yield_now()));
        task.join().unwrap();
    });
    assert!(matches!(poll(&mut run), Poll::Ready(Ok(()))));
    // A long one gives way.
    let mut run = Config::new().run_async(|| (0..200).for_each(|_| yield_now()));
    assert!(poll(&mut run).is_pending());
    while poll(&mut run).is_pending() {}
}

#[test]
fn yields_give_way() {
    // A future beside the run ends although the run never waits.
    let stop = Rc::new(Cell::new(false));
    let seen = Rc::clone(&stop);
    let run = Config::new().run_async(move || {
        let other = Rc::clone(&seen);
        let mut task = cede::spawn(move || {
            while !other.get() {
                yield_now();
            }
        });
        while !seen.get() {
            yield_now();
        }
        task.join().unwrap();
    });
    let beside = async {
        self_waking(3).await;
        stop.set(true);
    };
    let runs: [Boxed<'_, ()>; 2] = [Box::pin(async { run.await.unwrap() }), Box::pin(beside)];
    all(runs);
}

#[test]
fn dropped_run_cancels_all() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let mut run = Config::new().run_async(move || {
        let other = Rc::clone(&log);
        let _task = cede::spawn(move || {
            let outcome = park("a letter");
            other.borrow_mut().push(("task", outcome.is_err()));
        });
        let outcome = block_on(pending::<()>());
        log.borrow_mut().push(("main", outcome.is_err()));
        // A clean-up that waits blocks the thread that drops the run.
        cede::shield(|| sleep(ms(10))).unwrap();
    });
    assert!(poll(&mut run).is_pending());
    let began = Instant::now();
    drop(run);
    assert!(began.elapsed() >= ms(10));
    assert_eq!(*seen.borrow(), [("main", true), ("task", true)]);
    assert_eq!(Rc::strong_count(&seen), 1);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn dropped_run_unwinds_tasks() {
    struct Unwound(Rc<Cell<bool>>);
    impl Drop for Unwound {
        fn drop(&mut self) {
            self.0.set(thread::panicking());
        }
    }
    let unwound = Rc::new(Cell::new(false));
    let guard = Unwound(Rc::clone(&unwound));
    let mut run = Config::new().shutdown_grace(ms(20)).run_async(|| {
        let _deaf = cede::spawn(move || {
            let _guard = guard;
            cede::shield(|| park("nothing")).unwrap();
        });
        block_on(pending::<()>()).ok();
    });
    assert!(poll(&mut run).is_pending());
    let began = Instant::now();
    drop(run);
    assert!(unwound.get());
    assert!((ms(20)..ms(10_000)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn unpolled_run_drops_main() {
    let owned = Rc::new(());
    let in_main = Rc::clone(&owned);
    let run = Config::new().run_async(move || drop(in_main));
    let canceller = run.canceller();
    drop(run);
    assert_eq!(Rc::strong_count(&owned), 1);
    // The run will not start, but the canceller does not know that.
    assert!(canceller.cancel());
    assert!(!canceller.cancel());
}

#[test]
fn canceller_before_first_poll() {
    let run = Config::new().run_async(|| (sleep(ms(3_600_000)).is_err(), block_on(pending::<()>()).is_err()));
    let canceller = run.canceller();
    assert!(canceller.cancel());
    assert!(!canceller.clone().cancel());
    assert_eq!(block(run).unwrap(), (true, true));
    assert!(!canceller.cancel());
}

#[test]
fn canceller_of_other_thread() {
    for _ in 0..50 {
        let run = Config::new().run_async(|| {
            let mut task = cede::spawn(|| sleep(ms(3_600_000)).is_err());
            let main = sleep(ms(3_600_000)).is_err();
            task.cancel();
            (main, cede::shield(|| task.join()).unwrap())
        });
        let canceller = run.canceller();
        let thread = thread::spawn(move || canceller.cancel());
        assert_eq!(block(run).unwrap(), (true, true));
        assert!(thread.join().unwrap());
    }
}

#[test]
fn canceller_of_same_thread() {
    // Main waits for the executor after its cancel: the clean-up needs it.
    let mut run = Config::new().run_async(|| {
        let cancelled = block_on(pending::<()>()).is_err();
        cede::shield(|| block_on(self_waking(3))).unwrap();
        cancelled
    });
    let canceller = run.canceller();
    let (wakes, waker) = Wakes::new();
    assert!(poll_with(&mut run, &waker).is_pending());
    assert_eq!(wakes.count(), 0);
    assert!(canceller.cancel());
    assert_eq!(wakes.count(), 1);
    assert!(block(run).unwrap());
    assert!(!canceller.cancel());
}

#[test]
fn deadlock_is_an_error() {
    let run = Config::new().closed_world(true).run_async(|| {
        let (_sender, receiver) = unbounded::<u32>();
        let mut task = cede::spawn(move || receiver.recv().is_err());
        task.join().is_err()
    });
    let Err(RunError::Deadlock { outcome, report }) = block(run) else { panic!("no deadlock was reported") };
    assert!(matches!(outcome, Ok(true)), "{report}");
    assert!(report.to_string().contains("main"), "{report}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_main_is_propagated() {
    let mut run = Config::new().run_async(|| {
        sleep(ms(1)).unwrap();
        panic!("main failed")
    });
    let text = panic_text(caught(|| block(&mut run)));
    assert_eq!(text, "main failed");
    assert_eq!(panic_text(caught(|| poll(&mut run))), "cannot poll fiber 'main': it has finished");
}

/// Polls a run with three tasks until they wait or have ended, and gives their handles to `f`, outside of the fiber. Then finishes the run.
fn outside(f: impl FnOnce(&mut [JoinHandle<u32>; 2], JoinHandle<u32>)) {
    let handles = Rc::new(RefCell::new(None));
    let place = Rc::clone(&handles);
    let mut run = Config::new().run_async(move || {
        let ended = cede::spawn(|| 1);
        let parked = || cede::spawn(|| park("a letter").map_or(2, |()| 3));
        *place.borrow_mut() = Some(([ended, parked()], Some(parked())));
        rounds(2);
        sleep(ms(1)).unwrap();
        while !place.borrow().as_ref().unwrap().0[1].is_finished() {
            sleep(ms(1)).unwrap();
        }
    });
    assert!(poll(&mut run).is_pending());
    {
        let mut handles = handles.borrow_mut();
        let (handles, other) = handles.as_mut().unwrap();
        f(handles, other.take().unwrap());
    }
    block(run).unwrap();
    // The run is over.
    let ([ended, mut parked], _) = handles.take().unwrap();
    assert!(matches!(parked.join(), Ok(2) | Err(JoinError::Cancelled)));
    assert!(ended.is_finished());
}

#[test]
fn handles_outside_of_the_fiber() {
    outside(|[ended, parked], other| {
        assert_eq!((ended.state(), ended.is_finished()), (TaskState::Done, true));
        assert!(matches!(parked.state(), TaskState::Waiting(_)), "{:?}", parked.state());
        assert_eq!(ended.join().unwrap(), 1);
        if cfg!(panic = "unwind") {
            for text in [
                panic_text(caught(|| parked.join())),
                panic_text(caught(|| join_all([other]))),
                panic_text(caught(|| cede::run(|| parked.join()))),
                panic_text(caught(|| {
                    select! {
                        join(parked) -> result => drop(result),
                        default => (),
                    }
                })),
            ] {
                assert!(text.contains("the caller is not part of its run"), "{text}");
            }
        }
        assert!(parked.cancel());
    });
}

#[test]
fn handles_inside_of_a_fiber() {
    cede::run(|| {
        let called = Rc::new(Cell::new(0));
        let place = Rc::clone(&called);
        let mut parked = cede::spawn(|| park("a letter").map_or(2, |()| 3));
        let mut ended = cede::spawn(|| 1);
        rounds(1);
        let body = fiber(move || {
            assert!(ended.is_finished() && !parked.is_finished());
            let text = if cfg!(panic = "unwind") { panic_text(caught(|| parked.join())) } else { String::new() };
            let count = Rc::clone(&place);
            parked.on_done(move |_| count.set(count.get() + 1));
            let count = Rc::clone(&place);
            ended.on_done(move |_| count.set(count.get() + 10));
            assert!(parked.cancel());
            yield_now();
            // The run around the fiber has gone on.
            assert!(parked.is_finished());
            (text, parked.join().unwrap(), ended.join().unwrap())
        });
        let (text, parked, ended) = block_on(body).unwrap();
        assert!(text.is_empty() || text.contains("the caller is not part of its run"), "{text}");
        assert_eq!((parked, ended), (2, 1));
        rounds(2);
        assert_eq!(called.get(), 11);
    });
}

#[test]
fn runs_nest_through_fibers() {
    let value = cede::run(|| {
        let inner = || {
            sleep(ms(1)).unwrap();
            let innermost = Config::new().run_async(|| {
                sleep(ms(1)).unwrap();
                cede::spawn(|| 3).join().unwrap()
            });
            block_on(async { innermost.await.unwrap() }).unwrap()
        };
        let mut beside = cede::spawn(|| sleep(ms(2)).map_or(0, |()| 4));
        block_on(fiber(move || cede::run(inner))).unwrap() + beside.join().unwrap()
    });
    assert_eq!(value, 7);
}

#[test]
fn run_inside_of_a_run_is_refused() {
    let refused = block(fiber(|| cede::run(|| matches!(Config::new().run(|| ()), Err(RunError::AlreadyRunning)))));
    assert!(refused);
}
