//! Callbacks (`on_done`) run after their task has ended, in the order in which they were added, and never inside another
//! task's turn.
//!
//! cargo run --example callbacks

use cede::{Builder, yield_now};

fn main() {
    cede::run(|| {
        let mut good = Builder::new().name("good").spawn(|| 6 * 7).unwrap();
        let mut never = Builder::new().name("never").spawn(|| 0).unwrap();
        good.on_done(|done| println!("first: {} ended with {:?}", done.task(), done.result()));
        let removed = good.on_done(|_| println!("never printed"));
        good.on_done(|_| println!("second: callbacks may spawn, but not wait"));
        never.on_done(|done| println!("{} ended with {:?}", done.task(), done.result()));
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
