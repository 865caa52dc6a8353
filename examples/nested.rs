//! Tasks that spawn and join tasks: a sum over a binary tree, with one task per node.
//!
//! cargo run --example nested

use cede::{Builder, JoinError, yield_now};

/// Adds up the numbers from `from` to `to`.
fn sum(from: u32, to: u32) -> Result<u32, JoinError> {
    if from == to {
        yield_now();
        return Ok(from);
    }
    let middle = from.midpoint(to);
    let child = |from: u32, to: u32| Builder::new().name(format!("{from}..={to}")).spawn(move || sum(from, to));
    let mut left = child(from, middle).expect("stacks are available");
    let mut right = child(middle + 1, to).expect("stacks are available");
    println!("'{from}..={to}' waits for {} and {}", left.task(), right.task());
    // The outer `Result` tells how the task ended, the inner one is the value that it returned.
    Ok(left.join()?? + right.join()??)
}

fn main() -> Result<(), JoinError> {
    let total = cede::run(|| sum(1, 5))?;
    println!("together {total}");
    Ok(())
}
