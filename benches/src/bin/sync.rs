//! What locks and queues cost: uncontended, and handed over between tasks of one worker, beside threads.
//!
//! `cargo run --release -p cede-benches --bin sync [-- --quick] [--only TEXT]`. All cases of a table take turns; figures are nanoseconds, and
//! the first line of each table is what the others are multiples of.
//!
//! In `hand-over` two hold a thing in turn, and each waits for the other: every time it is handed to somebody who waits, which
//! between tasks costs one switch. *Shared* locks have been used by another run before.

use cede::sync::{Condvar, Mutex, PriorityQueue, Queue, RwLock, Semaphore};
use cede_benches::{Timed, futex_hand_over, round_trip, take_turns, timed};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// How often something uncontended is done.
const MANY: u32 = 200_000;
/// How often something is handed over between tasks.
const TASKS: u32 = 100_000;
/// The same between threads.
const THREADS: u32 = 2_000;

/// Nanoseconds for one of `n` times.
fn time(n: u32, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..n).for_each(|_| f());
    start.elapsed().as_nanos() as f64 / f64::from(n)
}

/// As `time`, in a run.
fn time_in_run(n: u32, f: impl FnMut()) -> f64 {
    cede::run(|| time(n, f))
}

/// Has a run on another thread use a thing once, so that the lock under it belongs to that, and to no run from the next on.
fn shared<T: Send + Sync>(thing: T, touch: impl FnOnce(&T) + Send) -> T {
    std::thread::scope(|scope| scope.spawn(|| cede::run(|| touch(&thing))).join().expect("it touches it"));
    thing
}

/// Two tasks of one worker do `step` in turn, `TASKS` times together.
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

/// Two threads do the same.
fn two_threads<T: Send + Sync>(thing: T, step: impl Fn(&T) + Copy + Send + Sync) -> f64 {
    std::thread::scope(|scope| {
        let start = Instant::now();
        scope.spawn(|| (0..THREADS / 2).for_each(|_| step(&thing)));
        (0..THREADS / 2).for_each(|_| step(&thing));
        start.elapsed().as_nanos() as f64 / f64::from(THREADS)
    })
}

/// Holds it over a turn of the other task, who waits for it by then.
#[inline(always)]
fn lock_over_a_turn(mutex: &Mutex<u32>) {
    let mut guard = mutex.lock().expect("nobody is cancelled");
    cede::yield_now();
    *guard += 1;
}

#[inline(always)]
fn permit_over_a_turn(semaphore: &Semaphore) {
    let _permit = semaphore.acquire().expect("nobody is cancelled");
    cede::yield_now();
}

#[inline(always)]
fn write_over_a_turn(lock: &RwLock<u32>) {
    let mut guard = lock.write().expect("nobody is cancelled");
    cede::yield_now();
    *guard += 1;
}

/// Passes a number on: waits until it has the parity that the other left, which takes a switch each time.
#[inline(always)]
fn pass(shared: &(Mutex<u32>, Condvar), own: u32) {
    let mut number = shared.1.wait_while(shared.0.lock().expect("not cancelled"), |n| *n % 2 != own).expect("the same");
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

/// A task pushes, another pops; each waits when it has to.
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

fn uncontended() -> Vec<Timed> {
    let lock = |mutex: &Mutex<u32>| *mutex.lock().expect("nobody holds it") += 1;
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
            time_in_run(MANY, || _ = black_box(*black_box(&lock).read().expect("nobody holds it")))
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

fn hand_over(threads: bool) -> Vec<Timed> {
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
    if threads {
        let lock = |mutex: &Mutex<u32>| {
            let mut guard = mutex.lock().expect("nobody is cancelled");
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
    let rounds = if quick { 9 } else { 25 };
    let only = std::env::args().skip_while(|arg| arg != "--only").nth(1).unwrap_or_default();
    for (title, mut cases) in [("uncontended, once", uncontended()), ("hand-over, once", hand_over(!quick))] {
        cases.retain(|(name, _)| name.contains(&only));
        if !cases.is_empty() {
            cede_benches::print(title, &take_turns(rounds, cases));
        }
    }
}
