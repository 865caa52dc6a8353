//! compio over io_uring.

use super::{ADDRESS, BUFFER};
use crate::area::Area;
use crate::serve::listening;
use ::compio::buf::BufResult;
use ::compio::io::{AsyncRead, AsyncWriteExt};
use ::compio::net::{TcpListener, TcpStream};
use ::compio::runtime::{Runtime, spawn};

pub(super) fn echo(_: Area, _: u64) {
    Runtime::new().expect("the kernel has io_uring").block_on(accept());
}

async fn accept() {
    let listener = TcpListener::bind(ADDRESS).await.expect("there is a free port");
    listening(listener.local_addr().expect("it is bound"));
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        spawn(answer(stream)).detach();
    }
}

async fn answer(mut stream: TcpStream) {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        // The operation owns the buffer, and appends to its unused capacity.
        let BufResult(read, filled) = stream.read(buffer).await;
        if !matches!(read, Ok(1..)) {
            break;
        }
        let BufResult(written, mut emptied) = stream.write_all(filled).await;
        if written.is_err() {
            break;
        }
        emptied.clear();
        buffer = emptied;
    }
}
