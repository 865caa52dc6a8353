//! The servers: each answers a request of 16 bytes, which tells how long to compute, with the same bytes.

use cede::net::{TcpListener, TcpStream, serve, serve_anywhere};
use cede::task::spawn_anywhere;
use cede::{Builder, Config};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::SocketAddr;

/// A request and its answer.
pub(crate) type Message = [u8; 16];

const CONNECTIONS_MAX: usize = 10_000;

/// Computes for `count` steps.
pub(crate) fn compute(count: u64) -> u64 {
    (0..count).fold(1, |x: u64, step| black_box(x.wrapping_mul(step | 1)))
}

fn handle(message: Message) -> Message {
    let (_, count) = message.split_at(8);
    black_box(compute(u64::from_le_bytes(count.try_into().expect("8 bytes"))));
    message
}

/// Runs a server until this process is killed.
pub(crate) fn run(name: &str) {
    let (name, workers) = name.split_once('@').map_or((name, "2"), |(name, workers)| (name, workers));
    let workers = workers.parse().expect("a number of workers");
    let (name, spawns) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
    match name {
        "tokio" => with_tokio(workers, spawns),
        _ => Config::new().workers(workers).run(|| with_cede(name, workers, spawns)).expect("the run starts"),
    }
}

fn with_tokio(workers: usize, spawns: bool) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    async fn connection(mut stream: tokio::net::TcpStream, spawns: bool) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let mut message = Message::default();
            stream.read_exact(&mut message).await?;
            let answer = if spawns { tokio::spawn(async move { handle(message) }).await? } else { handle(message) };
            stream.write_all(&answer).await?;
        }
    }
    let accept = async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(connection(stream, spawns));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_io().build();
    let runtime = runtime.expect("the runtime starts");
    runtime.block_on(async { tokio::spawn(accept).await.expect("the server does not end") })
}

fn connection(stream: &TcpStream, spawns: bool) -> std::io::Result<()> {
    let mut stream = stream;
    stream.set_nodelay(true)?;
    loop {
        let mut message = Message::default();
        stream.read_exact(&mut message)?;
        let answer = match spawns {
            true => spawn_anywhere(move || handle(message))
                .join()
                .map_err(|error| std::io::Error::other(error.to_string()))?,
            false => handle(message),
        };
        stream.write_all(&answer)?;
    }
}

fn with_cede(name: &str, workers: usize, spawns: bool) {
    let handler = move |stream: TcpStream, _: SocketAddr| drop(connection(&stream, spawns));
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    let address = listener.local_addr().expect("an address");
    match name {
        "serve_anywhere" => {
            println!("{address}");
            let _ = serve_anywhere(listener, CONNECTIONS_MAX, handler);
        }
        "reuse_port" => {
            let others = (1..workers).map(|worker| {
                let listener = listen(address);
                let server = move || drop(serve(listener, CONNECTIONS_MAX, handler));
                Builder::new().on(worker).spawn_anywhere(server).expect("the run has not ended")
            });
            let _others: Vec<_> = others.collect();
            println!("{address}");
            let _ = serve(listener, CONNECTIONS_MAX, handler);
        }
        "one_worker" => {
            println!("{address}");
            let _ = serve(listener, CONNECTIONS_MAX, handler);
        }
        name => panic!("there is no server {name}"),
    }
}

/// Makes a listener for an address that several may share.
fn listen(address: SocketAddr) -> TcpListener {
    use socket2::{Domain, Socket, Type};
    let listen = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        Ok::<_, std::io::Error>(std::net::TcpListener::from(socket).into())
    };
    listen().expect("a listener")
}
