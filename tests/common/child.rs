//! Tests that hang or end the process when they fail: each runs in its own process.

use super::command;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// The exit code of a child whose body has returned. 0 would be the exit code if no test had that name.
const RAN: i32 = 77;

/// Runs the calling test, which must be `name`, again in its own process, which runs only `body`. Returns the child's stderr
/// followed by "exit code" and the code. A child that hangs is killed after 100 seconds.
pub(crate) fn in_child(name: &str, body: impl FnOnce()) -> String {
    if std::env::var("CEDE_TASKS_CHILD").as_deref() == Ok(name) {
        body();
        std::process::exit(RAN);
    }
    let mut child = command(std::env::current_exe().unwrap());
    if cfg!(panic = "abort") {
        // The harness would start a third process.
        child.env("__RUST_TEST_INVOKE", name);
    }
    let mut child = child
        .args(["--exact", name, "--nocapture"])
        .env("CEDE_TASKS_CHILD", name)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(100) {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let code = match output.status.code() {
        Some(0) => panic!("the child ran no test: is there one named {name}?"),
        Some(RAN) => Some(0),
        code => code,
    };
    format!("{}exit code {code:?}", String::from_utf8_lossy(&output.stderr))
}

/// Runs the calling test, which must be `name`, again in its own process, which runs only `body`, and asserts that it returns there.
///
/// For tests that look at what belongs to the process, such as the number of stacks: other tests run in threads beside this one.
#[allow(dead_code, reason = "the tests inside of the library use the rest of this file")]
pub(crate) fn passes(name: &str, body: impl FnOnce()) {
    let text = in_child(name, body);
    assert!(text.ends_with("exit code Some(0)"), "{name}: {text}");
}
