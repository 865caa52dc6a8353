//! A generator that receives values by `send`, yields their running average, and returns a result when it is closed.
//!
//! cargo run --example averager

use cede::{CoroutineState, Generator, Yielder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut averager = Generator::new(|y: &Yielder<f64, f64>| {
        let (mut count, mut total, mut average) = (0, 0.0, 0.0);
        // `try_yield` returns an error when the generator is closed, so the body can still compute its result.
        while let Ok(sent) = y.try_yield(average) {
            count += 1;
            total += sent;
            average = total / f64::from(count);
        }
        format!("{count} values, average {average}")
    });

    averager.start();
    for value in [10.0, 20.0, 60.0] {
        if let CoroutineState::Yielded(average) = averager.send(value)? {
            println!("sent {value}, average {average}");
        }
    }
    println!("closed: {}", averager.close()?.unwrap_or_default());
    Ok(())
}
