//! A pipeline like that of grep, with a task for each stage and channels between them: `cargo run --example pipeline_tasks`.

use cede::spawn;
use cede::sync::channel::{Receiver, Sender, bounded};

const LOG: &str = "\
python is a language
so is rust
a python is a snake
python again";

/// Spawns a stage that reads from `input` and writes to a new channel, until one of them is closed. Returns the receiver of
/// the new channel.
fn stage<I: 'static, O: 'static>(input: Receiver<I>, mut body: impl FnMut(I, &Sender<O>) + 'static) -> Receiver<O> {
    // Capacity 1: backpressure keeps a stage at most one item ahead of the next.
    let (output, next) = bounded(1);
    spawn(move || input.into_iter().for_each(|item| body(item, &output)));
    next
}

fn main() {
    cede::run(|| {
        let (lines, all) = bounded(1);
        spawn(move || LOG.lines().map(str::to_owned).try_for_each(|line| lines.send(line)));

        let mut number = 0;
        let numbered = stage(all, move |line: String, out| {
            number += 1;
            let _ = out.send((number, line)); // fails when the next stage has ended; then the input ends too
        });
        let matching = stage(numbered, |(number, line), out| {
            if line.contains("python") {
                let _ = out.send(format!("{number}: {line}"));
            }
        });
        for line in matching.iter().take(2) {
            println!("{line}");
        }
        drop(matching); // ends the previous stages, one after the other
        println!("two are enough");
    });
}
