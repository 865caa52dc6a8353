//! Tasks that spawn tasks and join them: a sum over a tree, one task to a node.
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
    let mut left = child(from, middle).expect("there is memory for so few");
    let mut right = child(middle + 1, to).expect("there is memory for so few");
    println!("'{from}..={to}' waits for {} and {}", left.task(), right.task());
    // The outer result is the task's, the inner what it returned.
    Ok(left.join()?? + right.join()??)
}

fn main() -> Result<(), JoinError> {
    let total = cede::run(|| sum(1, 5))?;
    println!("together {total}");
    Ok(())
}
