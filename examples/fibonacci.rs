//! A generator in five lines, used as an iterator.
//!
//! cargo run --example fibonacci

use cede::Generator;

fn main() {
    let fibonacci = Generator::new(|y| {
        let (mut a, mut b) = (0u64, 1);
        loop {
            y.yield_(a);
            (a, b) = (b, a + b);
        }
    });
    for (i, n) in fibonacci.take_while(|&n| n < 100).enumerate() {
        println!("F({i}) = {n}");
    }
}
