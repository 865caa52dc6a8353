//! The ends of a worker that no run reaches by itself: each in a process of its own.

// The run stands below this module; a test may use it all the same.
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

/// What `child` runs a program by: see `tests/common/mod.rs`.
fn command(program: impl AsRef<Path>) -> Command {
    let runner = std::env::var("CEDE_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = Command::new(words.next().map_or(program.as_ref(), Path::new));
    if !runner.is_empty() {
        command.args(words).arg(program.as_ref());
    }
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

/// A thread may end with a run open. A new thread that has its thread pointer does not find that worker.
#[test]
fn worker_of_an_ended_thread_is_not_found_by_the_next_one() {
    let text = in_child("scheduler::attach::tests::worker_of_an_ended_thread_is_not_found_by_the_next_one", || {
        let ended = thread::spawn(|| {
            let on_stall = |_: &Worker| crate::scheduler::StallAction::Sleep(None);
            let shape = Shape::new(64 * 1024, 0).unwrap();
            let own = Worker::new(shape, Box::new(on_stall), Rc::new(|_, _| ()), Clock::real(), Box::new(|_| ()));
            // Never freed, so that finding it is a wrong answer and no worse.
            let own: &Worker = Box::leak(Box::new(own));
            set_worker(own);
            assert!(worker().is_some_and(|found| std::ptr::eq(found, own)));
            thread_pointer()
        });
        let ended = ended.join().unwrap();
        let next = || thread::spawn(|| (thread_pointer(), worker().is_some())).join().unwrap();
        // 0 where the shortcut that this is about is not there.
        let came_again = ended == 0
            || (0..1000).map(|_| next()).any(|(pointer, found)| {
                assert!(!found, "a worker whose thread has ended");
                pointer == ended
            });
        assert!(came_again, "no thread had the same pointer");
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}
