//! The drivers of I/O that this machine has: tests over all of them.

use cede::io::{Driver, Interest};
use cede::net::UnixStream;
use cede::{Config, metrics, yield_now};
use std::env;
use std::io;
use std::time::{Duration, Instant};

/// More than any wait of a test takes, under an emulator too.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Returns whether io_uring works here. `CEDE_REQUIRE_URING=1` makes a lack of it a failure, where the kernel is known.
pub(crate) fn has_uring() -> bool {
    let outcome = Config::new().driver(Driver::Uring).run(warm_up).unwrap();
    match outcome {
        Ok(()) => true,
        Err(error) if env::var("CEDE_REQUIRE_URING").as_deref() == Ok("1") => panic!("io_uring is required: {error}"),
        Err(error) => {
            eprintln!("no test by io_uring: {error}");
            false
        }
    }
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

/// Yields until `count` tasks wait for I/O.
#[track_caller]
pub(crate) fn until_waiting(count: u64) {
    until(|| metrics().io_waiting == count);
}
