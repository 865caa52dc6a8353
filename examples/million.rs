//! Creates N suspended coroutines and prints their memory cost.
//!
//! cargo run --release --example million -- 1000000

use cede::{Coroutine, CoroutineState, Suspender};
use std::fs::read_to_string;

/// Returns a field of /proc/self/status, in KiB.
fn status(key: &str) -> u64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.trim_start_matches(':').trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let n: u64 = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let before = status("VmRSS") + status("VmPTE");
    let mut all = Vec::new();
    for i in 0..n {
        let mut c = Coroutine::try_new(move |s: &Suspender<u64, u64>, mut sum| {
            while sum < 1000 {
                sum += s.suspend(sum + i);
            }
            sum
        })?;
        c.resume(0);
        all.push(c);
    }
    let used = status("VmRSS") + status("VmPTE") - before;
    let mappings = read_to_string("/proc/self/maps")?.lines().count();
    println!("{n} suspended coroutines");
    println!("{:.2} KiB each, page tables and all; {} MiB in all", used as f64 / n as f64, used / 1024);
    println!("{mappings} mappings; guards by {:?}", cede::stack::stats().guard);
    let sum: u64 = all.iter_mut().map(|c| c.resume(1000)).filter_map(CoroutineState::complete).sum();
    println!("each resumed once more: {}", if sum == 1000 * n { "all finished" } else { "some are lost" });
    Ok(())
}
