//! A crawler: 50 connections share 1,000 simulated downloads from a queue, and give up slow ones after a timeout.
//!
//! cargo run --example crawler_sim

use cede::task::Cancelled;
use cede::time::{now, sleep};
use cede::{Config, as_completed, spawn, timeout};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// Simulates a download that takes 1 to 997 ms, depending only on `page`.
fn download(page: u64) -> Result<usize, Cancelled> {
    let millis = page * 7919 % 997 + 1;
    sleep(Duration::from_millis(millis))?;
    Ok(100 * (millis % 40) as usize)
}

fn main() {
    let run = || {
        let start = now();
        let pages: Rc<RefCell<VecDeque<u64>>> = Rc::new(RefCell::new((0..1000).collect()));
        let connection = |number: usize| {
            let pages = Rc::clone(&pages);
            spawn(move || {
                let (mut bytes, mut done, mut late) = (0, 0, 0);
                // The closure ends the borrow before the task waits, so no other task finds the queue borrowed.
                let next = || pages.borrow_mut().pop_front();
                while let Some(page) = next() {
                    match timeout(Duration::from_millis(900), || download(page)) {
                        Ok(Ok(size)) => {
                            bytes += size;
                            done += 1;
                        }
                        Ok(Err(Cancelled)) => break,
                        Err(_) => late += 1,
                    }
                }
                (number, bytes, done, late)
            })
        };
        let (mut bytes, mut done, mut late) = (0, 0, 0);
        for (place, task) in as_completed((1..=50).map(connection)).enumerate() {
            let (number, more, pages, given_up) = task.result.expect("no connection panics");
            (bytes, done, late) = (bytes + more, done + pages, late + given_up);
            if !(3..48).contains(&place) {
                let ended = (now() - start).as_millis();
                println!("connection {number} ended after {ended} ms: {pages} pages, {given_up} given up");
            }
        }
        println!("{done} pages, {bytes} bytes; {late} were given up");
    };
    // The paused clock makes all sleeps instant: see examples/sleepers.rs.
    Config::new().paused_clock(true).run(run).expect("no deadlock");
}
