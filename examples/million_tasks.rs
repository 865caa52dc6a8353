//! Runs N tasks at once, and prints their memory cost and what remains allocated after the run.
//!
//! cargo run --release --example million_tasks -- 1000000

use cede::{spawn, yield_now};
use std::fs::read_to_string;

/// Returns the size of resident memory and page tables, in KiB.
fn memory() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let figure = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    let lines = status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmPTE"));
    lines.filter_map(figure).sum()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let n: u64 = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let before = memory();
    let sum: u64 = cede::run(|| {
        let task = |i| {
            spawn(move || {
                (0..3).for_each(|_| yield_now());
                i
            })
        };
        let mut tasks: Vec<_> = (0..n).map(task).collect();
        yield_now();
        let used = memory() - before;
        println!("{n} tasks, each suspended in its first turn");
        println!("{:.2} KiB each, page tables and all; {} MiB in all", used as f64 / n as f64, used / 1024);
        println!("{} mappings", read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count()));
        tasks.iter_mut().filter_map(|task| task.join().ok()).sum()
    });
    println!(
        "all joined: {}",
        if sum == n * n.saturating_sub(1) / 2 { "every result is there" } else { "results are lost" }
    );
    println!("{:?}; {} MiB more than before", cede::stack::stats(), memory().saturating_sub(before) / 1024);
    Ok(())
}
