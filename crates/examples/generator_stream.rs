//! Generators as async streams: `bridge::stream`, whose code waits between two items, and a plain `Generator`, which never waits.
//!
//! cargo run -p cede-crates --example generator_stream

use cede::bridge::{Emitter, stream};
use cede::{Generator, Yielder, block_on};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;

/// A service that lists a directory: names that end in `/` are directories. Takes a millisecond.
async fn list(path: String) -> Vec<String> {
    sleep(Duration::from_millis(1)).await;
    let tree = BTreeMap::from([
        ("", vec!["docs/", "src/", "README"]),
        ("docs/", vec!["guide", "notes"]),
        ("src/", vec!["lib", "net/"]),
        ("src/net/", vec!["tcp", "udp"]),
    ]);
    tree.get(path.as_str()).into_iter().flatten().map(|name| format!("{path}{name}")).collect()
}

/// Emits all files below `path`. Synchronous and recursive, as no async block can be without boxes. Returns early if the stream was
/// dropped.
fn walk(path: String, emitter: &Emitter<String>) -> Option<()> {
    for name in block_on(list(path)).ok()? {
        if name.ends_with('/') {
            walk(name, emitter)?;
        } else {
            emitter.emit(name).ok()?;
        }
    }
    Some(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // One listing is requested when its first item is wanted, and not before.
    let mut files = stream(|emitter: &Emitter<String>| {
        let _ = walk(String::new(), emitter);
    });
    while let Some(file) = files.next().await {
        println!("{file}");
    }

    // The combinators of `futures` work on it. The stream is dropped after two items: `emit` hands the third one back.
    let first = stream(|emitter: &Emitter<String>| {
        let outcome = walk(String::new(), emitter);
        println!("the walk ended early: {}", outcome.is_none());
    });
    println!("the first two: {:?}", first.take(2).collect::<Vec<_>>().await);

    // A generator whose body does not wait is a stream, too.
    let squares = Generator::new(|y: &Yielder<u32>| (1..1000).for_each(|n| y.yield_(n * n))).into_stream();
    println!("squares: {:?}", squares.skip(2).take(4).collect::<Vec<_>>().await);
    let odd = Generator::new(|y: &Yielder<u32>| (1..=9).for_each(|n| y.yield_(n)));
    let odd = odd.into_stream().filter(|n| std::future::ready(n % 2 == 1));
    println!("odd: {:?}", odd.collect::<Vec<_>>().await);
}
