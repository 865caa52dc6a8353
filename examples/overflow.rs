//! A coroutine that runs out of stack is named before the process stops: this example ends by a signal (exit code 134).
//!
//! cargo run --example overflow

use cede::{Builder, Yielder};

fn parse(y: &Yielder<u32>, depth: u32) -> u32 {
    if depth.is_multiple_of(100) {
        y.yield_(depth);
    }
    // An expression that nests (nearly) without end.
    if depth == u32::MAX { 0 } else { std::hint::black_box(parse(y, depth + 1) + 1) }
}

fn main() -> Result<(), cede::StackError> {
    let parser = Builder::new().name("parser-42").stack_size(64 * 1024).generator(|y| {
        parse(y, 0);
    })?;
    for depth in parser {
        if depth == 0 {
            println!("parsing ...");
        }
    }
    Ok(())
}
