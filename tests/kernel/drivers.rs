//! The drivers of I/O that this machine has: tests over all of them.

use cede::io::{Driver, Interest};
use cede::net::UnixStream;
use cede::{Config, metrics, yield_now};
use std::env;
use std::io;
use std::time::{Duration, Instant};

/// More than any wait of a test takes, under an emulator too.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Returns whether io_uring works here. `CEDE_REQUIRE_URING=1` makes a lack of it a failure, except in a build without it, and under
/// an emulator.
pub(crate) fn has_uring() -> bool {
    let may_lack = cfg!(cede_poll_driver) || cfg!(not(feature = "uring")) || env::var_os("CEDE_TEST_RUNNER").is_some();
    // The calling thread may have a run.
    let probe = std::thread::spawn(|| Config::new().driver(Driver::Uring).run(warm_up).unwrap());
    let Err(error) = probe.join().unwrap() else { return true };
    let required = env::var("CEDE_REQUIRE_URING").as_deref() == Ok("1") && !may_lack;
    assert!(!required, "io_uring is required: {error}");
    eprintln!("no test by io_uring: {error}");
    false
}

/// Checks that a child process has passed. Its stderr has at most notes about a missing io_uring.
#[track_caller]
pub(crate) fn passed(text: &str) {
    let lines = text.lines().filter(|line| !line.starts_with("no test by io_uring"));
    assert_eq!(lines.collect::<Vec<_>>(), ["exit code Some(0)"], "{text}");
}

/// Calls `test` with each driver.
pub(crate) fn on_each_driver(test: impl Fn(Driver)) {
    test(Driver::Epoll);
    if has_uring() {
        test(Driver::Uring);
    }
}

/// Runs `main` with each driver, in a run whose reactor has been made.
pub(crate) fn run_on_each_driver(main: impl Fn(Driver)) {
    on_each_driver(|driver| {
        let body = || {
            warm_up().unwrap();
            main(driver);
        };
        Config::new().driver(driver).run(body).unwrap();
    });
}

/// Makes the reactor of the run, so that the next wait is an operation if the driver has operations.
pub(crate) fn warm_up() -> io::Result<()> {
    let (stream, _peer) = UnixStream::pair()?;
    cede::io::wait(&stream, Interest::Writable)
}

/// Yields until `condition` holds.
#[track_caller]
pub(crate) fn until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "the condition never holds: {:?}", metrics());
        yield_now();
    }
}

/// Waits until `count` tasks wait for I/O, and the kernel has their operations.
#[track_caller]
pub(crate) fn until_waiting(count: u64) {
    until(|| metrics().io_waiting == count);
    // The event loop submits what is in the queue before it sleeps.
    cede::time::sleep(Duration::from_millis(1)).unwrap();
}

/// Raises the number of descriptors that this process may have, and returns it.
pub(crate) fn raise_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the calls. A privileged process may raise both of its limits. Elsewhere the first call fails without
    // effect.
    unsafe {
        let wanted = libc::rlimit { rlim_cur: 21_000, rlim_max: 21_000 };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted);
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur as usize
}
