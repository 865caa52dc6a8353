//! may: a coroutine for each connection, one worker, which may does not pin.

use super::{ADDRESS, BUFFER, STACK};
use crate::area::Area;
use crate::serve::listening;
use ::may::coroutine;
use ::may::net::{TcpListener, TcpStream};
use std::io::{Read, Write};

pub(super) fn echo(_: Area, _: u64) {
    let config = ::may::config();
    config.set_workers(1).set_stack_size(STACK / 8);
    config.set_worker_pin(false);
    // SAFETY: `accept` holds no reference to a thread-local across a wait, and does not overflow its stack.
    drop(unsafe { coroutine::spawn(accept) }.join());
}

fn accept() {
    let listener = TcpListener::bind(ADDRESS).expect("there is a free port");
    listening(listener.local_addr().expect("it is bound"));
    while let Ok((stream, _)) = listener.accept() {
        let _ = stream.set_nodelay(true);
        // SAFETY: as in `echo`: `answer` holds no thread-local across a wait, and the stack is large enough.
        unsafe { coroutine::spawn(move || answer(stream)) };
    }
}

fn answer(mut stream: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}
