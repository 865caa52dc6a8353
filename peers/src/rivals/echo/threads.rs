//! Threads of the operating system: one for each connection, with blocking calls.

use super::{ADDRESS, BUFFER, STACK};
use crate::area::Area;
use crate::serve::listening;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

pub(super) fn echo(_: Area, _: u64) {
    let listener = TcpListener::bind(ADDRESS).expect("there is a free port");
    listening(listener.local_addr().expect("it is bound"));
    while let Ok((stream, _)) = listener.accept() {
        let _ = stream.set_nodelay(true);
        thread::Builder::new().stack_size(STACK).spawn(move || answer(stream)).expect("a thread");
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
