//! Ends of a run before its last line, and runs that are refused.

use crate::run::{Ended, Run, until};
use std::io::{BufRead, BufReader};

/// Compares the output with the begin of that of GNU grep, and looks for a part of the message.
#[track_caller]
fn check_failure(run: &Run, ended: &Ended, message: &str) {
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(run.expected().starts_with(&ended.stdout), "{}", ended.stderr);
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    run.check_keys();
}

/// Three workers die of the same chunk. Then no worker is left to claim it.
#[test]
fn chunk_that_kills_workers_fails_by_name() {
    let mut run = Run::new("poison");
    run.file("poison", b"a needle\nPOISON\n");
    let workers = [(); 3].map(|()| run.faulty_worker(&["tasks=2", "die-of=POISON"]));
    let coordinator = run.coordinator(&["--deliveries", "3"]);
    for worker in workers {
        assert_eq!(worker.wait().status.code(), None);
    }
    let ended = coordinator.wait();
    // The file shares its job with the end of the file before.
    let message = format!("{}: byte 16: given up: 3 deliveries", run.directory.join("poison").display());
    check_failure(&run, &ended, &message);
    assert!(!ended.stdout.is_empty());
}

#[test]
fn chunk_that_makes_workers_panic_fails_by_name() {
    let mut run = Run::new("panic");
    run.file("poison", b"a needle\nPOISON\n");
    let _worker = run.faulty_worker(&["panic-of=POISON"]);
    let ended = run.coordinator(&["--deliveries", "2"]).wait();
    check_failure(&run, &ended, "poison: the search panicked: the text is poison");
    check_failure(&run, &ended, "given up: 2 workers had no result");
}

#[test]
fn file_that_no_worker_can_read_fails_by_name() {
    let run = Run::new("unreadable").with_relative_paths();
    let _worker = run.worker_elsewhere();
    let ended = run.coordinator(&["--deliveries", "2"]).wait();
    check_failure(&run, &ended, "a: bytes 0 to ");
    check_failure(&run, &ended, "a worker answered: a: No such file");
}

#[test]
fn reader_that_has_enough_ends_the_run() {
    let mut run = Run::new("head");
    run.pattern = String::new();
    let workers = [run.worker(), run.worker()];
    let mut coordinator = run.piped_coordinator(&["--window", "4"]);
    let mut first = Vec::new();
    BufReader::new(coordinator.stdout()).read_until(b'\n', &mut first).unwrap();
    let ended = coordinator.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(run.expected().starts_with(&first) && first.ends_with(b"\n"));
    run.check_keys();
    let answered = workers.map(|worker| {
        let ended = worker.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        ended.count("jobs answered")
    });
    // The rest of the files was left out.
    assert!(answered.iter().sum::<u64>() < 40, "{answered:?}");
}

#[test]
fn ctrl_c_removes_the_queues() {
    let run = Run::new("ctrl-c");
    let coordinator = run.coordinator(&[]);
    until(|| run.server.keys().len() == 3);
    coordinator.interrupt();
    let ended = coordinator.wait();
    assert_eq!((ended.status.code(), &ended.stderr[..]), (Some(130), ""));
    run.check_keys();
}

#[test]
fn second_coordinator_of_a_run_is_refused() {
    let run = Run::new("second");
    let first = run.coordinator(&[]);
    until(|| run.server.keys().len() == 3);
    let refused = run.coordinator(&[]).wait();
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("another coordinator"), "{}", refused.stderr);
    let _worker = run.worker();
    run.check(first);
    let refused = run.coordinator(&[]).wait();
    assert!(refused.stderr.contains("the run has ended"), "{}", refused.stderr);
}

/// Its jobs and its answers do not get into the output of the next coordinator.
#[test]
fn killed_coordinator_leaves_the_name_to_another() {
    let mut run = Run::new("killed-coordinator");
    let mut first = run.coordinator(&[]);
    until(|| run.server.keys().len() == 3);
    first.kill();
    run.server.forget("dgrep:1:{run}:state");
    run.files.reverse();
    let _worker = run.worker();
    run.check(run.coordinator(&[]));
}

#[test]
fn worker_with_another_pattern_ends_by_name() {
    let mut run = Run::new("other-pattern");
    let pattern = std::mem::replace(&mut run.pattern, "hay".into());
    let wrong = run.worker();
    run.pattern = pattern;
    let coordinator = run.coordinator(&[]);
    let ended = wrong.wait();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("another pattern: \"needle\""), "{}", ended.stderr);
    let _worker = run.worker();
    run.check(coordinator);
}

#[test]
fn worker_without_a_job_ends() {
    let run = Run::new("idle");
    let ended = run.worker_with(&["--idle", "1"]).wait();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("no job for 1 s"), "{}", ended.stderr);
}
