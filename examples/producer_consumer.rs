//! Backpressure: producers that are faster than the consumer wait until the bounded channel has room.
//!
//! cargo run --example producer_consumer

use cede::sync::channel::bounded;
use cede::task::Cancelled;
use cede::{Config, spawn, time};
use std::time::Duration;

/// Runs with a paused clock, which advances only when no task is ready. So the output is always the same, without delay.
fn main() {
    let produced = Config::new().paused_clock(true).run(|| {
        let start = time::now();
        let say = move |what: String| println!("{:>3} ms  {what}", (time::now() - start).as_millis());
        let (sender, receiver) = bounded(2);

        let producers: Vec<_> = (1..=2)
            .map(|id| {
                let sender = sender.clone();
                spawn(move || {
                    for n in 1..=3 {
                        let item = format!("{id}.{n}");
                        sender.send(item.clone()).expect("the consumer stays until the end");
                        say(format!("producer {id} has sent {item}"));
                    }
                })
            })
            .collect();
        drop(sender); // the channel closes when the producers end

        let mut consumer = spawn(move || {
            let mut count = 0;
            for item in receiver {
                time::sleep(Duration::from_millis(10))?;
                say(format!("consumed {item}"));
                count += 1;
            }
            Ok::<_, Cancelled>(count)
        });
        producers.into_iter().for_each(|mut producer| producer.join().unwrap());
        consumer.join().unwrap()
    });
    println!("{} items", produced.unwrap().unwrap());
}
