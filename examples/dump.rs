//! A dump of all tasks: the name of each, what it waits for and for how long, which task it joins, and its backtrace.
//!
//! cargo run --example dump

use cede::task::{Cancelled, park};
use cede::{Builder, Config};
use std::time::Duration;

#[inline(never)]
fn take_order() -> Result<(), Cancelled> {
    park("a guest")?;
    std::hint::black_box(Ok(()))
}

#[inline(never)]
fn wait_tables() -> Result<(), Cancelled> {
    take_order()?;
    std::hint::black_box(Ok(()))
}

fn main() {
    // A paused clock does not advance while a task is ready, so the printed times are exact.
    let config = Config::new().paused_clock(true);
    let evening = config.run(|| {
        let mut waiter = Builder::new().name("waiter").spawn(wait_tables)?;
        let mut oven = Builder::new().name("oven").spawn(|| cede::time::sleep(Duration::from_secs(600)))?;
        let cook = Builder::new().name("cook").spawn(move || oven.join())?;
        cede::time::sleep(Duration::from_secs(60))?;
        for one in cede::dump().tasks {
            print!("{}: {}", one.task, one.state);
            one.on.iter().for_each(|on| print!(": {on}"));
            println!("{}", one.waited.map_or(String::new(), |waited| format!(", for {} s", waited.as_secs())));
            // On targets without a hand-written switch there are no backtraces.
            let functions = one.functions();
            let own = |name: &&&str| functions.iter().any(|function| function.ends_with(**name));
            ["take_order", "wait_tables"].iter().filter(own).for_each(|name| println!("  in {name}"));
        }
        waiter.cancel();
        let _ = waiter.join();
        drop(cook);
        Ok::<(), Box<dyn std::error::Error>>(())
    });
    evening.expect("no deadlock").expect("stacks are available");
}
