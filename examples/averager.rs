//! Values go in with `send`, the running average comes out, and the body returns a result when it is closed.
//!
//! cargo run --example averager

use cede::{CoroutineState, Generator, Yielder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut averager = Generator::new(|y: &Yielder<f64, f64>| {
        let (mut count, mut total, mut average) = (0, 0.0, 0.0);
        // try_yield: closing arrives as a value, so that there is time for a last word.
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
