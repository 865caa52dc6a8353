//! A task that does not yield keeps all others waiting; the watcher names it while it does, and where it is.
//!
//! cargo run --example slow_turn

use cede::{Builder, Config, yield_now};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// How many lines the watcher has printed.
static TOLD: AtomicU32 = AtomicU32::new(0);

/// A task cannot be interrupted: this one goes on until it has been told of.
#[inline(never)]
fn factorise() {
    while TOLD.load(Relaxed) == 0 {}
}

fn main() {
    let config = Config::new().report_slow_turns(Duration::from_millis(50)).on_slow_turn(|slow| {
        let task = slow.task.as_ref().expect("it is a task");
        println!("{task} {} everybody waiting", if slow.over { "kept" } else { "keeps" });
        // Where the switch is not written by hand there is no stack to be seen.
        let functions = slow.functions();
        functions.iter().filter(|name| name.ends_with("factorise")).for_each(|_| println!("  in factorise"));
        TOLD.fetch_add(1, Relaxed);
    });
    let result = config.run(|| {
        let mut numbers = Builder::new().name("numbers").spawn(factorise)?;
        let mut polite = Builder::new().name("polite").spawn(|| (0..1000).for_each(|_| yield_now()))?;
        numbers.join().and(polite.join())?;
        // The second line comes from the watching thread, when it has seen that the turn is over.
        while TOLD.load(Relaxed) < 2 {
            cede::time::sleep(Duration::from_millis(5))?;
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    });
    result.expect("no deadlock").expect("they return");
    println!("done");
}
