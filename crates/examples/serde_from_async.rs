//! A synchronous parser over an async stream: `serde_json::from_reader` reads from a TCP connection of tokio, in a fiber.
//!
//! cargo run -p cede-crates --example serde_from_async

use cede::{block_on, fiber};
use std::io::{self, BufReader, Read};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A synchronous reader over an async one. Each read suspends the fiber that calls.
struct SyncReader<R>(R);

impl<R: AsyncRead + Unpin> Read for SyncReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        block_on(self.0.read(buffer)).map_err(io::Error::other)?
    }
}

/// Parses the document while it arrives. The thread is not blocked, and the document is never in memory as a whole.
async fn parse(stream: TcpStream) -> serde_json::Result<serde_json::Value> {
    fiber(|| serde_json::from_reader(BufReader::new(SyncReader(stream)))).await
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
