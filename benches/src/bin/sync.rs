//! Benchmarks of locks and queues: uncontended, and by hand-off between tasks of one worker, with threads for comparison.
//!
//! `cargo run --release -p cede-benches --bin sync [-- --quick] [--only TEXT]`. All cases of a table are interleaved. Figures
//! are nanoseconds; ratios are multiples of the first line of each table.
//!
//! In `hand-over` two tasks hold a lock in turn, and each waits for the other: every release is a hand-off to a waiter, which
//! costs one switch between tasks. *Shared* locks were used by another run before, so their bias is revoked.
//!
//! In `contended` threads lock a mutex in a loop, and do some work with the mutex held and as much without it. A figure is the time
//! of all threads together divided by the number of holds.

use cede::sync::{Condvar, Mutex, PriorityQueue, Queue, RwLock, Semaphore};
use cede_benches::{Timed, futex_hand_over, round_trip, take_turns, timed};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// The number of uncontended operations in a round.
const MANY: u32 = 200_000;
/// The number of hand-offs between tasks in a round.
const TASKS: u32 = 100_000;
/// The number of hand-offs between threads in a round.
const THREADS: u32 = 2_000;

/// Calls `f` `n` times. Returns nanoseconds per call.
fn time(n: u32, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..n).for_each(|_| f());
    start.elapsed().as_nanos() as f64 / f64::from(n)
}

/// Like `time`, but in a run.
fn time_in_run(n: u32, f: impl FnMut()) -> f64 {
    cede::run(|| time(n, f))
}

/// Uses `thing` once in a run on another thread. So its biased lock gets an owner there, and the next use by this thread revokes
/// the bias.
fn shared<T: Send + Sync>(thing: T, touch: impl FnOnce(&T) + Send) -> T {
    std::thread::scope(|scope| scope.spawn(|| cede::run(|| touch(&thing))).join().expect("the thread does not panic"));
    thing
}

/// Runs `step` in two tasks of one worker, `TASKS` times in all. Returns nanoseconds per step.
fn two_tasks<T: 'static>(thing: T, step: impl Fn(&T) + Copy + 'static) -> f64 {
    let thing = Arc::new(thing);
    cede::run(|| {
        let inner = Arc::clone(&thing);
        let mut other = cede::spawn(move || (0..TASKS / 2).for_each(|_| step(&inner)));
        let start = Instant::now();
        (0..TASKS / 2).for_each(|_| step(&thing));
        other.join().expect("it steps");
        start.elapsed().as_nanos() as f64 / f64::from(TASKS)
    })
}

/// Runs `step` in two plain threads, `THREADS` times in all. Returns nanoseconds per step.
fn two_threads<T: Send + Sync>(thing: T, step: impl Fn(&T) + Copy + Send + Sync) -> f64 {
    std::thread::scope(|scope| {
        let start = Instant::now();
        scope.spawn(|| (0..THREADS / 2).for_each(|_| step(&thing)));
        (0..THREADS / 2).for_each(|_| step(&thing));
        start.elapsed().as_nanos() as f64 / f64::from(THREADS)
    })
}

/// The time for which threads lock in a loop in a round.
const CONTENDED: Duration = Duration::from_millis(20);

/// Calls `many` in `threads` threads at the same time. It must return, soon after its argument is set, how many steps it made.
/// Returns nanoseconds per step.
fn contend(threads: usize, many: impl Fn(&AtomicBool) -> u64 + Sync) -> f64 {
    let (stop, start) = (AtomicBool::new(false), Barrier::new(threads + 1));
    thread::scope(|scope| {
        let run = || {
            start.wait();
            many(&stop)
        };
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        start.wait();
        let from = Instant::now();
        thread::sleep(CONTENDED);
        stop.store(true, Ordering::Relaxed);
        let steps: u64 = started.into_iter().map(|thread| thread.join().expect("it only steps")).sum();
        from.elapsed().as_nanos() as f64 / steps as f64
    })
}

/// Calls `step` until `stop` is set. Returns the number of calls.
#[inline(always)]
fn count_until(stop: &AtomicBool, mut step: impl FnMut()) -> u64 {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        step();
        count += 1;
    }
    count
}

fn work(amount: u32) {
    (0..amount).for_each(|n| _ = black_box(n));
}

/// Threads that hold the lock for some work, and do as much work without it. `with` calls its argument while it holds the lock.
fn contend_with<T: Sync + 'static>(
    name: &str,
    (threads, amount): (usize, u32),
    new: impl Fn() -> T + 'static,
    with: impl Fn(&T, &dyn Fn()) + Copy + Sync + 'static,
) -> Timed {
    timed(&format!("{name}, {threads} threads, work of {amount}"), move || {
        let lock = new();
        contend(threads, |stop| {
            count_until(stop, || {
                with(&lock, &|| work(amount));
                work(amount);
            })
        })
    })
}

/// What a task does with the mutex held.
#[derive(Clone, Copy, PartialEq)]
enum Hold {
    Work(u32),
    /// Lets the other tasks of its worker have a turn.
    Turn,
}

/// Two runs on two threads, each with 10 tasks.
fn contend_in_runs(hold: Hold) -> f64 {
    let mutex = Arc::new(Mutex::new(0_u64));
    contend(2, |stop| {
        let step = |mutex: &Mutex<u64>| {
            let mut guard = mutex.lock().expect("not cancelled");
            *guard += 1;
            match hold {
                Hold::Work(amount) => work(amount),
                Hold::Turn => cede::yield_now(),
            }
            drop(guard);
            if let Hold::Work(amount) = hold {
                work(amount);
            }
            cede::yield_now();
        };
        cede::run(|| {
            cede::scope(|scope| {
                let tasks: Vec<_> = (0..10).map(|_| scope.spawn(|| count_until(stop, || step(&mutex)))).collect();
                tasks.into_iter().map(|mut task| task.join().expect("it only steps")).sum()
            })
            .expect("no child panics")
        })
    })
}

fn contended() -> Vec<Timed> {
    let mut cases = Vec::new();
    for case in [(2, 0), (2, 100), (2, 1000), (6, 100)] {
        cases.push(contend_with(
            "std::sync::Mutex",
            case,
            || std::sync::Mutex::new(0_u64),
            |mutex, work| {
                let mut guard = mutex.lock().expect("not poisoned");
                *guard += 1;
                work();
            },
        ));
        cases.push(contend_with(
            "parking_lot::Mutex",
            case,
            || parking_lot::Mutex::new(0_u64),
            |mutex, work| {
                let mut guard = mutex.lock();
                *guard += 1;
                work();
            },
        ));
        cases.push(contend_with(
            "Mutex",
            case,
            || Mutex::new(0_u64),
            |mutex, work| {
                let mut guard = mutex.lock().expect("not cancelled");
                *guard += 1;
                work();
            },
        ));
    }
    cases.push(timed("Mutex, 2 runs of 10 tasks, work of 0", || contend_in_runs(Hold::Work(0))));
    cases.push(timed("Mutex, 2 runs of 10 tasks, work of 100", || contend_in_runs(Hold::Work(100))));
    cases.push(timed("Mutex, 2 runs of 10 tasks, held over a turn", || contend_in_runs(Hold::Turn)));
    cases
}

/// Holds the mutex during a turn of the other task, which then waits for it.
#[inline(always)]
fn lock_over_a_turn(mutex: &Mutex<u32>) {
    let mut guard = mutex.lock().expect("not cancelled");
    cede::yield_now();
    *guard += 1;
}

#[inline(always)]
fn permit_over_a_turn(semaphore: &Semaphore) {
    let _permit = semaphore.acquire().expect("not cancelled");
    cede::yield_now();
}

#[inline(always)]
fn write_over_a_turn(lock: &RwLock<u32>) {
    let mut guard = lock.write().expect("not cancelled");
    cede::yield_now();
    *guard += 1;
}

/// Increments the shared number after waiting for the parity `own`, which the other task sets: one switch per call.
#[inline(always)]
fn pass(shared: &(Mutex<u32>, Condvar), own: u32) {
    let mut number =
        shared.1.wait_while(shared.0.lock().expect("not cancelled"), |n| *n % 2 != own).expect("not cancelled");
    *number += 1;
    shared.1.notify_one();
}

fn condvar_tasks() -> f64 {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    cede::run(|| {
        let inner = Arc::clone(&shared);
        let mut other = cede::spawn(move || (0..TASKS / 2).for_each(|_| pass(&inner, 1)));
        let start = Instant::now();
        (0..TASKS / 2).for_each(|_| pass(&shared, 0));
        other.join().expect("it passes");
        start.elapsed().as_nanos() as f64 / f64::from(TASKS)
    })
}

fn condvar_std() -> f64 {
    let shared = (std::sync::Mutex::new(0), std::sync::Condvar::new());
    let pass = |own: u32| {
        let number = shared.0.lock().expect("not poisoned");
        *shared.1.wait_while(number, |n| *n % 2 != own).expect("not poisoned") += 1;
        shared.1.notify_one();
    };
    std::thread::scope(|scope| {
        let start = Instant::now();
        scope.spawn(|| (0..THREADS / 2).for_each(|_| pass(1)));
        (0..THREADS / 2).for_each(|_| pass(0));
        start.elapsed().as_nanos() as f64 / f64::from(THREADS)
    })
}

/// Pushes in one task and pops in another, through a queue of `capacity`. Returns nanoseconds per item.
fn queue_tasks(capacity: usize) -> f64 {
    let queue = Arc::new(Queue::bounded(capacity));
    cede::run(|| {
        let inner = Arc::clone(&queue);
        cede::spawn(move || (0..TASKS).try_for_each(|n| inner.push(n)));
        time(TASKS, || {
            black_box(*queue.pop().expect("it is pushed"));
        })
    })
}

fn queue_threads() -> f64 {
    let queue = Queue::bounded(64);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..10 * THREADS).try_for_each(|n| queue.push(n)).expect("it is popped"));
        time(10 * THREADS, || {
            black_box(*queue.pop().expect("it is pushed"));
        })
    })
}

fn std_channel_threads() -> f64 {
    let (sender, receiver) = std::sync::mpsc::sync_channel(64);
    std::thread::scope(|scope| {
        scope.spawn(move || (0..10 * THREADS).try_for_each(|n| sender.send(n)).expect("it is received"));
        time(10 * THREADS, || {
            black_box(receiver.recv().expect("it is sent"));
        })
    })
}

/// The cases of the hand-over table: those between threads are slow.
#[derive(Clone, Copy, PartialEq)]
enum Cases {
    Tasks,
    TasksAndThreads,
}

fn uncontended() -> Vec<Timed> {
    let lock = |mutex: &Mutex<u32>| *mutex.lock().expect("not cancelled") += 1;
    vec![
        round_trip(),
        timed("Mutex lock + unlock, in a run", move || {
            let mutex = Mutex::new(0);
            time_in_run(MANY, || lock(black_box(&mutex)))
        }),
        timed("the same, shared", move || {
            let mutex = shared(Mutex::new(0), lock);
            time_in_run(MANY, || lock(black_box(&mutex)))
        }),
        timed("std::sync::Mutex", || {
            let mutex = std::sync::Mutex::new(0);
            time(MANY, || *black_box(&mutex).lock().expect("not poisoned") += 1)
        }),
        timed("RwLock read + unlock, in a run", || {
            let lock = RwLock::new(0);
            time_in_run(MANY, || _ = black_box(*black_box(&lock).read().expect("not cancelled")))
        }),
        timed("std::sync::RwLock read", || {
            let lock = std::sync::RwLock::new(0);
            time(MANY, || _ = black_box(*black_box(&lock).read().expect("not poisoned")))
        }),
        timed("Semaphore acquire + release, in a run", || {
            let semaphore = Semaphore::new(1);
            time_in_run(MANY, || drop(black_box(&semaphore).acquire()))
        }),
        timed("Queue push + pop, in a run", || {
            let queue = Queue::bounded(4);
            time_in_run(MANY, || {
                let _ = black_box(&queue).push(1);
                drop(black_box(&queue).pop());
            })
        }),
        timed("PriorityQueue of 1000, push + pop", || {
            let queue = PriorityQueue::unbounded();
            (0..1000).try_for_each(|n| queue.push(n * 7919 % 1000)).expect("it is open");
            time_in_run(MANY, || {
                let smallest = queue.pop().expect("there are some").into_inner();
                queue.push(smallest + 1000).expect("it is open");
            })
        }),
    ]
}

fn hand_over(wanted: Cases) -> Vec<Timed> {
    let mut cases = vec![
        round_trip(),
        timed("a turn of 2 tasks", || two_tasks((), |()| cede::yield_now())),
        timed("Mutex, tasks", || two_tasks(Mutex::new(0), lock_over_a_turn)),
        timed("Mutex, tasks, shared", || {
            let mutex = shared(Mutex::new(0), |mutex| drop(mutex.lock()));
            two_tasks(mutex, lock_over_a_turn)
        }),
        timed("RwLock write, tasks", || two_tasks(RwLock::new(0), write_over_a_turn)),
        timed("Semaphore, tasks", || two_tasks(Semaphore::new(1), permit_over_a_turn)),
        timed("Condvar and Mutex, tasks", condvar_tasks),
        timed("Queue of 1, tasks", || queue_tasks(1)),
        timed("Queue of 64, tasks", || queue_tasks(64)),
    ];
    if wanted == Cases::TasksAndThreads {
        let lock = |mutex: &Mutex<u32>| {
            let mut guard = mutex.lock().expect("not cancelled");
            std::thread::yield_now();
            *guard += 1;
        };
        let std_lock = |mutex: &std::sync::Mutex<u32>| {
            let mut guard = mutex.lock().expect("not poisoned");
            std::thread::yield_now();
            *guard += 1;
        };
        cases.push(timed("Mutex, threads", move || two_threads(Mutex::new(0), lock)));
        cases.push(timed("std::sync::Mutex, threads (barging)", move || {
            two_threads(std::sync::Mutex::new(0), std_lock)
        }));
        cases.push(timed("std Condvar and Mutex, threads", condvar_std));
        cases.push(timed("Queue of 64, threads", queue_threads));
        cases.push(timed("std sync_channel(64), threads", std_channel_threads));
        cases.push(timed("threads, a futex by hand", || futex_hand_over(THREADS) / 2.0));
    }
    cases
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, wanted) = if quick { (9, Cases::Tasks) } else { (25, Cases::TasksAndThreads) };
    let only = std::env::args().skip_while(|arg| arg != "--only").nth(1).unwrap_or_default();
    let tables = [
        ("uncontended, once", uncontended()),
        ("hand-over, once", hand_over(wanted)),
        ("contended, a hold", contended()),
    ];
    for (title, mut cases) in tables {
        cases.retain(|(name, _)| name.contains(&only));
        if !cases.is_empty() {
            cede_benches::print(title, &take_turns(rounds, cases));
        }
    }
}
