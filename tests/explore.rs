//! The search for a schedule that fails: bugs that a single order hides are found, and their seeds repeat the run.

mod common;

use cede::sync::{Mutex, Notify, channel};
use cede::task::park;
use cede::{Config, JoinHandle, RunError, RunFailure, WorkersError, join_all, spawn, yield_now};
use common::{caught, panic_text};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The number of runs within which each planted bug is found.
const RUNS: u64 = 20_000;

/// A program: returns whether it went wrong.
type Program = fn() -> bool;

fn steps(n: usize) {
    (0..n).for_each(|_| yield_now());
}

fn all(tasks: Vec<JoinHandle<()>>) {
    join_all(tasks).into_iter().for_each(|end| end.unwrap());
}

/// A value is used before it is made, if its maker has no turn for 20 steps of the user.
fn late_maker() -> bool {
    let (made, wrong) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (maker, user) = (Rc::clone(&made), Rc::clone(&wrong));
    all(vec![
        spawn(move || maker.set(true)),
        spawn(move || {
            steps(20);
            user.set(!made.get());
        }),
    ]);
    wrong.get()
}

/// A check, then an act, and in between the only step of another task that matters; six more tasks only work.
fn check_then_act() -> bool {
    let (open, wrong) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(false)));
    let (door, out) = (Rc::clone(&open), Rc::clone(&wrong));
    let mut tasks = vec![
        spawn(move || {
            steps(20);
            open.set(false);
        }),
        spawn(move || {
            steps(20);
            if door.get() {
                yield_now();
                out.set(!door.get());
            }
        }),
    ];
    tasks.extend((0..6).map(|_| spawn(|| steps(20))));
    all(tasks);
    wrong.get()
}

/// Two such windows, one after the other.
fn two_windows() -> bool {
    let (x, wrong) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (reads, out) = (Rc::clone(&x), Rc::clone(&wrong));
    let mut tasks = vec![
        spawn(move || {
            steps(10);
            let a = reads.get();
            yield_now();
            let b = reads.get();
            yield_now();
            out.set((a, b, reads.get()) == (0, 1, 2));
        }),
        spawn(move || {
            steps(10);
            x.set(1);
            steps(10);
            x.set(2);
        }),
    ];
    tasks.extend((0..2).map(|_| spawn(|| steps(10))));
    all(tasks);
    wrong.get()
}

/// A check and an act under the same lock, which is free in between. No operation has to wait in the order of a plain run.
fn lock_let_go() -> bool {
    let (balance, least) = (Rc::new(Mutex::new(100)), Rc::new(Cell::new(i32::MAX)));
    let withdraw = || {
        let (balance, least) = (Rc::clone(&balance), Rc::clone(&least));
        spawn(move || {
            let enough = *balance.lock().unwrap() >= 80;
            if enough {
                *balance.lock().unwrap() -= 80;
            }
            least.set(least.get().min(*balance.lock().unwrap()));
        })
    };
    all(vec![withdraw(), withdraw()]);
    least.get() < 0
}

fn assert_right(program: Program) {
    assert!(!program(), "it went wrong");
}

/// Each bug is found, and its seed repeats it every time.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn planted_bugs_are_found_and_replayed() {
    let programs: [(&str, Program); 4] = [
        ("late maker", late_maker),
        ("check, then act", check_then_act),
        ("two windows", two_windows),
        ("a lock let go", lock_let_go),
    ];
    for (name, program) in programs {
        Config::new().run(|| assert_right(program)).unwrap();
        let found = Config::new().explore(0..RUNS, || assert_right(program)).unwrap_err();
        println!("{name}: {found}");
        assert!(found.runs <= RUNS && matches!(&found.failure, RunFailure::Panic(_)), "{name}: {found}");
        for _ in 0..10 {
            let repeated = caught(|| Config::new().replay(found.seed).run(|| assert_right(program)));
            assert_eq!(panic_text(repeated), "it went wrong", "{name}");
        }
    }
}

/// A seed repeats the order of all turns, and different seeds differ.
#[test]
fn seed_repeats_the_whole_run() {
    let log = |seed| {
        Config::new().replay(seed).run(|| {
            let log = Rc::new(RefCell::new(Vec::new()));
            let (sender, receiver) = channel::bounded(2);
            let tasks: Vec<_> = (0..5)
                .map(|n| {
                    let (log, sender) = (Rc::clone(&log), sender.clone());
                    spawn(move || {
                        for k in 0..5 {
                            log.borrow_mut().push((n, k));
                            sender.send(n).unwrap();
                        }
                    })
                })
                .collect();
            drop(sender);
            let received: Vec<i32> = receiver.into_iter().collect();
            all(tasks);
            (log.take(), received)
        })
    };
    let first: Vec<_> = (0..12).map(|seed| log(seed).unwrap()).collect();
    assert!((0..12).all(|seed| log(seed).unwrap() == first[seed as usize]));
    assert!(first.iter().any(|one| *one != first[0]));
}

/// A program without a bug passes all runs. Each run has its own order.
#[test]
fn program_without_a_bug_passes() {
    let orders = RefCell::new(std::collections::HashSet::new());
    let runs = Config::new().explore(5..105, || {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks = (0..5).map(|n| {
            let order = Rc::clone(&order);
            spawn(move || order.borrow_mut().push(n))
        });
        all(tasks.collect());
        orders.borrow_mut().insert(order.take());
    });
    assert_eq!(runs.unwrap(), 100);
    assert!(orders.borrow().len() > 20, "{}", orders.borrow().len());
}

/// A lost wakeup is a deadlock in some orders.
#[test]
fn deadlock_is_found() {
    let program = || {
        let notify = Rc::new(Notify::new());
        let ready = Rc::new(Cell::new(false));
        let mut waiter = {
            let (notify, ready) = (Rc::clone(&notify), Rc::clone(&ready));
            spawn(move || {
                if !ready.get() {
                    yield_now();
                    let _ = notify.notified();
                }
            })
        };
        yield_now();
        ready.set(true);
        notify.notify_waiters(); // no task waits yet, and no permit is kept
        let _ = waiter.join();
    };
    let found = Config::new().closed_world(true).explore(0..RUNS, program).unwrap_err();
    assert!(matches!(&found.failure, RunFailure::Run(RunError::Deadlock { .. })), "{found}");
    assert!(found.to_string().contains("waits for"), "{found}");
    assert!(matches!(Config::new().closed_world(true).replay(found.seed).run(program), Err(RunError::Deadlock { .. })));
}

/// The panic of a task that is not joined fails the run, and the hook of the user is called too.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn unjoined_panic_is_found() {
    let told = Rc::new(Cell::new(0));
    let hook = Rc::clone(&told);
    let found = Config::new().on_unhandled_panic(move |_, _| hook.set(hook.get() + 1)).explore(0..10, || {
        drop(spawn(|| panic!("lost")));
        yield_now();
        steps(3);
    });
    let found = found.unwrap_err();
    assert!(matches!(&found.failure, RunFailure::Unjoined { text, .. } if text == "lost"), "{found}");
    assert_eq!(told.get(), 1);
}

/// Tasks that wait in a loop for another one let it run at last.
#[test]
fn loop_that_waits_for_another_task_ends() {
    let runs = Config::new().explore(0..60, || {
        let done = Rc::new(Cell::new(false));
        let own = Rc::clone(&done);
        let mut waits = spawn(move || {
            while !own.get() {
                yield_now();
            }
        });
        let mut sets = spawn(move || {
            steps(5);
            done.set(true);
        });
        waits.join().unwrap();
        sets.join().unwrap();
    });
    assert_eq!(runs.unwrap(), 60);
}

/// Sleeps end in the order of their deadlines, by a clock that is paused.
#[test]
fn sleeps_take_no_time() {
    let runs = Config::new().explore(0..60, || {
        let mut sleeps: Vec<_> =
            (1..4).map(|n| spawn(move || cede::time::sleep(std::time::Duration::from_secs(n * 3600)))).collect();
        sleeps.iter_mut().for_each(|task| task.join().unwrap().unwrap());
    });
    assert_eq!(runs.unwrap(), 60);
}

#[test]
fn search_needs_one_worker() {
    let found = Config::new().workers(2).explore(0..5, || park("nothing").is_ok()).unwrap_err();
    assert!(matches!(&found.failure, RunFailure::Run(RunError::Workers(WorkersError::Seed { workers: 2 }))), "{found}");
    assert_eq!(found.runs, 1);
}
