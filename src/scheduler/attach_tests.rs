//! Tests of a worker whose thread ends with the run still open, each in a process of its own.

// `run` is in a higher layer. A test may use it.
extern crate self as cede;

use super::super::clock::Clock;
use super::super::current::{set_worker, worker};
use super::Worker;
use crate::arch::thread_pointer;
use crate::stack::Shape;
use child::in_child;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::thread;

#[path = "../../tests/common/child.rs"]
mod child;

/// Returns the command with which `child` runs a program: see `tests/common/mod.rs`.
fn command(program: impl AsRef<Path>) -> Command {
    let runner = std::env::var("CEDE_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = Command::new(words.next().map_or(program.as_ref(), Path::new));
    if !runner.is_empty() {
        command.args(words).arg(program.as_ref());
    }
    command.env_remove("RUST_BACKTRACE").env_remove("__RUST_TEST_INVOKE");
    // SAFETY: between fork and exec the closure makes one system call, setrlimit, and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
            Ok(())
        });
    }
    command
}

/// A thread may end with a run open. A later thread that has the same thread pointer must not find that worker.
#[test]
fn worker_of_an_ended_thread_is_not_found_by_the_next_one() {
    let text = in_child("scheduler::attach::tests::worker_of_an_ended_thread_is_not_found_by_the_next_one", || {
        let ended = thread::spawn(|| {
            let on_stall = |_: &Worker| crate::scheduler::StallAction::Sleep(None);
            let shape = Shape::new(64 * 1024, 0).unwrap();
            let own = Worker::new(shape, Box::new(on_stall), Rc::new(|_, _| ()), Clock::real(), Box::new(|_| ()), None);
            // Leaked, so that a failing test finds a worker and not freed memory.
            let own: &Worker = Box::leak(Box::new(own));
            set_worker(own);
            assert!(worker().is_some_and(|found| std::ptr::eq(found, own)));
            thread_pointer()
        });
        let ended = ended.join().unwrap();
        let next = || thread::spawn(|| (thread_pointer(), worker().is_some())).join().unwrap();
        // 0 on targets without the shortcut, where there is nothing to test.
        let came_again = ended == 0
            || (0..1000).map(|_| next()).any(|(pointer, found)| {
                assert!(!found, "found the worker of a thread that has ended");
                pointer == ended
            });
        assert!(came_again, "no later thread had the same thread pointer, so nothing was tested");
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}
