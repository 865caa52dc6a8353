//! Waiting for several tasks: for all, for all or the first error, for the first to end, and for tasks of different types.
//!
//! cargo run --example gather

use cede::time::sleep;
use cede::{Config, JoinHandle, gather, join, race, spawn, try_join_all};
use std::time::Duration;

/// Spawns a task that sleeps and then parses a number.
fn parse(text: &'static str, millis: u64) -> JoinHandle<Result<u32, String>> {
    spawn(move || {
        sleep(Duration::from_millis(millis)).map_err(|cancelled| format!("'{text}': {cancelled}"))?;
        text.parse().map_err(|error| format!("'{text}': {error}"))
    })
}

fn main() {
    let run = || {
        // Results in the order of the tasks, errors included.
        for result in gather([parse("1", 30), parse("two", 10), parse("3", 20)]) {
            println!("gather: {:?}", result.expect("no task panics"));
        }

        // All values or an error: the first failure cancels the remaining tasks, which are awaited.
        println!("try_join_all: {:?}", try_join_all([parse("1", 30), parse("2", 10)]).expect("both are numbers"));
        match try_join_all([parse("1", 30), parse("two", 10), parse("3", 5)]) {
            Ok(values) => println!("try_join_all: {values:?}"),
            Err(error) => println!("try_join_all: {error}\n  but there was {:?}", error.values),
        }

        // The first task to end wins, and the remaining tasks are cancelled.
        let race = race([parse("1", 30), parse("2", 10), parse("3", 20)]);
        println!("race: won by {:?}, lost by {:?}", race.result, race.losers);

        // Tasks of different types.
        let (number, text) = join!(parse("7", 10), spawn(|| "a text"));
        println!("join!: {:?} and {:?}", number.expect("it returns"), text.expect("it returns"));
    };
    // The paused clock makes all sleeps instant: see examples/sleepers.rs.
    Config::new().paused_clock(true).run(run).expect("no deadlock");
}
