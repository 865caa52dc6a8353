//! Benchmarks of the turns of tasks, as multiples of one corosensei round trip in the same process:
//!
//! cargo run --release -p cede-benches --bin tasks -- [--quick]
//!
//! An iteration is `yield_now()` and the work of the body; spawning is not measured. Bodies: `registers` keeps no state across
//! a switch; `stack` counts in one volatile local, so it touches one cache line of its stack; `three deep` yields from three
//! calls down, where every return after a switch is mispredicted. `shuffled` is `stack` with the run queue in random order. A
//! million tasks have stacks of 16 KiB each, fewer tasks have 64 KiB.

use cede::task::{Unparker, park};
use cede::{Config, yield_now};
use cede_benches::{futex_hand_over, round_trip, take_turns, timed};
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// Bodies run while this is set. A static, because a body that keeps its state in registers has no place for a pointer.
static GO: AtomicBool = AtomicBool::new(true);

fn registers() {
    while GO.load(Relaxed) {
        yield_now();
    }
}

fn stack() {
    let mut turns = 0u64;
    while GO.load(Relaxed) {
        let turns = &raw mut turns;
        // SAFETY: the pointer is to a local of this function, which is alive and has no other accesses meanwhile.
        unsafe { turns.write_volatile(turns.read_volatile() + 1) };
        yield_now();
    }
}

#[inline(never)]
fn deep(level: u32) -> u32 {
    if level == 0 {
        yield_now();
        return 0;
    }
    black_box(deep(level - 1)) + 1
}

fn three_deep() {
    while GO.load(Relaxed) {
        black_box(deep(3));
    }
}

/// The order of the run queue.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    AsSpawned,
    Shuffled,
}

/// Returns the nanoseconds of one turn of one of `n` tasks.
fn turn(n: usize, body: fn(), order: Order) -> f64 {
    let size = if n >= 1_000_000 { 16 * 1024 } else { 64 * 1024 };
    let rounds = (1_000_000 / n).max(4);
    let measured = Config::new().stack_size(size).run(|| {
        GO.store(true, Relaxed);
        let parked: Rc<RefCell<Vec<Unparker>>> = Rc::default();
        for _ in 0..n - 1 {
            if order == Order::Shuffled {
                let parked = Rc::clone(&parked);
                cede::spawn(move || {
                    parked.borrow_mut().push(Unparker::current());
                    let _ = park("the start");
                    body();
                });
            } else {
                cede::spawn(body);
            }
        }
        yield_now();
        wake_shuffled(parked.take());
        yield_now();
        let start = Instant::now();
        for _ in 0..rounds {
            yield_now();
        }
        let turn = start.elapsed().as_nanos() as f64 / (rounds * n) as f64;
        GO.store(false, Relaxed);
        turn
    });
    measured.expect("no deadlock, and enough stacks")
}

fn wake_shuffled(mut parked: Vec<Unparker>) {
    cede_benches::shuffle(&mut parked);
    parked.iter().for_each(Unparker::unpark);
}

/// Measures spawning and joining an empty task, one after another. Returns nanoseconds per task.
fn spawn_join() -> f64 {
    const N: u32 = 100_000;
    cede::run(|| {
        let start = Instant::now();
        for i in 0..N {
            black_box(cede::spawn(move || i + 1).join().expect("the task does not panic"));
        }
        start.elapsed().as_nanos() as f64 / f64::from(N)
    })
}

/// Measures spawning 100,000 empty tasks and then joining them, with a stack pool that keeps up to `kept` stacks of two pages.
/// Returns nanoseconds per task.
fn spawn_outstanding(kept: usize) -> f64 {
    const N: u32 = 100_000;
    let usual = cede::stack::pool_limit();
    cede::stack::set_pool_limit(kept * 8192);
    let each = cede::run(|| {
        let start = Instant::now();
        let mut all: Vec<_> = (0..N).map(|i| cede::spawn(move || i + 1)).collect();
        all.iter_mut().for_each(|task| assert!(task.join().is_ok()));
        start.elapsed().as_nanos() as f64 / f64::from(N)
    });
    cede::stack::set_pool_limit(usual);
    each
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    for n in [2, 100, 10_000, 100_000, 1_000_000] {
        let rounds = match n {
            1_000_000 => 5,
            100_000 => 7,
            _ => 15,
        };
        if quick && n > 10_000 {
            continue;
        }
        let mut cases = vec![
            round_trip(),
            timed("registers", move || turn(n, registers, Order::AsSpawned)),
            timed("stack", move || turn(n, stack, Order::AsSpawned)),
            timed("three deep", move || turn(n, three_deep, Order::AsSpawned)),
        ];
        if n > 2 {
            cases.push(timed("stack, shuffled", move || turn(n, stack, Order::Shuffled)));
        }
        cede_benches::print(&format!("one turn of {n} tasks"), &take_turns(rounds, cases));
    }
    let cases = vec![
        round_trip(),
        timed("spawn + join, one after another", spawn_join),
        timed("spawn + join, 100,000 outstanding", || spawn_outstanding(1024)),
        timed("the same, all stacks keep their memory", || {
            spawn_outstanding(100_000); // fills the stack pool
            spawn_outstanding(100_000)
        }),
        timed("turn of 2 tasks", || turn(2, registers, Order::AsSpawned)),
        timed("OS threads, futex hand-over one way", || futex_hand_over(20_000) / 2.0),
    ];
    cede_benches::print("spawning, and threads beside a turn", &take_turns(9, cases));
}
