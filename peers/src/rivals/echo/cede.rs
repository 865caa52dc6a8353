//! cede: a task for each connection, with io_uring where the kernel permits it. A variant has another driver, or another function that
//! answers a connection.

use super::{ADDRESS, BUFFER, STACK};
use crate::area::Area;
use crate::serve::listening;
use cede::io::Driver;
use cede::net::{TcpListener, TcpStream};
use cede::{Config, spawn};
use std::io::{Read, Write};

pub(super) fn own_buffer(_: Area, _: u64) {
    accept(Driver::Auto, with_own_buffer);
}

pub(super) fn own_buffer_by_epoll(_: Area, _: u64) {
    accept(Driver::Epoll, with_own_buffer);
}

pub(super) fn lend(_: Area, _: u64) {
    accept(Driver::Auto, with_lent_buffer);
}

pub(super) fn lend_by_epoll(_: Area, _: u64) {
    accept(Driver::Epoll, with_lent_buffer);
}

/// Each connection has its own buffer.
fn with_own_buffer(mut stream: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}

/// Connections share the buffers of the thread: one that waits has none.
fn with_lent_buffer(stream: TcpStream) {
    while let Ok(true) = stream.lend(|bytes| !bytes.is_empty() && (&stream).write_all(bytes).is_ok()) {}
}

/// Accepts connections, and calls `echo` for each in a task of its own.
fn accept(driver: Driver, echo: fn(TcpStream)) {
    let main = || {
        let listener = TcpListener::bind(ADDRESS).expect("there is a free port");
        listening(listener.local_addr().expect("it is bound"));
        loop {
            let (stream, _) = listener.accept().expect("connections can be accepted");
            // Without the option, the connection only answers later.
            let _ = stream.set_nodelay(true);
            spawn(move || echo(stream));
        }
    };
    Config::new().driver(driver).stack_size(STACK).run(main).expect("no deadlock, and stacks enough");
}
