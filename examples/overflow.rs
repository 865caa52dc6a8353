//! A stack overflow: the report names the generator that overflowed before the process aborts (SIGABRT, exit code 134).
//!
//! cargo run --example overflow

use cede::{Builder, Yielder};

fn parse(y: &Yielder<u32>, depth: u32) -> u32 {
    if depth.is_multiple_of(100) {
        y.yield_(depth);
    }
    // Simulates an expression with almost unlimited nesting.
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
