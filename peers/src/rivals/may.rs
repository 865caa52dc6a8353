//! may: stackful coroutines on worker threads. One worker, which is not pinned by may, so that it stays on the core of all
//! rivals. The pool holds a stack for each task in the area `yield`, and elsewhere the default of 1,000 stacks. The channels of
//! may are unbounded; `mpsc` is the one for many producers.

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
    // The pool creates all stacks at the start. With more stacks than the limit of mappings allows, it would fail.
    let capacity = if area == Area::Yield { n.clamp(1000, 20_000) as usize } else { 1000 };
    let config = ::may::config();
    config.set_workers(1).set_pool_capacity(capacity).set_stack_size(stack_size(area, n) / 8);
    config.set_worker_pin(false);
    match area {
        Area::Yield => turns(n),
        Area::Memory => memory(n),
        // SAFETY: these bodies hold no reference to a thread-local across a wait, and do not overflow their stacks.
        Area::Spawn => drop(unsafe { coroutine::spawn(move || spawns(n)) }.join()),
        // SAFETY: as in `may`: no thread-local is in use across a wait, and the stack is large enough.
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

/// In the loop: `yield_now` in n coroutines. The main thread spawns them, and the keeper after all have run: a worker checks for
/// new coroutines only when none is ready, so a keeper that yields would keep them from starting.
fn turns(n: u64) {
    let wakers = ring::Wakers::<Coroutine>::default();
    for _ in 1..n {
        let wakers = ring::Wakers::clone(&wakers);
        // SAFETY: as in `may`: no thread-local is in use across a wait, and the stack is large enough.
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
    // SAFETY: as in `may`: no thread-local is in use across a wait, and the stack is large enough.
    let _ = unsafe { coroutine::spawn(keep) }.join();
}

/// In the loop: `spawn` and `join`, from a coroutine.
fn spawns(n: u64) {
    serve(n, |count| {
        for i in 0..count {
            // SAFETY: as in `may`: no thread-local is in use across a wait, and the stack is large enough.
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
        // SAFETY: as in `may`: no thread-local is in use across a wait, and the stack is large enough.
        let task = unsafe { coroutine::spawn(ring::park_for_ever::<Coroutines>) };
        // At most a thousand coroutines have not run yet, and in the end none.
        while ring::waiting() + (if k + 1 == n { 0 } else { 1000 }) <= k {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(task)
    });
}

/// In the loop, if n == 2: a message to a coroutine and one back. Otherwise: a message from each of n producers.
fn channel(n: u64) {
    if n == 2 {
        let (to, from_us) = mpsc::channel::<u64>();
        let (to_us, from) = mpsc::channel::<u64>();
        // SAFETY: as in `may`: no thread-local is in use across a wait, and the stack is large enough.
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
            // SAFETY: as in `may`: no thread-local is in use across a wait, and the stack is large enough.
            unsafe { coroutine::spawn(move || (0..count).for_each(|i| to.send(i).expect("it receives"))) };
        }
    };
    serve_prepared(n, produce, |count| {
        for _ in 0..n * count {
            black_box(from.recv().expect("somebody sends"));
        }
    });
}
