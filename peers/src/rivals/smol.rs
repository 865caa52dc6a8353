//! The single-threaded executor of smol, `LocalExecutor`, driven by `smol::block_on`.

use super::ring::{self, hold_async, serve_async};
use super::{Rival, Role};
use crate::area::Area;
use ::smol::LocalExecutor;
use ::smol::future::yield_now;
use std::hint::black_box;
use std::rc::Rc;

pub(super) static RIVALS: [Rival; 1] =
    [Rival::own("smol LocalExecutor", Role::Rival, &[Area::Yield, Area::Spawn, Area::Memory], local_executor)];

fn local_executor(area: Area, n: u64) {
    let executor: Rc<LocalExecutor<'static>> = Rc::default();
    let spawner = Rc::clone(&executor);
    let work = async move {
        match area {
            // In the loop: `yield_now` in n tasks.
            Area::Yield => {
                let wakers = ring::Wakers::default();
                for _ in 1..n {
                    spawner.spawn(ring::future(ring::Wakers::clone(&wakers), yield_now)).detach();
                }
                spawner.spawn(ring::keep_futures(wakers, n - 1, yield_now)).await;
            }
            // In the loop: spawn a task and await it.
            Area::Spawn => serve_async!(n, |count| {
                for i in 0..count {
                    if n == 1 {
                        black_box(spawner.spawn(async move { i + 1 }).await);
                    } else {
                        let all: Vec<_> = (0..n).map(|k| spawner.spawn(async move { i + k })).collect();
                        for task in all {
                            black_box(task.await);
                        }
                    }
                }
            }),
            _ => hold_async!(n, yield_now(), spawner.spawn(ring::wait_for_ever())),
        }
    };
    let work = executor.spawn(work);
    ::smol::block_on(executor.run(work));
}
