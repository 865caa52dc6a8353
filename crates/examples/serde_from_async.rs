//! A synchronous parser over an async stream: `serde_json::from_reader` reads from a TCP connection of tokio, in a fiber.
//!
//! cargo run -p cede-crates --example serde_from_async

use cede::bridge::SyncIo;
use cede::fiber;
use std::io::{self, BufReader};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Parses the document while it arrives. Each read of `SyncIo` suspends the fiber, and not the thread.
async fn parse(stream: TcpStream) -> serde_json::Result<serde_json::Value> {
    fiber(|| serde_json::from_reader(BufReader::new(SyncIo::tokio(stream)))).await
}

async fn exchange() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // The peer sends the document in small parts.
    let peer = async {
        for text in [r#"{"name": "cede", "stacks": [64, 256], "is_async": false}"#, r#"{"name": "cut"#] {
            let (mut stream, _) = listener.accept().await?;
            for part in text.as_bytes().chunks(7) {
                stream.write_all(part).await?;
                tokio::task::yield_now().await;
            }
        }
        Ok::<(), io::Error>(())
    };
    let reader = async {
        let document = parse(TcpStream::connect(address).await?).await?;
        println!("{} has stacks of {} KiB", document["name"], document["stacks"]);
        let error = parse(TcpStream::connect(address).await?).await.unwrap_err();
        println!("{error}");
        Ok(())
    };
    tokio::try_join!(peer, reader).map(|_| ())
}

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(exchange())
}
