//! may: stackful coroutines over worker threads. One worker, not pinned anew, so that it stays on the core that all share; a
//! pool of as many stacks as there are tasks that take turns, and of its usual 1,000 elsewhere. Its channels are unbounded: `mpsc` is the one for many producers.

use super::ring::{self, Tasks};
use super::{Rival, Role, stack_size};
use crate::area::Area;
use crate::serve::{self, serve, serve_prepared};
use ::may::coroutine::{self, Coroutine};
use ::may::sync::mpsc;
use std::hint::black_box;

pub(super) static RIVALS: [Rival; 1] =
    [Rival::own("may", Role::Rival, &[Area::Yield, Area::Spawn, Area::Memory, Area::Channel], may)];

fn may(area: Area, n: u64) {
    // All of them are made at the start, so more than the mappings allow would be none at all.
    let capacity = if area == Area::Yield { n.clamp(1000, 20_000) as usize } else { 1000 };
    let config = ::may::config();
    config.set_workers(1).set_pool_capacity(capacity).set_stack_size(stack_size(area, n) / 8);
    config.set_worker_pin(false);
    match area {
        Area::Yield => turns(n),
        Area::Memory => memory(n),
        // SAFETY: nothing in these bodies uses a thread-local over a wait, and their stacks suffice.
        Area::Spawn => drop(unsafe { coroutine::spawn(move || spawns(n)) }.join()),
        // SAFETY: as above.
        _ => drop(unsafe { coroutine::spawn(move || channel(n)) }.join()),
    }
}

struct Coroutines;

impl Tasks for Coroutines {
    type Waker = Coroutine;

    fn waker() -> Coroutine {
        coroutine::current()
    }

    #[inline(always)]
    fn yield_now() {
        coroutine::yield_now();
    }

    fn park() {
        coroutine::park();
    }

    fn wake(waker: &Coroutine) {
        waker.unpark();
    }
}

/// In the loop: `yield_now` in n coroutines. They are spawned by the main thread, and the keeper when all have run: a worker
/// looks for new coroutines only when none is ready, so a keeper that yields would keep them from ever beginning.
fn turns(n: u64) {
    let wakers = ring::Wakers::<Coroutine>::default();
    for _ in 1..n {
        let wakers = ring::Wakers::clone(&wakers);
        // SAFETY: as above.
        unsafe {
            coroutine::spawn(move || {
                ring::task::<Coroutines>(&wakers);
            });
        }
    }
    while ring::waiting() < n - 1 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let keep = move || ring::keep::<Coroutines>(&wakers, n - 1);
    // SAFETY: as above.
    let _ = unsafe { coroutine::spawn(keep) }.join();
}

/// In the loop: `spawn` and `join`, from a coroutine.
fn spawns(n: u64) {
    serve(n, |count| {
        for i in 0..count {
            // SAFETY: as above.
            let one = |k| unsafe { coroutine::spawn(move || i + k) };
            if n == 1 {
                black_box(one(1).join().expect("it returns"));
            } else {
                let all: Vec<_> = (0..n).map(one).collect();
                for task in all {
                    black_box(task.join().expect("it returns"));
                }
            }
        }
    });
}

fn memory(n: u64) {
    serve::hold(n, |k| {
        // SAFETY: as above.
        let task = unsafe { coroutine::spawn(ring::park_for_ever::<Coroutines>) };
        // Not more than a thousand that have not run yet; at the end none.
        while ring::waiting() + (if k + 1 == n { 0 } else { 1000 }) <= k {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(task)
    });
}

/// In the loop: n == 2: a message there and one back. Otherwise: one from each of n producers.
fn channel(n: u64) {
    if n == 2 {
        let (to, from_us) = mpsc::channel::<u64>();
        let (to_us, from) = mpsc::channel::<u64>();
        // SAFETY: as above.
        unsafe { coroutine::spawn(move || from_us.iter().try_for_each(|value| to_us.send(value + 1))) };
        return serve(n, |count| {
            for i in 0..count {
                to.send(i).expect("it receives");
                black_box(from.recv().expect("it sends"));
            }
        });
    }
    let (to, from) = mpsc::channel::<u64>();
    let produce = |count| {
        for _ in 0..n {
            let to = to.clone();
            // SAFETY: as above.
            unsafe { coroutine::spawn(move || (0..count).for_each(|i| to.send(i).expect("it receives"))) };
        }
    };
    serve_prepared(n, produce, |count| {
        for _ in 0..n * count {
            black_box(from.recv().expect("somebody sends"));
        }
    });
}
