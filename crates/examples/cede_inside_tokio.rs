//! cede inside of tokio: fibers and whole runs as futures, in a `LocalSet` and on the threads of a `LocalPoolHandle`.
//!
//! cargo run -p cede-crates --example cede_inside_tokio

use cede::sync::channel::bounded;
use cede::{Config, block_on, fiber, spawn};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;
use tokio_util::task::LocalPoolHandle;

/// Synchronous and recursive. Each leaf waits for a timer of tokio.
fn leaves(depth: u32) -> u32 {
    if depth == 0 {
        block_on(sleep(Duration::from_millis(1))).expect("the fiber is not dropped");
        return 1;
    }
    leaves(depth - 1) + leaves(depth - 1)
}

async fn in_local_set() {
    // A fiber is a future like any other: awaited in place, or a local task.
    println!("a fiber: {}", fiber(|| leaves(2)).await);
    let tasks = [1, 2, 3].map(|depth| spawn_local(fiber(move || leaves(depth))));
    for task in tasks {
        println!("a fiber as a local task: {}", task.await.expect("it does not panic"));
    }

    // A run as a future. Its tasks wait for each other, and for futures of tokio.
    let run = Config::new().run_async(|| {
        let (sender, receiver) = bounded(1);
        spawn(move || (1..=3).try_for_each(|n| sender.send(n * leaves(1))));
        receiver.iter().sum::<u32>()
    });
    println!("a run: {}", run.await.expect("no deadlock"));

    // A drop of the future ends the code in order: its waits return an error.
    let late = tokio::time::timeout(
        Duration::from_millis(5),
        fiber(|| {
            let outcome = block_on(sleep(Duration::from_secs(3600)));
            println!("the fiber was dropped: {}", outcome.unwrap_err());
        }),
    );
    println!("its timeout: {}", late.await.unwrap_err());
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, in_local_set());

    // Tasks of a runtime with several threads must be `Send`, and no fiber is. A pinned task stays on its thread.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let pool = LocalPoolHandle::new(2);
    let pinned = runtime.block_on(async move {
        let task = tokio::spawn(async move { pool.spawn_pinned(|| fiber(|| leaves(3))).await });
        task.await.expect("it does not panic").expect("it does not panic")
    });
    println!("a pinned fiber: {pinned}");
}
