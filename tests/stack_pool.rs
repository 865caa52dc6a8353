//! The memory that the stack pool keeps. Each test runs in its own child process, since the pool belongs to the process.

mod common;

use cede::stack::{self, set_pool_idle_timeout, set_pool_limit};
use cede::task::{gather, park};
use cede::time::sleep;
use cede::{Builder, Suspender, spawn, yield_now};
use common::{child, emulated};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The number of tasks of a burst: with their guards by `mprotect`, too.
const BURST: usize = 4_000;

/// The time after which a test fails that waits for the pool.
const LONG: Duration = Duration::from_secs(60);

/// Runs `BURST` tasks that are all suspended at once.
fn burst() {
    let all = gather((0..BURST).map(|_| spawn(yield_now)));
    assert!(all.iter().all(Result::is_ok));
}

fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// Returns the number of page faults of this process.
fn faults() -> i64 {
    // SAFETY: an all-zero rusage is valid, and getrusage only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    usage.ru_minflt
}

fn is_within_limit() -> bool {
    stack::stats().warm_bytes <= stack::pool_limit()
}

#[test]
fn second_burst_of_a_run_causes_no_page_faults() {
    child::passes("second_burst_of_a_run_causes_no_page_faults", || {
        set_pool_idle_timeout(Duration::MAX);
        cede::run(|| {
            let before = faults();
            burst();
            let first = faults() - before;
            let warm = stack::stats();
            assert!(warm.warm >= BURST && !is_within_limit(), "{warm:?}");
            let before = faults();
            burst();
            let second = faults() - before;
            if !emulated() && !cfg!(feature = "asan") {
                assert!(first >= BURST as i64 && second < BURST as i64 / 10, "{first}, then {second}");
            }
            assert_eq!(stack::stats().cold, warm.cold);
        });
        // No event loop is left that would return the memory later.
        assert!(is_within_limit(), "{:?}", stack::stats());
        assert!(stack::stats().cold > 0);
    });
}

#[test]
fn idle_event_loop_returns_the_memory_of_a_burst() {
    child::passes("idle_event_loop_returns_the_memory_of_a_burst", || {
        set_pool_limit(100 * page_size());
        set_pool_idle_timeout(Duration::from_millis(20));
        cede::run(|| {
            burst();
            let main = cede::task::Unparker::current();
            let watch = std::thread::spawn(move || {
                let start = Instant::now();
                while !is_within_limit() && start.elapsed() < LONG {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let (stats, within) = (stack::stats(), is_within_limit());
                main.unpark();
                assert!(within, "{stats:?}");
            });
            // Only the event loop is left to act.
            park("the watching thread").unwrap();
            watch.join().unwrap();
            burst();
            // A timer limits the sleep, too.
            while !is_within_limit() {
                sleep(Duration::from_millis(50)).unwrap();
            }
        });
    });
}

#[test]
fn busy_run_returns_the_memory_of_a_burst() {
    child::passes("busy_run_returns_the_memory_of_a_burst", || {
        set_pool_idle_timeout(Duration::from_millis(5));
        cede::run(|| {
            let is_over = Rc::new(Cell::new(false));
            for _ in 0..4 {
                let is_over = Rc::clone(&is_over);
                spawn(move || {
                    while !is_over.get() {
                        yield_now();
                    }
                });
            }
            set_pool_limit(100 * page_size());
            burst();
            let start = Instant::now();
            while !is_within_limit() {
                assert!(start.elapsed() < LONG, "{:?}", stack::stats());
                yield_now();
            }
            is_over.set(true);
        });
    });
}

#[test]
fn timeout_of_zero_keeps_nothing_over_the_limit() {
    child::passes("timeout_of_zero_keeps_nothing_over_the_limit", || {
        set_pool_idle_timeout(Duration::ZERO);
        set_pool_limit(100 * page_size());
        cede::run(|| {
            burst();
            assert!(is_within_limit(), "{:?}", stack::stats());
        });
    });
}

#[test]
fn trim_in_a_run_returns_all_memory() {
    child::passes("trim_in_a_run_returns_all_memory", || {
        set_pool_idle_timeout(Duration::MAX);
        cede::run(|| {
            burst();
            let warm = stack::stats().warm;
            assert!(warm >= BURST);
            assert_eq!(stack::trim(), warm);
            assert_eq!((stack::stats().warm, stack::stats().warm_bytes), (0, 0));
            burst();
            assert!(stack::stats().warm >= BURST, "stacks without memory are as good as new ones");
        });
    });
}

#[test]
fn each_size_has_its_own_limit() {
    child::passes("each_size_has_its_own_limit", || {
        // Four pages for each stack of one size.
        set_pool_limit(150 * 4 * page_size());
        let sizes = (1..=8).map(|number| number * 64 * 1024);
        for size in sizes {
            let body = |s: &Suspender<u32, u32>, n| s.suspend(n);
            let mut all: Vec<_> = (0..150).map(|_| Builder::new().stack_size(size).coroutine(body).unwrap()).collect();
            for c in &mut all {
                let _ = c.resume(1);
            }
            for c in &mut all {
                let _ = c.resume(1);
            }
        }
        let stats = stack::stats();
        assert!(stats.warm >= 8 * 150, "{stats:?}");
    });
}
