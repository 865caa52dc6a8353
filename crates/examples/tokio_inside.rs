//! tokio inside of a run: its timers and sockets in tasks, whose code has no `async`. The runtime is entered once, around the run.
//!
//! cargo run -p cede-crates --example tokio_inside

use cede::{block_on, join_all, run, spawn};
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Answers one line in capitals, after a pause.
fn serve(stream: TcpStream) -> Outcome<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    block_on(stream.read_line(&mut line))??;
    block_on(sleep(Duration::from_millis(5)))?; // a timer of tokio
    block_on(stream.write_all(line.to_uppercase().as_bytes()))??;
    Ok(())
}

fn ask(address: SocketAddr, question: &str) -> Outcome<String> {
    let mut stream = block_on(TcpStream::connect(address))??;
    let mut answer = String::new();
    // Several futures in one `async` block cost one `block_on`.
    block_on(async {
        stream.write_all(question.as_bytes()).await?;
        stream.write_all(b"\n").await?;
        stream.read_to_string(&mut answer).await
    })??;
    Ok(answer.trim().to_string())
}

fn main() -> Outcome<()> {
    // A thread of tokio drives its timers and sockets, and wakes the tasks of the run.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    run(|| {
        let listener = block_on(TcpListener::bind("127.0.0.1:0"))??;
        let address = listener.local_addr()?;
        let mut server = spawn(move || {
            for _ in 0..3 {
                let (stream, _) = block_on(listener.accept())??;
                spawn(move || serve(stream).expect("a client that reads"));
            }
            Outcome::Ok(())
        });
        let questions = ["timers of tokio", "sockets of tokio", "tasks of cede"];
        for answer in join_all(questions.map(|question| spawn(move || ask(address, question)))) {
            println!("{}", answer??);
        }
        server.join()??;

        // A deadline of tokio inside of the wait, and one of cede around it.
        let hour = Duration::from_secs(3600);
        let inside = block_on(timeout(Duration::from_millis(1), sleep(hour)))?;
        println!("{}", inside.unwrap_err());
        let around = cede::timeout(Duration::from_millis(1), || block_on(sleep(hour)));
        println!("{}", around.unwrap_err());
        Ok(())
    })
}
