//! A slow turn: the watchdog reports a task that does not yield, with its name and its backtrace.
//!
//! cargo run --example slow_turn

use cede::{Builder, Config, yield_now};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// The number of reports so far.
static TOLD: AtomicU32 = AtomicU32::new(0);

/// Computes without yielding, until the watchdog has reported it. No task can be interrupted.
#[inline(never)]
fn factorise() {
    while TOLD.load(Relaxed) == 0 {}
}

fn main() {
    let config = Config::new().report_slow_turns(Duration::from_millis(50)).on_slow_turn(|slow| {
        let task = slow.task.as_ref().expect("it is a task");
        println!("{task} {} all other tasks waiting", if slow.over { "kept" } else { "keeps" });
        // On targets without a hand-written switch there are no backtraces.
        let functions = slow.functions();
        functions.iter().filter(|name| name.ends_with("factorise")).for_each(|_| println!("  in factorise"));
        TOLD.fetch_add(1, Relaxed);
    });
    let result = config.run(|| {
        let mut numbers = Builder::new().name("numbers").spawn(factorise)?;
        let mut polite = Builder::new().name("polite").spawn(|| (0..1000).for_each(|_| yield_now()))?;
        numbers.join().and(polite.join())?;
        // The watchdog makes the second report when it notices that the turn has ended.
        while TOLD.load(Relaxed) < 2 {
            cede::time::sleep(Duration::from_millis(5))?;
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    });
    result.expect("no deadlock").expect("they return");
    println!("done");
}
