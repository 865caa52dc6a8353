//! A row lock: a thousand buyers, one stock, and a wait between reading it and writing it back.
//!
//! cargo run --example inventory

use cede::sync::Mutex;
use cede::task::Cancelled;
use cede::{Config, spawn, time};
use std::sync::Arc;
use std::time::Duration;

/// Takes one out if there is one, as a database would: read, wait for the disk, write.
fn buy(stock: &Mutex<i32>) -> Result<bool, Cancelled> {
    let mut row = stock.lock()?;
    let left = *row;
    time::sleep(Duration::from_millis(1))?; // others run now; without the lock they would read the same number
    if left > 0 {
        *row = left - 1;
    }
    Ok(left > 0)
}

fn main() {
    // The clock is set forward whenever all wait, so that a thousand milliseconds take none.
    let outcome = Config::new().paused_clock(true).run(|| {
        let stock = Arc::new(Mutex::new(600));
        let buyers: Vec<_> = (0..1000)
            .map(|_| {
                let stock = Arc::clone(&stock);
                spawn(move || buy(&stock))
            })
            .collect();
        let served = buyers.into_iter().map(|mut buyer| buyer.join().unwrap()).filter(|got| *got == Ok(true)).count();
        (served, *stock.lock().unwrap())
    });
    let (served, left) = outcome.unwrap();
    println!("1000 tasks wanted one of 600: {served} got one, {} did not, {left} are left", 1000 - served);
}
