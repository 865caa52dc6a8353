//! `join_anywhere`, `for_each_anywhere` and `map_anywhere`: closures that borrow, on all workers of a run.

mod common;

use cede::task::{self, current, for_each_anywhere, join_anywhere, map_anywhere, park, scope_anywhere};
use cede::time::sleep;
use cede::{Builder, Config, Generator, RunError, Yielder, no_suspend, yield_now};
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

/// Keeps the thread until `done` returns true, at most 20 seconds.
fn spin_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not become true");
        thread::yield_now();
    }
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = join_anywhere(|| fib(n - 1), || fib(n - 2));
    a + b
}

#[test]
fn sums_are_exact() {
    let n = if emulated() { 14 } else { 20 };
    let expected = fib(n); // outside of a run
    for workers in [1, 2, 4, 16] {
        assert_eq!(with(workers, || fib(n)), expected);
        // From several tasks at the same time, whose forks mix in the queues.
        let mixed = with(workers, || {
            let mut tasks: Vec<_> = (0..4).map(|_| task::spawn_anywhere(move || waiting_fib(12))).collect();
            tasks.iter_mut().map(|task| task.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(mixed, [144; 4]);
    }
}

/// Waits in some of the closures.
fn waiting_fib(n: u32) -> u64 {
    if n % 5 == 1 {
        yield_now();
    }
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = join_anywhere(|| waiting_fib(n - 1), || waiting_fib(n - 2));
    a + b
}

#[test]
fn caller_stays_on_its_thread() {
    let moved = with(4, || {
        let moved = AtomicUsize::new(0);
        let moved_ref = &moved;
        scope_anywhere(|s| {
            for _ in 0..8 {
                s.spawn(move || {
                    for n in 0..200 {
                        let home = (thread::current().id(), current().unwrap().id());
                        let ((), ()) = join_anywhere(
                            || (0..n % 50).for_each(|_| std::hint::spin_loop()),
                            || (0..n % 70).for_each(|_| std::hint::spin_loop()),
                        );
                        let stays = home == (thread::current().id(), current().unwrap().id());
                        moved_ref.fetch_add(usize::from(!stays), Relaxed);
                    }
                });
            }
        })
        .unwrap();
        moved.into_inner()
    });
    assert_eq!(moved, 0);
}

/// Both closures run at the same time when another worker is idle.
#[test]
fn idle_worker_takes_the_second() {
    with(2, || {
        let taken = AtomicBool::new(false);
        let (first, second) = join_anywhere(
            || {
                spin_until(|| taken.load(SeqCst));
                current().unwrap().worker()
            },
            || {
                taken.store(true, SeqCst);
                current().unwrap().worker()
            },
        );
        assert_eq!((first, second), (0, 1));
    });
}

/// A worker that waits in the first closure runs the second one itself.
#[test]
fn second_runs_while_the_first_waits() {
    with(1, || {
        let (sender, receiver) = cede::sync::channel::bounded(0);
        let (sum, ()) =
            join_anywhere(|| receiver.iter().sum::<u32>(), move || (0..10).for_each(|n| sender.send(n).unwrap()));
        assert_eq!(sum, 45);
    });
}

#[test]
fn nests_a_thousand_deep() {
    fn nest(depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        let (below, one) = join_anywhere(|| nest(depth - 1), || 1);
        below + one
    }
    for workers in [1, 2] {
        let outcome = with(workers, || {
            let builder = Builder::new().stack_size(4 << 20);
            builder.spawn_anywhere(|| nest(1000)).unwrap().join().unwrap()
        });
        assert_eq!(outcome, 1000);
    }
}

// ---- panics

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_the_first_drops_the_second() {
    with(1, || {
        let (dropped, called) = (Cell::new(0), AtomicBool::new(false));
        let outcome = caught(|| {
            let guard = AtEnd(|| called.store(true, SeqCst));
            let guard = Mutex::new(Some(guard));
            let count = AtEnd(|| dropped.set(dropped.get() + 1));
            join_anywhere(
                || {
                    let _count = count;
                    panic!("the first");
                },
                || guard.lock().unwrap().take().map(|_| unreachable!("the second was called")),
            )
        });
        assert_eq!(panic_text(outcome.map(drop)), "the first");
        assert_eq!(dropped.get(), 1);
        assert!(called.into_inner(), "what the second has borrowed was dropped by its owner");
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_the_first_awaits_a_stolen_second() {
    with(2, || {
        let (taken, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let outcome = caught(|| {
            join_anywhere(
                || {
                    spin_until(|| taken.load(SeqCst));
                    panic!("the first");
                },
                || {
                    taken.store(true, SeqCst);
                    sleep(Duration::from_millis(10)).unwrap();
                    ended.store(true, SeqCst);
                },
            )
        });
        assert_eq!(panic_text(outcome), "the first");
        assert!(ended.into_inner());
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_the_second_is_propagated() {
    with(2, || {
        // Called in place.
        assert_eq!(panic_text(caught(|| join_anywhere(|| (), || panic!("in place")))), "in place");
        // Stolen.
        let (taken, dropped) = (AtomicBool::new(false), Cell::new(0));
        let outcome = caught(|| {
            join_anywhere(
                || {
                    spin_until(|| taken.load(SeqCst));
                    AtEnd(|| dropped.set(dropped.get() + 1))
                },
                || {
                    taken.store(true, SeqCst);
                    panic!("stolen");
                },
            )
        });
        assert_eq!(panic_text(outcome.map(drop)), "stolen");
        assert_eq!(dropped.get(), 1, "the value of the first was dropped");
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructors_run_exactly_once() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    std::panic::set_hook(Box::new(|_| ()));
    let rounds = if emulated() { 100 } else { 3_000 };
    for workers in [1, 2, 4] {
        let (drops, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let new = || {
            made.fetch_add(1, Relaxed);
            Counted(&drops)
        };
        with(workers, || {
            for n in 0..rounds {
                let (a, b) = (new(), new());
                let _ = caught(|| {
                    join_anywhere(
                        || {
                            let _a = a;
                            assert!(n % 100 != 7, "the first");
                            new()
                        },
                        || {
                            let _b = b;
                            (0..n % 500).for_each(|_| std::hint::spin_loop());
                            assert!(n % 100 != 9, "the second");
                            new()
                        },
                    )
                });
            }
        });
        assert_eq!(drops.load(Relaxed), made.load(Relaxed), "{workers} workers");
    }
}

// ---- where nothing can wait

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn runs_in_order_where_nothing_waits() {
    let in_order = || {
        let step = AtomicU32::new(0);
        let first = || {
            // Time for another worker to take the second one.
            thread::sleep(Duration::from_millis(20));
            step.fetch_add(1, Relaxed)
        };
        let second = || (step.fetch_add(1, Relaxed), thread::current().id());
        let (first, (second, place)) = join_anywhere(first, second);
        assert_eq!((first, second), (0, 1));
        place
    };
    assert_eq!(in_order(), thread::current().id());
    with(2, || {
        let home = thread::current().id();
        assert_eq!(no_suspend(in_order), home);
        let (sender, receiver) = cede::sync::channel::unbounded();
        cede::spawn(|| ()).on_done(move |_| sender.send(in_order()).unwrap());
        assert_eq!(receiver.recv().unwrap(), home);
        let inside = Cell::new(None);
        let at_end = AtEnd(|| inside.set(Some(in_order())));
        let outcome = caught(|| {
            let _at_end = at_end;
            panic!("the reason");
        });
        assert_eq!((panic_text(outcome), inside.get()), ("the reason".to_string(), Some(home)));
    });
}

/// A generator body cannot suspend while its second closure may be elsewhere: a panic could drop it then.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn body_cannot_suspend_inside() {
    with(2, || {
        let mut generator = Generator::new(|y: &Yielder<u32>| {
            let (text, second) = join_anywhere(|| panic_text(caught(|| y.yield_(1))), || 3);
            assert!(text.contains("inside a join_anywhere section (opened at "), "{text}");
            assert!(text.contains("join_anywhere.rs"), "{text}");
            y.yield_(second);
        });
        assert_eq!((generator.next(), generator.next()), (Some(3), None));
    });
}

// ---- cancels and ends

/// A cancel ends the waits of the first closure, and the call waits for the second.
#[test]
fn cancelled_caller_still_waits() {
    with(2, || {
        let ended = AtomicBool::new(false);
        scope_anywhere(|s| {
            let (taken, waits) = (AtomicBool::new(false), AtomicBool::new(false));
            let (ended, started) = (&ended, std::sync::Arc::new((taken, waits)));
            let inner = std::sync::Arc::clone(&started);
            let mut caller = s.spawn_with(Builder::new().on(0), move || {
                let first = || {
                    spin_until(|| inner.0.load(SeqCst));
                    inner.1.store(true, SeqCst);
                    sleep(Duration::from_secs(20)).is_err()
                };
                let second = || {
                    inner.0.store(true, SeqCst);
                    spin_until(|| inner.1.load(SeqCst));
                    thread::sleep(Duration::from_millis(30));
                    ended.store(true, SeqCst);
                };
                let (cancelled, ()) = join_anywhere(first, second);
                (cancelled, ended.load(SeqCst), task::check().is_err())
            });
            while !started.1.load(SeqCst) {
                yield_now();
            }
            caller.cancel();
            assert_eq!(caller.join().unwrap(), (true, true, true));
        })
        .unwrap();
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn run_ends_during_joins() {
    for workers in [1, 2, 4] {
        let made: &'static AtomicUsize = Box::leak(Box::default());
        let ended: &'static AtomicUsize = Box::leak(Box::default());
        Config::new()
            .workers(workers)
            .shutdown_grace(Duration::from_millis(30))
            .run(|| {
                for n in 0..20 {
                    drop(task::spawn_anywhere(move || {
                        made.fetch_add(1, SeqCst);
                        let _at_end = AtEnd(|| {
                            ended.fetch_add(1, SeqCst);
                        });
                        let local = AtomicU32::new(0);
                        let wait = || match n % 3 {
                            0 => drop(park("the end")),
                            1 => loop {
                                local.fetch_add(1, Relaxed);
                                yield_now(); // until it is unwound
                            },
                            _ => assert!(local.fetch_add(1, Relaxed) < 1000),
                        };
                        join_anywhere(wait, || join_anywhere(wait, wait));
                        join_anywhere(wait, wait);
                    }));
                }
                sleep(Duration::from_millis(5)).unwrap();
            })
            .unwrap();
        assert_eq!(made.load(SeqCst), ended.load(SeqCst));
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn endless_second_stops_the_process() {
    let text = in_child("endless_second_stops_the_process", || {
        let config = Config::new().workers(2).shutdown_grace(Duration::from_millis(20));
        let outcome = config.run(|| {
            let started = std::sync::Arc::new(AtomicBool::new(false));
            let inner = std::sync::Arc::clone(&started);
            let caller = move || {
                let local = AtomicU64::new(0);
                join_anywhere(
                    || spin_until(|| local.load(SeqCst) > 0),
                    || loop {
                        local.fetch_add(1, SeqCst);
                        inner.store(true, SeqCst);
                        let _ = caught(yield_now);
                    },
                );
                unreachable!("the join returned");
            };
            drop(Builder::new().name("caller").on(0).spawn_anywhere(caller).unwrap());
            while !started.load(SeqCst) {
                yield_now();
            }
        });
        unreachable!("run returned: {}", outcome.is_ok());
    });
    assert!(text.contains("did not end when it was cancelled and unwound; it borrows from its scope"), "{text}");
    assert!(!text.contains("unreachable") && !text.contains("caller"), "{text}");
    assert!(text.ends_with("exit code None"), "{text}");
}

#[test]
fn waits_of_callers_are_closed() {
    let outcome = Config::new().workers(2).run(|| {
        let taken = AtomicBool::new(false);
        let (first, second) = join_anywhere(
            || spin_until(|| taken.load(SeqCst)),
            || {
                taken.store(true, SeqCst);
                park("never").is_err()
            },
        );
        (first, second)
    });
    let Err(RunError::Deadlock { report, .. }) = outcome else { panic!("no deadlock was reported") };
    assert!(report.to_string().contains("the second closure of join_anywhere"), "{report}");
}

// ---- slices

#[test]
fn each_element_is_visited_once() {
    for workers in [1, 2, 4] {
        for len in [0, 1, 2, 63, 64, 65, 1000] {
            let items: Vec<AtomicU32> = (0..len).map(AtomicU32::new).collect();
            let add = |item: &AtomicU32| {
                item.fetch_add(1, Relaxed);
            };
            with(workers, || for_each_anywhere(&items, add));
            assert!(items.iter().zip(1..).all(|(item, n)| item.load(Relaxed) == n), "{workers} {len}");
        }
    }
    let sum = AtomicU32::new(0);
    // Outside of a run:
    for_each_anywhere(&[1, 2, 3], |n| {
        sum.fetch_add(*n, Relaxed);
    });
    assert_eq!(sum.into_inner(), 6);
}

#[test]
fn values_are_in_order() {
    for workers in [1, 3] {
        let items: Vec<usize> = (0..777).collect();
        let values = with(workers, || {
            map_anywhere(&items, |n| {
                if n.is_multiple_of(50) {
                    yield_now();
                }
                n.to_string()
            })
        });
        assert!(values.iter().enumerate().all(|(n, value)| *value == n.to_string()));
        assert_eq!(values.len(), 777);
    }
}

/// Elements that wait do so at the same time, also on one worker.
#[test]
fn elements_wait_at_the_same_time() {
    let start = Instant::now();
    with(1, || for_each_anywhere(&[(); 16], |()| sleep(Duration::from_millis(200)).unwrap()));
    assert!(start.elapsed() < Duration::from_millis(1600), "{:?}", start.elapsed());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_an_element_drops_the_values() {
    with(3, || {
        let items: Vec<usize> = (0..500).collect();
        let (made, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let outcome = caught(|| {
            map_anywhere(&items, |n| {
                assert!(*n != 250, "element 250");
                made.fetch_add(1, Relaxed);
                let dropped = &dropped;
                AtEnd(move || {
                    dropped.fetch_add(1, Relaxed);
                })
            })
        });
        assert_eq!(panic_text(outcome.map(drop)), "element 250");
        assert_eq!(made.into_inner(), dropped.into_inner());
    });
}
