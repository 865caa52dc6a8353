//! Threads of the operating system. On one core like all rivals, where a switch is cheapest, unless the name says otherwise.
//! Their stacks have 64 KiB too, and a guard page from std.

use super::ring::{self, Tasks};
use super::{Rival, Role, stack_size};
use crate::area::Area;
use crate::serve::{self, serve, serve_each};
use std::hint::black_box;
use std::thread::{self, Builder, JoinHandle, Thread};

const TOO_MANY: (u64, &str) =
    (10_000, "the process table, of all who use the machine, has room for some 30,000 threads");

/// The limit for `sched_yield`: a thread that yields continues if the kernel finds that it has not used its share yet, so a round
/// of very many threads takes seconds.
const SLICES: (u64, &str) =
    (100, "sched_yield gives way only as often as the kernel finds fair, and a round takes seconds");

pub(super) static RIVALS: [Rival; 6] = [
    Rival::own("threads, futex", Role::Threads, &[Area::Switch], futex),
    Rival::own("threads, futex, two cores", Role::Threads, &[Area::Switch], futex).on_all_cores(),
    Rival::own("threads, condvar", Role::Threads, &[Area::Switch], condvar),
    Rival::own("threads, pipe", Role::Threads, &[Area::Switch], pipe),
    Rival::own("threads, sched_yield", Role::Threads, &[Area::Yield], turns).at_most(SLICES.0, SLICES.1),
    Rival::own("threads", Role::Threads, &[Area::Spawn, Area::Memory], threads).at_most(TOO_MANY.0, TOO_MANY.1),
];

fn round_trips(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn futex(_: Area, _: u64) {
    serve_each(|count| cede_benches::futex_hand_over(round_trips(count)));
}

fn condvar(_: Area, _: u64) {
    serve_each(|count| cede_benches::condvar_hand_over(round_trips(count)));
}

fn pipe(_: Area, _: u64) {
    serve_each(|count| cede_benches::pipe_hand_over(round_trips(count)));
}

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, String> {
    Builder::new().stack_size(stack_size(Area::Spawn, 1)).spawn(f).map_err(|error| error.to_string())
}

struct OsThreads;

impl Tasks for OsThreads {
    type Waker = Thread;

    fn waker() -> Thread {
        thread::current()
    }

    #[inline(always)]
    fn yield_now() {
        thread::yield_now();
    }

    fn park() {
        thread::park();
    }

    fn wake(waker: &Thread) {
        waker.unpark();
    }
}

/// In the loop: `sched_yield` in n threads.
fn turns(_: Area, n: u64) {
    let wakers = ring::Wakers::<Thread>::default();
    for _ in 1..n {
        let wakers = ring::Wakers::clone(&wakers);
        let thread = spawn(move || ring::task::<OsThreads>(&wakers));
        if let Err(why) = thread {
            return serve::say(&format!("error {why}"));
        }
    }
    ring::keep::<OsThreads>(&wakers, n - 1);
}

/// In the loop: spawn and join.
fn threads(area: Area, n: u64) {
    if area == Area::Memory {
        return serve::hold(n, |_| spawn(thread::park));
    }
    serve(n, |count| {
        for i in 0..count {
            let all: Vec<_> = (0..n).map(|k| spawn(move || i + k).expect("a thread")).collect();
            for thread in all {
                black_box(thread.join().expect("it returns"));
            }
        }
    });
}
