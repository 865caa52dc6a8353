//! The single-threaded executor of the futures crate, `LocalPool`. It has no yield function, so a task yields by waking itself.

use super::ring::{self, hold_async, serve_async, wake_oneself};
use super::{Rival, Role};
use crate::area::Area;
use ::futures::executor::LocalPool;
use ::futures::task::LocalSpawnExt;
use std::hint::black_box;

pub(super) static RIVALS: [Rival; 1] =
    [Rival::own("futures LocalPool", Role::Rival, &[Area::Yield, Area::Spawn, Area::Memory], local_pool)];

fn local_pool(area: Area, n: u64) {
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let work = async move {
        match area {
            // In the loop: a task wakes itself and returns, in n tasks.
            Area::Yield => {
                let wakers = ring::Wakers::default();
                for _ in 1..n {
                    let task = ring::future(ring::Wakers::clone(&wakers), wake_oneself);
                    spawner.spawn_local(task).expect("the pool is there");
                }
                ring::keep_futures(wakers, n - 1, wake_oneself).await;
            }
            // In the loop: `spawn_local_with_handle`, and await the handle.
            Area::Spawn => serve_async!(n, |count| {
                for i in 0..count {
                    let one = |k| spawner.spawn_local_with_handle(async move { i + k }).expect("the pool is there");
                    if n == 1 {
                        black_box(one(1).await);
                    } else {
                        let all: Vec<_> = (0..n).map(one).collect();
                        for task in all {
                            black_box(task.await);
                        }
                    }
                }
            }),
            _ => hold_async!(n, wake_oneself(), spawner.spawn_local(ring::wait_for_ever())),
        }
    };
    let spawner = pool.spawner();
    let work = spawner.spawn_local_with_handle(work).expect("the pool is there");
    pool.run_until(work);
}
