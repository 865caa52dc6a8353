//! cede: a task for each connection. A variant is a function that answers one connection.

use super::{ADDRESS, BUFFER, STACK};
use crate::area::Area;
use crate::serve::listening;
use cede::net::{TcpListener, TcpStream};
use cede::{Config, spawn};
use std::io::{Read, Write};

/// Each connection has its own buffer.
pub(super) fn own_buffer(_: Area, _: u64) {
    accept(|mut stream| {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
    });
}

/// Connections share the buffers of the thread: one that waits has none.
pub(super) fn lend(_: Area, _: u64) {
    accept(
        |stream| {
            while let Ok(true) = stream.lend(|bytes| !bytes.is_empty() && (&stream).write_all(bytes).is_ok()) {}
        },
    );
}

/// Accepts connections, and calls `echo` for each in a task of its own.
fn accept(echo: fn(TcpStream)) {
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
    Config::new().stack_size(STACK).run(main).expect("no deadlock, and stacks enough");
}
