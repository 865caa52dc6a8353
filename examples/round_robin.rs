//! Generators as tasks: each yield ends the turn of its task, so the countdowns interleave.
//!
//! cargo run --example round_robin

use cede::{Generator, Yielder, spawn_each};

fn countdown(from: u32) -> Generator<u32, (), &'static str> {
    Generator::new(move |y: &Yielder<u32>| {
        for n in (1..=from).rev() {
            y.yield_(n);
        }
        "lift-off"
    })
}

fn main() {
    cede::run(|| {
        let rockets = [("Ariane", 3), ("Soyuz", 5), ("Vega", 2)];
        let mut tasks =
            rockets.map(|(name, from)| spawn_each(countdown(from), move |n| println!("{name}: T-minus {n}")));
        for ((name, _), task) in rockets.iter().zip(&mut tasks) {
            println!("{name}: {}", task.join().unwrap());
        }
    });
}
