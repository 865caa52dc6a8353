//! Cancelling a task, cleaning up in it, and limiting how long something may take.
//!
//! cargo run --example cancel_timeout

use cede::task::Cancelled;
use cede::time::sleep;
use cede::{Config, shield, spawn, timeout};
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits return an error when the task is cancelled. `?` hands it on, like any other.
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
                // Every later wait would return `Cancelled` too, but in a shield it is not heard.
                shield(|| sleep(seconds(5))).expect("a shielded sleep");
            }
            outcome
        });
        sleep(Duration::from_millis(2500)).expect("nobody cancels main");
        rocket.cancel_with("a boat is in the way");
        println!("  it came to {:?}", rocket.join().expect("it returns"));

        println!("timeout:");
        let limit = Duration::from_millis(2500);
        // The function runs on this stack, and may borrow. Its waits end when the time is over.
        match timeout(limit, || count_down(10)) {
            Ok(outcome) => println!("  in time: {outcome:?}"),
            // What it returned all the same is in the error.
            Err(late) => println!("  {late}: {:?}", late.value),
        }
        match timeout(limit, || count_down(2)) {
            Ok(outcome) => println!("  in time: {outcome:?}"),
            Err(late) => println!("  {late}: {:?}", late.value),
        }
    };
    // Nobody really waits: see examples/sleepers.rs.
    Config::new().paused_clock(true).run(run).expect("nobody waits for ever");
}
