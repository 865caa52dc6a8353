//! Closures that travel to whichever worker is free, and jobs on all cores.

use crate::{nanos, with};
use cede::task::{join_anywhere, scope_anywhere, spawn_anywhere};
use std::hint::black_box;

/// The number of jobs and of empty closures.
pub(crate) const JOBS: u64 = 100_000;

pub(crate) fn empty_anywhere(workers: usize) -> f64 {
    with(workers, || {
        nanos(JOBS, || {
            let tasks: Vec<_> = (0..JOBS).map(|n| spawn_anywhere(move || n)).collect();
            for mut task in tasks {
                black_box(task.join().unwrap());
            }
        })
    })
}

pub(crate) fn empty_scope(workers: usize) -> f64 {
    with(workers, || {
        nanos(JOBS, || {
            scope_anywhere(|s| (0..JOBS).for_each(|n| drop(s.spawn(move || black_box(n))))).unwrap();
        })
    })
}

pub(crate) fn empty_tokio(runtime: &tokio::runtime::Runtime) -> f64 {
    nanos(JOBS, || {
        let all = async {
            let tasks: Vec<_> = (0..JOBS).map(|n| tokio::spawn(async move { n })).collect();
            for task in tasks {
                black_box(task.await.unwrap());
            }
        };
        runtime.block_on(runtime.spawn(all)).unwrap();
    })
}

pub(crate) fn empty_rayon(pool: &rayon::ThreadPool) -> f64 {
    nanos(JOBS, || pool.scope(|s| (0..JOBS).for_each(|n| s.spawn(move |_| drop(black_box(Box::new(n)))))))
}

pub(crate) fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = join_anywhere(|| fib(n - 1), || fib(n - 2));
    a + b
}

pub(crate) fn fib_rayon(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = rayon::join(|| fib_rayon(n - 1), || fib_rayon(n - 2));
    a + b
}

/// Returns the number of steps of a job.
fn length(n: u64) -> u64 {
    let x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let uniform = ((x ^ x >> 29) >> 11) as f64 / (1_u64 << 53) as f64;
    (667.0 / (1.0 - uniform).powf(1.0 / 1.5)).min(200_000.0) as u64
}

fn work(n: u64) -> u64 {
    let mut x = n | 1;
    for _ in 0..length(n) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x)
}

/// Sums the jobs by joins of halves.
pub(crate) fn reduce(jobs: &[u64]) -> u64 {
    if jobs.len() <= 32 {
        return jobs.iter().fold(0, |sum, n| sum ^ work(*n));
    }
    let (left, right) = jobs.split_at(jobs.len() / 2);
    let (a, b) = join_anywhere(|| reduce(left), || reduce(right));
    a ^ b
}

pub(crate) fn reduce_rayon(jobs: &[u64]) -> u64 {
    if jobs.len() <= 32 {
        return jobs.iter().fold(0, |sum, n| sum ^ work(*n));
    }
    let (left, right) = jobs.split_at(jobs.len() / 2);
    let (a, b) = rayon::join(|| reduce_rayon(left), || reduce_rayon(right));
    a ^ b
}

pub(crate) fn jobs_anywhere(workers: usize) -> f64 {
    with(workers, || {
        nanos(JOBS, || {
            let tasks: Vec<_> = (0..JOBS).map(|n| spawn_anywhere(move || work(n))).collect();
            for mut task in tasks {
                black_box(task.join().unwrap());
            }
        })
    })
}

pub(crate) fn jobs_scope(workers: usize) -> f64 {
    with(workers, || {
        nanos(JOBS, || scope_anywhere(|s| (0..JOBS).for_each(|n| drop(s.spawn(move || work(n))))).unwrap())
    })
}

pub(crate) fn jobs_tokio(runtime: &tokio::runtime::Runtime) -> f64 {
    nanos(JOBS, || {
        let all = async {
            let tasks: Vec<_> = (0..JOBS).map(|n| tokio::spawn(async move { work(n) })).collect();
            for task in tasks {
                black_box(task.await.unwrap());
            }
        };
        runtime.block_on(runtime.spawn(all)).unwrap();
    })
}

pub(crate) fn jobs_rayon(pool: &rayon::ThreadPool) -> f64 {
    nanos(JOBS, || {
        pool.scope(|s| {
            (0..JOBS).for_each(|n| {
                s.spawn(move |_| {
                    black_box(work(n));
                });
            });
        });
    })
}
