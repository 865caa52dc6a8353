//! A sampling profiler during switches of stacks: a thread sends SIGPROF as fast as it can, and the handler unwinds with the C
//! library's `backtrace`, like gperftools. No process may die, and every backtrace must end.
//!
//! Each case runs in its own process: this file is its own child. `.ci/profilers` runs it longer, with two arguments: the number
//! of runs of each case, and their milliseconds.

mod common;

use cede::{Coroutine, Generator, Inbox, Sink, Suspender};
use common::{command, transcript};
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const CASES: [&str; 9] = ["none", "task", "spawn", "coroutine", "generator", "sink", "scoped", "panic", "dropped"];

/// Cases that may die. They run only when arguments are given. libgcc's `_Unwind_Resume` cannot be unwound while it restores the
/// registers of a landing pad. `panic` shows it without this library, and a coroutine that is dropped while it is suspended is
/// unwound in the same way.
const MAY_DIE: [&str; 2] = ["panic", "dropped"];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| args.get(at).and_then(|arg| arg.parse::<usize>().ok());
    if let [_, flag, case, time] = &args[..]
        && flag == "--child"
    {
        return child(case, Duration::from_millis(time.parse().unwrap()));
    }
    if cfg!(any(not(all(target_os = "linux", target_env = "gnu")), feature = "asan")) {
        // ASan turns off the code that keeps the unwind tables of coroutines correct; see src/coroutine/unwind_tables.rs.
        return println!("no profiler here");
    }
    let (runs, time) = (number(1).unwrap_or(1), number(2).unwrap_or(300));
    let mut failed = 0;
    println!("case        runs   died  samples  endless");
    for case in CASES {
        // Tasks over corosensei's switch have no correct unwind tables on x86-64.
        if cfg!(all(cede_portable_switch, target_arch = "x86_64")) && ["task", "spawn"].contains(&case) {
            continue;
        }
        if MAY_DIE.contains(&case) && args.len() == 1 {
            continue;
        }
        let (mut died, mut samples, mut endless) = (0, 0, 0);
        for _ in 0..runs {
            let child = command(std::env::current_exe().unwrap()).args(["--child", case, &time.to_string()]).output();
            let text = transcript(&child.unwrap());
            let mut numbers = text.split_whitespace().map_while(|word| word.parse::<usize>().ok());
            match (numbers.next(), numbers.next()) {
                (Some(taken), Some(long)) if !text.contains("---") => {
                    (samples, endless) = (samples + taken, endless + long)
                }
                _ => {
                    died += 1;
                    if !MAY_DIE.contains(&case) {
                        println!("{text}");
                    }
                }
            }
        }
        println!("{case:10} {runs:5} {died:6} {samples:8} {endless:8}");
        failed += usize::from(!MAY_DIE.contains(&case)) * usize::from(died > 0 || endless > 0 || samples < runs);
    }
    assert_eq!(failed, 0, "cases that died, or whose samples did not end or were too few");
}

unsafe extern "C" {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn backtrace(buffer: *mut *mut c_void, size: c_int) -> c_int;
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
unsafe fn backtrace(_: *mut *mut c_void, _: c_int) -> c_int {
    0
}

static SAMPLES: AtomicUsize = AtomicUsize::new(0);
static ENDLESS: AtomicUsize = AtomicUsize::new(0);

/// More frames than any stack here has, in debug builds too.
const MOST_FRAMES: usize = 128;

extern "C" fn on_prof(_: c_int) {
    let mut frames = [null_mut(); MOST_FRAMES];
    // SAFETY: the buffer holds `MOST_FRAMES` frames.
    let n = unsafe { backtrace(frames.as_mut_ptr(), MOST_FRAMES as c_int) };
    SAMPLES.fetch_add(1, Relaxed);
    ENDLESS.fetch_add(usize::from(n as usize >= MOST_FRAMES), Relaxed);
}

fn child(case: &str, time: Duration) {
    static STOP: AtomicBool = AtomicBool::new(false);
    // SAFETY: `backtrace` loads its library at its first call, which is made here. The struct is plain data for which zero is
    // valid. The signalled thread joins the thread that sends the signals, so its handle stays valid.
    let me = unsafe {
        backtrace([null_mut(); 4].as_mut_ptr(), 4);
        let mut action: libc::sigaction = zeroed();
        let handler: extern "C" fn(c_int) = on_prof;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGPROF, &action, null_mut());
        libc::pthread_self()
    };
    let profiler = std::thread::spawn(move || {
        while !STOP.load(Relaxed) {
            // SAFETY: the thread `me` is alive: it joins this thread before it ends.
            unsafe { libc::pthread_kill(me, libc::SIGPROF) };
            let sent = Instant::now();
            while sent.elapsed() < Duration::from_micros(20) {
                std::hint::spin_loop();
            }
        }
    });
    let end = Instant::now() + time;
    // A busy machine may give the profiler little time.
    let late = end + Duration::from_secs(20);
    work(case, &|| Instant::now() < end || SAMPLES.load(Relaxed) < 20 && Instant::now() < late);
    STOP.store(true, Relaxed);
    profiler.join().unwrap();
    println!("{} {}", SAMPLES.load(Relaxed), ENDLESS.load(Relaxed));
}

fn work(case: &str, goes_on: &dyn Fn() -> bool) {
    let mut n = 0;
    match case {
        "none" => {
            while goes_on() {
                n += (0..1000).map(black_box).sum::<u64>();
            }
        }
        "task" => cede::run(|| {
            let others: Vec<_> = (0..3)
                .map(|_| {
                    cede::spawn(|| {
                        while cede::task::check().is_ok() {
                            cede::yield_now();
                        }
                    })
                })
                .collect();
            while goes_on() {
                (0..1000).for_each(|_| cede::yield_now());
            }
            for other in &others {
                other.cancel();
            }
        }),
        "spawn" => cede::run(|| {
            while goes_on() {
                n += (0..100).map(|_| cede::spawn(|| 1).join().unwrap()).sum::<u64>();
            }
        }),
        "coroutine" => {
            let mut c = Coroutine::new(|s: &Suspender<u64, u64>, mut i| -> () {
                loop {
                    i = s.suspend(i);
                }
            });
            while goes_on() {
                n += (0..1000).map(|i| c.resume(i).yielded().unwrap()).sum::<u64>();
            }
            // Unwinding it is the case `dropped`. Where panics abort, it is a leak that is reported.
            std::mem::forget(c);
        }
        "generator" => {
            let mut g = Generator::new(|y| (0..u64::MAX).for_each(|n| y.yield_(n)));
            while goes_on() {
                n += g.by_ref().take(1000).sum::<u64>();
            }
            std::mem::forget(g);
        }
        "sink" => {
            let mut s = Sink::new(|inbox: &Inbox<u64>| inbox.iter().sum::<u64>());
            while goes_on() {
                (0..1000).for_each(|i| s.send(i).unwrap());
            }
            n = s.finish();
        }
        "panic" => {
            struct Landing;
            impl Drop for Landing {
                fn drop(&mut self) {
                    black_box(0);
                }
            }
            while goes_on() {
                let caught = std::panic::catch_unwind(|| {
                    let _landing = Landing;
                    std::panic::resume_unwind(Box::new(()));
                });
                n += u64::from(caught.is_err());
            }
        }
        "scoped" | "dropped" => {
            // The last resume ends it.
            let resumes = if case == "scoped" { 21 } else { 20 };
            while goes_on() {
                cede::scoped(
                    |s: &Suspender<u64, u64>, i| (0..20).fold(i, |i, _| s.suspend(i)),
                    |mut c| {
                        (0..resumes).for_each(|i| {
                            c.resume(i);
                        });
                    },
                );
            }
        }
        _ => panic!("no case {case}"),
    }
    black_box(n);
}
