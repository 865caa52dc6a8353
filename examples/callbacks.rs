//! Callbacks: called when a task has ended, in their order, and never in the middle of anything.
//!
//! cargo run --example callbacks

use cede::{Builder, yield_now};

fn main() {
    cede::run(|| {
        let mut good = Builder::new().name("good").spawn(|| 6 * 7).unwrap();
        let mut never = Builder::new().name("never").spawn(|| 0).unwrap();
        good.on_done(|done| println!("first: {} came to {:?}", done.task(), done.result()));
        let removed = good.on_done(|_| println!("nobody sees this"));
        good.on_done(|_| println!("second: callbacks may spawn, but not wait"));
        never.on_done(|done| println!("{} came to {:?}", done.task(), done.result()));
        println!("removed: {}", good.remove_done(removed));
        never.cancel();

        yield_now();
        println!("the tasks have ended: {} and {}", good.state(), never.state());
        yield_now();

        good.on_done(|_| println!("late: added after the end, and still not called at once"));
        println!("added");
        yield_now();
        println!("joined: {:?} and {:?}", good.join(), never.join());
    });
}
