//! Deaths of workers and of the broker. No line is lost and none is printed twice.

use crate::run::{Process, Run, until};
use crate::server::Server;

#[test]
fn job_of_a_killed_worker_is_done_by_another() {
    let run = Run::new("killed-worker");
    let stalled = run.directory.join("stalled");
    let mut victim = run.faulty_worker(&[&format!("stall={}", stalled.display())]);
    let coordinator = run.coordinator(&[]);
    until(|| stalled.exists());
    victim.kill();
    let _worker = run.worker();
    let ended = run.check(coordinator);
    // The broker has kept the job.
    assert_eq!(ended.count("sent again"), 0, "{}", ended.stderr);
}

/// Kills the broker three times while the run is under way.
fn kill_broker(name: &str, persistent: bool) -> (Run, Process) {
    let mut run = Run::with_server(name, |directory| Server::start(directory, persistent));
    let total = run.expected().len() as u64;
    let _workers = [run.faulty_worker(&["tasks=2", "sleep=20"]), run.faulty_worker(&["tasks=2", "sleep=20"])];
    let mut coordinator = run.coordinator(&["--window", "16", "--deliveries", "20"]);
    for part in 1..4 {
        until(|| coordinator.written() > total * part / 5);
        assert!(coordinator.is_running());
        run.server.kill();
        run.server.restart();
    }
    let worker = run.worker();
    until(|| !coordinator.is_running());
    drop(worker);
    (run, coordinator)
}

#[test]
fn broker_that_is_killed_three_times_loses_nothing() {
    let (run, coordinator) = kill_broker("killed-broker", true);
    let ended = run.check(coordinator);
    assert!(ended.count("reconnects") >= 3, "{}", ended.stderr);
}

#[test]
fn jobs_that_the_broker_forgets_are_sent_again() {
    let (run, coordinator) = kill_broker("forgetful-broker", false);
    let ended = run.check(coordinator);
    assert!(ended.count("reconnects") >= 3 && ended.count("sent again") >= 3, "{}", ended.stderr);
}

/// The worker aborts at its first answer, and another worker does the rest.
fn abort_at_answer(place: &str) {
    let run = Run::new(&format!("abort-{place}"));
    let victim = run.faulty_worker(&[&format!("abort={place}")]);
    let coordinator = run.coordinator(&[]);
    let ended = victim.wait();
    assert_eq!(ended.status.code(), None, "{}", ended.stderr);
    let _worker = run.worker();
    let ended = run.check(coordinator);
    assert_eq!((ended.count("sent again"), ended.count("answered twice")), (0, 0), "{}", ended.stderr);
}

#[test]
fn abort_before_the_answer_repeats_the_job() {
    abort_at_answer("before");
}

/// The broker has the answer, but not the end of the step, so it has neither.
#[test]
fn abort_within_the_answer_repeats_the_job() {
    abort_at_answer("within");
}

#[test]
fn abort_after_the_answer_repeats_nothing() {
    abort_at_answer("after");
}

/// The only job takes longer than the time after which it would be given to the other worker, which would be one delivery too many.
#[test]
fn heartbeat_keeps_a_long_job() {
    let mut run = Run::new("heartbeat");
    run.files.truncate(1);
    run.claim_after = "2000";
    let _workers = [run.faulty_worker(&["compute=5000"]), run.faulty_worker(&["compute=5000"])];
    let ended = run.check(run.coordinator(&["--chunk", "1048576", "--deliveries", "1"]));
    assert_eq!((ended.count("jobs,"), ended.count("answered twice")), (1, 0), "{}", ended.stderr);
}

#[test]
fn worker_waits_for_the_broker() {
    let mut run = Run::with_server("late-broker", |directory| Server::prepare(directory, false));
    let worker = run.worker();
    let coordinator = run.coordinator(&[]);
    until(|| worker.stderr().contains("trying again") && coordinator.stderr().contains("trying again"));
    run.server.restart();
    run.check(coordinator);
    assert_eq!(worker.wait().status.code(), Some(0));
}
