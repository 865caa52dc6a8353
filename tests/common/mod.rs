//! What several test files need: running a program of ours in a process of its own, what a panic said, and in [`child`] and
//! [`witness`] what the tests of tasks see by.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod child;
pub(crate) mod random;
pub(crate) mod witness;
pub(crate) mod worlds;

use std::any::Any;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

/// A command for a program built with the tests. Where the tests themselves run under an emulator, `CEDE_TEST_RUNNER`
/// names it, and the program runs under the same. No core files are left.
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
    // The second is how a test harness without unwinding runs each test in a process of its own.
    command.env_remove("RUST_BACKTRACE").env_remove("__RUST_TEST_INVOKE");
    // SAFETY: setrlimit is all that runs between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
            Ok(())
        });
    }
    command
}

/// Whether the tests run under an emulator, which knows less than a kernel.
pub(crate) fn emulated() -> bool {
    std::env::var_os("CEDE_TEST_RUNNER").is_some()
}

/// An example that cargo built beside the running test.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in PROFILE/deps");
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "example {name} is not built: run all tests, or `cargo build --examples` first");
    path
}

/// All that a run showed: its output, then its errors, then how it ended if that was not exit code 0.
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

/// What a panic's payload says, if it is a text.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("?").to_string()
}

/// The text of a panic, which there must be.
pub(crate) fn panic_text(result: thread::Result<impl Sized>) -> String {
    match result {
        Ok(_) => panic!("it should have panicked"),
        Err(payload) => text_of(&*payload),
    }
}

pub(crate) fn caught<R>(f: impl FnOnce() -> R) -> thread::Result<R> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Gives up `count` turns.
pub(crate) fn rounds(count: u32) {
    (0..count).for_each(|_| cede::yield_now());
}

/// Runs by a paused clock, so that sleeping takes no time.
pub(crate) fn paused<T>(main: impl FnOnce() -> T) -> T {
    match cede::Config::new().paused_clock(true).run(main) {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// A duration by the run's clock, which is paused as a rule.
pub(crate) fn s(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

/// How many seconds have gone by since `start`, by the run's clock.
pub(crate) fn since(start: std::time::Instant) -> u64 {
    (cede::time::now() - start).as_secs()
}

/// A task that sleeps, and then returns `value`. If it is cancelled it says so.
pub(crate) fn sleeper<T: 'static>(seconds: u64, value: T) -> cede::JoinHandle<Result<T, cede::task::Cancelled>> {
    cede::spawn(move || cede::time::sleep(s(seconds)).map(|()| value))
}

/// What a run that ends in a deadlock for certain reports.
pub(crate) fn deadlock<T>(body: impl FnOnce() -> T) -> cede::observe::DeadlockReport {
    match cede::Config::new().closed_world(true).run(body) {
        Err(cede::RunError::Deadlock { report, .. }) => report,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no deadlock was reported"),
    }
}

/// A task with a name.
pub(crate) fn named<T: 'static>(name: &'static str, body: impl FnOnce() -> T + 'static) -> cede::JoinHandle<T> {
    cede::Builder::new().name(name).spawn(body).unwrap()
}
