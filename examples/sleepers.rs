//! Three tasks that sleep 1, 2 and 4 seconds: together they take 4 seconds, and their results are in order.
//!
//! cargo run --example sleepers

use cede::time::{now, sleep};
use cede::{Config, join_all, spawn};
use std::time::Duration;

fn work(name: &str, seconds: u64) -> String {
    println!("{name} begins");
    if sleep(Duration::from_secs(seconds)).is_err() {
        return format!("{name} was cancelled");
    }
    println!("{name} is done after {seconds} s");
    format!("{name} slept {seconds} s")
}

fn main() {
    // With a paused clock the sleeps take no time: when all tasks sleep, the clock jumps to the next deadline. Without
    // `paused_clock` (or with `cede::run`), this takes 4 seconds.
    let results = Config::new().paused_clock(true).run(|| {
        let start = now();
        let workers = [("Ada", 2), ("Ben", 4), ("Cleo", 1)].map(|(name, seconds)| spawn(move || work(name, seconds)));
        let results = join_all(workers);
        println!("all together took {} s", (now() - start).as_secs());
        results
    });
    for result in results.expect("no deadlock") {
        println!("{}", result.expect("no worker panics"));
    }
}
