//! A row lock: a thousand buyers, one stock, and a wait between reading it and writing it back.
//!
//! cargo run --example inventory

use cede::sync::Mutex;
use cede::task::Cancelled;
use cede::{Config, spawn, time};
use std::sync::Arc;
use std::time::Duration;

/// Takes one out if there is one, as a database would: read, wait for the disk, write.
fn buy(stock: &Mutex<i32>, with_lock: bool) -> Result<bool, Cancelled> {
    let mut row = stock.lock()?;
    let left = *row;
    if with_lock {
        time::sleep(Duration::from_millis(1))?; // all others wait in line
    } else {
        drop(row);
        time::sleep(Duration::from_millis(1))?; // all others read the same number
        row = stock.lock()?;
    }
    *row = (left - 1).max(0);
    Ok(left > 0)
}

/// A thousand want one of 600: how many got one, and how many are left.
fn sale(with_lock: bool) -> (usize, i32) {
    let stock = Arc::new(Mutex::new(600));
    let buyers: Vec<_> = (0..1000)
        .map(|_| {
            let stock = Arc::clone(&stock);
            spawn(move || buy(&stock, with_lock))
        })
        .collect();
    let served = buyers.into_iter().filter_map(|mut buyer| buyer.join().ok()).filter(|got| *got == Ok(true));
    (served.count(), *stock.try_lock().unwrap())
}

fn main() {
    // The clock is set forward whenever all wait, so that a thousand milliseconds take none.
    for with_lock in [true, false] {
        let (served, left) = Config::new().paused_clock(true).run(|| sale(with_lock)).unwrap();
        println!("locked over the wait: {with_lock}; of 600 there went {served}, and {left} are left");
    }
}
