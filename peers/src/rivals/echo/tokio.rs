//! tokio on one thread: the current_thread runtime with a LocalSet, without a timer.

use super::{ADDRESS, BUFFER};
use crate::area::Area;
use crate::serve::listening;
use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::runtime::Builder;
use ::tokio::task::{LocalSet, spawn_local};

pub(super) fn echo(_: Area, _: u64) {
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, accept());
}

async fn accept() {
    let listener = TcpListener::bind(ADDRESS).await.expect("there is a free port");
    listening(listener.local_addr().expect("it is bound"));
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        spawn_local(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}
