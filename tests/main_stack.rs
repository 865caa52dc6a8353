//! The watchdog of a run on the main thread, whose stack grows on demand: a value that looks like an address below the used part
//! must be neither followed nor touched.
//!
//! Each case runs in its own process, because its stack has another limit, and because the usual harness does not run a test on
//! the main thread. This file is its own child: its arguments select the case.

mod common;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("only Linux is asked where the stack of a thread is");
}

#[cfg(target_os = "linux")]
fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|flag| flag == "--child") {
        return cases::watch_a_generator_with_numbers();
    }
    let mut wrong = String::new();
    for (case, limit) in [("8 MiB", 8 << 20), ("unlimited", libc::RLIM_INFINITY)] {
        let text = cases::in_child(limit);
        if !text.ends_with("the numbers did no harm\n") {
            wrong += &format!("stack limit {case}: {text}\n");
        }
    }
    assert!(wrong.is_empty(), "watch_with_numbers_below_the_main_stack_does_no_harm:\n{wrong}");
    println!("watch_with_numbers_below_the_main_stack_does_no_harm: ok");
}

#[cfg(target_os = "linux")]
mod cases {
    use super::common::{command, transcript};
    use cede::{Config, Generator, Yielder, yield_now};
    use std::hint::black_box;
    use std::os::unix::process::CommandExt as _;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    /// Whether a running task's stack can be read, and whether a backtrace continues from a generator to its resumer.
    const SAMPLES: bool = cfg!(not(cede_portable_switch));
    const SEAMS: bool = cfg!(not(feature = "asan"));

    /// Returns the output of a child whose stack may grow to `limit`.
    pub(super) fn in_child(limit: libc::rlim_t) -> String {
        let mut command = command(std::env::current_exe().unwrap());
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: setrlimit is all that runs between fork and exec. Without the right to raise the limit it stays.
        unsafe {
            command.pre_exec(move || {
                libc::setrlimit(libc::RLIMIT_STACK, &limit);
                Ok(())
            });
        }
        transcript(&command.arg("--child").output().unwrap())
    }

    /// The mapped part of the stack that this runs on.
    fn stack() -> (usize, usize) {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("[stack]")).expect("the main thread has one");
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        (number(from), number(to))
    }

    #[inline(never)]
    fn spin(until: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !until() && Instant::now() < end {}
    }

    /// A generator that has captured numbers spins until the watchdog has reported it.
    #[inline(never)]
    fn around(told: Arc<Mutex<Vec<String>>>, numbers: [usize; 6]) {
        let spinning = move |y: &Yielder<usize>| {
            // A worker that gets no time from the machine is reported without a stack. Then it spins once more.
            for _ in 0..20 {
                // A new turn, whatever was reported before.
                yield_now();
                let before = told.lock().unwrap().len();
                spin(|| told.lock().unwrap().len() > before);
                if !SAMPLES || told.lock().unwrap().iter().any(|text| text.contains("spin")) {
                    break;
                }
            }
            y.yield_(black_box(numbers).len());
        };
        assert_eq!(Generator::new(spinning).sum::<usize>(), 6);
        black_box(());
    }

    pub(super) fn watch_a_generator_with_numbers() {
        let (lowest, top) = stack();
        let told = Arc::new(Mutex::new(Vec::new()));
        let (inner, telling) = (Arc::clone(&told), Arc::clone(&told));
        Config::new()
            .report_slow_turns(Duration::from_millis(20))
            .on_slow_turn(move |slow| {
                let trace = slow.backtrace.as_ref().map(ToString::to_string).unwrap_or_default();
                telling.lock().unwrap().push(trace);
            })
            .run(move || {
                // Near, far, and as far as the stack could grow.
                let below = [1 << 12, 1 << 20, 2 << 20, 5 << 20, 1 << 30, 0];
                around(inner, below.map(|below| lowest.saturating_sub(below)));
            })
            .unwrap();
        let (now_lowest, now_top) = stack();
        assert_eq!(now_top, top);
        assert!(lowest - now_lowest <= 512 << 10, "the stack has grown by {} bytes", lowest - now_lowest);
        if SAMPLES {
            let told = told.lock().unwrap();
            let text = told.iter().find(|text| text.contains("spin"));
            let text = text.unwrap_or_else(|| panic!("no report shows what spins: {told:#?}"));
            assert!(!SEAMS || text.contains("around"), "{text}");
        }
        println!("the numbers did no harm");
    }
}
