//! Benchmarks of waits, as multiples of one corosensei round trip in the same process:
//!
//! cargo run --release -p cede-benches --bin waits -- [--quick]
//!
//! `armed` means that 100,000 other tasks (10,000 with `--quick`) sleep meanwhile, each until a different time. A wait is
//! measured with the turns that it takes; the case `park` shows their share.
//!
//! The second table measures the structure that holds the deadlines alone, and a binary heap of the same entries. The rest
//! of a fire is the task: its TCB, context and stack, which 100,000 tasks do not keep in the caches.

use cede::task::{Unparker, park, park_until};
use cede::time::{now, sleep, sleep_until};
use cede::{Config, JoinHandle, block_on, gather, scope, shield, spawn, timeout, yield_now};
use cede_benches::{Timed, round_trip, take_turns, timed};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{poll_fn, ready};
use std::hint::black_box;
use std::ptr::null;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

#[path = "../../../src/scheduler/timer_wheel.rs"]
#[allow(dead_code, reason = "parts of it are for the library alone")]
mod timer_wheel;

const HOUR: Duration = Duration::from_secs(3600);

fn nanos_each(n: u32, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..n).for_each(|_| f());
    start.elapsed().as_nanos() as f64 / f64::from(n)
}

/// Returns up to an hour, in steps of 200 us.
fn in_no_order(i: u32) -> Duration {
    Duration::from_micros(u64::from(i.wrapping_mul(2_654_435_761) >> 8) * 200)
}

/// Spawns `n` tasks that sleep until different times, in no order, one to two hours from now. Returns before they run.
fn sleepers(n: u32) -> Vec<JoinHandle<bool>> {
    let start = now() + HOUR;
    (0..n)
        .map(|i| {
            let deadline = start + in_no_order(i);
            spawn(move || sleep_until(deadline).is_ok())
        })
        .collect()
}

/// The measured stage of a sleep.
#[derive(Clone, Copy)]
enum Stage {
    /// The first turn of each task, which arms its timer.
    Arm,
    /// All timers fire, by a paused clock, and the tasks end.
    Fire,
    /// All tasks are cancelled, and end.
    Cancel,
}

/// Returns the nanoseconds per task that `stage` takes for `n` sleeping tasks.
fn sleep_stage(n: u32, stage: Stage) -> f64 {
    let measured = Config::new().paused_clock(true).run(|| {
        let mut tasks = sleepers(n);
        let start = Instant::now();
        yield_now();
        let armed = start.elapsed();
        let start = Instant::now();
        match stage {
            Stage::Fire => sleep(3 * HOUR).expect("main is not cancelled"),
            _ => tasks.iter().for_each(|task| assert!(task.cancel())),
        }
        tasks.iter_mut().for_each(|task| assert!(task.join().is_ok()));
        let ended = start.elapsed();
        if matches!(stage, Stage::Arm) { armed } else { ended }
    });
    measured.expect("no deadlock").as_nanos() as f64 / f64::from(n)
}

/// Returns the nanoseconds per deadline that `stage` takes in the timer wheel, without tasks.
fn wheel_stage(n: u32, stage: Stage) -> f64 {
    let time = |i: u32| (HOUR + in_no_order(i)).as_nanos() as i64;
    let mut wheel = timer_wheel::Wheel::new();
    let start = Instant::now();
    let mut keys: Vec<_> = (0..n).map(|i| wheel.arm(time(i), (null::<u8>(), i))).collect();
    let armed = start.elapsed();
    // Cancelled in an order that is neither that of arming nor that of time.
    (1..keys.len()).for_each(|i| keys.swap(i, (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % (i + 1)));
    let start = Instant::now();
    match stage {
        Stage::Cancel => keys.iter().for_each(|key| assert!(wheel.cancel(*key))),
        _ => while wheel.pop(i64::MAX).map(black_box).is_some() {},
    }
    let ended = start.elapsed();
    assert_eq!(wheel.len(), 0);
    (if matches!(stage, Stage::Arm) { armed } else { ended }).as_nanos() as f64 / f64::from(n)
}

/// The same in a binary heap, from which nothing can be removed early.
fn heap_stage(n: u32, stage: Stage) -> f64 {
    let first = Instant::now() + HOUR;
    let mut heap = BinaryHeap::new();
    let start = Instant::now();
    (0..n).for_each(|i| heap.push(Reverse((first + in_no_order(i), u64::from(i), null::<u8>(), i))));
    let armed = start.elapsed();
    let start = Instant::now();
    while heap.pop().map(black_box).is_some() {}
    (if matches!(stage, Stage::Arm) { armed } else { start.elapsed() }).as_nanos() as f64 / f64::from(n)
}

/// Measures a wait that an unpark ends before its deadline, while `armed` other tasks sleep: two turns, and the work of `wait`.
fn woken(armed: u32, wait: impl Fn() + 'static) -> f64 {
    const N: u32 = 100_000;
    let measured = Config::new().shutdown_grace(HOUR).run(|| {
        let _armed = sleepers(armed);
        let unparker = Rc::new(Cell::new(None));
        let (place, over) = (Rc::clone(&unparker), Rc::new(Cell::new(false)));
        let stop = Rc::clone(&over);
        spawn(move || {
            place.set(Some(Unparker::current()));
            while !stop.get() {
                wait();
            }
        });
        yield_now();
        let unparker = unparker.take().expect("the task has run");
        let each = nanos_each(N, || {
            unparker.unpark();
            yield_now();
        });
        over.set(true);
        unparker.unpark();
        each
    });
    measured.expect("no deadlock")
}

/// Measures a future that another task wakes once: two polls, two turns, and a clone of the waker.
fn woken_future() -> f64 {
    const N: u32 = 100_000;
    cede::run(|| {
        let waker: Rc<Cell<Option<Waker>>> = Rc::default();
        let (place, over) = (Rc::clone(&waker), Rc::new(Cell::new(false)));
        let stop = Rc::clone(&over);
        spawn(move || {
            while !stop.get() {
                let mut polled = false;
                let wait = block_on(poll_fn(|cx| {
                    if std::mem::replace(&mut polled, true) {
                        return Poll::Ready(());
                    }
                    place.set(Some(cx.waker().clone()));
                    Poll::Pending
                }));
                ignore(wait);
            }
        });
        yield_now();
        let wake = || waker.take().expect("the task has polled").wake();
        let each = nanos_each(N, || {
            wake();
            yield_now();
        });
        over.set(true);
        wake();
        each
    })
}

fn ignore<T>(value: T) {
    black_box(value);
}

/// Measures an operation that a task performs `n` times. Returns nanoseconds per operation.
fn done(n: u32, f: impl FnMut()) -> f64 {
    cede::run(|| nanos_each(n, f))
}

/// Measures one child of a scope with `n` children that return at once.
fn scope_of(n: u32) -> f64 {
    let rounds = (100_000 / n).max(20);
    let each = done(rounds, || {
        let all = scope(|s| {
            for i in 0..n {
                drop(s.spawn(move || black_box(i)));
            }
        });
        assert!(all.is_ok());
    });
    each / f64::from(n)
}

/// Measures one of `n` gathered tasks that return at once.
fn gather_of(n: u32) -> f64 {
    let each = done((100_000 / n).max(20), || {
        black_box(gather((0..n).map(|i| spawn(move || black_box(i)))).len());
    });
    each / f64::from(n)
}

fn table(title: &str, rounds: usize, cases: Vec<Timed>) {
    cede_benches::print(title, &take_turns(rounds, cases));
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (armed, rounds) = if quick { (10_000, 5) } else { (100_000, 11) };
    // Keep the memory of all stacks: returning it to the system takes up to 3 us per stack, which would distort the figures.
    cede::stack::set_pool_limit(2 * armed as usize * 8192);
    let far = || ignore(park_until("a wake", now() + HOUR));
    let limited = || ignore(timeout(HOUR, || park("a wake")));
    table(
        &format!("sleeping, each of {armed} tasks"),
        rounds.min(7),
        vec![
            round_trip(),
            timed("arm: the first turn, up to the sleep", move || sleep_stage(armed, Stage::Arm)),
            timed("fire, and end", move || sleep_stage(armed, Stage::Fire)),
            timed("cancel, and end", move || sleep_stage(armed, Stage::Cancel)),
        ],
    );
    table(
        &format!("the structure of the deadlines alone, each of {armed}"),
        rounds,
        vec![
            round_trip(),
            timed("wheel: arm", move || wheel_stage(armed, Stage::Arm)),
            timed("wheel: cancel, in no order", move || wheel_stage(armed, Stage::Cancel)),
            timed("wheel: fire", move || wheel_stage(armed, Stage::Fire)),
            timed("binary heap: arm", move || heap_stage(armed, Stage::Arm)),
            timed("binary heap: fire", move || heap_stage(armed, Stage::Fire)),
        ],
    );
    table(
        "waits that a wake ends before their time",
        rounds,
        vec![
            round_trip(),
            timed("the clock", || nanos_each(100_000, || ignore(Instant::now()))),
            timed("park", || woken(0, || ignore(park("a wake")))),
            timed("park, armed", move || woken(armed, || ignore(park("a wake")))),
            timed("park until a time", move || woken(0, far)),
            timed("park until a time, armed", move || woken(armed, far)),
            timed("park in a timeout, armed", move || woken(armed, limited)),
        ],
    );
    table(
        "futures",
        rounds,
        vec![
            round_trip(),
            timed("a future that is ready", || done(100_000, || ignore(block_on(ready(black_box(1)))))),
            timed("a future that another task wakes", woken_future),
            timed("the same with park and unpark", || woken(0, || ignore(park("a wake")))),
        ],
    );
    table(
        "around what does not wait, and turns",
        rounds,
        vec![
            round_trip(),
            timed("shield", || done(100_000, || ignore(shield(|| black_box(1))))),
            timed("timeout", || done(100_000, || ignore(timeout(HOUR, || black_box(1))))),
            timed("scope without a task", || done(100_000, || ignore(scope(|_| black_box(1))))),
            timed("check", || done(100_000, || ignore(cede::task::check()))),
            timed("sleep of no time", || done(100_000, || ignore(sleep(Duration::ZERO)))),
        ],
    );
    table(
        "a child, spawned, run and awaited",
        rounds,
        vec![
            round_trip(),
            timed("spawn + join", || done(100_000, || ignore(spawn(|| black_box(1)).join()))),
            timed("scope with 1", || scope_of(1)),
            timed("scope with 10", || scope_of(10)),
            timed("scope with 1,000", || scope_of(1_000)),
            timed("gather of 10", || gather_of(10)),
            timed("gather of 1,000", || gather_of(1_000)),
        ],
    );
}
