//! `scope_anywhere`: tasks that borrow, on all workers of a run.

mod common;

use cede::sync::channel::{bounded, unbounded};
use cede::task::{self, JoinError, ScopeError, current, park, scope_anywhere};
use cede::time::sleep;
use cede::{Builder, Config, RunError, no_suspend, scope, timeout, yield_now};
use common::child::in_child;
use common::witness::AtEnd;
use common::{caught, emulated, panic_text};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Runs `main` with this number of workers.
fn with<T>(workers: usize, main: impl FnOnce() -> T) -> T {
    Config::new().workers(workers).run(main).unwrap()
}

/// Waits until `done` returns true, at most 20 seconds.
fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not become true");
        yield_now();
    }
}

/// Waits, and fails if nothing ends the wait within 20 seconds.
fn wait_for_cancel() -> bool {
    sleep(Duration::from_secs(20)).is_err()
}

#[test]
fn sums_are_exact() {
    let jobs = if emulated() { 300 } else { 5_000 };
    for workers in [1, 2, 4, 16] {
        let (mut numbers, sum) = ((0..jobs).collect::<Vec<u64>>(), AtomicU64::new(0));
        let task = |n: &mut u64| {
            if n.is_multiple_of(3) {
                yield_now();
            }
            sum.fetch_add(*n, Relaxed);
            *n *= 2;
            *n
        };
        let joined = with(workers, || {
            scope_anywhere(|s| {
                let mut tasks: Vec<_> = numbers.iter_mut().map(|n| s.spawn(|| task(n))).collect();
                tasks.iter_mut().map(|task| task.join().unwrap()).sum::<u64>()
            })
            .unwrap()
        });
        assert_eq!((joined, sum.into_inner()), (jobs * (jobs - 1), jobs * (jobs - 1) / 2));
        assert!(numbers.iter().enumerate().all(|(n, doubled)| *doubled == 2 * n as u64));
    }
}

#[test]
fn every_worker_takes_part() {
    let seen = Mutex::new(std::collections::BTreeMap::new());
    with(3, || {
        scope_anywhere(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    *seen.lock().unwrap().entry(current().unwrap().worker()).or_insert(0) += 1;
                    // Keeps its worker until all have one.
                    let start = Instant::now();
                    while seen.lock().unwrap().values().sum::<u32>() < 3 {
                        assert!(start.elapsed() < Duration::from_secs(20));
                        thread::yield_now();
                    }
                });
            }
        })
        .unwrap();
    });
    assert_eq!(seen.into_inner().unwrap().len(), 3);
}

#[test]
fn tasks_spawn_siblings() {
    fn grow<'scope>(s: &'scope task::ScopeAnywhere<'scope, '_>, depth: u32, count: &'scope AtomicU32) {
        count.fetch_add(1, Relaxed);
        if depth > 0 {
            for _ in 0..3 {
                s.spawn(move || grow(s, depth - 1, count));
            }
        }
    }
    for workers in [1, 4] {
        let count = AtomicU32::new(0);
        with(workers, || scope_anywhere(|s| grow(s, 6, &count)).unwrap());
        assert_eq!(count.into_inner(), 1093);
    }
}

#[test]
fn other_threads_may_spawn() {
    let count = AtomicU32::new(0);
    with(2, || {
        scope_anywhere(|s| {
            let count = &count;
            cede::blocking::unblock(|| {
                thread::scope(|threads| {
                    for _ in 0..4 {
                        threads.spawn(|| (0..50).for_each(|_| drop(s.spawn(|| count.fetch_add(1, Relaxed)))));
                    }
                });
            });
        })
        .unwrap();
        assert_eq!(count.load(Relaxed), 200);
    });
}

#[test]
fn nests_a_thousand_deep() {
    fn nest(depth: u32, sum: &AtomicU32) -> u32 {
        sum.fetch_add(1, Relaxed);
        if depth == 0 {
            return 0;
        }
        scope_anywhere(|s| {
            let builder = Builder::new().stack_size(64 << 10);
            s.spawn_with(builder, || nest(depth - 1, sum) + 1).join().unwrap()
        })
        .unwrap()
    }
    for workers in [1, 2] {
        let sum = AtomicU32::new(0);
        assert_eq!(with(workers, || nest(1000, &sum)), 1000);
        assert_eq!(sum.into_inner(), 1001);
    }
}

#[test]
fn children_wait_for_each_other() {
    with(2, || {
        let value = scope_anywhere(|s| {
            let (sender, receiver) = bounded(0);
            s.spawn(move || (0..100).for_each(|n| sender.send(n).unwrap()));
            s.spawn(move || receiver.iter().sum::<u32>()).join().unwrap()
        });
        assert_eq!(value.unwrap(), 4950);
    });
}

#[test]
fn handles_join_and_await() {
    with(2, || {
        let text = String::from("borrowed");
        let outcome = scope_anywhere(|s| {
            let mut waits = s.spawn_with(Builder::new().name("waits"), || (wait_for_cancel(), text.len()));
            until(|| waits.task().is_some());
            assert_eq!(waits.task().unwrap().name(), Some("waits"));
            assert!(waits.try_join().is_none() && !waits.is_finished());
            assert!(format!("{waits:?}").starts_with("ScopedRemoteHandle { task: Some("), "{waits:?}");
            until(|| waits.cancel());
            let first = waits.join();
            let second = cede::block_on(s.spawn(|| text.len())).unwrap();
            let inner = s.spawn(|| 1);
            // A handle may go into another task.
            let mut inner = Mutex::new(inner);
            let third = s.spawn(move || inner.get_mut().unwrap().join().unwrap()).join();
            (first, second, third)
        });
        let (first, second, third) = outcome.unwrap();
        assert!(matches!(first, Ok((true, 8)) | Err(JoinError::Cancelled)), "{first:?}");
        assert!(matches!((second, third), (Ok(8), Ok(1))));
    });
}

// ---- panics and cancels

/// A value whose drops are counted, from any thread.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructors_run_exactly_once() {
    std::panic::set_hook(Box::new(|_| ()));
    let jobs = if emulated() { 300 } else { 5_000 };
    for workers in [1, 2, 4] {
        let (drops, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
        with(workers, || {
            let outcome = scope_anywhere(|s| {
                for n in 0..jobs {
                    let (closure, drops, ran) = (Counted(&drops), &drops, &ran);
                    let task = s.spawn(move || {
                        let _closure = closure;
                        ran.fetch_add(1, Relaxed);
                        if n % 5 == 0 {
                            yield_now();
                        }
                        assert!(n % 100 != 99 || n < jobs / 2, "one of the panics");
                        Counted(drops)
                    });
                    if n % 10 == 3 {
                        task.cancel();
                    }
                }
            });
            if let Err(error) = outcome {
                let ScopeError::Failed { failures, .. } = error else { unreachable!() };
                assert!(failures.iter().all(|failure| matches!(failure.error, JoinError::Panicked(_))));
            }
        });
        let (drops, ran) = (drops.into_inner(), ran.into_inner());
        // Each closure, and each value that was not lost by a panic.
        assert!(drops >= jobs && drops <= jobs + ran, "{drops} of {jobs}, {ran} ran");
        assert!(drops >= jobs + ran - jobs / 100, "a value was not dropped: {drops}, {jobs}, {ran}");
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_cancels_the_siblings() {
    for workers in [1, 4] {
        with(workers, || {
            let ended = AtomicUsize::new(0);
            let outcome = scope_anywhere(|s| {
                for _ in 0..8 {
                    s.spawn(|| {
                        assert!(wait_for_cancel());
                        ended.fetch_add(1, Relaxed);
                    });
                }
                s.spawn_with(Builder::new().name("bad"), || {
                    sleep(Duration::from_millis(5)).unwrap();
                    panic!("no luck");
                });
                let cancelled = wait_for_cancel();
                assert!(s.is_cancelled());
                cancelled
            });
            let error = outcome.unwrap_err();
            let text = error.to_string();
            let ScopeError::Failed { value, failures } = error else { panic!("{error}") };
            assert!(value && failures.len() == 1, "{failures:?}");
            assert_eq!(failures[0].task.name(), Some("bad"));
            assert!(text.contains("'bad'") && text.contains("no luck"), "{text}");
            assert!(task::check().is_ok(), "the parent is not cancelled");
        });
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn joined_panic_is_no_failure() {
    with(2, || {
        let outcome = scope_anywhere(|s| {
            let mut bad = s.spawn(|| panic!("joined"));
            loop {
                match bad.join() {
                    Err(JoinError::Interrupted) => yield_now(),
                    outcome => break outcome,
                }
            }
        });
        assert!(
            matches!(outcome.unwrap(), Err(JoinError::Panicked(payload)) if common::text_of(&*payload) == "joined")
        );
        // A handle that is dropped without a join leaves the panic to the scope.
        let outcome = scope_anywhere(|s| {
            let bad = s.spawn(|| panic!("left"));
            until(|| bad.is_finished());
        });
        assert!(matches!(outcome, Err(ScopeError::Failed { failures, .. }) if failures.len() == 1));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_the_closure_waits() {
    with(2, || {
        let (started, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let outcome = caught(|| {
            scope_anywhere(|s| {
                s.spawn(|| {
                    started.store(true, SeqCst);
                    assert!(wait_for_cancel());
                    ended.store(true, SeqCst);
                });
                until(|| started.load(SeqCst));
                panic!("of the closure");
            })
        });
        assert_eq!(panic_text(outcome), "of the closure");
        assert!(ended.into_inner());
    });
}

/// A panic of the destructor of a closure that never ran is a failure when its task had a number.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructor_panics_hang_nothing() {
    with(2, || {
        for _ in 0..50 {
            let _ = scope_anywhere(|s| {
                let bad = AtEnd(|| panic!("of a destructor"));
                let task = s.spawn(move || drop(bad));
                task.cancel();
                s.cancel();
            });
            let bad = AtEnd(|| panic!("of a destructor"));
            let mut task = task::spawn_anywhere(move || drop(bad));
            task.cancel();
            assert!(task.join().is_err());
        }
    });
}

#[test]
fn cancel_reaches_all_workers() {
    with(4, || {
        let (waiting, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let closure = scope_anywhere(|s| {
            for n in 0..40 {
                let (waiting, cancelled) = (&waiting, &cancelled);
                s.spawn_with(Builder::new().on(n % 4), move || {
                    waiting.fetch_add(1, SeqCst);
                    assert!(wait_for_cancel());
                    cancelled.fetch_add(1, SeqCst);
                });
            }
            until(|| waiting.load(SeqCst) == 40);
            s.cancel();
            s.cancel();
            wait_for_cancel()
        });
        assert!(closure.unwrap());
        assert_eq!(cancelled.into_inner(), 40);
    });
}

#[test]
fn child_cancels_the_scope() {
    with(2, || {
        let ran = AtomicBool::new(false);
        let outcome = scope_anywhere(|s| {
            s.spawn_with(Builder::new().on(1), || s.cancel());
            let cancelled = wait_for_cancel();
            // Never runs.
            s.spawn(|| ran.store(true, SeqCst));
            cancelled
        });
        assert!(outcome.unwrap() && !ran.into_inner());
    });
}

#[test]
fn cancelled_parent_still_waits() {
    for workers in [1, 2] {
        with(workers, || {
            let mut parent = task::spawn_anywhere(|| {
                let (waiting, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let closure = scope_anywhere(|s| {
                    for _ in 0..4 {
                        s.spawn(|| {
                            waiting.fetch_add(1, SeqCst);
                            assert!(wait_for_cancel());
                            (0..20).for_each(|_| yield_now());
                            ended.fetch_add(1, SeqCst);
                        });
                    }
                    until(|| waiting.load(SeqCst) == 4);
                    task::current().unwrap();
                    7
                });
                (closure.unwrap(), ended.into_inner(), task::check().is_err())
            });
            until(|| parent.task().is_some());
            sleep(Duration::from_millis(20)).unwrap();
            parent.cancel();
            assert_eq!(parent.join().unwrap(), (7, 4, true));
        });
    }
}

#[test]
fn deadline_cancels_the_children() {
    with(2, || {
        let cancelled = AtomicUsize::new(0);
        let outcome = timeout(Duration::from_millis(20), || {
            scope_anywhere(|s| {
                for _ in 0..3 {
                    s.spawn(|| cancelled.fetch_add(usize::from(wait_for_cancel()), SeqCst));
                }
            })
            .unwrap();
        });
        assert!(outcome.is_err());
        // A task that had not started never runs.
        assert!(cancelled.into_inner() <= 3);
        assert!(task::check().is_ok());
    });
}

// ---- where it is refused

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn refused_where_nothing_can_wait() {
    let open = || drop(scope_anywhere(|s| drop(s.spawn(|| unreachable!("a task was started")))));
    assert!(panic_text(caught(open)).starts_with("cannot open a scope outside of a run"));
    with(2, || {
        assert!(panic_text(caught(|| no_suspend(open))).contains("no_suspend"));
        let (sender, receiver) = unbounded();
        cede::spawn(|| ()).on_done(move |_| sender.send(panic_text(caught(open))).unwrap());
        assert!(receiver.recv().unwrap().contains("callback"));
        let refused = Cell::new(false);
        let at_end = AtEnd(|| {
            refused.set(matches!(scope_anywhere(|_| unreachable!("called")), Err(ScopeError::<()>::Panicking)));
        });
        let outcome = caught(|| {
            let _at_end = at_end;
            panic!("the reason");
        });
        assert_eq!(panic_text(outcome), "the reason");
        assert!(refused.get());
        // An eager task cannot have its turn there, and the scope does not wait for it.
        let outcome = scope_anywhere(|s| {
            let eager = || drop(s.spawn_with(Builder::new().eager(true), || ()));
            panic_text(caught(|| no_suspend(eager)))
        });
        assert!(outcome.unwrap().contains("no_suspend"));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn unknown_worker_is_refused() {
    with(2, || {
        let outcome = scope_anywhere(|s| panic_text(caught(|| s.spawn_with(Builder::new().on(2), || ()))));
        assert_eq!(outcome.unwrap(), "cannot spawn a task on worker 2: the run has 2, numbered from 0");
    });
}

#[test]
fn eager_child_starts_at_once() {
    with(2, || {
        let started = AtomicBool::new(false);
        let outcome = scope_anywhere(|s| {
            let mut eager = s.spawn_with(Builder::new().eager(true), || {
                started.store(true, SeqCst);
                yield_now();
                current().unwrap().worker()
            });
            (started.load(SeqCst), eager.join().unwrap())
        });
        assert_eq!(outcome.unwrap(), (true, 0));
    });
}

/// In a fiber, a scope belongs to the run inside of the fiber; the run around it is hidden.
#[test]
fn run_in_a_fiber_has_its_own() {
    let mut numbers = [1, 2, 3];
    with(2, || {
        scope_anywhere(|s| {
            s.spawn(|| numbers.iter_mut().for_each(|n| *n += 1));
            let future = Config::new().run_async(|| {
                let mut inner = [4, 5, 6];
                scope_anywhere(|s| {
                    inner.iter_mut().for_each(|n| drop(s.spawn(|| *n *= 2)));
                    yield_now();
                })
                .unwrap();
                inner
            });
            assert_eq!(cede::block_on(future).unwrap().unwrap(), [8, 10, 12]);
        })
        .unwrap();
    });
    assert_eq!(numbers, [2, 3, 4]);
}

// ---- what is borrowed

#[test]
fn thread_locals_may_be_borrowed() {
    thread_local! {
        static COUNT: AtomicUsize = const { AtomicUsize::new(0) };
    }
    with(3, || {
        let mut tasks: Vec<_> = (0..3)
            .map(|worker| {
                let borrow = || {
                    COUNT.with(|count| {
                        scope_anywhere(|s| (0..20).for_each(|_| drop(s.spawn(|| count.fetch_add(1, Relaxed)))))
                            .unwrap();
                        count.load(Relaxed)
                    })
                };
                Builder::new().on(worker).spawn_anywhere(borrow).unwrap()
            })
            .collect();
        tasks.iter_mut().for_each(|task| assert_eq!(task.join().unwrap(), 20));
    });
}

/// A generator body cannot suspend while its scope is open, so no panic can drop it then.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn body_cannot_suspend_inside() {
    with(2, || {
        let mut generator = cede::Generator::new(|y: &cede::Yielder<i32>| {
            let mut local = [0_u8; 64];
            let outcome = scope_anywhere(|s| {
                s.spawn(|| {
                    for n in 0..50 {
                        thread::sleep(Duration::from_millis(1));
                        local[n % 64] += 1;
                    }
                });
                panic_text(caught(|| y.yield_(1)))
            });
            assert!(outcome.unwrap().contains("inside a scope section (opened at "));
            y.yield_(local.iter().map(|n| i32::from(*n)).sum());
        });
        assert_eq!(generator.next(), Some(50));
    });
}

#[test]
fn local_scope_inside_and_outside() {
    with(2, || {
        let total = scope(|outer| {
            let mut task = outer.spawn(|| {
                scope_anywhere(|s| {
                    let mut inner = s.spawn(|| scope(|local| local.spawn(|| 5).join().unwrap()).unwrap());
                    inner.join().unwrap()
                })
                .unwrap()
            });
            task.join().unwrap()
        });
        assert_eq!(total.unwrap(), 5);
    });
}

// ---- the end of the run

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn run_ends_with_a_scope_open() {
    for workers in [1, 2, 4] {
        let (drops, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Borrowed beyond the run, which has ended all tasks.
        let (drops_ref, made_ref): (&'static AtomicUsize, &'static AtomicUsize) =
            (Box::leak(Box::new(drops)), Box::leak(Box::new(made)));
        Config::new()
            .workers(workers)
            .shutdown_grace(Duration::from_millis(50))
            .run(|| {
                for _ in 0..4 {
                    drop(task::spawn_anywhere(move || {
                        let local = AtomicUsize::new(0);
                        let _ = scope_anywhere(|s| {
                            for n in 0..200 {
                                made_ref.fetch_add(1, SeqCst);
                                let counted = Counted(drops_ref);
                                let local = &local;
                                s.spawn(move || {
                                    let _counted = counted;
                                    local.fetch_add(1, SeqCst);
                                    match n % 3 {
                                        0 => drop(park("the end")),
                                        // Ignores its cancel, and is unwound.
                                        1 => loop {
                                            yield_now();
                                        },
                                        _ => {}
                                    }
                                    local.fetch_add(1, SeqCst);
                                });
                            }
                        });
                    }));
                }
                sleep(Duration::from_millis(5)).unwrap();
            })
            .unwrap();
        assert_eq!(drops_ref.load(SeqCst), made_ref.load(SeqCst));
    }
}

/// The body of a child that never ends, and a text that must not appear.
fn endless(workers: usize, child_on: usize, parent_on: usize) {
    let config = Config::new().workers(workers).shutdown_grace(Duration::from_millis(20));
    let outcome = config.run(|| {
        let started = std::sync::Arc::new(AtomicBool::new(false));
        let is_started = std::sync::Arc::clone(&started);
        let parent = move || {
            let local = AtomicU64::new(0);
            let _ = scope_anywhere(|s| {
                s.spawn_with(Builder::new().name("endless").on(child_on), || {
                    started.store(true, SeqCst);
                    while !task::is_cancelled() {
                        yield_now();
                    }
                    // The worker of the parent comes to its end before that of the child.
                    thread::sleep(Duration::from_millis(if child_on == parent_on { 0 } else { 1500 }));
                    loop {
                        let _ = caught(yield_now);
                        local.fetch_add(1, Relaxed);
                    }
                });
            });
            unreachable!("the scope returned before its child ended");
        };
        drop(Builder::new().name("parent").on(parent_on).spawn_anywhere(parent).unwrap());
        until(|| is_started.load(SeqCst));
    });
    unreachable!("run returned: {}", outcome.is_ok());
}

fn is_named(text: &str) {
    let expected = "cede: task 'endless' did not end when it was cancelled and unwound; it borrows from its scope, so it \
                    cannot be abandoned";
    assert!(text.contains(expected) && !text.contains("unreachable"), "{text}");
    assert!(!text.contains("parent"), "the task that waits is named: {text}");
    assert!(text.ends_with("exit code None"), "the child process ended without a signal: {text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn endless_child_stops_the_process() {
    is_named(&in_child("endless_child_stops_the_process", || endless(1, 0, 0)));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn endless_child_elsewhere_is_named() {
    is_named(&in_child("endless_child_elsewhere_is_named", || endless(3, 2, 1)));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn endless_child_of_worker_zero() {
    is_named(&in_child("endless_child_of_worker_zero", || endless(2, 1, 0)));
}

/// Main waits for a child of another worker that does not end after a deadlock.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn endless_child_after_a_deadlock() {
    let text = in_child("endless_child_after_a_deadlock", || {
        let config = Config::new().workers(2).shutdown_grace(Duration::from_millis(20));
        let outcome = config.run(|| {
            let local = AtomicU64::new(0);
            scope_anywhere(|s| {
                s.spawn_with(Builder::new().name("endless").on(1), || {
                    let _ = park("nothing");
                    loop {
                        let _ = caught(yield_now);
                        local.fetch_add(1, Relaxed);
                    }
                });
            })
        });
        unreachable!("run returned: {}", outcome.is_ok());
    });
    is_named(&text);
}

#[test]
fn deadlocks_are_reported() {
    for workers in [1, 3] {
        let outcome = Config::new().workers(workers).run(|| {
            scope_anywhere(|s| {
                s.spawn_with(Builder::new().name("child").on(workers - 1), || park("never").is_err()).join().is_ok()
            })
        });
        let Err(RunError::Deadlock { report, .. }) = outcome else { panic!("no deadlock was reported") };
        let text = report.to_string();
        assert!(text.contains("'child'") && text.contains("main"), "{text}");
    }
}

/// A parent that only waits in the scope is part of the deadlock, too.
#[test]
fn waits_of_parents_are_closed() {
    let outcome = Config::new()
        .workers(2)
        .run(|| scope_anywhere(|s| drop(s.spawn_with(Builder::new().on(1), || park("never").is_err()))).is_ok());
    let Err(RunError::Deadlock { report, .. }) = outcome else { panic!("no deadlock was reported") };
    assert!(report.to_string().contains("the tasks of its scope"), "{report}");
}

/// Many short scopes, for lost wakes and lost counts. `.ci/workers` runs more rounds.
#[test]
fn short_scopes_lose_no_wake() {
    let rounds = if emulated() { 50 } else { 500 };
    for workers in [2, 4, 8] {
        with(workers, || {
            for round in 0..rounds {
                let (count, sum) = (1 + round % 7, AtomicU32::new(0));
                scope_anywhere(|s| {
                    for n in 0..count {
                        let sum = &sum;
                        s.spawn(move || {
                            (0..(round * 31 + n * 977) % 3000).for_each(|_| std::hint::spin_loop());
                            if round % 3 == 0 {
                                yield_now();
                            }
                            sum.fetch_add(n, Relaxed);
                        });
                    }
                })
                .unwrap();
                assert_eq!(sum.into_inner(), count * (count - 1) / 2);
                let (a, b) = task::join_anywhere(|| round, || round + 1);
                assert_eq!(a + 1, b);
            }
        });
    }
}
