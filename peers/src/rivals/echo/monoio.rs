//! monoio over io_uring: as it comes, and with a ring that completes operations only inside the system call of its own thread
//! (`IORING_SETUP_DEFER_TASKRUN`), which costs less where one thread has the ring.

use super::{ADDRESS, BUFFER};
use crate::area::Area;
use crate::serve::listening;
use ::monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use ::monoio::net::{TcpListener, TcpStream};
use ::monoio::{IoUringDriver, RuntimeBuilder};
use monoio_io_uring::{Builder, IoUring};

/// The entries of the ring.
const ENTRIES: u32 = 4096;

pub(super) fn as_it_comes(_: Area, _: u64) {
    run(IoUring::builder());
}

pub(super) fn deferred(_: Area, _: u64) {
    let mut ring = IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    run(ring);
}

fn run(ring: Builder) {
    let runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(ENTRIES).uring_builder(ring).build();
    runtime.expect("the kernel has io_uring").block_on(accept());
}

async fn accept() {
    let listener = TcpListener::bind(ADDRESS).expect("there is a free port");
    listening(listener.local_addr().expect("it is bound"));
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        ::monoio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        // The operation owns the buffer, and appends to its unused capacity.
        let (read, filled) = stream.read(buffer).await;
        if !matches!(read, Ok(1..)) {
            break;
        }
        let (written, mut emptied) = stream.write_all(filled).await;
        if written.is_err() {
            break;
        }
        emptied.clear();
        buffer = emptied;
    }
}
