//! Runs whose order of turns is permuted by a seed, and the storm that they are for: a million tasks (100,000 in debug builds),
//! of which one in ten is cancelled in a random wait, and one in a hundred panics.
//!
//! `CEDE_SEED=n` runs the storm with another seed, `CEDE_TASKS=n` with another number of tasks.

mod common;

use cede::task::{self, Unparker, park};
use cede::time::sleep;
use cede::{Config, JoinError, JoinHandle, gather, race, scope, shield, spawn, timeout, yield_now};
use common::child::in_child;
use common::{emulated, rounds, s};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

// ---- the order

/// In which order eight tasks take three turns each.
fn order(config: Config) -> Vec<u32> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let inner = Rc::clone(&log);
    let task = move |n: u32| {
        let log = Rc::clone(&inner);
        spawn(move || {
            for _ in 0..3 {
                log.borrow_mut().push(n);
                yield_now();
            }
        })
    };
    config.run(|| gather((0..8).map(task).collect::<Vec<_>>()).len()).unwrap();
    log.take()
}

#[test]
fn a_seed_permutes_the_turns_and_always_in_the_same_way() {
    let strict: Vec<u32> = (0..3).flat_map(|_| 0..8).collect();
    assert_eq!(order(Config::new()), strict);
    let mut seen = BTreeSet::new();
    for seed in (0..100).chain([u64::MAX, 1 << 63]) {
        let once = order(Config::new().seed(seed));
        assert_eq!(once, order(Config::new().seed(seed)), "seed {seed}");
        let mut sorted = once.clone();
        sorted.sort();
        assert_eq!(sorted.chunks(3).map(|three| three[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7], "all turns");
        seen.insert(once);
    }
    assert!(seen.len() > 98, "{} orders of 102", seen.len());
}

#[test]
fn a_seed_also_permutes_who_is_woken_and_whose_time_has_come() {
    let woken = |seed: u64| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let inner = Rc::clone(&log);
        let run = Config::new().paused_clock(true).seed(seed).run(move || {
            let tasks = (0..6).map(|n| {
                let log = Rc::clone(&inner);
                spawn(move || {
                    sleep(s(1)).unwrap();
                    log.borrow_mut().push(n);
                })
            });
            gather(tasks.collect::<Vec<_>>()).len()
        });
        assert_eq!(run.unwrap(), 6);
        log.take()
    };
    assert_eq!(woken(3), woken(3));
    // Of 720 orders; a single permuted turn would make 6 of them.
    let orders: BTreeSet<_> = (0..40).map(woken).collect();
    assert!(orders.len() > 30, "{} orders of 40 seeds", orders.len());
}

#[test]
fn nobody_starves_under_a_seed() {
    Config::new()
        .seed(5)
        .run(|| {
            let busy = spawn(|| {
                while !task::is_cancelled() {
                    yield_now();
                }
            });
            for _ in 0..1000 {
                let mut task = spawn(|| rounds(3));
                task.join().unwrap();
            }
            busy.cancel();
        })
        .unwrap();
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn the_seed_of_a_run_that_fails_is_told() {
    let name = "the_seed_of_a_run_that_fails_is_told";
    let text = in_child(name, || {
        std::panic::set_hook(Box::new(|_| {}));
        let seeded = |seed| Config::new().seed(seed).closed_world(true);
        assert_eq!(seeded(1).run(|| 7).unwrap(), 7);
        seeded(2).run(|| drop(spawn(|| ()).join())).unwrap();
        eprintln!("main panics");
        assert!(common::caught(|| seeded(3).run(|| panic!("main")).is_ok()).is_err());
        eprintln!("nobody joins");
        seeded(4)
            .run(|| {
                spawn(|| panic!("task"));
                rounds(3);
            })
            .unwrap();
        eprintln!("deadlock");
        assert!(seeded(5).run(|| park("nobody")).is_err());
    });
    let told = |seed: u32| format!("cede: that run was permuted: Config::seed({seed}) repeats it\n");
    let line = "cede: task #3 panicked and was not joined: task\n";
    let expected =
        format!("main panics\n{}nobody joins\n{line}{}deadlock\n{}exit code Some(0)", told(3), told(4), told(5));
    assert_eq!(text, expected);
}

// ---- the storm

/// xorshift64, Marsaglia 2003
fn shake(state: &Cell<u64>, below: u64) -> u64 {
    let mut x = state.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    state.set(x);
    x % below
}

/// What all tasks of a storm share.
struct World {
    random: Cell<u64>,
    /// A hash over everything that was noted, in order.
    trace: Cell<u64>,
    /// How often each task's values were dropped: captured, local, result.
    drops: RefCell<Vec<[u8; 3]>>,
    /// Of helpers: made, and dropped.
    helpers: Cell<(u64, u64)>,
    parked: RefCell<Vec<Unparker>>,
    /// Nobody parks any more.
    over: Cell<bool>,
    /// Taken by every task, but by nobody over a wait.
    shared: Mutex<u64>,
}

/// Counts its drop.
struct Value {
    world: Rc<World>,
    task: usize,
    kind: usize,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.world.drops.borrow_mut()[self.task][self.kind] += 1;
        self.world.note(self.task as u64, 10 + self.kind as u64);
    }
}

struct Helper(Rc<World>);

impl Drop for Helper {
    fn drop(&mut self) {
        let (made, dropped) = self.0.helpers.get();
        self.0.helpers.set((made, dropped + 1));
    }
}

impl World {
    fn note(&self, who: u64, what: u64) {
        // FNV-1a
        let word = who << 8 | what;
        self.trace.set((self.trace.get() ^ word).wrapping_mul(0x0100_0000_01b3));
    }

    fn value(self: &Rc<World>, task: usize, kind: usize) -> Value {
        Value { world: Rc::clone(self), task, kind }
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(shake(&self.random, 20))
    }

    /// A task beside: it sleeps.
    fn helper(self: &Rc<World>) -> impl FnOnce() + use<> {
        let (made, dropped) = self.helpers.get();
        self.helpers.set((made + 1, dropped));
        let (helper, pause) = (Helper(Rc::clone(self)), self.pause());
        move || {
            let _helper = helper;
            let _ = sleep(pause);
        }
    }

    /// One wait, of a random kind. Whether a cancel cut it short.
    fn wait(self: &Rc<World>, kind: u64) -> bool {
        match kind {
            0 if self.over.get() => task::check().is_err(),
            0 => {
                self.parked.borrow_mut().push(Unparker::current());
                park("a wake").is_err()
            }
            1 => sleep(self.pause()).is_err(),
            2 => matches!(spawn(self.helper()).join(), Err(JoinError::Interrupted)),
            3 => self.wait_in_scope(),
            4 => {
                shield(|| sleep(self.pause())).expect("it is shielded");
                task::check().is_err()
            }
            5 => {
                let (limit, pause) = (self.pause(), self.pause());
                match timeout(limit, || sleep(pause)) {
                    Ok(told) => told.is_err(),
                    Err(late) => {
                        assert!(late.value.is_err() && limit <= pause);
                        false
                    }
                }
            }
            6 => {
                let results = gather([spawn(self.helper()), spawn(self.helper())]);
                assert!(results.iter().all(|result| !matches!(result, Err(JoinError::Interrupted))));
                task::check().is_err()
            }
            _ => race([spawn(self.helper()), spawn(self.helper())]).losers.len() != 1 || task::check().is_err(),
        }
    }

    fn wait_in_scope(self: &Rc<World>) -> bool {
        let before = self.helpers.get();
        let ended = Cell::new(0);
        let value = scope(|scope| {
            for _ in 0..2 {
                let (helper, ended) = (self.helper(), common::witness::AtEnd(|| ended.set(ended.get() + 1)));
                scope.spawn(move || {
                    let _ended = ended;
                    helper();
                });
            }
            sleep(self.pause()).is_err()
        });
        assert_eq!(ended.get(), 2, "both have ended");
        assert!(self.helpers.get().1 >= before.1 + 2);
        value.expect("no helper fails")
    }
}

/// What a task of the storm does. Its result says whether it was cut short.
fn body(world: &Rc<World>, task: usize, locks: &[Mutex<u32>], panics: bool) -> (bool, Value) {
    let _local = world.value(task, 1);
    world.note(task as u64, 1);
    *world.shared.lock().expect("it is not poisoned") += 1;
    let kind = shake(&world.random, 8);
    if panics && kind < 4 {
        resume_unwind(Box::new(task));
    }
    // A lock of its own is held over the wait: a cancel is no panic.
    let mut lock = locks[task % locks.len()].lock().expect("it is not poisoned");
    let cut = world.wait(kind);
    *lock += 1;
    drop(lock);
    world.note(task as u64, 2 + u64::from(cut));
    if panics {
        resume_unwind(Box::new(task));
    }
    (cut, world.value(task, 2))
}

#[derive(Default, Debug, PartialEq)]
struct Counts {
    ended: u64,
    cut_short: u64,
    never_ran: u64,
    panicked: u64,
    cancelled: u64,
}

/// One after the other, `waves` of `size` tasks.
fn storm(seed: u64, waves: usize, size: usize) -> (u64, Counts) {
    let world = Rc::new(World {
        random: Cell::new(seed | 1),
        trace: Cell::new(0xcbf2_9ce4_8422_2325),
        drops: RefCell::new(vec![[0; 3]; waves * size]),
        helpers: Cell::default(),
        parked: RefCell::default(),
        over: Cell::new(false),
        shared: Mutex::new(0),
    });
    let mut counts = Counts::default();
    let mut planned = 0;
    let config = Config::new().seed(seed).paused_clock(true);
    config
        .run(|| {
            for wave in 0..waves {
                planned += one_wave(&world, wave * size, size, &mut counts);
            }
        })
        .unwrap();
    let total = (waves * size) as u64;
    assert_eq!(counts.ended + counts.cut_short + counts.never_ran + counts.panicked, total);
    assert_eq!(counts.panicked, planned, "exactly those that were to");
    assert_eq!(*world.shared.lock().expect("it is not poisoned"), total - counts.never_ran, "each ran once or never");
    assert!(counts.cancelled >= counts.cut_short + counts.never_ran);
    let drops = world.drops.borrow();
    let times = |kind: usize| drops.iter().map(|drops| u64::from(drops[kind])).sum::<u64>();
    assert!(drops.iter().all(|drops| drops[0] == 1), "what they captured is dropped once");
    assert!(drops.iter().all(|drops| drops[1] <= 1 && drops[2] <= 1), "and nothing twice");
    assert_eq!((times(1), times(2)), (total - counts.never_ran, counts.ended + counts.cut_short));
    let (made, dropped) = world.helpers.get();
    assert_eq!(made, dropped);
    (world.trace.get(), counts)
}

/// Returns how many were to panic.
fn one_wave(world: &Rc<World>, first: usize, size: usize, counts: &mut Counts) -> u64 {
    let locks: Rc<Vec<Mutex<u32>>> = Rc::new((0..size).map(|_| Mutex::new(0)).collect());
    world.over.set(false);
    let mut planned = 0;
    let mut victims: Vec<Vec<usize>> = vec![Vec::new(); 40];
    let mut tasks: Vec<JoinHandle<(bool, Value)>> = (first..first + size)
        .map(|task| {
            let lot = shake(&world.random, 100);
            let panics = lot == 0 && cfg!(panic = "unwind");
            planned += u64::from(panics);
            if (1..11).contains(&lot) {
                victims[shake(&world.random, 40) as usize].push(task - first);
            }
            let (world, locks, captured) = (Rc::clone(world), Rc::clone(&locks), world.value(task, 0));
            spawn(move || {
                let _captured = captured;
                body(&world, task, &locks, panics)
            })
        })
        .collect();
    for victims in victims {
        for victim in victims {
            counts.cancelled += u64::from(tasks[victim].cancel());
        }
        world.parked.borrow_mut().drain(..).filter(|_| shake(&world.random, 2) == 0).for_each(|one| one.unpark());
        if shake(&world.random, 2) == 0 { yield_now() } else { sleep(Duration::from_millis(1)).unwrap() }
    }
    // Those whose unparker was dropped above are still parked: their cancel is all that is left.
    world.over.set(true);
    for task in &tasks {
        if task.state() == task::TaskState::Waiting("a wake".into()) {
            counts.cancelled += u64::from(task.cancel());
        }
    }
    for task in &mut tasks {
        match task.join() {
            Ok((false, _)) => counts.ended += 1,
            Ok((true, _)) => counts.cut_short += 1,
            Err(JoinError::Cancelled) => counts.never_ran += 1,
            Err(JoinError::Panicked(_)) => counts.panicked += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(locks.iter().all(|lock| !lock.is_poisoned()));
    planned
}

#[test]
fn p8_a_million_tasks_cancelled_and_panicking_at_random_leave_everything_in_order() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let total = match () {
        () if emulated() => 5_000,
        () if cfg!(debug_assertions) => 100_000,
        () => 1_000_000,
    };
    let total = number("CEDE_TASKS").unwrap_or(total) as usize;
    let seed = number("CEDE_SEED").unwrap_or(4);
    let (_, counts) = storm(seed, total.div_ceil(1000), 1000);
    println!("{counts:?} with seed {seed}");
    let share = |count: u64| count as f64 / total as f64;
    assert!(share(counts.cancelled) > 0.05 && share(counts.cut_short) > 0.03, "{counts:?}");
}

#[test]
fn a_storm_with_the_same_seed_goes_the_same_way_and_with_another_one_it_does_not() {
    let first = storm(7, 3, 500);
    assert_eq!(first, storm(7, 3, 500));
    assert_ne!(first.0, storm(8, 3, 500).0);
}
