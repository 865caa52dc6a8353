//! What several workers cost and gain: wakes between workers, closures that travel, and jobs on all cores, beside std, crossbeam, tokio and
//! rayon, interleaved in one process.
//!
//! cargo run --release -p peers --bin cores -- [ROUNDS [WORKERS]]
//!
//! Prints the fastest round and the median of each case, and the ratio of its first rival. The rivals have as many threads as cede has workers
//! (2, or as many as the process may use if that is more). A job takes 2,000 steps on average, by Pareto's distribution with the exponent 1.5.
//! At the end, the processor time of an idle second is printed for 1 and for 8 workers.

use cede::sync::channel::bounded;
use cede::task::{Unparker, join_anywhere, park, scope_anywhere, spawn_anywhere};
use cede::{Builder, Config};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The number of jobs and of empty closures.
const JOBS: u64 = 100_000;

fn nanos(n: u64, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_nanos() as f64 / n as f64
}

fn with<T>(workers: usize, main: impl FnOnce() -> T) -> T {
    Config::new().workers(workers).run(main).expect("the run starts")
}

/// Two flags: one says whose turn it is, the other one brings the answer. A park may end by a spurious wakeup.
type Turns = Arc<[AtomicBool; 2]>;

/// Two tasks of two workers wake each other. Returns the time of one wake.
fn unparks(n: u64) -> f64 {
    with(2, || {
        let turns = Turns::default();
        let (main, there) = (Unparker::current(), Arc::clone(&turns));
        let (send, receive) = bounded(1);
        let body = move || {
            send.send(Unparker::current()).unwrap();
            for _ in 0..n {
                while !there[0].swap(false, Ordering::AcqRel) {
                    park("its turn").unwrap();
                }
                there[1].store(true, Ordering::Release);
                main.unpark();
            }
        };
        let mut other = Builder::new().on(1).spawn_anywhere(body).unwrap();
        let unparker = receive.recv().unwrap();
        let time = nanos(2 * n, || {
            for _ in 0..n {
                turns[0].store(true, Ordering::Release);
                unparker.unpark();
                while !turns[1].swap(false, Ordering::AcqRel) {
                    park("the answer").unwrap();
                }
            }
        });
        other.join().unwrap();
        time
    })
}

/// The same by threads of std.
fn thread_unparks(n: u64) -> f64 {
    let turns = Turns::default();
    let (there, main) = (Arc::clone(&turns), thread::current());
    let other = thread::spawn(move || {
        for _ in 0..n {
            while !there[0].swap(false, Ordering::AcqRel) {
                thread::park();
            }
            there[1].store(true, Ordering::Release);
            main.unpark();
        }
    });
    let time = nanos(2 * n, || {
        for _ in 0..n {
            turns[0].store(true, Ordering::Release);
            other.thread().unpark();
            while !turns[1].swap(false, Ordering::AcqRel) {
                thread::park();
            }
        }
    });
    other.join().unwrap();
    time
}

/// A message to and fro, between threads.
fn thread_messages(n: u64) -> f64 {
    let ((to, there), (back, here)) = (bounded(1), bounded(1));
    let other = thread::spawn(move || there.iter().for_each(|m: u64| back.send(m).unwrap()));
    let time = nanos(2 * n, || {
        for m in 0..n {
            to.send(m).unwrap();
            here.recv().unwrap();
        }
    });
    drop(to);
    other.join().unwrap();
    time
}

fn worker_messages(n: u64) -> f64 {
    with(2, || {
        let ((to, there), (back, here)) = (bounded(1), bounded(1));
        let body = move || there.iter().for_each(|m: u64| back.send(m).unwrap());
        let mut other = Builder::new().on(1).spawn_anywhere(body).unwrap();
        let time = nanos(2 * n, || {
            for m in 0..n {
                to.send(m).unwrap();
                here.recv().unwrap();
            }
        });
        drop(to);
        other.join().unwrap();
        time
    })
}

fn crossbeam_messages(n: u64) -> f64 {
    let ((to, there), (back, here)) = (crossbeam_channel::bounded(1), crossbeam_channel::bounded(1));
    let other = thread::spawn(move || there.iter().for_each(|m: u64| back.send(m).unwrap()));
    let time = nanos(2 * n, || {
        for m in 0..n {
            to.send(m).unwrap();
            here.recv().unwrap();
        }
    });
    drop(to);
    other.join().unwrap();
    time
}

/// Messages through a channel of 1,024 places, from one worker to another.
fn worker_stream(n: u64) -> f64 {
    with(2, || {
        let (send, receive) = bounded(1024);
        let mut other = Builder::new().on(1).spawn_anywhere(move || receive.iter().sum::<u64>()).unwrap();
        nanos(n, || {
            (0..n).for_each(|m| send.send(m).unwrap());
            drop(send);
            black_box(other.join().unwrap());
        })
    })
}

fn crossbeam_stream(n: u64) -> f64 {
    let (send, receive) = crossbeam_channel::bounded(1024);
    let other = thread::spawn(move || receive.iter().sum::<u64>());
    nanos(n, || {
        (0..n).for_each(|m| send.send(m).unwrap());
        drop(send);
        black_box(other.join().unwrap());
    })
}

fn tokio_stream(runtime: &tokio::runtime::Runtime, n: u64) -> f64 {
    let (send, mut receive) = tokio::sync::mpsc::channel(1024);
    let other = runtime.spawn(async move {
        let mut sum = 0;
        while let Some(m) = receive.recv().await {
            sum += m;
        }
        sum
    });
    let sender = runtime.spawn(async move {
        for m in 0..n {
            send.send(m).await.unwrap();
        }
    });
    nanos(n, || {
        runtime.block_on(sender).unwrap();
        black_box(runtime.block_on(other).unwrap());
    })
}

/// A message of a thread and the answer of a task after 20 us of quiet, in a run with parked tasks.
fn round_trips(parked: usize) -> f64 {
    with(1, || {
        let tasks: Vec<_> = (0..parked).map(|_| cede::spawn(|| park("the end").is_err())).collect();
        cede::yield_now();
        let ((to, there), (back, here)) = (bounded(1), bounded(1));
        let other = thread::spawn(move || {
            let mut sum = 0.0;
            for m in 0..500_u64 {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(20) {}
                sum += nanos(1, || {
                    to.send(m).unwrap();
                    here.recv().unwrap();
                });
            }
            sum / 500.0
        });
        there.iter().for_each(|m: u64| back.send(m).unwrap());
        tasks.iter().for_each(|task| assert!(task.cancel()));
        other.join().unwrap()
    })
}

fn empty_anywhere(workers: usize) -> f64 {
    with(workers, || {
        nanos(JOBS, || {
            let tasks: Vec<_> = (0..JOBS).map(|n| spawn_anywhere(move || n)).collect();
            for mut task in tasks {
                black_box(task.join().unwrap());
            }
        })
    })
}

fn empty_scope(workers: usize) -> f64 {
    with(workers, || {
        nanos(JOBS, || {
            scope_anywhere(|s| (0..JOBS).for_each(|n| drop(s.spawn(move || black_box(n))))).unwrap();
        })
    })
}

fn empty_tokio(runtime: &tokio::runtime::Runtime) -> f64 {
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

fn empty_rayon(pool: &rayon::ThreadPool) -> f64 {
    nanos(JOBS, || pool.scope(|s| (0..JOBS).for_each(|n| s.spawn(move |_| drop(black_box(Box::new(n)))))))
}

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = join_anywhere(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn fib_rayon(n: u64) -> u64 {
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
fn reduce(jobs: &[u64]) -> u64 {
    if jobs.len() <= 32 {
        return jobs.iter().fold(0, |sum, n| sum ^ work(*n));
    }
    let (left, right) = jobs.split_at(jobs.len() / 2);
    let (a, b) = join_anywhere(|| reduce(left), || reduce(right));
    a ^ b
}

fn reduce_rayon(jobs: &[u64]) -> u64 {
    if jobs.len() <= 32 {
        return jobs.iter().fold(0, |sum, n| sum ^ work(*n));
    }
    let (left, right) = jobs.split_at(jobs.len() / 2);
    let (a, b) = rayon::join(|| reduce_rayon(left), || reduce_rayon(right));
    a ^ b
}

fn jobs_anywhere(workers: usize) -> f64 {
    with(workers, || {
        nanos(JOBS, || {
            let tasks: Vec<_> = (0..JOBS).map(|n| spawn_anywhere(move || work(n))).collect();
            for mut task in tasks {
                black_box(task.join().unwrap());
            }
        })
    })
}

fn jobs_scope(workers: usize) -> f64 {
    with(workers, || {
        nanos(JOBS, || scope_anywhere(|s| (0..JOBS).for_each(|n| drop(s.spawn(move || work(n))))).unwrap())
    })
}

fn jobs_tokio(runtime: &tokio::runtime::Runtime) -> f64 {
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

fn jobs_rayon(pool: &rayon::ThreadPool) -> f64 {
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

/// The processor time of all threads of the process, in milliseconds.
fn cpu() -> f64 {
    let mut usage: libc::rusage = unsafe_zeroed();
    // SAFETY: `usage` is a valid place for the result.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let millis = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    millis(usage.ru_utime) + millis(usage.ru_stime)
}

fn unsafe_zeroed() -> libc::rusage {
    // SAFETY: the struct consists of integers.
    unsafe { std::mem::zeroed() }
}

type Case<'a> = (&'a str, Box<dyn Fn() -> f64 + 'a>);

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let rounds = numbers.next().unwrap_or(9);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = numbers.next().unwrap_or(cores.max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build().expect("tokio starts");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build().expect("rayon starts");
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("rayon starts");
    let all: Vec<u64> = (0..JOBS).collect();
    let (runtime, pool, single, all) = (&runtime, &pool, &single, &all);
    let groups: Vec<(&str, Vec<Case<'_>>)> = vec![
        (
            "a wake",
            vec![
                ("std park and unpark", Box::new(|| thread_unparks(2000))),
                ("cede, two workers", Box::new(|| unparks(20_000))),
            ],
        ),
        (
            "a message, there and back",
            vec![
                ("crossbeam, bounded(1)", Box::new(|| crossbeam_messages(10_000))),
                ("cede, threads", Box::new(|| thread_messages(10_000))),
                ("cede, workers", Box::new(|| worker_messages(10_000))),
            ],
        ),
        (
            "a message, 1,024 places",
            vec![
                ("tokio, multi_thread", Box::new(move || tokio_stream(runtime, 200_000))),
                ("crossbeam", Box::new(|| crossbeam_stream(200_000))),
                ("cede, two workers", Box::new(|| worker_stream(200_000))),
            ],
        ),
        (
            "a round trip after 20 us",
            vec![
                ("10 tasks parked", Box::new(|| round_trips(10))),
                ("100,000 tasks parked", Box::new(|| round_trips(100_000))),
            ],
        ),
        (
            "one of 100,000 empty closures",
            vec![
                ("tokio, multi_thread", Box::new(move || empty_tokio(runtime))),
                ("rayon, scope", Box::new(move || empty_rayon(pool))),
                ("cede, spawn_anywhere", Box::new(move || empty_anywhere(workers))),
                ("cede, scope_anywhere", Box::new(move || empty_scope(workers))),
            ],
        ),
        (
            "fib(27) by joins",
            vec![
                ("rayon", Box::new(move || nanos(1, || drop(black_box(pool.install(|| Box::new(fib_rayon(27)))))))),
                (
                    "rayon, 1 thread",
                    Box::new(move || nanos(1, || drop(black_box(single.install(|| Box::new(fib_rayon(27))))))),
                ),
                ("cede", Box::new(move || with(workers, || nanos(1, || drop(black_box(Box::new(fib(27)))))))),
                ("cede, 1 worker", Box::new(|| with(1, || nanos(1, || drop(black_box(Box::new(fib(27)))))))),
            ],
        ),
        (
            "one of 100,000 unequal jobs",
            vec![
                ("tokio, multi_thread", Box::new(move || jobs_tokio(runtime))),
                ("rayon", Box::new(move || jobs_rayon(pool))),
                ("rayon, 1 thread", Box::new(move || jobs_rayon(single))),
                ("cede, spawn_anywhere", Box::new(move || jobs_anywhere(workers))),
                ("cede, scope_anywhere", Box::new(move || jobs_scope(workers))),
                ("cede, 1 worker", Box::new(|| jobs_anywhere(1))),
            ],
        ),
        (
            "one of 100,000 jobs, reduced by joins",
            vec![
                (
                    "rayon",
                    Box::new(move || nanos(JOBS, || drop(black_box(pool.install(|| Box::new(reduce_rayon(all))))))),
                ),
                (
                    "rayon, 1 thread",
                    Box::new(move || nanos(JOBS, || drop(black_box(single.install(|| Box::new(reduce_rayon(all))))))),
                ),
                ("cede", Box::new(move || with(workers, || nanos(JOBS, || drop(black_box(Box::new(reduce(all)))))))),
                (
                    "cede, 1 worker",
                    Box::new(move || with(1, || nanos(JOBS, || drop(black_box(Box::new(reduce(all))))))),
                ),
            ],
        ),
    ];
    println!(
        "{workers} workers, {cores} cores, {rounds} rounds: ns, fastest (median), ratio to the first of the group"
    );
    for (group, cases) in &groups {
        let mut times = vec![Vec::new(); cases.len()];
        for _ in 0..rounds {
            cases.iter().zip(&mut times).for_each(|((_, run), times)| times.push(run()));
        }
        println!("{group}");
        times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        for ((name, _), time) in cases.iter().zip(&times) {
            let (min, median) = (time[0], time[time.len() / 2]);
            let (first_min, first_median) = (times[0][0], times[0][rounds / 2]);
            println!(
                "    {name:24} {min:12.1} ({median:12.1})   {:5.2} ({:5.2})",
                min / first_min,
                median / first_median
            );
        }
    }
    for workers in [1, 8] {
        with(workers, || {
            cede::time::sleep(Duration::from_millis(100)).expect("main is not cancelled");
            let before = cpu();
            cede::time::sleep(Duration::from_secs(1)).expect("main is not cancelled");
            println!("an idle second of {workers} workers: {:.3} ms of processor time", cpu() - before);
        });
    }
}
