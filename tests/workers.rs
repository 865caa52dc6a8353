//! Runs with several workers: where tasks run, how closures travel, and how such a run ends.

mod common;

use cede::sync::channel::{bounded, unbounded};
use cede::task::{self, Handle, JoinError, RunEnded, current, spawn_anywhere};
use cede::time::sleep;
use cede::{Builder, Config, RunError, WorkersError, spawn, yield_now};
use common::witness::Log;
use common::{caught, emulated, panic_text, text_of};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Runs `main` with this number of workers.
fn with<T>(workers: usize, main: impl FnOnce() -> T) -> T {
    Config::new().workers(workers).run(main).unwrap()
}

#[test]
fn every_worker_takes_part() {
    for workers in [2, 3, 8] {
        let threads = with(workers, || {
            let (sender, receiver) = unbounded::<ThreadId>();
            // Each task keeps its worker until all others are there.
            let mut tasks: Vec<_> = (0..workers)
                .map(|n| {
                    let sender = sender.clone();
                    Builder::new().on(n).spawn_anywhere(move || sender.send(thread::current().id()).unwrap()).unwrap()
                })
                .collect();
            tasks.iter_mut().for_each(|task| task.join().unwrap());
            drop(sender);
            receiver.iter().collect::<std::collections::HashSet<_>>()
        });
        assert_eq!(threads.len(), workers);
        assert!(threads.contains(&thread::current().id()), "worker 0 is the calling thread");
    }
}

#[test]
fn idle_workers_steal() {
    let (workers, turns) = (4, if emulated() { 200 } else { 2000 });
    let seen = with(workers, || {
        let seen = Arc::new(Mutex::new(std::collections::BTreeMap::new()));
        // Spawned by one worker, long enough that the others wake up.
        let job = |n: usize| {
            let seen = Arc::clone(&seen);
            move || {
                *seen.lock().unwrap().entry(current().unwrap().worker()).or_insert(0) += 1;
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(50) {}
                n
            }
        };
        let mut tasks: Vec<_> = (0..turns).map(|n| spawn_anywhere(job(n))).collect();
        for (n, task) in tasks.iter_mut().enumerate() {
            assert_eq!(task.join().unwrap(), n);
        }
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    });
    assert_eq!(seen.values().sum::<usize>(), turns);
    assert!(seen.len() > 1, "no worker but one has run a task: {seen:?}");
}

#[test]
fn started_task_stays_on_its_thread() {
    let (tasks, turns) = if emulated() { (40, 50) } else { (400, 2500) };
    let moved = with(4, || {
        let moved = Arc::new(AtomicUsize::new(0));
        let job = || {
            let moved = Arc::clone(&moved);
            move || {
                let (home, worker) = (thread::current().id(), current().unwrap().worker());
                for n in 0..turns {
                    if n % 97 == 0 {
                        sleep(Duration::from_micros(10)).unwrap_or_default();
                    } else {
                        yield_now()
                    }
                    let stays = thread::current().id() == home && current().unwrap().worker() == worker;
                    moved.fetch_add(usize::from(!stays), Relaxed);
                }
            }
        };
        let mut all: Vec<_> = (0..tasks).map(|_| spawn_anywhere(job())).collect();
        all.iter_mut().for_each(|task| task.join().unwrap());
        moved.load(Relaxed)
    });
    assert_eq!(moved, 0);
}

#[test]
fn sums_are_exact() {
    let jobs = if emulated() { 500 } else { 20_000 };
    for workers in [1, 2, 5, 16] {
        let sum = with(workers, || {
            let (sum, state) = (Arc::new(AtomicU64::new(0)), &mut 7_u64);
            let mut next = || {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *state >> 33
            };
            let mut tasks: Vec<_> = (0..jobs)
                .map(|n| {
                    let (sum, length) = (Arc::clone(&sum), next() % 200);
                    spawn_anywhere(move || {
                        if n % 3 == 0 {
                            yield_now();
                        }
                        let mut x = 1_u64;
                        (0..length).for_each(|i| x = std::hint::black_box(x.wrapping_mul(i | 1)));
                        sum.fetch_add(n, Relaxed);
                        n
                    })
                })
                .collect();
            let joined: u64 = tasks.iter_mut().map(|task| task.join().unwrap()).sum();
            assert_eq!(joined, sum.load(Relaxed));
            joined
        });
        assert_eq!(sum, jobs * (jobs - 1) / 2);
    }
}

#[test]
fn tasks_spawn_tasks_everywhere() {
    fn tree(depth: u32) -> u64 {
        if depth == 0 {
            return 1;
        }
        let mut children: Vec<_> = (0..3).map(|_| spawn_anywhere(move || tree(depth - 1))).collect();
        children.iter_mut().map(|child| child.join().unwrap()).sum()
    }
    assert_eq!(with(4, || tree(6)), 729);
}

#[test]
fn started_tasks_go_first() {
    with(1, || {
        yield_now(); // The first turn polls, and a poll starts a closure.
        let shared = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&shared);
        let mut anywhere = spawn_anywhere(move || seen.lock().unwrap().push("anywhere"));
        let mut local = spawn({
            let seen = Arc::clone(&shared);
            move || {
                (0..3).for_each(|_| yield_now());
                seen.lock().unwrap().push("local");
            }
        });
        anywhere.join().unwrap();
        local.join().unwrap();
        assert_eq!(*shared.lock().unwrap(), ["local", "anywhere"]);
    });
}

#[test]
fn busy_workers_start_closures_too() {
    with(1, || {
        let started = Arc::new(AtomicUsize::new(0));
        let mut tasks: Vec<_> = (0..10)
            .map(|_| {
                let started = Arc::clone(&started);
                spawn_anywhere(move || started.fetch_add(1, Relaxed))
            })
            .collect();
        // Main is always ready. Each poll starts one closure, and there is a poll at least every 1,024 turns.
        spawn(|| (0..20_000).for_each(|_| yield_now()));
        (0..11 * 1024).for_each(|_| yield_now());
        assert_eq!(started.load(Relaxed), 10);
        tasks.iter_mut().for_each(|task| drop(task.join()));
    });
}

#[test]
fn tasks_of_workers_talk() {
    let rounds = if emulated() { 200 } else { 5000 };
    let sum = with(3, || {
        let (to, from_main) = bounded::<u64>(1);
        let (back, answers) = bounded::<u64>(1);
        let echo = move || {
            for n in from_main.iter() {
                back.send(n + 1).unwrap();
            }
        };
        let mut echo = Builder::new().on(2).spawn_anywhere(echo).unwrap();
        let mut sum = 0;
        for n in 0..rounds {
            to.send(n).unwrap();
            sum += answers.recv().unwrap();
        }
        drop(to);
        echo.join().unwrap();
        sum
    });
    assert_eq!(sum, rounds * (rounds + 1) / 2);
}

#[test]
fn local_tasks_need_not_be_send() {
    let total = with(2, || {
        let job = || {
            let cell = std::rc::Rc::new(std::cell::Cell::new(0));
            let mut tasks: Vec<_> = (0..10)
                .map(|n| {
                    let cell = std::rc::Rc::clone(&cell);
                    spawn(move || {
                        yield_now();
                        cell.set(cell.get() + n);
                    })
                })
                .collect();
            tasks.iter_mut().for_each(|task| task.join().unwrap());
            cell.get()
        };
        let mut tasks = [0, 1].map(|n| Builder::new().on(n).spawn_anywhere(job).unwrap());
        tasks.iter_mut().map(|task| task.join().unwrap()).sum::<i32>()
    });
    assert_eq!(total, 90);
}

#[test]
fn options_that_need_one_worker() {
    let error = Config::new().workers(3).seed(1).run(|| ()).unwrap_err();
    assert!(matches!(error, RunError::Workers(WorkersError::Seed { workers: 3 })));
    assert!(error.to_string().contains("Config::seed needs a run of one worker, and this one has 3"), "{error}");
    let error = Config::new().workers(2).paused_clock(true).run(|| ()).unwrap_err();
    assert!(matches!(error, RunError::Workers(WorkersError::PausedClock { workers: 2 })));
    let error = Config::new().workers(5000).run(|| ()).unwrap_err();
    assert!(matches!(error, RunError::Workers(WorkersError::TooMany { workers: 5000 })));
    let run = Config::new().workers(2).run_async(|| ());
    let error = cede::block_on(run).unwrap().unwrap_err();
    assert!(matches!(error, RunError::Workers(WorkersError::Async { workers: 2 })));
    assert_eq!(Config::new().workers(1).seed(1).paused_clock(true).run(|| 1).unwrap(), 1);
    assert!(Config::new().workers(0).run(|| Handle::current().workers()).unwrap() >= 1);
}

#[test]
fn handles_reach_all_workers() {
    let (handle, workers) = with(3, || {
        let handle = Handle::current();
        assert_eq!(handle.workers(), 3);
        let outside = handle.clone();
        let thread = thread::spawn(move || {
            let on = |n| outside.spawn_on(n, || current().unwrap().worker()).unwrap();
            [0, 1, 2].map(|n| on(n).join().unwrap())
        });
        (handle, cede::blocking::unblock(|| thread.join().unwrap()))
    });
    assert_eq!(workers, [0, 1, 2]);
    assert!(handle.is_ended());
    let RunEnded(f) = handle.spawn_on(1, || 5).unwrap_err();
    assert_eq!(f(), 5);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn missing_worker_is_named() {
    with(2, || {
        let text = panic_text(caught(|| Handle::current().spawn_on(2, || ())));
        assert!(text.contains("cannot spawn a task on worker 2: the run has 2, numbered from 0"), "{text}");
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panics_reach_the_thread_of_main() {
    let log = Log::default();
    let (hook, home) = (log.clone(), thread::current().id());
    let config = Config::new().workers(3).on_unhandled_panic(move |task, payload| {
        assert_eq!(thread::current().id(), home);
        hook.add(format!("{task}: {}", text_of(payload)));
    });
    config
        .run(|| {
            let mut joined = Builder::new().on(2).spawn_anywhere(|| panic!("joined")).unwrap();
            assert_eq!(text_of(&*joined.join().unwrap_err().into_panic().unwrap()), "joined");
            let dropped = Builder::new().on(1).name("dropped").spawn_anywhere(|| panic!("not joined")).unwrap();
            drop(dropped);
            let local = || drop(Builder::new().name("local").spawn(|| panic!("no handle")).unwrap());
            Builder::new().on(2).spawn_anywhere(local).unwrap().join().unwrap();
        })
        .unwrap();
    let mut texts = log.take();
    texts.sort();
    assert_eq!(texts, ["'dropped': not joined", "'local': no handle"]);
}

#[test]
fn end_cancels_on_all_workers() {
    let (unstarted, waiting) = (if emulated() { 200 } else { 10_000 }, 50);
    for workers in [1, 2, 4] {
        let counts = Arc::new([0; 3].map(AtomicUsize::new));
        struct Witness(Arc<[AtomicUsize; 3]>);
        impl Drop for Witness {
            fn drop(&mut self) {
                self.0[2].fetch_add(1, Relaxed);
            }
        }
        let mut handles = with(workers, || {
            let (ready, is_ready) = unbounded::<()>();
            let mut handles: Vec<_> = (0..waiting)
                .map(|n| {
                    let (witness, ready) = (Witness(Arc::clone(&counts)), ready.clone());
                    let body = move || {
                        ready.send(()).unwrap();
                        let cancelled = task::park("the end").is_err();
                        witness.0[1].fetch_add(usize::from(cancelled), Relaxed);
                    };
                    Builder::new().on(n % workers).spawn_anywhere(body).unwrap()
                })
                .collect();
            (0..waiting).for_each(|_| is_ready.recv().unwrap());
            for _ in 0..unstarted {
                let witness = Witness(Arc::clone(&counts));
                handles.push(spawn_anywhere(move || {
                    witness.0[0].fetch_add(1, Relaxed);
                }));
            }
            handles
        });
        let ended = handles.iter_mut().map(|handle| handle.join());
        let cancelled = ended.filter(|outcome| matches!(outcome, Err(JoinError::Cancelled))).count();
        let [ran, woken, dropped] = [0, 1, 2].map(|n| counts[n].load(Relaxed));
        assert_eq!((ran + cancelled, woken, dropped), (unstarted, waiting, unstarted + waiting));
    }
}

#[test]
fn end_is_orderly_at_any_moment() {
    let rounds = if emulated() { 10 } else { 200 };
    for round in 0..rounds {
        let workers = 2 + round % 3;
        let ended = with(workers, || {
            let ended = Arc::new(AtomicUsize::new(0));
            let tree = |depth: u32| {
                let ended = Arc::clone(&ended);
                fn grow(depth: u32, ended: &Arc<AtomicUsize>) {
                    if depth > 0 {
                        for _ in 0..3 {
                            let ended = Arc::clone(ended);
                            drop(spawn_anywhere(move || grow(depth - 1, &ended)));
                        }
                        let _ = sleep(Duration::from_micros(20));
                    }
                    ended.fetch_add(1, Relaxed);
                }
                move || grow(depth, &ended)
            };
            drop(spawn_anywhere(tree(6)));
            let _ = sleep(Duration::from_micros(round as u64 * 7));
            ended
        });
        // No worker has kept a reference.
        assert_eq!(Arc::strong_count(&ended), 1);
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_main_ends_all_workers() {
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Witness(Arc<AtomicUsize>);
    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let witness = || Witness(Arc::clone(&dropped));
    let text = panic_text(caught(|| {
        with(3, || {
            for n in 0..3 {
                let witness = witness();
                let body = move || {
                    let _witness = witness;
                    let _ = task::park("nothing");
                };
                drop(Builder::new().on(n).spawn_anywhere(body).unwrap());
            }
            panic!("main gives up");
        })
    }));
    assert!(text.contains("main gives up"), "{text}");
    assert_eq!(dropped.load(Relaxed), 3);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn stubborn_tasks_are_unwound_everywhere() {
    let unwound = Arc::new(AtomicUsize::new(0));
    struct Witness(Arc<AtomicUsize>);
    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.fetch_add(usize::from(thread::panicking()), Relaxed);
        }
    }
    Config::new()
        .workers(2)
        .shutdown_grace(Duration::from_millis(20))
        .run(|| {
            let (ready, is_ready) = unbounded::<()>();
            for n in 0..2 {
                let (witness, ready) = (Witness(Arc::clone(&unwound)), ready.clone());
                let body = move || {
                    let _witness = witness;
                    ready.send(()).unwrap();
                    loop {
                        let _ = sleep(Duration::from_millis(1));
                    }
                };
                drop(Builder::new().on(n).spawn_anywhere(body).unwrap());
            }
            (0..2).for_each(|_| is_ready.recv().unwrap());
        })
        .unwrap();
    assert_eq!(unwound.load(Relaxed), 2);
}

#[test]
fn around_worker_is_called_on_each_thread() {
    thread_local! {
        static GUARD: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }
    let seen = Config::new()
        .workers(3)
        .around_worker(|run| {
            GUARD.set(GUARD.get() + 1);
            run();
            GUARD.set(GUARD.get() - 1);
        })
        .run(|| [0, 1, 2].map(|n| Builder::new().on(n).spawn_anywhere(|| GUARD.get()).unwrap().join().unwrap()))
        .unwrap();
    assert_eq!(seen, [1, 1, 1]);
    let here = thread::current().id();
    let main_only = Config::new().workers(3).around_worker(move |run| {
        if thread::current().id() == here {
            run();
        }
    });
    assert!(matches!(main_only.run(|| ()), Err(RunError::NotStarted)));
    let others_only = Config::new().workers(3).around_worker(move |run| {
        if thread::current().id() != here {
            run();
        }
    });
    assert!(matches!(others_only.run(|| ()), Err(RunError::NotStarted)));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_around_a_worker_reaches_the_caller() {
    let here = thread::current().id();
    for (of_main, after) in [(true, false), (true, true), (false, false), (false, true)] {
        let config = Config::new().workers(3).around_worker(move |run| {
            let is_due = (thread::current().id() == here) == of_main;
            if is_due && !after {
                panic!("around");
            }
            run();
            if is_due && after {
                panic!("around");
            }
        });
        let text = panic_text(caught(|| config.run(|| ())));
        assert!(text.contains("around"), "{text}");
    }
}

#[test]
fn names_tell_the_worker() {
    with(2, || {
        let name = || current().unwrap().to_string();
        let mut here = Builder::new().on(0).spawn_anywhere(name).unwrap();
        let mut there = Builder::new().on(1).spawn_anywhere(name).unwrap();
        assert!(!here.join().unwrap().contains('@'));
        let there = there.join().unwrap();
        assert!(there.starts_with('#') && there.ends_with("@1"), "{there}");
    });
}

#[test]
fn timers_and_blocking_calls_work_on_each_worker() {
    let slept = with(3, || {
        let body = || {
            let start = Instant::now();
            sleep(Duration::from_millis(20)).unwrap();
            let answer = cede::blocking::unblock(|| 7);
            (start.elapsed() >= Duration::from_millis(20), answer)
        };
        let mut tasks: Vec<_> = (0..30).map(|n| Builder::new().on(n % 3).spawn_anywhere(body).unwrap()).collect();
        tasks.iter_mut().map(|task| task.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(slept.iter().all(|outcome| *outcome == (true, 7)));
}

#[test]
fn cancels_cross_workers() {
    with(2, || {
        let (ready, is_ready) = bounded::<()>(1);
        let body = move || {
            ready.send(()).unwrap();
            task::park("a message").is_err()
        };
        let mut task = Builder::new().on(1).spawn_anywhere(body).unwrap();
        is_ready.recv().unwrap();
        assert!(task.cancel());
        assert!(task.join().unwrap());
        assert!(!task.cancel());
    });
}

#[test]
fn metrics_and_dumps_cover_all_workers() {
    with(3, || {
        let handle = Handle::current();
        let (ready, is_ready) = unbounded::<()>();
        let lock = Arc::new(cede::sync::Mutex::new(()));
        let spawn = |n: usize| {
            let (ready, lock) = (ready.clone(), Arc::clone(&lock));
            let body = move || {
                ready.send(()).unwrap();
                drop(lock.lock());
            };
            Builder::new().on(n).name(format!("locker {n}")).spawn_anywhere(body).unwrap()
        };
        let held = lock.lock().unwrap();
        let tasks = [0, 1, 2].map(spawn);
        tasks.iter().for_each(|_| is_ready.recv().unwrap());
        let mut joiner = Builder::new().on(1).spawn_anywhere({
            let mut awaited = tasks.into_iter();
            move || awaited.by_ref().for_each(|mut task| task.join().unwrap())
        });
        sleep(Duration::from_millis(20)).unwrap();
        let metrics = handle.metrics();
        assert_eq!((metrics.spawned, metrics.live, metrics.ended), (4, 4, 0));
        let dump = handle.dump();
        let of = |name: &str| dump.tasks.iter().find(|one| one.task.name() == Some(name)).unwrap();
        for n in [0, 1, 2] {
            assert_eq!(of(&format!("locker {n}")).held_by.as_ref().and_then(|task| task.name()), Some("main"));
        }
        let join = dump.tasks.iter().find(|one| one.task.name().is_none()).unwrap();
        assert_eq!(join.on.as_ref().and_then(|task| task.name()), Some("locker 0"));
        let text = dump.to_string();
        assert!(text.contains("@1), waiting: a task to end: 'locker 0' (#"), "{text}");
        assert_eq!(dump.late_workers, [0; 0]);
        drop(held);
        joiner.as_mut().unwrap().join().unwrap();
        // From a plain thread.
        let thread = thread::spawn(move || (handle.metrics().ended, handle.dump().tasks.len()));
        assert_eq!(cede::blocking::unblock(|| thread.join().unwrap()), (4, 3));
    });
}

#[test]
fn late_worker_is_named() {
    with(2, || {
        let (began, has_begun) = unbounded::<()>();
        let stop = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::clone(&stop);
        let busy = move || {
            began.send(()).unwrap();
            while stopped.load(Relaxed) == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        };
        let mut busy = Builder::new().on(1).spawn_anywhere(busy).unwrap();
        has_begun.recv().unwrap();
        let dump = Handle::current().dump();
        assert_eq!(dump.late_workers, [1]);
        assert!(dump.to_string().contains("worker 1 has not answered"), "{dump}");
        stop.store(1, Relaxed);
        busy.join().unwrap();
    });
}

#[test]
fn slow_turns_of_all_workers_are_reported() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&seen);
    Config::new()
        .workers(3)
        .report_slow_turns(Duration::from_millis(20))
        .on_slow_turn(move |slow| hook.lock().unwrap().extend(slow.task.clone()))
        .run(|| {
            let compute = || {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(300) {}
            };
            let spawn = |n: usize| Builder::new().on(n).name(format!("slow {n}")).spawn_anywhere(compute).unwrap();
            [1, 2].map(spawn).iter_mut().for_each(|task| task.join().unwrap());
        })
        .unwrap();
    let seen = seen.lock().unwrap();
    for name in ["slow 1", "slow 2"] {
        assert!(seen.iter().any(|task| task.name() == Some(name)), "{name} is not in {seen:?}");
    }
}

#[test]
fn combinators_take_remote_handles() {
    use cede::task::{When, as_completed, join_all, race, try_join_all, wait};
    with(3, || {
        let on = |n: usize, ms: u64| {
            Builder::new().on(n).spawn_anywhere(move || sleep(Duration::from_millis(ms)).map(|()| n)).unwrap()
        };
        let all = join_all([on(2, 5), on(1, 1), on(0, 3)]);
        assert_eq!(all.into_iter().map(|one| one.unwrap().unwrap()).collect::<Vec<_>>(), [2, 1, 0]);
        let mut order = as_completed([on(2, 400), on(1, 200), on(0, 1)]).map(|done| done.place).collect::<Vec<_>>();
        assert_eq!(order, [2, 1, 0]);
        // One that has ended before the call.
        let mut first = [on(1, 0), on(2, 10_000)];
        sleep(Duration::from_millis(30)).unwrap();
        let waited = wait(&mut first, When::First, None).unwrap();
        assert_eq!((waited.done, waited.pending), (vec![0], vec![1]));
        // A wait that ends early leaves its watch behind, and the next one replaces it.
        let waited = wait(&mut first, When::All, Some(Duration::from_millis(5))).unwrap();
        assert_eq!(waited.pending, [1]);
        let race = race([on(1, 10_000), on(2, 1)]);
        assert_eq!((race.winner, race.result.unwrap().unwrap()), (1, 2));
        // The loser was cancelled in its sleep, or before its first turn.
        assert!(matches!(race.losers[0].1, Ok(Err(_)) | Err(task::JoinError::Cancelled)), "{:?}", race.losers);
        let fails =
            |n: usize| Builder::new().on(n).spawn_anywhere(move || if n == 2 { Err(n) } else { Ok(n) }).unwrap();
        let error = try_join_all([fails(1), fails(2)]).unwrap_err();
        assert_eq!(error.failures[0].0, 1);
        let (left, right) = cede::join!(on(1, 1), on(2, 1));
        order = vec![left.unwrap().unwrap(), right.unwrap().unwrap()];
        assert_eq!(order, [1, 2]);
        first[1].cancel();
    });
    // A plain thread joins them, too.
    let tasks = with(2, || {
        let mut tasks = [spawn_anywhere(|| 1), spawn_anywhere(|| 2)];
        tasks.iter_mut().for_each(|task| {
            while !task.is_finished() {
                yield_now()
            }
        });
        tasks
    });
    assert_eq!(task::join_all(tasks).into_iter().map(Result::unwrap).sum::<i32>(), 3);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn first_error_of_remote_tasks_ends_a_wait() {
    use cede::task::{When, wait};
    with(2, || {
        let ok = spawn_anywhere(|| task::park("a friend").is_err());
        let panics = Builder::new().on(1).spawn_anywhere(|| panic!("planned")).unwrap();
        let mut tasks = [ok, panics];
        let waited = wait(&mut tasks, When::FirstError, None).unwrap();
        assert_eq!(waited.done, [1]);
        assert!(tasks[1].join().is_err());
        tasks[0].cancel();
    });
}
