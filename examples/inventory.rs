//! A row lock: a thousand buyers share one stock, and each waits between reading it and writing it back.
//!
//! cargo run --example inventory

use cede::sync::Mutex;
use cede::task::Cancelled;
use cede::{Config, spawn, time};
use std::sync::Arc;
use std::time::Duration;

/// Buys one item, if one is left, as a database would: reads the row, waits for the disk, writes the row.
fn buy(stock: &Mutex<i32>, with_lock: bool) -> Result<bool, Cancelled> {
    let mut row = stock.lock()?;
    let left = *row;
    if with_lock {
        time::sleep(Duration::from_millis(1))?; // all other buyers wait for the lock
    } else {
        drop(row);
        time::sleep(Duration::from_millis(1))?; // all other buyers read the same number
        row = stock.lock()?;
    }
    *row = (left - 1).max(0);
    Ok(left > 0)
}

/// Lets a thousand buyers buy from a stock of 600. Returns the number of served buyers and of items left.
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
    // The paused clock jumps forward when all tasks wait, so a thousand sleeps of 1 ms take no time.
    for with_lock in [true, false] {
        let (served, left) = Config::new().paused_clock(true).run(|| sale(with_lock)).unwrap();
        println!("locked over the wait: {with_lock}; of 600 there went {served}, and {left} are left");
    }
}
