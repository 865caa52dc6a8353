//! cede itself. Its stacks come from its pool, with guard pages, and have the size that all rivals have.

use super::ring::{self, Tasks};
use super::{CAPACITY, Rival, Role, stack_size};
use crate::area::Area;
use crate::serve::{self, serve, serve_prepared};
use cede::sync::channel::{Receiver, Sender, bounded, unbounded};
use cede::task::{Unparker, park};
use cede::{Builder, Config, Coroutine, CoroutineState, Generator, Suspender, Yielder, spawn, yield_now};
use std::hint::black_box;

pub(super) static RIVALS: [Rival; 4] = [
    Rival::own("cede", Role::Cede, &[Area::Switch, Area::Yield, Area::Spawn, Area::Memory, Area::Channel], cede),
    Rival::own("cede, unbounded", Role::Variant, &[Area::Channel], unbounded_channel),
    Rival::own("cede Generator", Role::Variant, &[Area::Switch, Area::Memory], generator),
    Rival::own("cede, pool of 100,000 stacks", Role::Variant, &[Area::Spawn], large_pool),
];

fn cede(area: Area, n: u64) {
    match area {
        Area::Switch => switch(),
        Area::Yield => turns(n),
        Area::Spawn => spawns(n),
        Area::Memory => memory(n),
        _ => channel(n),
    }
}

/// In the loop: `Coroutine::resume`.
fn switch() {
    let mut coroutine = Coroutine::new(|s: &Suspender<u64, u64>, mut i| {
        while i < u64::MAX {
            i = s.suspend(i + 1);
        }
    });
    serve(1, |count| {
        for i in 0..count {
            if let CoroutineState::Yielded(value) = coroutine.resume(i) {
                black_box(value);
            }
        }
    });
}

/// In the loop: `Generator::send`.
fn generator(area: Area, n: u64) {
    fn counting(y: &Yielder<u64, u64>) {
        let mut i = 0;
        while i < u64::MAX {
            i = y.yield_(i + 1);
        }
    }
    if area == Area::Memory {
        return serve::hold(n, |_| {
            let builder = Builder::new().stack_size(stack_size(area, n));
            let mut generator = builder.generator(counting).map_err(|error| error.to_string())?;
            generator.start();
            Ok(generator)
        });
    }
    let mut generator = Generator::new(counting);
    generator.start();
    serve(1, |count| {
        for i in 0..count {
            if let Ok(CoroutineState::Yielded(value)) = generator.send(i) {
                black_box(value);
            }
        }
    });
}

struct OwnTasks;

impl Tasks for OwnTasks {
    type Waker = Unparker;

    fn waker() -> Unparker {
        Unparker::current()
    }

    #[inline(always)]
    fn yield_now() {
        yield_now();
    }

    fn park() {
        let _ = park("a request");
    }

    fn wake(waker: &Unparker) {
        waker.unpark();
    }
}

/// In the loop: `yield_now` in n tasks, one of them the keeper. Main waits.
fn turns(n: u64) {
    let run = Config::new().stack_size(stack_size(Area::Yield, n)).run(|| {
        let wakers = ring::Wakers::default();
        for _ in 1..n {
            let wakers = ring::Wakers::clone(&wakers);
            spawn(move || ring::task::<OwnTasks>(&wakers));
        }
        let keeper = spawn(move || ring::keep::<OwnTasks>(&wakers, n - 1)).join();
        keeper.expect("it returns");
    });
    run.expect("no deadlock, and stacks enough");
}

/// In the loop: `spawn` and `join`; with n above 1, n times spawn and then n times join.
fn spawns(n: u64) {
    cede::run(|| {
        serve(n, |count| {
            for i in 0..count {
                if n == 1 {
                    black_box(spawn(move || i + 1).join().expect("it returns"));
                } else {
                    let mut all: Vec<_> = (0..n).map(|k| spawn(move || i + k)).collect();
                    for task in &mut all {
                        black_box(task.join().expect("it returns"));
                    }
                }
            }
        });
    });
}

/// The same, with a pool that keeps the memory of n stacks (`set_pool_limit`).
fn large_pool(_: Area, n: u64) {
    cede::stack::set_pool_limit(usize::try_from(n).expect("64 bits") * 8192);
    spawns(n);
}

fn memory(n: u64) {
    cede::run(|| {
        serve::hold(n, |_| {
            let builder = Builder::new().stack_size(stack_size(Area::Memory, n));
            let task = builder.spawn(OwnTasks::park).map_err(|error| error.to_string())?;
            yield_now();
            Ok(task)
        });
    });
}

/// In the loop, if n == 2: a message to a task and one back. Otherwise: a message from each of n producers. `channel` makes a
/// channel with the given capacity.
fn messages(n: u64, channel: fn(usize) -> (Sender<u64>, Receiver<u64>)) {
    let main = || {
        if n == 2 {
            let ((to, from_us), (to_us, from)) = (channel(1), channel(1));
            spawn(move || from_us.iter().try_for_each(|value| to_us.send(value + 1)));
            return serve(n, |count| {
                for i in 0..count {
                    to.send(i).expect("it receives");
                    black_box(from.recv().expect("it sends"));
                }
            });
        }
        let (to, from) = channel(CAPACITY);
        let produce = |count| {
            for _ in 0..n {
                let to = to.clone();
                spawn(move || (0..count).try_for_each(|i| to.send(i)));
            }
        };
        serve_prepared(n, produce, |count| {
            for _ in 0..n * count {
                black_box(from.recv().expect("somebody sends"));
            }
        });
    };
    cede::run(main);
}

fn channel(n: u64) {
    messages(n, bounded);
}

fn unbounded_channel(_: Area, n: u64) {
    messages(n, |_| unbounded());
}
