//! Waiting for several tasks: all of them, all or none, the first, and whatever their types are.
//!
//! cargo run --example gather

use cede::time::sleep;
use cede::{Config, JoinHandle, gather, join, race, spawn, try_join_all};
use std::time::Duration;

/// A task that takes its time, and then returns the number that it finds in a text.
fn parse(text: &'static str, millis: u64) -> JoinHandle<Result<u32, String>> {
    spawn(move || {
        sleep(Duration::from_millis(millis)).map_err(|cancelled| format!("'{text}': {cancelled}"))?;
        text.parse().map_err(|error| format!("'{text}': {error}"))
    })
}

fn main() {
    let run = || {
        // Every result is in its place, errors too.
        for result in gather([parse("1", 30), parse("two", 10), parse("3", 20)]) {
            println!("gather: {:?}", result.expect("no task panics"));
        }

        // All values or none: the first failure cancels the others, and they are awaited.
        println!("try_join_all: {:?}", try_join_all([parse("1", 30), parse("2", 10)]).expect("both are numbers"));
        match try_join_all([parse("1", 30), parse("two", 10), parse("3", 5)]) {
            Ok(values) => println!("try_join_all: {values:?}"),
            Err(error) => println!("try_join_all: {error}\n  but there was {:?}", error.values),
        }

        // The first to end wins, and the others are cancelled.
        let race = race([parse("1", 30), parse("2", 10), parse("3", 20)]);
        println!("race: won by {:?}, lost by {:?}", race.result, race.losers);

        // Several types.
        let (number, text) = join!(parse("7", 10), spawn(|| "a text"));
        println!("join!: {:?} and {:?}", number.expect("it returns"), text.expect("it returns"));
    };
    // Nobody really waits: see examples/sleepers.rs.
    Config::new().paused_clock(true).run(run).expect("nobody waits for ever");
}
