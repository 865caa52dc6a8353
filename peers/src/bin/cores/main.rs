//! What several workers cost and gain: wakes between workers, closures that travel, and jobs on all cores, beside std, crossbeam, tokio and
//! rayon, interleaved in one process.
//!
//! cargo run --release -p peers --bin cores -- [--rounds N] [--workers N] [--only TEXT]
//!
//! Prints the fastest round and the median of each case, and the ratio to the first case of the group. The rivals have as many threads as cede
//! has workers (2, or as many as the process may use if that is more). A job takes 2,000 steps on average, by Pareto's distribution with the
//! exponent 1.5. At the end, the processor time of an idle second is printed for 1 and for 8 workers. With `--only`, only the groups whose
//! names contain the text are measured.

mod jobs;
mod wakes;

use cede::Config;
use jobs::JOBS;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: cores [--rounds N] [--workers N] [--only TEXT]";

fn nanos(n: u64, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_nanos() as f64 / n as f64
}

fn with<T>(workers: usize, main: impl FnOnce() -> T) -> T {
    Config::new().workers(workers).run(main).expect("the run starts")
}

/// The processor time of all threads of the process, in milliseconds.
fn cpu() -> f64 {
    // SAFETY: the struct consists of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for the result.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let millis = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    millis(usage.ru_utime) + millis(usage.ru_stime)
}

type Case<'a> = (&'a str, Box<dyn Fn() -> f64 + 'a>);

fn main() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (mut rounds, mut workers, mut only) = (9, cores.max(2), String::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().expect(USAGE);
        match &*arg {
            "--rounds" => rounds = value.parse().expect(USAGE),
            "--workers" => workers = value.parse().expect(USAGE),
            "--only" => only = value,
            _ => panic!("{USAGE}"),
        }
    }
    let blocking = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build().expect("tokio starts");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build().expect("rayon starts");
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("rayon starts");
    let all: Vec<u64> = (0..JOBS).collect();
    let (runtime, blocking, pool, single, all) = (&runtime, &blocking, &pool, &single, &all);
    let groups: Vec<(&str, Vec<Case<'_>>)> = vec![
        (
            "a wake",
            vec![
                ("std park and unpark", Box::new(|| wakes::threads(2000))),
                ("cede, two workers", Box::new(|| wakes::workers(20_000))),
                ("cede, two runs", Box::new(|| wakes::runs(20_000))),
            ],
        ),
        ("a wake of a worker that is awake", vec![("cede", Box::new(|| wakes::awake(100_000)))]),
        (
            "a call that blocks, empty",
            vec![
                ("tokio, current_thread", Box::new(move || wakes::tokio_unblocks(blocking, 5_000))),
                ("tokio, multi_thread", Box::new(move || wakes::tokio_unblocks(runtime, 5_000))),
                ("cede, unblock", Box::new(|| wakes::unblocks(5_000))),
            ],
        ),
        (
            "a message, there and back",
            vec![
                ("crossbeam, bounded(1)", Box::new(|| wakes::crossbeam_messages(10_000))),
                ("cede, threads", Box::new(|| wakes::thread_messages(10_000))),
                ("cede, workers", Box::new(|| wakes::worker_messages(10_000))),
            ],
        ),
        (
            "a message, 1,024 places",
            vec![
                ("tokio, multi_thread", Box::new(move || wakes::tokio_stream(runtime, 200_000))),
                ("crossbeam", Box::new(|| wakes::crossbeam_stream(200_000))),
                ("cede, two workers", Box::new(|| wakes::worker_stream(200_000))),
            ],
        ),
        (
            "a round trip after 20 us",
            vec![
                ("10 tasks parked", Box::new(|| wakes::round_trips(10))),
                ("100,000 tasks parked", Box::new(|| wakes::round_trips(100_000))),
            ],
        ),
        (
            "one of 100,000 empty closures",
            vec![
                ("tokio, multi_thread", Box::new(move || jobs::empty_tokio(runtime))),
                ("rayon, scope", Box::new(move || jobs::empty_rayon(pool))),
                ("cede, spawn_anywhere", Box::new(move || jobs::empty_anywhere(workers))),
                ("cede, scope_anywhere", Box::new(move || jobs::empty_scope(workers))),
            ],
        ),
        (
            "fib(27) by joins",
            vec![
                (
                    "rayon",
                    Box::new(move || nanos(1, || drop(black_box(pool.install(|| Box::new(jobs::fib_rayon(27))))))),
                ),
                (
                    "rayon, 1 thread",
                    Box::new(move || nanos(1, || drop(black_box(single.install(|| Box::new(jobs::fib_rayon(27))))))),
                ),
                ("cede", Box::new(move || with(workers, || nanos(1, || drop(black_box(Box::new(jobs::fib(27)))))))),
                ("cede, 1 worker", Box::new(|| with(1, || nanos(1, || drop(black_box(Box::new(jobs::fib(27)))))))),
            ],
        ),
        (
            "one of 100,000 unequal jobs",
            vec![
                ("tokio, multi_thread", Box::new(move || jobs::jobs_tokio(runtime))),
                ("rayon", Box::new(move || jobs::jobs_rayon(pool))),
                ("rayon, 1 thread", Box::new(move || jobs::jobs_rayon(single))),
                ("cede, spawn_anywhere", Box::new(move || jobs::jobs_anywhere(workers))),
                ("cede, scope_anywhere", Box::new(move || jobs::jobs_scope(workers))),
                ("cede, 1 worker", Box::new(|| jobs::jobs_anywhere(1))),
            ],
        ),
        (
            "one of 100,000 jobs, reduced by joins",
            vec![
                (
                    "rayon",
                    Box::new(move || {
                        nanos(JOBS, || drop(black_box(pool.install(|| Box::new(jobs::reduce_rayon(all))))))
                    }),
                ),
                (
                    "rayon, 1 thread",
                    Box::new(move || {
                        nanos(JOBS, || drop(black_box(single.install(|| Box::new(jobs::reduce_rayon(all))))))
                    }),
                ),
                (
                    "cede",
                    Box::new(move || with(workers, || nanos(JOBS, || drop(black_box(Box::new(jobs::reduce(all))))))),
                ),
                (
                    "cede, 1 worker",
                    Box::new(move || with(1, || nanos(JOBS, || drop(black_box(Box::new(jobs::reduce(all))))))),
                ),
            ],
        ),
    ];
    println!(
        "{workers} workers, {cores} cores, {rounds} rounds: ns, fastest (median), ratio to the first of the group"
    );
    for (group, cases) in groups.iter().filter(|(group, _)| group.contains(&only)) {
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
    for workers in if only.is_empty() { [1, 8].as_slice() } else { &[] } {
        with(*workers, || {
            cede::time::sleep(Duration::from_millis(100)).expect("main is not cancelled");
            let before = cpu();
            cede::time::sleep(Duration::from_secs(1)).expect("main is not cancelled");
            println!("an idle second of {workers} workers: {:.3} ms of processor time", cpu() - before);
        });
    }
}
