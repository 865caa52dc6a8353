//! The shapes of the input.

use crate::run::{Run, lines};

#[test]
fn output_equals_that_of_grep() {
    let run = Run::new("plain");
    let workers = [run.worker(), run.worker()];
    let ended = run.check(run.coordinator(&[]));
    assert!(ended.count("jobs") > 20 && ended.count("sent again") == 0, "{}", ended.stderr);
    let answered = workers.map(|worker| {
        let ended = worker.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        ended.count("jobs answered")
    });
    assert_eq!(answered.iter().sum::<u64>(), ended.count("jobs,"));
}

/// There are no such files where the worker is.
#[test]
fn bytes_that_travel_with_the_jobs_are_searched() {
    let run = Run::new("by-value").with_relative_paths();
    let worker = run.worker_elsewhere();
    run.check(run.coordinator(&["--by-value"]));
    assert_eq!(worker.wait().status.code(), Some(0));
}

#[test]
fn two_thousand_small_files_share_jobs() {
    let mut run = Run::new("small-files");
    for number in 0..2000 {
        let text = lines(number, number % 7);
        run.file(&format!("small-{number}"), text.as_bytes());
    }
    let _worker = run.worker();
    let ended = run.check(run.coordinator(&["--chunk", "1048576"]));
    let jobs = ended.count("jobs,");
    assert!((6..=10).contains(&jobs), "{}", ended.stderr);
}

#[test]
fn lines_longer_than_a_chunk_stay_whole() {
    let mut run = Run::new("long-lines");
    let long = "x".repeat(300_000);
    let text = format!("{long}needle\n{long}\nneedle{long}\nshort\n{long}needle");
    run.file("long", text.as_bytes());
    run.file("one byte", b"\n");
    run.file("last", b"needle\n\n\nneedle");
    let _worker = run.worker();
    run.check(run.coordinator(&["--chunk", "100"]));
}

#[test]
fn pattern_on_every_line_is_printed() {
    let mut run = Run::new("every-line");
    run.file("all", "a needle\n".repeat(200_000).as_bytes());
    run.file("binary", b"\0\xff needle\0\n\x80needle\r\n");
    let _worker = run.worker();
    run.check(run.coordinator(&["--chunk", "1000000"]));
}

#[test]
fn empty_pattern_selects_every_line() {
    let mut run = Run::new("empty-pattern");
    run.pattern = String::new();
    let _worker = run.worker();
    run.check(run.coordinator(&[]));
}

#[test]
fn no_line_is_exit_code_1() {
    let mut run = Run::new("no-line");
    run.pattern = "no line contains this".into();
    let _worker = run.worker();
    let ended = run.coordinator(&[]).wait();
    assert_eq!((ended.status.code(), &ended.stdout[..]), (Some(1), &b""[..]), "{}", ended.stderr);
}

#[test]
fn missing_files_are_named() {
    let mut run = Run::new("missing-file");
    run.files.insert(1, run.directory.join("missing"));
    run.files.insert(2, run.directory.clone());
    let _worker = run.worker();
    let ended = run.coordinator(&[]).wait();
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        ended.stderr.contains("/missing: No such file") && ended.stderr.contains("is a directory"),
        "{}",
        ended.stderr
    );
    run.check_output(&ended);
}
