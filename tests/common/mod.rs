//! Helpers of several test files: child processes, texts of panics, runs with a paused clock, and tasks. [`witness`] has the logs
//! and drop counters of the tests.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod child;
pub(crate) mod executor;
pub(crate) mod futures;
pub(crate) mod random;
#[cfg(target_os = "linux")]
pub(crate) mod seccomp;
pub(crate) mod storm;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub(crate) mod streams;
pub(crate) mod witness;
pub(crate) mod worlds;

use std::any::Any;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

/// Returns a command for a program built with the tests. If the tests run under an emulator, `CEDE_TEST_RUNNER` names it, and
/// the program runs under it too. The program writes no core file.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let runner = std::env::var("CEDE_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.args(words).arg(program.as_ref());
            command
        }
        None => Command::new(program.as_ref()),
    };
    // A test harness without unwinding runs each test in its own process by the second variable.
    command.env_remove("RUST_BACKTRACE").env_remove("__RUST_TEST_INVOKE");
    // SAFETY: only setrlimit runs between fork and exec, and it is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
            Ok(())
        });
    }
    command
}

/// Returns whether the tests run under an emulator, which supports less than a kernel.
pub(crate) fn emulated() -> bool {
    std::env::var_os("CEDE_TEST_RUNNER").is_some()
}

/// Returns the path of an example that cargo built with the running test.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests are in PROFILE/deps");
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "example {name} is not built: run all tests, or `cargo build --examples` first");
    path
}

/// Returns the stdout of a process, its stderr, and how it ended if that was not with exit code 0.
pub(crate) fn transcript(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.stderr.is_empty() {
        text += &format!("--- stderr\n{}", String::from_utf8_lossy(&output.stderr));
    }
    match (output.status.signal(), output.status.code()) {
        (Some(libc::SIGABRT), _) => text += "--- killed by SIGABRT\n",
        (Some(signal), _) => text += &format!("--- killed by signal {signal}\n"),
        (None, Some(0)) => {}
        (None, code) => text += &format!("--- exit code {code:?}\n"),
    }
    text
}

/// Returns the text of a panic's payload, or "?" if it is no text.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("?").to_string()
}

/// Returns the text of the panic. Panics if there was none.
pub(crate) fn panic_text(result: thread::Result<impl Sized>) -> String {
    match result {
        Ok(_) => panic!("a panic was expected"),
        Err(payload) => text_of(&*payload),
    }
}

pub(crate) fn caught<R>(f: impl FnOnce() -> R) -> thread::Result<R> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Yields `count` times.
pub(crate) fn rounds(count: u32) {
    (0..count).for_each(|_| cede::yield_now());
}

/// Starts a run with a paused clock, so that sleeping takes no time.
pub(crate) fn paused<T>(main: impl FnOnce() -> T) -> T {
    match cede::Config::new().paused_clock(true).run(main) {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// A number of seconds as a duration.
pub(crate) fn s(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

/// Returns the seconds since `start`, by the run's clock.
pub(crate) fn since(start: std::time::Instant) -> u64 {
    (cede::time::now() - start).as_secs()
}

/// Spawns a task that sleeps and then returns `value`, or `Cancelled`.
pub(crate) fn sleeper<T: 'static>(seconds: u64, value: T) -> cede::JoinHandle<Result<T, cede::task::Cancelled>> {
    cede::spawn(move || cede::time::sleep(s(seconds)).map(|()| value))
}

/// Runs `body`, which must deadlock, in a closed world. Returns the report.
pub(crate) fn deadlock<T>(body: impl FnOnce() -> T) -> cede::observe::DeadlockReport {
    match cede::Config::new().closed_world(true).run(body) {
        Err(cede::RunError::Deadlock { report, .. }) => report,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no deadlock was reported"),
    }
}

/// Spawns a task with a name.
pub(crate) fn named<T: 'static>(name: &'static str, body: impl FnOnce() -> T + 'static) -> cede::JoinHandle<T> {
    cede::Builder::new().name(name).spawn(body).unwrap()
}
