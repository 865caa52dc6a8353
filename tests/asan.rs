//! AddressSanitizer finds bugs on a coroutine's stack: each is planted on purpose and runs in its own process.
//!
//! Runs only in a build with the feature `asan` and `-Zsanitizer=address`; `.ci/sanitize` makes one.
#![cfg(feature = "asan")]

mod common;

use cede::{Coroutine, Generator, Suspender, Yielder};
use common::command;

/// Runs this file's test `name` as a child process in which the bug is real, and returns the output of the child.
fn report(name: &str, bug: impl FnOnce()) -> Option<String> {
    if std::env::var("CEDE_CHILD").as_deref() == Ok(name) {
        bug();
        println!("the bug went unnoticed");
        std::process::exit(0);
    }
    let mut child = command(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env("CEDE_CHILD", name).output().unwrap();
    assert!(!output.status.success(), "ASan did not notice: {}", String::from_utf8_lossy(&output.stdout));
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[inline(never)]
fn dangling() -> *const u32 {
    let local = 7;
    &raw const local
}

#[test]
fn use_after_return_in_a_coroutine_is_found() {
    let text = report("use_after_return_in_a_coroutine_is_found", || {
        let mut c = Coroutine::new(|s: &Suspender<(), ()>, ()| {
            let pointer = dangling();
            s.suspend(());
            // SAFETY: none: the frame is gone.
            println!("{}", unsafe { *pointer });
        });
        c.resume(());
        c.resume(());
    });
    assert!(text.unwrap().contains("AddressSanitizer: stack-use-after-return"));
}

#[test]
fn use_after_return_across_coroutines_is_found() {
    let text = report("use_after_return_across_coroutines_is_found", || {
        let mut first = Generator::new(|y: &Yielder<usize>| {
            y.yield_(dangling() as usize);
        });
        let pointer = first.next().unwrap() as *const u32;
        let mut second = Coroutine::new(move |_: &Suspender<(), u32>, ()| {
            // SAFETY: none: the frame is gone.
            unsafe { *pointer }
        });
        println!("{:?}", second.resume(()));
    });
    assert!(text.unwrap().contains("AddressSanitizer: stack-use-after-return"));
}

#[test]
fn writing_past_a_local_is_found() {
    let text = report("writing_past_a_local_is_found", || {
        let mut c = Coroutine::new(|_: &Suspender<usize, u8>, at: usize| {
            let mut bytes = [0u8; 16];
            // SAFETY: none: the index is out of bounds.
            unsafe {
                *bytes.as_mut_ptr().add(at) = 1;
            }
            bytes.iter().sum::<u8>()
        });
        println!("{:?}", c.resume(std::env::args().len() + 17));
    });
    assert!(text.unwrap().contains("AddressSanitizer: stack-buffer-overflow"));
}

#[test]
fn a_clean_run_is_clean_and_the_runtime_knows_every_switch() {
    let name = "a_clean_run_is_clean_and_the_runtime_knows_every_switch";
    if std::env::var("CEDE_CHILD").as_deref() == Ok(name) {
        let mut outer = Generator::new(|y| {
            for round in 0..100 {
                let mut inner = Coroutine::new(move |s: &Suspender<u32, u32>, n| n + s.suspend(n + round));
                y.yield_(inner.resume(1).yielded().unwrap());
            }
        });
        assert_eq!(outer.by_ref().take(50).count(), 50);
        let caught = std::panic::catch_unwind(|| {
            Coroutine::new(|_: &Suspender<(), ()>, ()| panic!("through the switch")).resume(())
        });
        assert!(caught.is_err());
        return;
    }
    let mut child = command(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env("CEDE_CHILD", name).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    // Wrong annotations pass every functional test. Only this line shows them.
    assert!(!text.contains("ASan is ignoring"), "{text}");
}

#[test]
fn use_after_return_on_a_tasks_stack_is_found() {
    let text = report("use_after_return_on_a_tasks_stack_is_found", || {
        cede::run(|| {
            let mut task = cede::spawn(|| {
                let pointer = dangling();
                cede::yield_now();
                // SAFETY: none: the frame is gone.
                println!("{}", unsafe { *pointer });
            });
            let _ = task.join();
        });
    });
    assert!(text.unwrap().contains("AddressSanitizer: stack-use-after-return"));
}

#[test]
fn use_after_return_in_a_generator_in_a_task_is_found() {
    let text = report("use_after_return_in_a_generator_in_a_task_is_found", || {
        cede::run(|| {
            let numbers = Generator::new(|y: &Yielder<u32>| {
                let pointer = dangling();
                cede::yield_now();
                // SAFETY: none: the frame is gone.
                y.yield_(unsafe { *pointer });
            });
            let _ = cede::spawn_each(numbers, |n| println!("{n}")).join();
        });
    });
    assert!(text.unwrap().contains("AddressSanitizer: stack-use-after-return"));
}

/// A wrong announcement of a task's last switch leaks its fake stack. Only the memory in use shows the leak.
#[test]
#[cfg(not(cede_portable_switch))] // corosensei's own announcement has that leak
fn ended_tasks_leave_no_fake_stack_behind() {
    let name = "ended_tasks_leave_no_fake_stack_behind";
    if std::env::var("CEDE_CHILD").as_deref() == Ok(name) {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/statm").unwrap();
            status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
        };
        let round = || {
            cede::run(|| {
                for _ in 0..100 {
                    let mut tasks: Vec<_> =
                        (0..100).map(|n| cede::spawn(move || cede::yield_now() == () && n > 0)).collect();
                    tasks.iter_mut().for_each(|task| drop(task.join().unwrap()));
                }
            });
        };
        (0..3).for_each(|_| round());
        let before = resident();
        (0..5).for_each(|_| round());
        let grown = resident().saturating_sub(before);
        // 50,000 tasks. With the announcement wrong: 590 MiB for every 10,000.
        assert!(grown < 64 * 1024, "{grown} KiB more after 50,000 tasks");
        return;
    }
    let mut child = command(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env("CEDE_CHILD", name).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("ASan is ignoring"), "{text}");
}
