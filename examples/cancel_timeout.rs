//! Cancelling a task, clean-up in a cancelled task, and timeouts.
//!
//! cargo run --example cancel_timeout

use cede::task::Cancelled;
use cede::time::sleep;
use cede::{Config, shield, spawn, timeout};
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Counts down. The waits return an error if the task is cancelled, and `?` propagates it like any other error.
fn count_down(from: u64) -> Result<&'static str, Cancelled> {
    for n in (1..=from).rev() {
        println!("  {n}");
        sleep(seconds(1))?;
    }
    Ok("lift-off")
}

fn main() {
    let run = || {
        println!("cancel:");
        let mut rocket = spawn(|| {
            let outcome = count_down(10);
            if outcome.is_err() {
                let why = cede::task::cancelled().expect("it was");
                println!("  {why}; draining the tanks");
                // In a cancelled task every wait returns `Cancelled`, except inside a shield.
                shield(|| sleep(seconds(5))).expect("a shielded sleep");
            }
            outcome
        });
        sleep(Duration::from_millis(2500)).expect("main is not cancelled");
        rocket.cancel_with("a boat is in the way");
        println!("  it ended with {:?}", rocket.join().expect("it returns"));

        println!("timeout:");
        let limit = Duration::from_millis(2500);
        // The closure runs on this stack, so it may borrow. When the timeout passes, its waits return `Cancelled`.
        match timeout(limit, || count_down(10)) {
            Ok(outcome) => println!("  in time: {outcome:?}"),
            // The error holds the value that the closure returned.
            Err(late) => println!("  {late}: {:?}", late.value),
        }
        match timeout(limit, || count_down(2)) {
            Ok(outcome) => println!("  in time: {outcome:?}"),
            Err(late) => println!("  {late}: {:?}", late.value),
        }
    };
    // The paused clock makes all sleeps instant: see examples/sleepers.rs.
    Config::new().paused_clock(true).run(run).expect("no deadlock");
}
