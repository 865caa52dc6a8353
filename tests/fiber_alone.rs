//! Fibers in a process with one thread: only the threads of the library can end their waits, which is no deadlock.

mod common;

use cede::time::sleep;
use cede::{Config, RunError, block_on, fiber};
use std::future::pending;
use std::io::Write as _;
use std::time::Duration;

fn main() {
    if cfg!(target_os = "linux") && !common::emulated() {
        // The process has no other thread: this is a deadlock.
        let outcome = Config::new().run(|| block_on(pending::<()>()));
        assert!(matches!(outcome, Err(RunError::Deadlock { .. })), "the process has other threads");
    }
    let short = Duration::from_millis(20);
    cede::run(|| {
        assert_eq!(block_on(fiber(move || sleep(short))), Ok(Ok(())));
        let run = Config::new().run_async(move || sleep(short));
        assert_eq!(block_on(async { run.await.unwrap() }), Ok(Ok(())));
        #[cfg(feature = "io")]
        assert_eq!(read_in_fiber(), 2);
    });
    // The timer and the reader have ended: this is a deadlock again.
    if cfg!(target_os = "linux") && !common::emulated() {
        let outcome = Config::new().run(|| block_on(pending::<()>()));
        assert!(matches!(outcome, Err(RunError::Deadlock { .. })), "a thread of the library counts");
    }
    std::io::stdout().write_all(b"sleep_of_fiber_is_no_deadlock: ok\n").unwrap();
}

/// Reads what a child process writes. No thread of this process waits for the child.
#[cfg(feature = "io")]
fn read_in_fiber() -> usize {
    use cede::io::{Interest, wait};
    use std::io::Read as _;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut shell = std::process::Command::new("sh");
    let mut child = shell.args(["-c", "sleep 0.05; echo x"]).stdout(writer).spawn().unwrap();
    drop(shell);
    let read = fiber(move || {
        wait(&reader, Interest::Readable).unwrap();
        reader.read(&mut [0; 4]).unwrap()
    });
    let count = block_on(read).unwrap();
    child.wait().unwrap();
    count
}
