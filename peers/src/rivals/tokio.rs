//! tokio on one thread, in both variants: the current_thread runtime, and a LocalSet on it. All work is done in spawned tasks,
//! because the future of `block_on` is polled less often.

use super::ring::{self, hold_async, serve_async};
use super::{Rival, Role};
use crate::area::Area;
use ::tokio::runtime::{Builder, Runtime};
use ::tokio::task::{LocalSet, spawn_local, yield_now};
use std::hint::black_box;

pub(super) static RIVALS: [Rival; 2] = [
    Rival::own("tokio current_thread", Role::Rival, &[Area::Yield, Area::Spawn, Area::Memory], current_thread),
    Rival::own("tokio LocalSet", Role::Rival, &[Area::Yield, Area::Spawn, Area::Memory], local_set),
];

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

/// The work of both variants. `$spawn` is the spawn function of the variant.
macro_rules! work {
    ($area:expr, $n:expr, $spawn:path) => {{
        let (area, n) = ($area, $n);
        async move {
            match area {
                // In the loop: `yield_now` in n tasks.
                Area::Yield => {
                    let wakers = ring::Wakers::default();
                    for _ in 1..n {
                        $spawn(ring::future(ring::Wakers::clone(&wakers), yield_now));
                    }
                    $spawn(ring::keep_futures(wakers, n - 1, yield_now)).await.expect("it returns");
                }
                // In the loop: spawn a task and await its handle.
                Area::Spawn => {
                    let one = async move {
                        serve_async!(n, |count| {
                            for i in 0..count {
                                if n == 1 {
                                    black_box($spawn(async move { i + 1 }).await.expect("it returns"));
                                } else {
                                    let all: Vec<_> = (0..n).map(|k| $spawn(async move { i + k })).collect();
                                    for task in all {
                                        black_box(task.await.expect("it returns"));
                                    }
                                }
                            }
                        });
                    };
                    $spawn(one).await.expect("it returns");
                }
                _ => hold_async!(n, yield_now(), $spawn(ring::wait_for_ever())),
            }
        }
    }};
}

fn current_thread(area: Area, n: u64) {
    runtime().block_on(work!(area, n, ::tokio::spawn));
}

fn local_set(area: Area, n: u64) {
    let runtime = runtime();
    LocalSet::new().block_on(&runtime, work!(area, n, spawn_local));
}
