//! smol: a LocalExecutor, with the reactor of async-io on the same thread.

use super::{ADDRESS, BUFFER};
use crate::area::Area;
use crate::serve::listening;
use ::smol::LocalExecutor;
use ::smol::io::{AsyncReadExt, AsyncWriteExt};
use ::smol::net::{TcpListener, TcpStream};

pub(super) fn echo(_: Area, _: u64) {
    let executor = LocalExecutor::new();
    ::smol::block_on(executor.run(accept(&executor)));
}

async fn accept(executor: &LocalExecutor<'_>) {
    let listener = TcpListener::bind(ADDRESS).await.expect("there is a free port");
    listening(listener.local_addr().expect("it is bound"));
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        executor.spawn(answer(stream)).detach();
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
