//! Crates from crates.io, unchanged, over the streams of cede, and over those of tokio (`sync_io`): client and server are tasks of one run, so a call that blocked the
//! thread would hang the test.

mod http_client;
mod httparse;
mod redis;
mod stacks;
mod std_io;
mod sync_io;
mod tls;
mod tokio;
mod websocket;

use cede::net::{TcpListener, TcpStream};
use std::error::Error;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

/// The result of the tests' tasks.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Starts a run whose tasks have stacks of 256 KiB: see `stacks.rs`.
fn run<T>(main: impl FnOnce() -> T) -> T {
    match cede::Config::new().stack_size(256 << 10).run(main) {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// A listener on a free port, and its address.
fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Two ends of a TCP connection.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen();
    let client = TcpStream::connect(address).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Yields until `count` tasks wait for I/O.
fn until_waiting(count: u64) {
    while cede::metrics().io_waiting < count {
        cede::time::sleep(Duration::from_millis(1)).unwrap();
    }
}

/// Calls `exchange` with the address of a peer that accepts connections, in the backlog, and never sends a byte: first under a
/// deadline, then in a task that is cancelled. The crate must return an error that shows the reason.
fn silent_peer_ends<T: Debug + 'static, E: Error + 'static>(exchange: fn(SocketAddr) -> Result<T, E>) {
    run(|| {
        let (_listener, address) = listen();
        let late = cede::timeout(Duration::from_millis(50), || exchange(address)).expect_err("the peer is silent");
        let error = late.value.unwrap_err();
        assert!(cede_crates::is_cancelled(&error), "a deadline: {error:?}");
        let kind = cede_crates::io_error(&error).map(std::io::Error::kind);
        assert_eq!(kind, Some(std::io::ErrorKind::TimedOut), "a deadline: {error:?}");

        let mut task =
            cede::spawn(move || exchange(address).map(drop).map_err(|error| Box::new(error) as Box<dyn Error>));
        until_waiting(1);
        task.cancel();
        let error = task.join().unwrap().unwrap_err();
        assert!(cede_crates::is_cancelled(&*error), "a cancel: {error:?}");
        let kind = cede_crates::io_error(&*error).map(std::io::Error::kind);
        assert_eq!(kind, Some(std::io::ErrorKind::Other), "a cancel: {error:?}");
    });
}

/// `len` bytes with a period of 251.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}
