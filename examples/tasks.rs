//! The states of tasks: pending, running, waiting, done, cancelled.
//!
//! cargo run --example tasks

use cede::task::{Cancelled, park};
use cede::{Builder, JoinHandle, yield_now};

fn show(moment: &str, tasks: &[JoinHandle<Result<u32, Cancelled>>]) {
    let states: Vec<_> = tasks.iter().map(|task| format!("{} {}", task.task(), task.state())).collect();
    println!("{moment}: {}", states.join(", "));
}

fn main() {
    cede::run(|| {
        let named = |name: &'static str| Builder::new().name(name);
        let mut tasks = [
            named("sum").spawn(|| {
                let states: Vec<_> = cede::task::all().iter().map(|(task, state)| format!("{task} {state}")).collect();
                println!("seen by the first task: {}", states.join(", "));
                yield_now();
                Ok(1 + 2)
            }),
            named("bell").spawn(|| park("a bell").map(|()| 0)),
            named("never").spawn(|| panic!("it is cancelled before its first turn")),
        ]
        .map(Result::unwrap);
        show("spawned", &tasks);
        tasks[2].cancel();
        yield_now();
        show("after a turn", &tasks);
        yield_now();
        show("after another", &tasks);
        tasks[1].cancel();
        for task in &mut tasks {
            println!("{} ended with {:?}", task.task(), task.join());
        }
        show("joined", &tasks);
    });
}
