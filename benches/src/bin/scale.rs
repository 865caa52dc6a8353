//! Benchmarks of many tasks: turns by the size of the stacks, and bursts of tasks that are all alive at once.
//!
//! cargo run --release -p cede-benches --bin scale -- [turns | bursts] [rounds [tasks]]
//!
//! `turns` (9 rounds, 100,000 tasks): the nanoseconds of one turn, in the fastest round, of a task that touches one line of its stack, in the order of the spawns
//! and shuffled. `bursts`: the nanoseconds and the page faults of each task of a burst, for the first and the next bursts of a process, with
//! tasks that end in their first turn and tasks that wait once. All times are those of the core, not of the clock.

use cede::task::{Unparker, park};
use cede::{Config, yield_now};
use cede_benches::{print, take_turns, timed};
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Bodies run while this is set.
static GO: AtomicBool = AtomicBool::new(true);

/// Counts in one volatile local, which is one line of the stack.
fn body() {
    let mut turns = 0u64;
    while GO.load(Relaxed) {
        let turns = &raw mut turns;
        // SAFETY: the pointer is to a local of this function, which is alive and has no other accesses meanwhile.
        unsafe { turns.write_volatile(turns.read_volatile() + 1) };
        yield_now();
    }
}

/// Returns the time that this thread has used a core, in nanoseconds: with other load on the machine, it varies less than the clock.
fn used() -> f64 {
    // SAFETY: an all-zero timespec is valid, and clock_gettime only writes to it.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
        time
    };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Returns the nanoseconds of one turn of one of `n` tasks with stacks of `size` bytes, in the fastest round.
fn turn(n: usize, size: usize, shuffled: bool) -> f64 {
    let rounds = (4_000_000 / n).max(4);
    let measured = Config::new().stack_size(size).run(|| {
        GO.store(true, Relaxed);
        let parked: Rc<RefCell<Vec<Unparker>>> = Rc::default();
        for _ in 0..n - 1 {
            let parked = Rc::clone(&parked);
            cede::spawn(move || {
                if shuffled {
                    parked.borrow_mut().push(Unparker::current());
                    let _ = park("the start");
                }
                body();
            });
        }
        yield_now();
        let mut parked = parked.take();
        cede_benches::shuffle(&mut parked);
        parked.iter().for_each(Unparker::unpark);
        yield_now();
        let round = |_| {
            let start = used();
            yield_now();
            (used() - start) / n as f64
        };
        let turn = (0..rounds).map(round).fold(f64::MAX, f64::min);
        GO.store(false, Relaxed);
        turn
    });
    measured.expect("no deadlock, and enough stacks")
}

fn turns(rounds: usize, n: usize) {
    let mut cases = Vec::new();
    for shuffled in [false, true] {
        for size in [16, 28, 64] {
            let name = format!("{size} KiB{}", if shuffled { ", shuffled" } else { "" });
            cases.push(timed(&name, move || turn(n, size * 1024, shuffled)));
        }
    }
    print(&format!("one turn of {n} tasks"), &take_turns(rounds, cases));
}

/// Returns the number of page faults of this process.
fn faults() -> i64 {
    // SAFETY: an all-zero rusage is valid, and getrusage only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    usage.ru_minflt
}

/// Spawns `n` tasks and joins them. Returns the nanoseconds and page faults of each.
fn burst(n: usize, waits: bool) -> (f64, f64) {
    let (start, before) = (used(), faults());
    let mut all: Vec<_> = (0..n)
        .map(|i| {
            cede::spawn(move || {
                if waits {
                    yield_now();
                }
                i
            })
        })
        .collect();
    for task in &mut all {
        black_box(task.join().expect("it returns"));
    }
    ((used() - start) / n as f64, (faults() - before) as f64 / n as f64)
}

fn bursts(rounds: usize, n: usize) {
    for waits in [false, true] {
        println!("bursts of {n} tasks that {}", if waits { "wait once" } else { "end in their first turn" });
        let all: Vec<_> = cede::run(|| (0..rounds).map(|_| burst(n, waits)).collect());
        let (times, faults): (Vec<_>, Vec<_>) =
            all.iter().map(|(time, faults)| (*time as u64, (faults * 1000.0).round() / 1000.0)).unzip();
        println!("  ns a task:     {times:?}\n  faults a task: {faults:?}\n  {:?}", cede::stack::stats());
    }
}

fn main() {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| all.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (rounds, n) = (number(1, 9), number(2, 100_000));
    match all.first().map(String::as_str) {
        Some("turns") => turns(rounds, n),
        Some("bursts") => bursts(rounds, n),
        _ => {
            turns(rounds, n);
            bursts(rounds, n);
        }
    }
}
