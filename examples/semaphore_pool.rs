//! A connection pool with a semaphore: at most three of eight requests are in flight, and they start in FIFO order.
//!
//! cargo run --example semaphore_pool

use cede::sync::Semaphore;
use cede::task::Cancelled;
use cede::{Config, spawn, time};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

fn request(number: u64, pool: &Semaphore, in_flight: &Cell<u32>) -> Result<(), Cancelled> {
    let _connection = pool.acquire()?; // released when it is dropped
    in_flight.set(in_flight.get() + 1);
    println!("request {number} starts, in flight: {}", "#".repeat(in_flight.get() as usize));
    time::sleep(Duration::from_millis(10 + number))?;
    in_flight.set(in_flight.get() - 1);
    Ok(())
}

fn main() {
    let pool = Arc::new(Semaphore::bounded(3));
    let outcome = Config::new().paused_clock(true).run(|| {
        let in_flight = Rc::new(Cell::new(0));
        let mut requests: Vec<_> = (1..=8)
            .map(|number| {
                let (pool, in_flight) = (Arc::clone(&pool), Rc::clone(&in_flight));
                spawn(move || request(number, &pool, &in_flight))
            })
            .collect();
        requests.iter_mut().try_for_each(|request| request.join().unwrap())
    });
    println!("all done: {:?}, free again: {}", outcome.unwrap(), pool.available_permits());
}
