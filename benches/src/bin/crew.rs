//! Stress of runs with several workers: looks for lost wakes, lost closures and broken ends.
//!
//! cargo run --release -p cede-benches --bin crew -- [rounds [jobs [seed]]]
//!
//! First `rounds` (30,000) rounds of a few short tasks with 2, 4 and 8 workers, and as many of tasks that borrow and of joins: most find the
//! workers about to sleep. Then `jobs` (40) runs of
//! 100,000 jobs of unequal length with 2 workers. Then programs that a seed generates, with 4 workers: tasks that lock, send, join, sleep and
//! spawn on all workers; none is deadlocked, so a report of a deadlock is a false alarm. A run that makes no progress for 60 s ends the
//! process with an error.

use cede::sync::{Mutex, channel};
use cede::task::{Handle, RemoteHandle, join_anywhere, scope_anywhere, spawn_anywhere};
use cede::time::sleep;
use cede::{Builder, Config, spawn, yield_now};
use std::hint::{black_box, spin_loop};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts the steps of all runs, for the thread that looks for progress.
static STEPS: AtomicU64 = AtomicU64::new(0);

fn step() {
    STEPS.fetch_add(1, Relaxed);
}

/// Ends the process if there is no step within 60 s.
fn watch() {
    std::thread::spawn(|| {
        let mut before = u64::MAX;
        loop {
            let now = STEPS.load(Relaxed);
            if now == before {
                eprintln!("no progress for 60 s after {now} steps");
                exit(1);
            }
            before = now;
            std::thread::sleep(Duration::from_secs(60));
        }
    });
}

fn work(n: u64) -> u64 {
    let mut x = n | 1;
    for _ in 0..n {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x)
}

/// Rounds of one to seven tasks.
fn rounds(count: u64, workers: usize) {
    let main = || {
        for round in 0..count {
            let tasks = 1 + round % 7;
            let body = move |task: u64| {
                (0..(round * 31 + task * 977) % 3000).for_each(|_| spin_loop());
                if round.is_multiple_of(3) {
                    yield_now();
                }
                task
            };
            let mut tasks: Vec<_> = (0..tasks).map(|task| spawn_anywhere(move || body(task))).collect();
            for (n, task) in (0..).zip(&mut tasks) {
                assert_eq!(task.join().unwrap(), n);
            }
            step();
        }
    };
    Config::new().workers(workers).run(main).unwrap();
}

/// Rounds of one to seven tasks that borrow, and of joins.
fn borrowing_rounds(count: u64, workers: usize) {
    let main = || {
        for round in 0..count {
            let (tasks, sum) = (1 + round % 7, AtomicU64::new(0));
            let body = |task: u64| {
                (0..(round * 31 + task * 977) % 3000).for_each(|_| spin_loop());
                if round.is_multiple_of(3) {
                    yield_now();
                }
                sum.fetch_add(task, Relaxed);
            };
            let body = &body;
            scope_anywhere(|s| (0..tasks).for_each(|task| drop(s.spawn(move || body(task))))).unwrap();
            assert_eq!(sum.swap(0, Relaxed), tasks * (tasks - 1) / 2);
            let ((), ((), ())) = join_anywhere(|| body(1), || join_anywhere(|| body(2), || body(3)));
            assert_eq!(sum.into_inner(), 6);
            step();
        }
    };
    Config::new().workers(workers).run(main).unwrap();
}

/// Many jobs, some of them long.
fn jobs(runs: u64) {
    for _ in 0..runs {
        let main = || {
            let length = |n: u64| (n * 7919) % 1000 + if n.is_multiple_of(500) { 100_000 } else { 0 };
            let mut tasks: Vec<_> = (0..100_000).map(|n| spawn_anywhere(move || work(length(n)))).collect();
            for task in &mut tasks {
                task.join().unwrap();
                step();
            }
        };
        Config::new().workers(2).run(main).unwrap();
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % n
    }
}

/// Whatever the tasks of a program share. Locks are taken in the order of their numbers, and every channel has room and a receiver, so no
/// program is deadlocked.
struct Shared {
    locks: [Mutex<u64>; 3],
    sender: channel::Sender<u64>,
}

fn live_task(seed: u64, depth: u32, shared: &Arc<Shared>) -> u64 {
    let mut random = Random(seed | 1);
    let mut children: Vec<RemoteHandle<u64>> = Vec::new();
    let mut sum = 1;
    for _ in 0..random.below(6) {
        match random.below(8) {
            0 => yield_now(),
            1 => sleep(Duration::from_micros(random.below(50))).unwrap(),
            2 => shared.sender.send(1).unwrap(),
            3 => {
                let first = random.below(2) as usize;
                let mut low = shared.locks[first].lock().unwrap();
                if random.below(2) == 0 {
                    yield_now();
                }
                *shared.locks[first + 1].lock().unwrap() += 1;
                *low += 1;
            }
            4 => {
                let own = Arc::clone(shared);
                let seed = random.below(u64::MAX);
                sum += spawn(move || if depth > 0 { live_task(seed, depth - 1, &own) } else { 1 }).join().unwrap();
            }
            5 => drop(work(random.below(3000))),
            _ if depth > 0 => {
                let (own, seed) = (Arc::clone(shared), random.below(u64::MAX));
                let body = move || live_task(seed, depth - 1, &own);
                let worker = random.below(6) as usize;
                children.push(match worker {
                    0..4 => Builder::new().on(worker).spawn_anywhere(body).unwrap(),
                    4 => Handle::current().spawn(body).unwrap(),
                    _ => spawn_anywhere(body),
                });
            }
            _ => {}
        }
        step();
    }
    sum + children.iter_mut().map(|child| child.join().unwrap()).sum::<u64>()
}

fn live_programs(count: u64, seed: u64) {
    let mut random = Random(seed);
    for program in 0..count {
        let seed = random.below(u64::MAX);
        let main = || {
            let (sender, receiver) = channel::bounded(2);
            let shared = Arc::new(Shared { locks: [0, 0, 0].map(Mutex::new), sender });
            let mut drain = spawn_anywhere(move || receiver.iter().count());
            let mut roots: Vec<_> = (0..4)
                .map(|n| {
                    let shared = Arc::clone(&shared);
                    spawn_anywhere(move || live_task(seed.wrapping_add(n), 3, &shared))
                })
                .collect();
            let sum: u64 = roots.iter_mut().map(|root| root.join().unwrap()).sum();
            drop(shared);
            drain.join().unwrap();
            sum
        };
        // A closed world, so that every stall of all workers counts as a deadlock.
        if let Err(error) = Config::new().workers(4).closed_world(true).run(main) {
            eprintln!("program {program} of seed {seed}: {error}");
            exit(1);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let (count, runs) = (arguments.next().unwrap_or(30_000), arguments.next().unwrap_or(40));
    let seed = arguments.next().unwrap_or(0x9e37_79b9);
    watch();
    for workers in [2, 4, 8] {
        rounds(count, workers);
        borrowing_rounds(count, workers);
        println!("{count} rounds with {workers} workers");
    }
    jobs(runs);
    println!("{runs} runs of 100000 jobs");
    live_programs(count / 3, seed);
    println!("{} generated programs with 4 workers, no false alarm", count / 3);
}
